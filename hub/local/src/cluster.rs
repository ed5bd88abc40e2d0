//! The system as a whole: starts its processes in order, waits until they serve, stops them in order.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use loop_admin::{Admin, AdminError};
use tokio::time::{Instant, sleep};

use super::{
    LocalConfig, LocalError, Signal, Stopped,
    files::{self, failed},
    layout::Layout,
    ports::loopback,
    process::Process,
    ready,
};

/// How long a process may take to leave after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// How often a process that is not ready yet is asked again.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(50);

/// One process of the system. Counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The hub at this place: the one with node id `n + 1`, unless it was replaced.
    Hub(usize),
    /// The peer named `peer-(n + 1)`.
    Peer(usize),
}

/// What an operator is told about one process.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which one.
    pub who: Who,
    /// `hub-1`, `peer-3`.
    pub name: String,
    /// `None` while it is not running.
    pub pid: Option<u32>,
    /// Where it listens; a peer listens nowhere.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Its log file.
    pub log: PathBuf,
}

/// Hubs and peers of one data folder. Dropped, it kills what still runs.
pub struct LocalCluster {
    pub(super) config: LocalConfig,
    pub(super) layout: Layout,
    pub(super) hubs: Vec<Process>,
    pub(super) peers: Vec<Process>,
    /// The places of hubs that can never run again.
    pub(super) lost: BTreeSet<usize>,
    hub_program: PathBuf,
    join_token: String,
    admin_token: String,
    group_secret: String,
    /// Held, not used: keeps a second launcher out of the folder.
    _lock: File,
}

impl LocalCluster {
    /// Starts everything and waits until every hub is ready and every peer connected.
    pub async fn start(config: LocalConfig) -> Result<Self, LocalError> {
        let mut cluster = Self::prepare(config)?;
        cluster.start_all().await?;
        Ok(cluster)
    }

    /// Checks configuration, binaries, folder and ports; starts nothing.
    pub fn prepare(config: LocalConfig) -> Result<Self, LocalError> {
        let cluster = Self::prepare_some(config)?;
        cluster.layout.check_free()?;
        Ok(cluster)
    }

    /// The same where somebody else may have a port of a folder with data.
    pub(super) fn prepare_some(mut config: LocalConfig) -> Result<Self, LocalError> {
        config.validate()?;
        let programs = (config.binary("loop-hub")?, config.binary("loop-peer")?);
        let lock = files::lock(&config.data_dir)?;
        // Absolute, so that log lines and error messages can be followed from anywhere.
        config.data_dir = fs::canonicalize(&config.data_dir).map_err(failed("find", &config.data_dir))?;
        let layout = Layout::settle(&config)?;
        let secret = |given: &Option<String>, name| match given {
            Some(secret) => Ok(secret.clone()),
            None => files::token(&config.data_dir, name),
        };
        let join_token = secret(&config.join_token, "join-token")?;
        let admin_token = secret(&config.admin_token, "admin-token")?;
        let group_secret = secret(&config.group_secret, "group-secret")?;
        let logs = config.data_dir.join("logs");
        fs::create_dir_all(&logs).map_err(failed("make", &logs))?;
        let mut cluster = Self {
            config,
            layout,
            hubs: Vec::new(),
            peers: Vec::new(),
            lost: BTreeSet::new(),
            hub_program: programs.0,
            join_token,
            admin_token,
            group_secret,
            _lock: lock,
        };
        cluster.hubs = (0..cluster.layout.http.len()).map(|at| cluster.hub_process(at)).collect();
        for at in 0..usize::from(cluster.config.peers) {
            let args = cluster.peer_args(at);
            let secrets = [("LOOP_PEER_JOIN_TOKEN", &cluster.join_token)];
            cluster.peers.push(cluster.process(format!("peer-{}", at + 1), &programs.1, args, &secrets));
        }
        Ok(cluster)
    }

