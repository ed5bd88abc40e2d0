//! The machines of the world: what ships, run with everything outside supplied by the simulation.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use loop_hub::config::{HubConfig, LogEngineKind, Options};
use loop_peer::{
    backend::embedded::{EmbeddedBackend, EmbeddedConfig, WriteMode},
    config::{Config, Flags},
    limits::Size,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use tokio_util::sync::CancellationToken;

use super::{
    derive,
    disk::SimDisk,
    ledger::Ledger,
    liar::Tongue,
    net::{GRPC_PORT, HTTP_PORT, Net},
    shape::Pace,
    sizes::Sizes,
    trace::Trace,
};

/// What the hubs' clocks show when a run begins, Unix milliseconds.
const EPOCH_MS: u64 = 1_795_000_000_000;
const TOKEN: &str = "simulated-token";
/// For how long a peer is suspended that lies for the first time: runs are short.
const SUSPENSION_MS: u64 = 500;
/// What hubs show one another.
pub const GROUP_SECRET: &str = "simulated-group-secret";
/// What operators show the hubs.
pub const ADMIN_TOKEN: &str = "simulated-operator-token";

/// What changes during a run, and what a machine says of itself.
struct State {
    shutdown: CancellationToken,
    /// Counts its starts.
    life: u64,
    /// Why it is not running, if it stopped by itself or was asked to.
    ended: Option<Result<(), String>>,
    clock_off_ms: i64,
    commit_every: Duration,
}

/// What every machine has.
pub struct Machine {
    /// Its host name: `hub-1`, `peer-3`.
    pub name: String,
    number: u64,
    seed: u64,
    trace: Trace,
    net: Net,
    state: Mutex<State>,
}

impl Machine {
    /// A machine that was never started.
    pub fn new(name: String, number: u64, seed: u64, pace: Pace, trace: Trace) -> Self {
        let net = Net::new(number, trace.clone());
        let state = State {
            shutdown: CancellationToken::new(),
            life: 0,
            ended: None,
            clock_off_ms: 0,
            commit_every: pace.commit_every,
        };
        Self { name, number, seed, trace, net, state: Mutex::new(state) }
    }

    fn begin(&self) -> (CancellationToken, u64) {
        let mut state = self.state.lock();
        state.shutdown = CancellationToken::new();
        state.life += 1;
        state.ended = None;
        self.trace.tell(&self.name, &format!("starts, life {}", state.life));
        (state.shutdown.clone(), derive(self.seed, &self.name, self.number << 32 | state.life))
    }

    fn end(&self, ended: Result<(), String>) {
        match &ended {
            Ok(()) => self.trace.tell(&self.name, "has stopped"),
            Err(why) => self.trace.tell(&self.name, &format!("has stopped: {why}")),
        }
        self.state.lock().ended = Some(ended);
    }

    /// Asks it to stop.
    pub fn stop(&self) {
        self.state.lock().shutdown.cancel();
    }

    /// Set once it has stopped without a crash: `Ok` if it was asked to, else why.
    pub fn ended(&self) -> Option<Result<(), String>> {
        self.state.lock().ended.clone()
    }

    /// Its way to the network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// How much its clock is ahead, milliseconds.
    pub fn set_clock(&self, off_ms: i64) {
        self.state.lock().clock_off_ms = off_ms;
    }

    /// How often a peer's database commits.
    pub fn set_commit_every(&self, every: Duration) {
        self.state.lock().commit_every = every;
    }

    fn clock(self: &Arc<Self>) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let machine = self.clone();
        Arc::new(move || {
            let elapsed = u64::try_from(machine.trace.now().as_millis()).unwrap_or(u64::MAX);
            (EPOCH_MS + elapsed).saturating_add_signed(machine.state.lock().clock_off_ms)
        })
    }
}

/// How hubs are set up: how many replicas they want, how long they wait for peers, what they keep; less of everything
/// than anybody would choose, so that things happen.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Replicas of a forum.
    pub replicas: u32,
    /// A peer away for longer is replaced.
    pub peer_grace_s: u64,
    /// How long a new peer must have been there before its copies count.
    pub peer_probation_s: u64,
    /// How long a copy must have been live before it is confirmed, and for how long after that the one it replaces is kept.
    pub copy_grace_s: u64,
    /// An invitation that stands still for longer is closed.
    pub invitation_timeout_s: u64,
    /// Raft entries between snapshots.
    pub snapshot_entries: u64,
    /// Records kept for peers that are away.
    pub retained_records: u64,
    /// Messages that may wait for a peer that reads slowly.
    pub peer_queue: usize,
    /// How long what somebody types and leaves stays, milliseconds.
    pub open_message_age_ms: u64,
    /// How long a forum stays in which there is nothing, milliseconds.
    pub empty_forum_age_ms: u64,
}

