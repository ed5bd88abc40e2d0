//! One hub's life: opens its data, joins the group, serves, and goes down without dropping what it holds.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use loop_proto::v1::{
    self, hub_service_server::HubServiceServer, peer_service_server::PeerServiceServer,
    raft_service_server::RaftServiceServer,
};
use metrics_exporter_prometheus::PrometheusHandle;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{service::interceptor::InterceptedService, transport::Server};
use tonic_health::ServingStatus;

use crate::{
    admin_service,
    audits::Audits,
    changes::{self, Changes},
    channel::{self, MESSAGE_BYTES_MAX, WINDOW_BYTES},
    config::HubConfig,
    content::Content,
    feed::{Counted, Feed},
    gateway::HubGateway,
    group::Group,
    group_secret::{HubGuard, ShowSecret},
    health::{self, Health},
    http::{self, HttpConfig},
    hub::Hub,
    hub_service::HubGrpc,
    io::{Acceptor, Io},
    leader::{self, PlanBoard},
    link, membership,
    peer_rows::PeerRows,
    peer_service::PeerGrpc,
    placement::Placement,
    presence::Presence,
    proposer::{LeaderDoor, ProposeService, Proposer, Routes},
    raft_node::{self, HubRaftNode, RaftGrpc},
    relay::Relays,
    sizes, telemetry,
    traffic::{self, Traffic},
    waiters::Waiters,
    windows::Windows,
};

/// Longest wait for open requests and streams when this hub goes down.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// Why a hub could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A port cannot be bound.
    #[error("cannot listen on {addr} ({flag}): {error}; is another process using it?")]
    Listen {
        /// The flag that says which address.
        flag: &'static str,
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot open the data in {dir}: {error}")]
    Data {
        /// The folder.
        dir: String,
        /// The reason, and what to do.
        error: io::Error,
    },
    /// The group cannot be formed or entered.
    #[error("cannot form or enter the group: {0}")]
    Group(String),
    /// Raft has stopped: disk, corruption or a broken invariant. The hub must not go on.
    #[error("Raft has stopped: {0}")]
    Fatal(String),
    /// A server has failed.
    #[error("a server has failed: {0}")]
    Serve(String),
}

/// Runs a hub until `shutdown`, then takes it down gracefully.
pub async fn run(
    config: HubConfig,
    io: Io,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<(), HubError> {
    telemetry::describe();
    let http_acceptor = bind(&io, "--http-listen", config.http_listen).await?;
    let grpc_acceptor = bind(&io, "--grpc-listen", config.grpc_listen).await?;
    let hub_down = CancellationToken::new();
    let (hub, door) = open(config, io, hub_down.clone()).await?;
    let mut servers: FuturesUnordered<Serving> =
        [serve_grpc(&hub, door, grpc_acceptor), serve_http(&hub, http_acceptor, metrics.clone())]
            .into_iter()
            .collect();
    let duties = [
        tokio::spawn(keep_metrics_small(metrics)),
        tokio::spawn(membership::follow(hub.clone())),
        tokio::spawn(changes::see_through(hub.clone())),
        tokio::spawn(link::keep_links(hub.clone())),
        tokio::spawn(traffic::run(hub.clone())),
        tokio::spawn(sizes::watch(hub.clone())),
        tokio::spawn(hub.windows.clone().tidy()),
        tokio::spawn(health::run(hub.clone())),
        tokio::spawn(leader::run(hub.clone())),
    ];
    let formed = membership::form_or_enter(&hub).await;
    let ended = match formed {
        Ok(()) => {
            tracing::info!(
                hub = %hub.config.hub_id, http = %hub.config.http_listen, grpc = %hub.config.grpc_listen, "serving"
            );
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                fatal = watch_raft(&hub.raft) => Err(fatal),
                () = membership::taken_out(&hub) => {
                    membership::note_taken_out(&*hub.log_dir);
                    tracing::warn!("this hub was taken out of the group: it stops, and its data is of no more use");
                    Ok(())
                }
                // Without one of its doors a hub would look alive and serve nobody.
                Some(ended) = servers.next() => Err(HubError::Serve(why_ended(ended))),
            }
        }
        Err(error) => Err(error),
    };
    if ended.is_ok() {
        membership::hand_over(&hub).await;
    }
    hub_down.cancel();
    while !servers.is_empty() {
        match timeout(DRAIN_WITHIN, servers.next()).await {
            Ok(Some(Ok(Err(error)))) => tracing::error!(error, "a server has failed"),
            Ok(_) => {}
            Err(_) => {
                tracing::warn!("some requests were still open when the hub went down");
                break;
            }
        }
    }
    duties.into_iter().for_each(|task| task.abort());
    if let Err(error) = hub.raft.shutdown().await {
        tracing::warn!(%error, "Raft did not end cleanly");
    }
    ended
}