    /// The hub at this place, not started.
    pub(super) fn hub_process(&self, at: usize) -> Process {
        let secrets = [
            ("LOOP_HUB_JOIN_TOKEN", &self.join_token),
            ("LOOP_HUB_ADMIN_TOKEN", &self.admin_token),
            ("LOOP_HUB_GROUP_SECRET", &self.group_secret),
        ];
        self.process(self.layout.hub_name(at), &self.hub_program, self.hub_args(at), &secrets)
    }

    fn process(
        &self,
        name: String,
        program: &Path,
        args: Vec<String>,
        secrets: &[(&str, &String)],
    ) -> Process {
        let log = self.config.data_dir.join("logs").join(format!("{name}.log"));
        // Not as arguments: everybody on the machine can read those.
        let secrets = secrets.iter().map(|(variable, secret)| ((*variable).to_owned(), (*secret).clone()));
        let env = self.config.env.iter().cloned().chain(secrets).collect();
        Process::new(name, program.to_path_buf(), args, env, log)
    }

    fn hub_args(&self, at: usize) -> Vec<String> {
        let mut args = Args::default();
        args.pair("--node-id", self.layout.id(at))
            .pair("--data-dir", self.data_dir(Who::Hub(at)).display())
            .pair("--http-listen", self.hub_http(at))
            .pair("--grpc-listen", self.hub_grpc(at))
            .pair("--cluster", self.layout.cluster_argument())
            .option("--log-engine", self.config.log_engine.as_ref().or(self.layout.engine.as_ref()))
            .option("--static-dir", self.config.static_dir.as_ref().map(|folder| folder.display()));
        match self.layout.is_founder(at) {
            true => args.flag("--bootstrap"),
            false => args.pair("--join", self.hub_grpc((at + 1) % self.layout.grpc.len())),
        };
        args.more(&self.config.hub_args)
    }

    fn peer_args(&self, at: usize) -> Vec<String> {
        let mut args = Args::default();
        args.pair("--data-dir", self.data_dir(Who::Peer(at)).display())
            .pair("--name", format!("peer-{}", at + 1))
            .option("--static-dir", self.config.static_dir.as_ref().map(|folder| folder.display()));
        // Each peer tries another hub first, so that a quiet system is spread evenly.
        let hubs = self.layout.grpc.len();
        for step in 0..hubs {
            args.pair("--hub", self.hub_grpc((at + step) % hubs));
        }
        args.more(&self.config.peer_args)
    }

    /// How many hubs there are, running or not.
    pub fn hub_count(&self) -> usize {
        self.hubs.len()
    }

    /// How many peers there are, running or not.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Where hub `at` serves browsers.
    pub fn hub_http(&self, at: usize) -> SocketAddr {
        loopback(self.layout.http[at])
    }

    /// Where hub `at` serves peers, other hubs and operators.
    pub fn hub_grpc(&self, at: usize) -> SocketAddr {
        loopback(self.layout.grpc[at])
    }

    /// The gRPC addresses of all hubs.
    pub fn hub_grpc_all(&self) -> Vec<String> {
        (0..self.hub_count()).map(|at| self.hub_grpc(at).to_string()).collect()
    }

    /// The volunteers' token of this system.
    pub fn join_token(&self) -> &str {
        &self.join_token
    }

    /// The operators' token of this system.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// What its hubs show one another.
    pub fn group_secret(&self) -> &str {
        &self.group_secret
    }

    /// For questions to its hubs.
    pub fn admin(&self, within: Duration) -> Result<Admin, AdminError> {
        Admin::new(&self.hub_grpc_all(), within)?.with_token(self.admin_token.clone().into())
    }

    /// Where a process keeps its data.
    pub fn data_dir(&self, who: Who) -> PathBuf {
        match who {
            Who::Hub(at) => self.config.data_dir.join(self.layout.hub_name(at)),
            Who::Peer(at) => self.config.data_dir.join(format!("peer-{}", at + 1)),
        }
    }