/// The hubs there are, by their host names: what an operator has told peers and browsers. Clones are the same.
#[derive(Clone, Default)]
pub struct Roster(Arc<Mutex<Vec<String>>>);

impl Roster {
    /// All of them.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    /// One more.
    pub fn add(&self, name: String) {
        self.0.lock().push(name);
    }

    /// One less.
    pub fn remove(&self, name: &str) {
        self.0.lock().retain(|known| known != name);
    }
}

/// A hub and its disk.
#[derive(Clone)]
pub struct HubHost {
    /// The machine.
    pub machine: Arc<Machine>,
    /// Its number in the group, from 1.
    pub id: u64,
    /// Its disk.
    pub disk: SimDisk,
    /// The first members, or itself alone, for its configuration.
    pub cluster: String,
    /// A member to ask for admission; `None`: it is one of the first members.
    pub join: Option<String>,
    /// How it is set up, as of the beginning of each of its lives.
    pub tuning: Arc<Mutex<Tuning>>,
    /// How finely time passes.
    pub pace: Pace,
    /// Where its records are held against the others'.
    pub ledger: Ledger,
    /// Where it is told how much it keeps.
    pub sizes: Sizes,
}

impl HubHost {
    fn config(&self) -> Result<HubConfig, loop_hub::config::ConfigError> {
        let tuning = *self.tuning.lock();
        let options = Options {
            node_id: Some(self.id),
            data_dir: Some(PathBuf::from("/data")),
            http_listen: Some(([0, 0, 0, 0], HTTP_PORT).into()),
            grpc_listen: Some(([0, 0, 0, 0], GRPC_PORT).into()),
            cluster: Some(self.cluster.clone()),
            bootstrap: Some(self.join.is_none()),
            join: self.join.clone(),
            join_token: Some(TOKEN.into()),
            admin_token: Some(ADMIN_TOKEN.into()),
            group_secret: Some(GROUP_SECRET.into()),
            log_engine: Some(LogEngineKind::Segment),
            heartbeat_ms: Some(self.pace.heartbeat_ms),
            election_min_ms: Some(self.pace.election_ms.0),
            election_max_ms: Some(self.pace.election_ms.1),
            peer_heartbeat_ms: Some(self.pace.peer_heartbeat_ms),
            takeover_ms: Some(self.pace.takeover_ms),
            snapshot_entries: Some(tuning.snapshot_entries),
            replicas: Some(tuning.replicas),
            peer_grace_s: Some(tuning.peer_grace_s),
            peer_probation_s: Some(tuning.peer_probation_s),
            copy_grace_s: Some(tuning.copy_grace_s),
            invitation_timeout_s: Some(tuning.invitation_timeout_s),
            insecure_plaintext: Some(true),
            ..Options::default()
        };
        let config = HubConfig::try_from(options)?;
        // Less than an operator may choose: a simulated run is short.
        Ok(HubConfig {
            retained_records: tuning.retained_records,
            peer_queue: tuning.peer_queue,
            suspension_ms: SUSPENSION_MS,
            open_message_age_ms: tuning.open_message_age_ms,
            empty_forum_age_ms: tuning.empty_forum_age_ms,
            ..config
        })
    }

    fn outside(&self, seed: u64) -> loop_hub::outside::Outside {
        let (binding, dialling) = (self.machine.net.clone(), self.machine.net.clone());
        let bind = move |addr| -> BoxFuture<'static, _> {
            let net = binding.clone();
            Box::pin(async move { net.bind(addr).await })
        };
        let dial = move |authority: String| -> BoxFuture<'static, _> {
            let net = dialling.clone();
            Box::pin(async move {
                let socket = net.dial(&authority).await?;
                Ok(Box::new(socket) as loop_net::io::BoxedConnection)
            })
        };
        let disk = self.disk.clone();
        let rng = StdRng::seed_from_u64(seed);
        let io = loop_net::io::Io::new(Arc::new(bind), Arc::new(dial), self.machine.clock(), rng);
        loop_hub::outside::Outside::new(io)
            .with_disk(Arc::new(move |path: &Path| Ok(disk.dir(path))))
            .with_witness(self.ledger.witness(self.id))
            .with_sizes(self.sizes.of_hub(&self.machine.name))
    }

    /// One life, until it is asked to stop or cannot go on.
    pub async fn live(self) -> turmoil::Result {
        let (shutdown, seed) = self.machine.begin();
        self.disk.end_process();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let ended = loop_hub::run::run(self.config()?, self.outside(seed), metrics, shutdown).await;
        self.machine.end(ended.map_err(|error| error.to_string()));
        Ok(())
    }
}

