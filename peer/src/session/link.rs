//! Connections to a hub: dialling, limits, timeouts, and the calls made over them. Never knows forums or tasks.

use std::{fmt, io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use loop_proto::{
    ids::{HubId, PeerId},
    v1::{self, hub_to_peer, peer_service_client::PeerServiceClient, peer_to_hub},
};
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::outbox::Outbox;
use crate::{
    config::{Config, HubAddr},
    identity::Secret,
    io::Io,
};

/// Longest message taken from a hub, bytes; a hub's batches are far below.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// For a Join, a Welcome, an empty poll beyond its own wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const HEARTBEAT_MS: std::ops::RangeInclusive<u32> = 20..=60_000;

/// Why a hub could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It could not be reached.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent,
    /// It said no.
    #[error("{}: {}", code_word(.0.code()), Quoted(.0.message()))]
    Refused(Status),
    /// It said something a hub does not say.
    #[error("{0}")]
    Malformed(String),
}

impl LinkError {
    /// Whether it said that it does not know this peer, its secret or its token.
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Refused(status)
            if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument))
    }

    /// Whether the call was lost on the way rather than refused: what a proxy that cuts streams looks like.
    pub fn is_cut(&self) -> bool {
        match self {
            Self::Silent => true,
            Self::Refused(status) => {
                matches!(
                    status.code(),
                    Code::Cancelled | Code::Unknown | Code::Internal | Code::DeadlineExceeded
                )
            }
            Self::Unreachable(_) | Self::Malformed(_) => false,
        }
    }
}

/// A stranger's text, cut and escaped so that it cannot forge log lines.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut: String = self.0.chars().take(200).collect();
        write!(f, "{}", cut.escape_debug())
    }
}

fn code_word(code: Code) -> &'static str {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => {
            "it does not know this peer, its secret or its token"
        }
        Code::Unimplemented => "it is no hub of this kind",
        Code::Unavailable => "it is not available",
        Code::DeadlineExceeded | Code::Cancelled => "the call was cut off",
        _ => "it said no",
    }
}

/// An open work stream, past the greeting.
pub struct WorkStream {
    /// What the hub sends.
    pub inbound: Streaming<v1::HubToPeer>,
    /// What it is sent.
    pub outbox: Outbox,
    /// Its greeting.
    pub welcome: v1::Welcome,
    /// Which hub it is.
    pub hub: HubId,
}

/// A connection to one hub.
pub struct Link {
    client: PeerServiceClient<Channel>,
}

impl Link {
    /// Dials a hub.
    pub async fn dial(io: &Io, hub: &HubAddr) -> Result<Self, LinkError> {
        let endpoint = Endpoint::from_shared(format!("http://{hub}"))
            .map_err(|error| LinkError::Unreachable(error.to_string()))?
            .initial_stream_window_size(io.window_bytes)
            .initial_connection_window_size(io.window_bytes.saturating_mul(2))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        let (dial, addr) = (Arc::clone(&io.dial), hub.to_string());
        let connector = tower::service_fn(move |_| {
            let connecting = dial(&addr);
            async move { Ok::<_, io::Error>(TokioIo::new(connecting.await?)) }
        });
        let channel = timeout(CONNECT_WITHIN, endpoint.connect_with_connector(connector))
            .await
            .map_err(|_| {
                LinkError::Unreachable(format!("no connection within {} s", CONNECT_WITHIN.as_secs()))
            })?
            .map_err(|error| LinkError::Unreachable(root_cause(&error)))?;
        let client = PeerServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client })
    }

    /// Joins; the same secret is given the same id.
    pub async fn join(&mut self, config: &Config, secret: &Secret) -> Result<PeerId, LinkError> {
        let request = v1::JoinRequest {
            token: config.join_token.as_ref().map_or(String::new(), |token| token.expose().to_owned()),
            name: config.name.clone(),
            secret: secret.expose().to_vec().into(),
            owner: config.owner.clone(),
            network: config.network.clone(),
        };
        let reply = answered(self.client.join(request)).await?;
        PeerId::new(reply.peer_id).ok_or_else(|| LinkError::Malformed("it gave peer id 0".into()))
    }

    /// Opens the work stream: Hello, Welcome.
    pub async fn work(&mut self, hello: v1::Hello) -> Result<WorkStream, LinkError> {
        let (outbox, outbound) = Outbox::new();
        // Before the call: a hub may wait for it before it answers the call at all.
        let _ = outbox.send(peer_to_hub::Kind::Hello(hello)).await;
        let mut inbound = answered(self.client.work(outbound)).await?;
        let first = timeout(ANSWER_WITHIN, inbound.message()).await.map_err(|_| LinkError::Silent)?;
        let welcome = match first.map_err(LinkError::Refused)?.and_then(|message| message.kind) {
            Some(hub_to_peer::Kind::Welcome(welcome)) => welcome,
            Some(hub_to_peer::Kind::GoAway(away)) => {
                return Err(LinkError::Refused(Status::unavailable(away.reason)));
            }
            Some(_) => return Err(LinkError::Malformed("it did not begin with a welcome".into())),
            None => return Err(LinkError::Refused(Status::cancelled("it closed the stream at once"))),
        };
        let hub =
            HubId::new(welcome.hub_id).ok_or_else(|| LinkError::Malformed("it has no hub id".into()))?;
        if !HEARTBEAT_MS.contains(&welcome.heartbeat_ms) {
            return Err(LinkError::Malformed(format!("a heartbeat of {} ms", welcome.heartbeat_ms)));
        }
        Ok(WorkStream { inbound, outbox, welcome, hub })
    }

    /// A copy that another peer gives. The first piece may take long.
    pub async fn fetch_checkpoint(
        &mut self,
        request: v1::FetchCheckpointRequest,
    ) -> Result<Streaming<v1::CheckpointChunk>, LinkError> {
        Ok(self.client.fetch_checkpoint(request).await.map_err(LinkError::Refused)?.into_inner())
    }

    /// Gives a copy; ends when the hub has taken all of it or wants no more.
    pub async fn give_checkpoint(
        &mut self,
        pieces: impl Stream<Item = v1::GivenChunk> + Send + 'static,
    ) -> Result<(), LinkError> {
        self.client.give_checkpoint(pieces).await.map(drop).map_err(LinkError::Refused)
    }

    /// Records after a cursor, waiting for the first of them.
    pub async fn fetch(
        &mut self,
        me: PeerId,
        secret: &Secret,
        after: u64,
        wait: Duration,
    ) -> Result<v1::RecordBatch, LinkError> {
        let request = v1::FetchTasksRequest {
            peer_id: me.get(),
            secret: secret.expose().to_vec().into(),
            after,
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(30_000),
        };
        let call = timeout(wait + ANSWER_WITHIN, self.client.fetch_tasks(request));
        Ok(call.await.map_err(|_| LinkError::Silent)?.map_err(LinkError::Refused)?.into_inner())
    }
}

async fn answered<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, LinkError> {
    let answer = timeout(ANSWER_WITHIN, call).await.map_err(|_| LinkError::Silent)?;
    Ok(answer.map_err(LinkError::Refused)?.into_inner())
}

/// "transport error" alone helps nobody; "connection refused" does.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