async fn bind(io: &Io, flag: &'static str, addr: SocketAddr) -> Result<Box<dyn Acceptor>, HubError> {
    io.bind(addr).await.map_err(|error| HubError::Listen { flag, addr, error })
}

/// Opens the data and starts everything that has no socket.
async fn open(
    config: HubConfig,
    io: Io,
    down: CancellationToken,
) -> Result<(Arc<Hub>, LeaderDoor), HubError> {
    let secret = ShowSecret::new(config.group_secret.as_ref());
    let group = Group::new(config.own_node(), io.clone(), secret);
    for (id, addrs) in &config.cluster {
        group.learn(v1::HubNode {
            node_id: *id,
            grpc_addr: addrs.grpc.clone(),
            http_addr: addrs.http.clone(),
        });
    }
    let presence = Arc::new(Presence::default());
    let waiters = Arc::new(Waiters::default());
    let links = link::Links::default();
    let rows = PeerRows::new(presence.clone(), links.clone(), io.clone());
    let windows = Windows::new(rows.clone(), config.window_bytes_max);
    let traffic = Arc::new(Traffic::default());
    let health = Health::new(&config);
    let counted = Counted { traffic: traffic.clone(), freshness: health.freshness.clone() };
    let feed = Feed::new(presence.clone(), waiters.clone(), windows.clone(), counted);
    let unusable = |error| HubError::Data { dir: config.data_dir.display().to_string(), error };
    let log_dir = raft_node::open_log_dir(&config, &io).map_err(unusable)?;
    membership::check_is_not_out(&*log_dir).map_err(unusable)?;
    let (raft, state) = raft_node::start(&config, &io, log_dir.clone(), group.clone(), feed.clone())
        .await
        .map_err(unusable)?;
    feed.attach(state.clone());
    windows.attach(state.clone());
    let door = LeaderDoor::new(raft.clone(), io.clone());
    let routes = Routes { group: group.clone(), door: door.clone() };
    let proposer = Proposer::start(routes, follow_leader(&raft), down.clone());
    let content = Content::new(presence.clone(), links.clone(), io.clone(), proposer.clone());
    let hub = Hub {
        config,
        io,
        group,
        raft,
        log_dir,
        changes: Changes::default(),
        state,
        proposer,
        presence,
        waiters,
        windows,
        rows,
        content,
        links,
        relays: Relays::default(),
        audits: Audits::default(),
        traffic,
        plan: PlanBoard::default(),
        placement: Placement::default(),
        health,
        shutdown: down,
    };
    Ok((Arc::new(hub), door))
}

/// The hub that leads, as this one knows.
fn follow_leader(raft: &HubRaftNode) -> watch::Receiver<Option<u64>> {
    let mut metrics = raft.server_metrics();
    let (tx, rx) = watch::channel(metrics.borrow_watched().current_leader);
    tokio::spawn(async move {
        while metrics.changed().await.is_ok() {
            let leader = metrics.borrow_watched().current_leader;
            let changed = tx.send_if_modified(|known| {
                let changed = *known != leader;
                *known = leader;
                changed
            });
            if let Some(leader) = leader.filter(|_| changed) {
                tracing::info!(leader, "follows");
            }
            if tx.is_closed() {
                return;
            }
        }
    });
    rx
}

