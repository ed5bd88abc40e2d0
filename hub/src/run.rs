//! One hub's life: opens its data, joins the group, serves, and goes down without dropping what it holds.
//!
//! The only file that knows every service: each of them is a struct of what it uses, put together here.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use loop_hub_edge::{HttpConfig, Mount};
use loop_net::{
    channel::{self, MESSAGE_BYTES_MAX, WINDOW_BYTES},
    group_secret::{HubGuard, ShowSecret},
    io::{Acceptor, Io},
};
use loop_proto::v1::{
    self, hub_service_server::HubServiceServer, peer_service_server::PeerServiceServer,
    raft_service_server::RaftServiceServer,
};
use loop_raft_store::{adapter::ApplySink, log_store::disk::Dir};
use loop_realtime::{Door, Settings};
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

pub use crate::error::HubError;

use crate::{
    api::{
        HubGateway, HubGrpc, RealtimeDoor,
        admin::{self, AdminContext},
    },
    applied::{Browsers, Counted, OnApplied},
    calls::{Calls, WAITING_MAX, waiters::Waiters, watchers::Watchers},
    config::HubConfig,
    content::Content,
    group::{Freshness, Group},
    health::Health,
    leader::{self, LeaderContext, PlanBoard},
    log::{AgreedLog, LeaderDoor, ProposeService, Proposer, Routes},
    membership::{self, Changes, Membership},
    mesh::{LinkKeeper, LinkService, Mesh, rows::PeerRows, tell_traffic},
    outside::Outside,
    peers::{PeerGrpc, PeersContext},
    placement::{Placement, policy},
    projection::Projection,
    raft::{self, HubRaftNode, RaftGrpc},
    sizes::{self, Held},
    telemetry,
    transfer::{Relays, Transfer},
    windows::Windows,
};