    /// Every process, hubs first.
    pub fn members(&self) -> Vec<Member> {
        self.all().into_iter().map(|who| self.member(who)).collect()
    }

    /// One process.
    pub fn member(&self, who: Who) -> Member {
        let process = self.get(who);
        let addresses = match who {
            Who::Hub(at) => Some((self.hub_http(at), self.hub_grpc(at))),
            Who::Peer(_) => None,
        };
        Member {
            who,
            name: process.name().to_owned(),
            pid: process.pid(),
            addresses,
            log: process.log().to_path_buf(),
        }
    }

    pub(super) fn all(&self) -> Vec<Who> {
        let hubs = (0..self.hubs.len()).map(Who::Hub);
        hubs.chain((0..self.peers.len()).map(Who::Peer)).collect()
    }

    pub(super) fn get(&self, who: Who) -> &Process {
        match who {
            Who::Hub(at) => &self.hubs[at],
            Who::Peer(at) => &self.peers[at],
        }
    }

    pub(super) fn get_mut(&mut self, who: Who) -> &mut Process {
        match who {
            Who::Hub(at) => &mut self.hubs[at],
            Who::Peer(at) => &mut self.peers[at],
        }
    }

    /// Sends a signal and does not wait for what comes of it.
    pub fn signal(&mut self, who: Who, signal: Signal) -> Result<(), LocalError> {
        self.get_mut(who).signal(signal)
    }

    /// `kill -9`, and waits until the process is gone.
    pub async fn kill(&mut self, who: Who) -> Result<(), LocalError> {
        self.get_mut(who).kill().await
    }

    /// SIGTERM, and SIGKILL if that is not enough.
    pub async fn stop(&mut self, who: Who) -> Stopped {
        self.get_mut(who).stop(GRACE).await
    }

    /// Starts a process that does not run. Does not wait until it is ready.
    pub fn start_one(&mut self, who: Who) -> Result<(), LocalError> {
        self.get_mut(who).start()
    }

    /// Kills it if it runs, starts it again and waits until the whole system is ready.
    pub async fn restart(&mut self, who: Who) -> Result<(), LocalError> {
        if self.get(who).pid().is_some() {
            self.kill(who).await?;
        }
        self.start_one(who)?;
        self.wait_ready().await
    }

    /// Starts what does not run and waits until the whole system is ready.
    pub async fn start_all(&mut self) -> Result<(), LocalError> {
        for process in self.hubs.iter_mut().chain(&mut self.peers) {
            process.start()?;
        }
        self.wait_ready().await
    }

    /// Processes that have ended since the last call without being told to.
    pub fn take_exited(&mut self) -> Vec<(Who, ExitStatus)> {
        let mut ended = Vec::new();
        for who in self.all() {
            if let Some(status) = self.get_mut(who).exited() {
                ended.push((who, status));
            }
        }
        ended
    }

    /// Waits until every running hub is ready and every running peer connected. Fails as soon as one ends.
    pub async fn wait_ready(&mut self) -> Result<(), LocalError> {
        let deadline = Instant::now() + self.config.ready_within;
        for at in 0..self.hubs.len() {
            if self.hubs[at].pid().is_some() {
                self.wait_hub(at, deadline).await?;
            }
        }
        self.note_begun(
            &(0..self.hubs.len()).filter(|at| self.hubs[*at].pid().is_some()).collect::<Vec<_>>(),
        )?;
        self.wait_peers(deadline).await
    }

    /// These hubs were ready: they have data from now on.
    pub(super) fn note_begun(&mut self, hubs: &[usize]) -> Result<(), LocalError> {
        if self.layout.begin(hubs) {
            self.layout.save(&self.config.data_dir)?;
        }
        Ok(())
    }

