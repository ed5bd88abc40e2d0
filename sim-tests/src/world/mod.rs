//! A whole cluster in one thread: hubs and peers as they ship, browsers, and a network, disks and clocks that do what
//! a seed says.
//!
//! Owns simulated time and which machine runs. Faults are in `faults`, what must hold in `invariants`.

mod copies;
pub mod disk;
pub mod faults;
mod frames;
mod hosts;
mod ledger;
pub mod liar;
mod log;
mod meter;
mod net;
mod operator;
mod oracle;
mod presence;
pub mod report;
pub mod scenario;
mod settle;
mod shape;
mod sizes;
mod trace;
mod visitor;
mod volunteers;
mod watcher;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use loop_raft_store::machine::Bounds;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

pub use self::shape::{Pace, Shape};
use self::{
    copies::Copies,
    disk::SimDisk,
    hosts::{HubHost, Machine, PeerHost, Roster, Tuning},
    ledger::Ledger,
    liar::Tongue,
    log::Logged,
    meter::Meter,
    net::{GRPC_PORT, HTTP_PORT, LATENCY_MAX, LATENCY_MIN, Net},
    operator::{Desk, Operator},
    oracle::Oracle,
    presence::Presence,
    sizes::Sizes,
    trace::{Fnv, Trace},
    visitor::{Habit, Manner, Visitor},
    volunteers::Volunteers,
    watcher::Watcher,
};
use crate::invariants::Invariants;