/// Longest wait for open requests and streams when this hub goes down.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// Runs a hub until `shutdown`, then takes it down gracefully.
pub async fn run(
    config: HubConfig,
    outside: Outside,
    metrics: PrometheusHandle,
    shutdown: CancellationToken,
) -> Result<(), HubError> {
    telemetry::describe();
    let http_acceptor = bind(&outside.io, "--http-listen", config.http_listen).await?;
    let grpc_acceptor = bind(&outside.io, "--grpc-listen", config.grpc_listen).await?;
    let mut http_acceptors = vec![http_acceptor];
    for port in &config.realtime_ports {
        let addr = SocketAddr::new(config.http_listen.ip(), *port);
        http_acceptors.push(bind(&outside.io, "--realtime-ports", addr).await?);
    }
    let hub_down = CancellationToken::new();
    let hub = open(Arc::new(config), outside, hub_down.clone()).await?;
    let mut servers: FuturesUnordered<Serving> =
        [hub.serve_grpc(grpc_acceptor), hub.serve_http(http_acceptors, metrics.clone())]
            .into_iter()
            .collect();
    let duties = hub.start_duties(metrics);
    let membership = hub.membership();
    let ended = match membership.form_or_enter().await {
        Ok(()) => {
            let HubConfig { hub_id, http_listen, grpc_listen, .. } = &*hub.config;
            tracing::info!(hub = %hub_id, http = %http_listen, grpc = %grpc_listen, "serving");
            tokio::select! {
                () = shutdown.cancelled() => Ok(()),
                fatal = watch_raft(&hub.raft) => Err(fatal),
                () = membership.taken_out() => {
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
        membership::hand_over(&hub.raft, hub.mesh.group.own_id()).await;
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
    if let Some(projection) = &hub.projection {
        projection.ended(DRAIN_WITHIN).await;
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

/// What the services are made of. Known to this file alone.
struct Parts {
    config: Arc<HubConfig>,
    outside: Outside,
    raft: HubRaftNode,
    log_dir: Arc<dyn Dir>,
    door: LeaderDoor,
    log: AgreedLog,
    mesh: Mesh,
    changes: Changes,
    waiters: Arc<Waiters>,
    watchers: Arc<Watchers>,
    windows: Arc<Windows>,
    content: Arc<Content>,
    transfer: Transfer,
    plan: Arc<PlanBoard>,
    health: Arc<Health>,
    projection: Option<Arc<Projection>>,
    shutdown: CancellationToken,
}

/// Opens the data and starts everything that has no socket.
async fn open(
    config: Arc<HubConfig>,
    outside: Outside,
    shutdown: CancellationToken,
) -> Result<Parts, HubError> {
    let io = outside.io.clone();
    // Two lives of one hub do not begin in the same millisecond.
    let realtime = Settings::new(config.hub_id.get(), io.now_ms().max(1), config.connections_max);
    let mesh = Mesh::new(known_hubs(&config, &io), realtime);
    let (waiters, watchers) = (Arc::new(Waiters::default()), Arc::new(Watchers::default()));
    let rows = PeerRows::new(mesh.clone(), io.clone());
    let windows = Windows::new(rows, config.window_bytes_max);
    // A leader's word counts for two election times.
    let freshness = Arc::new(Freshness::new(config.election.1 * 2));
    let counted = Counted { traffic: mesh.traffic.clone(), freshness: freshness.clone() };
    let browsers = Browsers { waiters: waiters.clone(), watchers: watchers.clone() };
    let on_applied = OnApplied::new(mesh.presence.clone(), browsers, windows.clone(), counted);
    let projection = config.projection.clone().map(|config_of| Projection::new(config_of, config.hub_id));
    let sink: Arc<dyn ApplySink> = match &projection {
        Some(projection) => projection.follow(on_applied.clone()),
        None => on_applied.clone(),
    };
    let unusable = |error| HubError::Data { dir: config.data_dir.display().to_string(), error };
    let log_dir = raft::open_log_dir(&config, &outside).map_err(unusable)?;
    membership::check_is_not_out(&*log_dir).map_err(unusable)?;
    let (raft, state) =
        raft::start(&config, &outside, log_dir.clone(), mesh.group.clone(), sink).await.map_err(unusable)?;
    on_applied.attach(state.clone());
    windows.attach(state.clone());
    if let Some(projection) = &projection {
        projection.attach(state.clone());
    }
    let door = LeaderDoor::new(raft.clone(), io.clone());
    let routes = Routes { group: mesh.group.clone(), door: door.clone() };
    let proposer = Proposer::start(routes, follow_leader(&raft), shutdown.clone());
    let log = AgreedLog::new(state, proposer, freshness, io.clone());
    let beside = projection.clone();
    let beside = Box::new(move || beside.as_ref().and_then(|projection| projection.problem()));
    let health = Health::new(config.clone(), log.clone(), mesh.clone(), raft.clone(), beside);
    let content = Content::new(mesh.clone(), io.clone(), log.clone());
    let (relays, down) = (Relays::default(), shutdown.clone());
    let transfer = Transfer { log: log.clone(), mesh: mesh.clone(), relays, shutdown: down };
    Ok(Parts {
        config,
        outside,
        raft,
        log_dir,
        door,
        log,
        mesh,
        changes: Changes::default(),
        waiters,
        watchers,
        windows,
        content,
        transfer,
        plan: Arc::default(),
        health,
        projection,
        shutdown,
    })
}

/// The hubs that flags and file name.
fn known_hubs(config: &HubConfig, io: &Io) -> Arc<Group> {
    let group = Group::new(config.own_node(), io.clone(), ShowSecret::new(config.group_secret.as_ref()));
    for (id, addrs) in &config.cluster {
        group.learn(v1::HubNode {
            node_id: *id,
            grpc_addr: addrs.grpc.clone(),
            http_addr: addrs.http.clone(),
        });
    }
    group
}

impl Parts {
    fn membership(&self) -> Membership {
        Membership {
            config: self.config.clone(),
            io: self.outside.io.clone(),
            group: self.mesh.group.clone(),
            raft: self.raft.clone(),
            log: self.log.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn calls(&self) -> Calls {
        Calls {
            log: self.log.clone(),
            windows: self.windows.clone(),
            waiters: self.waiters.clone(),
            watchers: self.watchers.clone(),
            placement: Placement::new(&self.config, self.log.clone(), self.mesh.presence.clone()),
            traffic: self.mesh.traffic.clone(),
        }
    }

    fn gateway(&self) -> HubGateway {
        HubGateway {
            calls: Arc::new(self.calls()),
            log: self.log.clone(),
            content: self.content.clone(),
            mesh: self.mesh.clone(),
            raft: self.raft.clone(),
            health: self.health.clone(),
        }
    }

    fn leader(&self) -> LeaderContext {
        LeaderContext {
            config: self.config.clone(),
            policy: policy(&self.config),
            raft: self.raft.clone(),
            log: self.log.clone(),
            mesh: self.mesh.clone(),
            plan: self.plan.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn link_keeper(&self) -> LinkKeeper {
        LinkKeeper {
            mesh: self.mesh.clone(),
            freshness: self.log.freshness().clone(),
            heartbeat: self.config.peer_heartbeat,
            shutdown: self.shutdown.clone(),
        }
    }

    fn hub_grpc(&self) -> HubGrpc {
        let shutdown = self.shutdown.clone();
        let links = LinkService {
            mesh: self.mesh.clone(),
            heartbeat: self.config.peer_heartbeat,
            shutdown: shutdown.clone(),
        };
        let propose = ProposeService { door: self.door.clone(), shutdown };
        HubGrpc { links, propose, transfer: self.transfer.clone() }
    }

    fn peers(&self) -> PeersContext {
        PeersContext {
            config: self.config.clone(),
            io: self.outside.io.clone(),
            log: self.log.clone(),
            mesh: self.mesh.clone(),
            waiters: self.waiters.clone(),
            windows: self.windows.clone(),
            transfer: self.transfer.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    fn admin(&self) -> AdminContext {
        AdminContext {
            config: self.config.clone(),
            io: self.outside.io.clone(),
            raft: self.raft.clone(),
            changes: self.changes.clone(),
            log: self.log.clone(),
            mesh: self.mesh.clone(),
            health: self.health.clone(),
            content: self.content.clone(),
            policy: policy(&self.config),
            plan: self.plan.clone(),
            projection: self.projection.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    /// Everything whose size others decide.
    fn held(&self) -> impl Fn() -> Vec<Held> + Send + 'static {
        let (log, waiters, windows) = (self.log.clone(), self.waiters.clone(), self.windows.clone());
        let (mesh, relays, health) = (self.mesh.clone(), self.transfer.relays.clone(), self.health.clone());
        let (content, peer_queue) = (self.content.clone(), self.config.peer_queue);
        let projection = self.projection.clone();
        move || {
            let mut held = Vec::with_capacity(16);
            held.extend(log.held());
            held.push(waiters.held(WAITING_MAX));
            held.extend(windows.held());
            held.extend(mesh.presence.held(peer_queue));
            held.extend(mesh.links.held());
            held.extend(content.held());
            held.push(("realtime_connections", mesh.realtime.held()));
            held.push(("relays", relays.held()));
            held.push(("audit_listeners", mesh.audits.held()));
            held.push(("audit_reports", mesh.audits.kept()));
            held.push(("forums_below", health.held()));
            held.extend(projection.as_ref().map(|projection| ("projection_rows", projection.held())));
            held
        }
    }

    /// Starts everything that runs for as long as the hub does.
    fn start_duties(&self, metrics: PrometheusHandle) -> Vec<JoinHandle<()>> {
        let (membership, health, down) = (self.membership(), self.health.clone(), self.shutdown.clone());
        if let Some(projection) = &self.projection {
            // Ends by itself, and is waited for.
            let name = self.outside.io.random_id();
            tokio::spawn(projection.clone().run(name, down.clone()));
        }
        vec![
            tokio::spawn(keep_metrics_small(metrics)),
            tokio::spawn(membership.follow()),
            tokio::spawn(membership::see_through(self.changes.clone(), self.raft.clone())),
            tokio::spawn(self.link_keeper().run()),
            tokio::spawn(tell_traffic(self.mesh.clone(), down.clone())),
            tokio::spawn(sizes::watch(self.outside.clone(), self.log.clone(), self.held())),
            tokio::spawn(self.windows.clone().tidy()),
            tokio::spawn(async move { health.run(down).await }),
            tokio::spawn(leader::run(self.leader())),
            tokio::spawn(self.mesh.realtime.clone().tell_lists(self.shutdown.clone())),
            tokio::spawn(self.mesh.realtime.clone().take_care(self.shutdown.clone())),
        ]
    }

    fn serve_grpc(&self, acceptor: Box<dyn Acceptor>) -> Serving {
        macro_rules! sized {
            ($server:expr) => {
                $server
                    .max_decoding_message_size(MESSAGE_BYTES_MAX)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX)
            };
        }
        let down = self.shutdown.clone();
        let hubs_only = HubGuard::new(self.config.group_secret.as_ref());
        let raft = RaftGrpc { raft: self.raft.clone(), shutdown: down.clone() };
        let (hub_grpc, peer_grpc, admin) =
            (self.hub_grpc(), PeerGrpc { cx: self.peers() }, admin::guarded(self.admin()));
        let (reporter, health_server) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1();
        let health = self.health.clone();
        tokio::spawn(async move {
            // Until something else is known; the health service itself begins with the contrary.
            reporter.set_service_status("", ServingStatus::NotServing).await;
            tokio::spawn(health.tell(reporter, down.clone()));
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
                .add_service(sized!(PeerServiceServer::new(peer_grpc)))
                .add_service(admin)
                .serve_with_incoming_shutdown(
                    channel::incoming(acceptor, down.clone()),
                    down.cancelled_owned(),
                )
                .await
                .map_err(|error| error.to_string())
        })
    }

    fn serve_http(&self, acceptors: Vec<Box<dyn Acceptor>>, metrics: PrometheusHandle) -> Serving {
        let config = HttpConfig {
            connections_max: self.config.connections_max,
            // The others can still be told something.
            watchers_max: self.config.connections_max / 4 * 3,
            static_dir: self.config.static_dir.clone(),
            drain_timeout: DRAIN_WITHIN,
            ..HttpConfig::default()
        };
        let gateway = Arc::new(self.gateway());
        let door = self.config.realtime.then(|| {
            let door = RealtimeDoor(Door::new(self.mesh.realtime.clone()));
            Arc::new(door) as Arc<dyn Mount>
        });
        let (outside, down) = (Arc::new(self.outside.io.clone()), self.shutdown.clone());
        tokio::spawn(async move {
            loop_hub_edge::serve(acceptors, config, gateway, door, outside, metrics, down)
                .await
                .map_err(|error| error.to_string())
        })
    }
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
