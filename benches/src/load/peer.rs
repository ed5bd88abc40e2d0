//! Peers played by the driver: registered, and if wanted connected, hearing the log like any peer. They execute nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use loop_proto::v1::{self, hub_to_peer, peer_service_client::PeerServiceClient, peer_to_hub, record};
use prost::Message;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, interval},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    grpc,
    system::{System, random_bytes, unique},
};

/// Shorter than any heartbeat a hub expects.
const HEARTBEAT: Duration = Duration::from_millis(100);

/// Who a played peer is.
pub struct Identity {
    name: String,
    secret: Bytes,
}

impl Identity {
    /// Somebody new.
    pub fn new() -> Self {
        Self { name: unique("load-"), secret: Bytes::copy_from_slice(&random_bytes::<32>()) }
    }
}

/// Registers a peer; its id.
pub async fn join(system: &System, identity: &Identity) -> Result<u32> {
    ensure!(
        !system.secrets.join_token.is_empty(),
        "this workload plays a peer and needs the hubs' --join-token"
    );
    let mut client = PeerServiceClient::new(grpc::connect(&system.hubs[0].grpc).await?);
    let request = v1::JoinRequest {
        token: system.secrets.join_token.clone(),
        name: identity.name.clone(),
        secret: identity.secret.clone(),
        owner: "load".into(),
        network: "load".into(),
    };
    Ok(client.join(request).await?.into_inner().peer_id)
}

/// A record came to a played peer.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// The record's id.
    pub record: u64,
    /// A task's message id.
    pub message: Option<u32>,
    /// The task that these facts close.
    pub closes: Option<u64>,
    /// When it was here, decoded.
    pub at: Instant,
}

/// A connected played peer. Hears until it is asked for what it has heard.
pub struct Listener {
    heard: JoinHandle<Result<Vec<Heard>>>,
    stop: mpsc::Sender<v1::PeerToHub>,
}

impl Listener {
    /// Connects to the hub at `hub` (`host:port`) as peer `peer_id` from `cursor` on.
    pub async fn connect(hub: &str, peer_id: u32, identity: &Identity, cursor: u64) -> Result<Self> {
        let (tx, rx) = mpsc::channel(64);
        let hello = v1::Hello {
            peer_id,
            secret: identity.secret.clone(),
            cursor,
            version: "load".into(),
            restarted: false,
            ..Default::default()
        };
        say(&tx, peer_to_hub::Kind::Hello(hello)).await?;
        let mut client =
            PeerServiceClient::new(grpc::connect(hub).await?).max_decoding_message_size(16 << 20);
        let inbound = client.work(ReceiverStream::new(rx)).await?.into_inner();
        let weak = tx.clone().downgrade();
        Ok(Self { heard: tokio::spawn(listen(inbound, weak, cursor)), stop: tx })
    }

    /// Hangs up; everything heard.
    pub async fn finish(self) -> Result<Vec<Heard>> {
        drop(self.stop);
        self.heard.await?
    }
}

async fn say(tx: &mpsc::Sender<v1::PeerToHub>, kind: peer_to_hub::Kind) -> Result<()> {
    tx.send(v1::PeerToHub { kind: Some(kind) }).await.ok().context("the hub closed the stream")
}

async fn listen(
    mut inbound: tonic::Streaming<v1::HubToPeer>,
    outbound: mpsc::WeakSender<v1::PeerToHub>,
    mut cursor: u64,
) -> Result<Vec<Heard>> {
    let mut heard = Vec::new();
    let mut heartbeat = interval(HEARTBEAT);
    loop {
        let message = tokio::select! {
            // A hub that sees the other half of the stream end hangs up as well.
            message = inbound.message() => match message {
                _ if outbound.strong_count() == 0 => return Ok(heard),
                message => message?.context("the hub ended the stream")?,
            },
            _ = heartbeat.tick() => {
                let Some(outbound) = outbound.upgrade() else { return Ok(heard) };
                let status = v1::PeerStatus { cursor, ..Default::default() };
                say(&outbound, peer_to_hub::Kind::Status(status)).await?;
                continue;
            }
        };
        match message.kind {
            Some(hub_to_peer::Kind::Records(batch)) => {
                cursor = cursor.max(batch.through);
                for bytes in batch.records {
                    heard.push(hear(bytes)?);
                }
            }
            // This peer holds no rows: another replica is asked at once.
            Some(hub_to_peer::Kind::Rows(asked)) => {
                let Some(outbound) = outbound.upgrade() else { return Ok(heard) };
                let reply = v1::RowsReply { id: asked.id, refused: true, ..Default::default() };
                say(&outbound, peer_to_hub::Kind::Rows(reply)).await?;
            }
            Some(hub_to_peer::Kind::GoAway(away)) => anyhow::bail!("sent away: {}", away.reason),
            _ => {}
        }
    }
}

fn hear(bytes: Bytes) -> Result<Heard> {
    let record = v1::Record::decode(bytes)?;
    let (message, closes) = match record.body {
        Some(record::Body::Task(task)) => (task.message_id, None),
        Some(record::Body::Facts(facts)) => (None, facts.task_id),
        _ => (None, None),
    };
    Ok(Heard { record: record.id, message, closes, at: Instant::now() })
}