/// Resolves when Raft has stopped by itself.
async fn watch_raft(raft: &HubRaftNode) -> HubError {
    let mut metrics = raft.server_metrics();
    loop {
        if let Err(fatal) = raft.metrics().borrow_watched().running_state.clone() {
            return HubError::Fatal(fatal.to_string());
        }
        if metrics.changed().await.is_err() {
            return HubError::Fatal("its core has ended".into());
        }
    }
}

/// Histograms keep every sample until they are looked at or told to sum up.
async fn keep_metrics_small(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        metrics.run_upkeep();
    }
}

type Serving = JoinHandle<Result<(), String>>;

/// What a server that has ended before it was told to has to say.
fn why_ended(ended: Result<Result<(), String>, JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "it ended by itself".to_owned(),
        Ok(Err(error)) => error,
        Err(fell) => fell.to_string(),
    }
}

fn serve_grpc(hub: &Arc<Hub>, door: LeaderDoor, acceptor: Box<dyn Acceptor>) -> Serving {
    macro_rules! sized {
        ($server:expr) => {
            $server.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
    }
    let down = hub.shutdown.clone();
    let hubs_only = HubGuard::new(hub.config.group_secret.as_ref());
    let raft = RaftGrpc { raft: hub.raft.clone(), shutdown: down.clone() };
    let propose = ProposeService { door, shutdown: down.clone() };
    let hub_grpc = HubGrpc { hub: hub.clone(), propose };
    let (reporter, health_server) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let hub = hub.clone();
    tokio::spawn(async move {
        // Until something else is known; the health service itself begins with the contrary.
        reporter.set_service_status("", ServingStatus::NotServing).await;
        tokio::spawn(health::tell(hub.clone(), reporter));
        let reflection = reflection.map_err(|error| error.to_string())?;
        Server::builder()
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .http2_keepalive_interval(Some(Duration::from_secs(5)))
            .http2_keepalive_timeout(Some(Duration::from_secs(5)))
            .add_service(health_server)
            .add_service(reflection)
            .add_service(InterceptedService::new(sized!(RaftServiceServer::new(raft)), hubs_only.clone()))
            .add_service(InterceptedService::new(sized!(HubServiceServer::new(hub_grpc)), hubs_only))
            .add_service(sized!(PeerServiceServer::new(PeerGrpc { hub: hub.clone() })))
            .add_service(admin_service::guarded(hub))
            .serve_with_incoming_shutdown(channel::incoming(acceptor, down.clone()), down.cancelled_owned())
            .await
            .map_err(|error| error.to_string())
    })
}

fn serve_http(hub: &Arc<Hub>, acceptor: Box<dyn Acceptor>, metrics: PrometheusHandle) -> Serving {
    let config = HttpConfig {
        connections_max: hub.config.connections_max,
        static_dir: hub.config.static_dir.clone(),
        drain_timeout: DRAIN_WITHIN,
        ..HttpConfig::default()
    };
    let gateway = Arc::new(HubGateway { hub: hub.clone() });
    let (outside, down) = (Arc::new(hub.io.clone()), hub.shutdown.clone());
    tokio::spawn(async move {
        http::serve(Box::new(HttpListener(acceptor)), config, gateway, outside, metrics, down)
            .await
            .map_err(|error| error.to_string())
    })
}

struct HttpListener(Box<dyn Acceptor>);

impl http::Listener for HttpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn http::Io>, SocketAddr)>> {
        Box::pin(async move {
            let (connection, from) = self.0.accept().await?;
            Ok((Box::new(connection) as Box<dyn http::Io>, from))
        })
    }
}

impl http::Outside for Io {
    fn fill_random(&self, bytes: &mut [u8]) {
        Io::fill_random(self, bytes);
    }

    fn unix_seconds(&self) -> u64 {
        self.now_ms() / 1000
    }
}