    async fn wait_hub(&mut self, at: usize, deadline: Instant) -> Result<(), LocalError> {
        let addr = self.hub_http(at);
        loop {
            self.fail_if_exited()?;
            let Err(last) = ready::ask(addr).await else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(self.not_ready(Who::Hub(at), last));
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Peers that every running hub knows to be connected: a hub that has not heard of them yet would serve nobody.
    async fn connected_everywhere(&self) -> Result<Vec<String>, String> {
        let mut everywhere: Option<Vec<String>> = None;
        for at in (0..self.hubs.len()).filter(|at| self.hubs[*at].pid().is_some()) {
            let admin = Admin::new(&[self.hub_grpc(at).to_string()], Duration::from_secs(1))
                .and_then(|admin| admin.with_token(self.admin_token.clone().into()));
            let here = connected_names(&admin.map_err(|error| error.to_string())?).await?;
            everywhere = Some(match everywhere {
                None => here,
                Some(before) => before.into_iter().filter(|name| here.contains(name)).collect(),
            });
        }
        Ok(everywhere.unwrap_or_default())
    }

    /// Peers have no port to ask at; the hubs know who is connected.
    async fn wait_peers(&mut self, deadline: Instant) -> Result<(), LocalError> {
        let running: Vec<usize> =
            (0..self.peers.len()).filter(|at| self.peers[*at].pid().is_some()).collect();
        loop {
            self.fail_if_exited()?;
            let connected = self.connected_everywhere().await;
            let (missing, last) = match connected {
                Ok(names) => {
                    let missing =
                        running.iter().find(|at| !names.iter().any(|n| n == self.peers[**at].name()));
                    (missing, "no hub lists it as connected".to_owned())
                }
                Err(error) => (running.first(), error),
            };
            let Some(missing) = missing else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(self.not_ready(Who::Peer(*missing), last));
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn fail_if_exited(&mut self) -> Result<(), LocalError> {
        let Some((who, status)) = self.take_exited().into_iter().next() else { return Ok(()) };
        let process = self.get(who);
        Err(LocalError::Exited {
            name: process.name().to_owned(),
            status,
            log: process.log().to_path_buf(),
            tail: process.log_tail(),
        })
    }

    fn not_ready(&self, who: Who, last: String) -> LocalError {
        let process = self.get(who);
        LocalError::NotReady {
            name: process.name().to_owned(),
            within: self.config.ready_within,
            last,
            log: process.log().to_path_buf(),
            tail: process.log_tail(),
        }
    }

    /// Stops everything: peers first, while there is still a hub to take their last answers. `told` hears of each.
    pub async fn stop_all(&mut self, mut told: impl FnMut(&str, Stopped)) {
        for group in [&mut self.peers, &mut self.hubs] {
            let asked: Vec<bool> = group
                .iter_mut()
                .map(|process| process.exited().is_none() && process.signal(Signal::Terminate).is_ok())
                .collect();
            let deadline = Instant::now() + GRACE;
            for (process, asked) in group.iter_mut().zip(asked) {
                let stopped = match asked {
                    true => process.gone(deadline.saturating_duration_since(Instant::now())).await,
                    false => Stopped::WasNotRunning,
                };
                told(process.name(), stopped);
            }
        }
    }
}

async fn connected_names(admin: &Admin) -> Result<Vec<String>, String> {
    let peers = admin.peers().await.map_err(|error| error.to_string())?;
    Ok(peers.into_iter().filter(|peer| peer.connected_to.is_some()).map(|peer| peer.name).collect())
}

/// A command line in the making.
#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.to_owned());
        self
    }

    fn pair(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.0.extend([name.to_owned(), value.to_string()]);
        self
    }

    fn option(&mut self, name: &str, value: Option<impl ToString>) -> &mut Self {
        match value {
            Some(value) => self.pair(name, value),
            None => self,
        }
    }

    fn more(self, more: &[String]) -> Vec<String> {
        self.0.into_iter().chain(more.iter().cloned()).collect()
    }
}