/// No run is longer, simulated.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A seed for something that has a name and a number, from the run's seed.
pub fn derive(seed: u64, name: &str, number: u64) -> u64 {
    let mut hash = Fnv::default();
    hash.number(seed);
    hash.add(name.as_bytes());
    hash.number(number);
    // SplitMix64's last step: neighbours must not look alike.
    let mut mixed = hash.0;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The world.
pub struct World {
    sim: turmoil::Sim<'static>,
    /// The run's.
    pub seed: u64,
    /// How large it was at first.
    pub shape: Shape,
    /// What decides for the world itself; machines have their own.
    pub rng: StdRng,
    /// What happened.
    pub trace: Trace,
    /// What the hubs agreed on.
    pub ledger: Ledger,
    /// What clients were promised.
    pub oracle: Oracle,
    /// What must hold.
    pub invariants: Invariants,
    sizes: Sizes,
    hubs: Vec<HubHost>,
    /// Hubs that are gone for good.
    gone: BTreeSet<usize>,
    roster: Roster,
    tuning: Arc<Mutex<Tuning>>,
    peers: Vec<PeerHost>,
    volunteers: Volunteers,
    /// Who is there, by the world's own knowledge.
    presence: Presence,
    /// Where copies are, by what is on disks.
    copies: Copies,
    forums: Vec<String>,
    visitors: Vec<(String, Net)>,
    logged: Arc<Mutex<Logged>>,
    faults: faults::Active,
    desk: Desk,
    /// How often each thing happened that a set of runs must have seen.
    pub coverage: BTreeMap<String, u64>,
    /// When to look at the peers' databases next.
    look_at: Duration,
    /// What was moved between peers.
    meter: Meter,
    _listening: tracing::subscriber::DefaultGuard,
    /// Last: the peers' data must outlive their peers.
    folder: TempDir,
}

impl World {
    /// A world in which nothing has happened yet. With `prints`, the story is told as it happens.
    pub fn new(seed: u64, shape: Shape, prints: bool) -> std::io::Result<Self> {
        let trace = Trace::new(prints);
        let invariants = Invariants::all();
        let logged = Arc::new(Mutex::new(Logged::default()));
        loop_raft_store::raft_types::seed_thread(Some(derive(seed, "raft", 0)));
        let mut rng = StdRng::seed_from_u64(derive(seed, "world", 0));
        let tuning = Tuning {
            // Small enough that snapshots and purges happen in most runs, large enough that not in all.
            snapshot_entries: rng.random_range(100..2000),
            replicas: rng.random_range(1..=3),
            peer_grace_s: rng.random_range(2..20),
            invitation_timeout_s: rng.random_range(2..10),
            peer_probation_s: rng.random_range(0..20),
            copy_grace_s: rng.random_range(0..20),
            retained_records: 1_000_000,
            peer_queue: 512,
            open_message_age_ms: Bounds::STANDARD.open_message_age_ms,
            empty_forum_age_ms: Bounds::STANDARD.empty_forum_age_ms,
        };
        let mut world = Self {
            sim: simulation(seed, shape.pace),
            seed,
            shape,
            rng,
            ledger: Ledger::new(invariants.clone(), trace.clone()),
            oracle: Oracle::new(invariants.clone(), trace.clone(), logged.clone()),
            _listening: log::listen(trace.clone(), logged.clone()),
            trace,
            sizes: Sizes::new(invariants.clone()),
            invariants,
            hubs: Vec::new(),
            gone: BTreeSet::new(),
            roster: Roster::default(),
            tuning: Arc::new(Mutex::new(tuning)),
            peers: Vec::new(),
            volunteers: Volunteers::default(),
            presence: Presence::default(),
            copies: Copies::default(),
            forums: (0..shape.forums).map(|number| format!("forum{number}x{seed:x}")).collect(),
            visitors: Vec::new(),
            logged,
            faults: faults::Active::default(),
            desk: Desk::new(),
            coverage: BTreeMap::new(),
            look_at: Duration::ZERO,
            meter: Meter::start(),
            folder: folder()?,
        };
        world.forums.iter().for_each(|forum| world.oracle.secret(forum));
        world.add_hubs(shape.hubs);
        world.add_peers(shape.peers);
        world.add_operator();
        Ok(world)
    }

    /// Changes how hubs are set up, from the beginning of their next lives on.
    pub fn tune(&mut self, change: impl FnOnce(&mut Tuning)) {
        change(&mut self.tuning.lock());
    }

    fn add_hubs(&mut self, count: usize) {
        let cluster = (1..=count as u64).map(member).collect::<Vec<_>>().join(",");
        for _ in 0..count {
            self.start_hub(&cluster, None);
        }
    }

    /// A new hub starts, under a number no hub has had, and asks to enter the group.
    pub fn add_hub(&mut self) -> usize {
        let id = self.hubs.len() as u64 + 1;
        let known = self.roster.names();
        let at = &known[self.rng.random_range(0..known.len())];
        self.start_hub(&member(id), Some(format!("{at}:{GRPC_PORT}")))
    }

    fn start_hub(&mut self, cluster: &str, join: Option<String>) -> usize {
        let (id, pace) = (self.hubs.len() as u64 + 1, self.shape.pace);
        let name = format!("hub-{id}");
        let host = HubHost {
            machine: Arc::new(Machine::new(name.clone(), id, self.seed, pace, self.trace.clone())),
            id,
            disk: SimDisk::new(derive(self.seed, "disk", id)),
            cluster: cluster.to_owned(),
            join,
            tuning: self.tuning.clone(),
            pace,
            ledger: self.ledger.clone(),
            sizes: self.sizes.clone(),
        };
        self.hubs.push(host.clone());
        self.roster.add(name.clone());
        self.sim.host(name, move || host.clone().live());
        self.hubs.len() - 1
    }

    fn add_peers(&mut self, count: usize) {
        for _ in 0..count {
            let (number, pace) = (self.peers.len() as u64 + 1, self.shape.pace);
            let name = format!("peer-{number}");
            let host = PeerHost {
                machine: Arc::new(Machine::new(
                    name.clone(),
                    100 + number,
                    self.seed,
                    pace,
                    self.trace.clone(),
                )),
                folder: self.folder.path().join(&name),
                hubs: self.roster.clone(),
                first: self.rng.random_range(0..self.hubs.len()),
                given: Arc::default(),
                tongue: Tongue::new(derive(self.seed, &name, 1)),
                sizes: self.sizes.clone(),
            };
            self.peers.push(host.clone());
            self.sim.host(name, move || host.clone().live());
        }
    }

    fn add_operator(&mut self) {
        let operator = Operator {
            desk: self.desk.clone(),
            net: Net::new(300, self.trace.clone()),
            hubs: self.roster.clone(),
            trace: self.trace.clone(),
            invariants: self.invariants.clone(),
            ledger: self.ledger.clone(),
            tuning: self.tuning.clone(),
        };
        self.sim.host("operator", move || operator.clone().sit());
    }

    /// The hubs that are not gone for good.
    fn hubs_left(&self) -> Vec<usize> {
        (0..self.hubs.len()).filter(|hub| !self.gone.contains(hub)).collect()
    }

    /// Browsers come, each to a forum of its own as long as there are enough.
    pub fn add_visitors(&mut self, count: usize) {
        self.add_visitors_who(count, Manner::default());
    }

    /// Browsers come that behave like this.
    fn add_visitors_who(&mut self, count: usize, manner: Manner) {
        for _ in 0..count {
            self.add_visitor_who(self.visitors.len() % self.forums.len(), manner);
        }
    }

    /// A browser comes to a forum of its own, which nobody else ever looks for. Its number among the forums.
    pub fn add_leaver(&mut self, habit: Habit) -> usize {
        let number = self.forums.len();
        let name = format!("forum{number}x{:x}", self.seed);
        self.oracle.secret(&name);
        self.forums.push(name);
        self.add_visitor_who(number, Manner { habit, strays: 0, ..Manner::default() });
        number
    }

    /// A browser comes to this forum.
    pub fn add_visitor(&mut self, forum: usize) {
        self.add_visitor_who(forum, Manner::default());
    }

    /// A browser comes to this forum, looks into the next one now and then, and behaves like this.
    fn add_visitor_who(&mut self, forum: usize, manner: Manner) {
        let number = self.visitors.len();
        let name = format!("web-{}", number + 1);
        let net = Net::new(1000 + number as u64, self.trace.clone());
        let seed = derive(self.seed, &name, 0);
        let mut forums: Vec<_> = self.forums.iter().cloned().enumerate().collect();
        forums.rotate_left(forum);
        if manner.strays < 10 {
            forums.truncate(2);
        }
        let (hubs, oracle) = (self.roster.clone(), self.oracle.clone());
        let visitor = Visitor::new((name.clone(), number), net.clone(), hubs, forums, oracle, manner, seed);
        self.sim.client(name.clone(), visitor.stay());
        self.visitors.push((name, net));
    }

    /// A browser watches this forum.
    pub fn add_watcher(&mut self, forum: usize) {
        let number = self.visitors.len();
        let name = format!("watcher-{}", number + 1);
        let net = Net::new(1000 + number as u64, self.trace.clone());
        let seed = derive(self.seed, &name, 0);
        let (hubs, oracle) = (self.roster.clone(), self.oracle.clone());
        let forum = (forum, self.forums[forum].clone());
        let watcher = Watcher::new(name.clone(), net.clone(), hubs, forum, oracle, seed);
        self.sim.client(name.clone(), watcher.stay());
        self.visitors.push((name, net));
    }

    /// Simulated time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// One step. `Ok(true)`: every visitor has come to an end.
    fn step(&mut self) -> Result<bool, Failure> {
        let finished = self.sim.step().map_err(|error| Failure(format!("a machine failed: {error}")))?;
        self.trace.at(self.sim.elapsed());
        self.faults_step();
        self.note_peers();
        self.copies_step()?;
        if self.sim.elapsed() >= self.look_at {
            let (shortest, longest) = self.shape.pace.look_ms;
            self.look_at =
                self.sim.elapsed() + Duration::from_millis(self.rng.random_range(shortest..longest));
            self.look_at_copies()?;
        }
        self.check()?;
        Ok(finished && !self.visitors.is_empty())
    }

    fn check(&self) -> Result<(), Failure> {
        if let Some(broken) = self.invariants.first_broken() {
            return Err(Failure(broken));
        }
        let logged = self.logged.lock();
        if let Some(leak) = logged.leaks.first() {
            return Err(Failure(format!("secrets stay out of logs: {leak}")));
        }
        let lied = |name: &str| self.peers.iter().any(|peer| peer.machine.name == name && peer.tongue.lied());
        if let Some(peer) = logged.fed_back.iter().find(|peer| !lied(peer)) {
            return Err(Failure(format!("a feed begins where its peer is: that of {peer} went back")));
        }
        let faked = |error: &str| {
            let mut peers = self.peers.iter().filter(|peer| peer.tongue.faked());
            peers.any(|peer| error.starts_with(&format!("{}: ", peer.machine.name)))
        };
        let excused = |error: &str| self.faults.excuse(error) || faked(error) || self.is_of_older_disk(error);
        match logged.errors.iter().find(|error| !excused(error)) {
            Some(error) => Err(Failure(format!("nothing is logged as an error: {error}"))),
            None => Ok(()),
        }
    }

    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Failure> {
        let until = self.sim.elapsed() + time;
        while self.sim.elapsed() < until {
            self.step()?;
        }
        Ok(())
    }

    /// Lets time pass until `condition` holds, looking now and then. A failure if it does not `within` that time.
    pub fn run_until(
        &mut self,
        what: &str,
        within: Duration,
        mut condition: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), Failure> {
        let until = self.sim.elapsed() + within;
        loop {
            match condition(self) {
                Ok(()) => return Ok(()),
                Err(why) if self.sim.elapsed() >= until => {
                    return Err(Failure(format!("not {what} within {within:?}: {why}")));
                }
                Err(_) => self.run_for(Duration::from_millis(50))?,
            }
        }
    }

    /// Notes that something happened that a set of runs must have seen.
    pub fn saw(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.coverage.contains_key(&what) {
            self.trace.tell("seen", &what);
        }
        *self.coverage.entry(what).or_insert(0) += 1;
    }

    /// The hub that leads, by its own word; its number among the hubs.
    pub fn leader(&self) -> Option<usize> {
        let leader = self.logged.lock().leader?;
        self.hubs_left().into_iter().find(|hub| self.hubs[*hub].id == leader)
    }
}

/// A hub as `--cluster` names it.
fn member(id: u64) -> String {
    format!("{id}=hub-{id}:{GRPC_PORT}/hub-{id}:{HTTP_PORT}")
}

fn simulation(seed: u64, pace: Pace) -> turmoil::Sim<'static> {
    let mut builder = turmoil::Builder::new();
    builder
        .rng_seed(derive(seed, "turmoil", 0))
        .epoch(std::time::UNIX_EPOCH)
        .simulation_duration(LONGEST)
        .tick_duration(pace.tick)
        .min_message_latency(LATENCY_MIN)
        .max_message_latency(LATENCY_MAX)
        .tcp_capacity(65_536)
        .enable_random_order();
    builder.build()
}

/// Where the peers' databases live: in memory where there is such a place.
fn folder() -> std::io::Result<TempDir> {
    let memory = std::path::Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("loop-sim-");
    match memory.is_dir() {
        true => builder.tempdir_in(memory).or_else(|_| builder.tempdir()),
        false => builder.tempdir(),
    }
}