/// What a volunteer gives. `None`: as much as is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// Disk space, bytes.
    pub disk: Option<u64>,
    /// Of copies, bytes a second.
    pub bandwidth: Option<u64>,
}

/// A peer and its data folder.
#[derive(Clone)]
pub struct PeerHost {
    /// The machine.
    pub machine: Arc<Machine>,
    /// A real folder: what SQLite has committed survives the peer.
    pub folder: PathBuf,
    /// The hubs it is told of when it starts.
    pub hubs: Roster,
    /// Which of them it tries first.
    pub first: usize,
    /// What its volunteer gives, as of the beginning of each of its lives.
    pub given: Arc<Mutex<Given>>,
    /// What makes its words what they are when they leave it.
    pub tongue: Tongue,
    /// Where it is told how much it keeps.
    pub sizes: Sizes,
}

impl PeerHost {
    fn config(&self) -> Result<Config, loop_peer::config::ConfigError> {
        let mut hubs = self.hubs.names();
        let first = self.first % hubs.len().max(1);
        hubs.rotate_left(first);
        let given = *self.given.lock();
        let flags = Flags {
            max_disk: given.disk.map(Size),
            max_bandwidth: given.bandwidth.map(Size),
            data_dir: Some(self.folder.clone()),
            hub: hubs.iter().map(|hub| format!("{hub}:{GRPC_PORT}")).collect(),
            join_token: Some(TOKEN.into()),
            owner: Some(self.machine.name.clone()),
            insecure_plaintext: true,
            ..Flags::default()
        };
        Config::read(flags, &self.machine.name)
    }

    fn io(&self, seed: u64) -> loop_peer::io::Io {
        use rand::Rng;
        let (net, tongue, trace) =
            (self.machine.net.clone(), self.tongue.clone(), self.machine.trace.clone());
        let dial = move |authority: &str| -> BoxFuture<'static, _> {
            trace.dials_hub(authority);
            let (net, tongue, authority) = (net.clone(), tongue.clone(), authority.to_owned());
            Box::pin(async move { tongue.behind(net.dial(&authority).await?) })
        };
        let mut bytes = [0; 32];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        loop_peer::io::Io {
            // The simulated network holds any number of bytes: here is where somebody who reads slowly is felt.
            window_bytes: 64 << 10,
            dial: Arc::new(dial),
            seed: bytes,
            wall_ms: self.machine.clock(),
            blocking: loop_peer::io::Blocking::Inline,
            memory_bytes: Arc::new(|| 0),
            sizes: self.sizes.of_peer(&self.machine.name),
        }
    }

    /// One life, until it is asked to stop or cannot go on.
    pub async fn live(self) -> turmoil::Result {
        let (shutdown, seed) = self.machine.begin();
        let embedded = EmbeddedConfig { writes: WriteMode::WhenTold, ..EmbeddedConfig::new(&self.folder) };
        let backend = Arc::new(EmbeddedBackend::open(embedded)?);
        let (config, io) = (self.config()?, self.io(seed));
        let ended = tokio::select! {
            biased;
            ended = loop_peer::run(config, io, backend.clone(), shutdown) => ended,
            error = self.commit_now_and_then(&backend) => Err(loop_peer::PeerError::Backend(error)),
        };
        drop(backend);
        self.machine.end(ended.map_err(|error| error.to_string()));
        Ok(())
    }

    /// What the database's thread does on a real machine.
    async fn commit_now_and_then(&self, backend: &EmbeddedBackend) -> String {
        loop {
            let every = self.machine.state.lock().commit_every;
            tokio::time::sleep(every).await;
            if let Err(error) = backend.commit_queued() {
                return error.to_string();
            }
        }
    }
}
