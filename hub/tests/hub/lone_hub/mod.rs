//! A hub that is a group by itself, as it ships, on real sockets; and volunteers' peers that only say that they are there.

#![allow(missing_docs)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use loop_admin::Admin;
use loop_hub::{
    config::{HubConfig, Options},
    outside::Outside,
    run::{self, HubError},
};
use loop_net::io::Io;
use loop_proto::v1::{self, hub_to_peer, peer_service_client::PeerServiceClient, peer_to_hub, rows_request};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const TOKEN: &str = "a-token-for-volunteers";
/// As hubs have it by default.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// More than anything here takes, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(20);

pub struct LoneHub {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    shutdown: CancellationToken,
    life: JoinHandle<Result<(), HubError>>,
}

/// What measures collect: one for the process, as in the program.
fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap()).clone()
}

async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

impl LoneHub {
    /// On the data in `dir`, which is made if there is none. A hub that has ended in this process a moment ago may still
    /// hold on to it.
    pub async fn start(dir: &Path) -> Self {
        eventually(|| async {
            let mut hub = Self::begin(dir).await;
            tokio::select! {
                ended = &mut hub.life => Err(format!("{ended:?}")),
                () = listening(hub.grpc) => Ok(hub),
            }
        })
        .await
    }

    async fn begin(dir: &Path) -> Self {
        let (http, grpc) = (free_port().await, free_port().await);
        let options = Options {
            node_id: Some(1),
            data_dir: Some(dir.to_owned()),
            http_listen: Some(http),
            grpc_listen: Some(grpc),
            bootstrap: Some(true),
            join_token: Some(TOKEN.into()),
            // What is to be told after that time is to be told in a test.
            peer_grace_s: Some(1),
            ..Options::default()
        };
        let shutdown = CancellationToken::new();
        let config = HubConfig::try_from(options).unwrap();
        let life = tokio::spawn(run::run(config, Outside::new(Io::system()), metrics(), shutdown.clone()));
        Self { http, grpc, shutdown, life }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.life.await.unwrap().unwrap();
    }

    pub fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect_lazy()
    }

    pub fn admin(&self) -> Admin {
        Admin::new(&[self.grpc.to_string()], WITHIN).unwrap()
    }

    /// Status and body of `GET path`; status 0: no answer.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let got = timeout(WITHIN, get(self.http, path)).await;
        got.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// Sends a message to a forum and does not wait for what comes of it.
    pub fn post(&self, forum: &str, number: u32) {
        let (http, forum) = (self.http, forum.to_owned());
        tokio::spawn(async move {
            let path = format!(
                "/index.php?action=ssshout&passcode={forum}&remoteapp=true&ses=session{number:020}&cs=21633478\
                 &typing=off&msg_id={number}&message=hello&callback=jQuery1_1"
            );
            let _ = get(http, &path).await;
        });
    }

    /// Waits until `/readyz` has this status, and returns what it says then.
    pub async fn told(&self, status: u16) -> String {
        eventually(|| async {
            let (got, body) = self.get("/readyz").await;
            if got == status { Ok(body) } else { Err(format!("{got} {body}")) }
        })
        .await
    }
}

/// Resolves when a hub answers there, which it does once its data is open.
async fn listening(grpc: SocketAddr) {
    let admin = Admin::new(&[grpc.to_string()], WITHIN).unwrap();
    while admin.status().await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn get(addr: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// Asks until it is so; panics with what was last in the way.
pub async fn eventually<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + WITHIN;
    loop {
        match ask().await {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < deadline, "not within {WITHIN:?}: {last}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// What a volunteer answers to what a hub asks for.
pub type Answers = Arc<dyn Fn(rows_request::Kind) -> Option<v1::RowsReply> + Send + Sync>;

/// A peer that is connected and answers nothing but what it was given to answer. Dropped, it is gone.
pub struct Volunteer {
    pub id: u32,
    said: JoinHandle<()>,
    heard: JoinHandle<()>,
}

impl Volunteer {
    pub async fn join(hub: &LoneHub, name: &str) -> Self {
        Self::join_with(hub, name, Arc::new(|_| None)).await
    }

    pub async fn join_with(hub: &LoneHub, name: &str, answers: Answers) -> Self {
        let secret = vec![name.len() as u8; 32];
        let join = v1::JoinRequest {
            token: TOKEN.into(),
            name: name.into(),
            secret: secret.clone().into(),
            ..Default::default()
        };
        let peer_id = eventually(|| {
            let (mut client, join) = (PeerServiceClient::new(hub.channel()), join.clone());
            async move { Ok(client.join(join).await.map_err(|no| no.to_string())?.into_inner().peer_id) }
        })
        .await;
        Self::connect(hub, peer_id, secret, answers).await
    }

    async fn connect(hub: &LoneHub, peer_id: u32, secret: Vec<u8>, answers: Answers) -> Self {
        let (tx, rx) = mpsc::channel(8);
        let hello = v1::Hello { peer_id, secret: secret.into(), ..Default::default() };
        tx.send(v1::PeerToHub { kind: Some(peer_to_hub::Kind::Hello(hello)) }).await.unwrap();
        let mut client = PeerServiceClient::new(hub.channel());
        let mut incoming = client.work(ReceiverStream::new(rx)).await.unwrap().into_inner();
        let replies = tx.clone();
        let heard = tokio::spawn(async move {
            while let Ok(Some(v1::HubToPeer { kind })) = incoming.message().await {
                let Some(hub_to_peer::Kind::Rows(v1::RowsRequest { id, kind: Some(kind), .. })) = kind else {
                    continue;
                };
                let Some(reply) = answers(kind) else { continue };
                let kind = Some(peer_to_hub::Kind::Rows(v1::RowsReply { id, ..reply }));
                if replies.send(v1::PeerToHub { kind }).await.is_err() {
                    return;
                }
            }
        });
        let said = tokio::spawn(async move {
            loop {
                let status =
                    v1::PeerToHub { kind: Some(peer_to_hub::Kind::Status(v1::PeerStatus::default())) };
                if tx.send(status).await.is_err() {
                    return;
                }
                sleep(HEARTBEAT).await;
            }
        });
        Self { id: peer_id, said, heard }
    }
}

impl Drop for Volunteer {
    fn drop(&mut self) {
        self.said.abort();
        self.heard.abort();
    }
}
