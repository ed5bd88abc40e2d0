//! One run from its seed, and what came of it.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    time::Duration,
};

use loop_proto::breakage::{self, Breakage};
use serde::{Deserialize, Serialize};

use super::{
    World,
    faults::{
        self,
        phases::{PHASES, during},
    },
    liar::LIES,
    scenario::{self, Scenario},
    volunteers,
};

/// What came of a run. All of it follows from scenario and seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The story told.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// What was broken on purpose, if anything was.
    pub broken: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The run as one number.
    pub digest: u64,
    /// How many events went into it.
    pub events: u64,
    /// The digest after each tenth of a simulated second.
    pub marks: Vec<u64>,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    /// Commits acknowledged.
    pub acked: u64,
    /// Those of them that had been sent more than once.
    pub acked_after_resend: u64,
    /// Reads answered.
    pub shown: u64,
    /// Records in the log.
    pub records: u64,
    /// How often each thing happened that a set of runs must have seen.
    pub coverage: BTreeMap<String, u64>,
    /// Calls without a usable answer, by reason.
    pub failures: BTreeMap<String, u64>,
    /// The end of the story, if it failed.
    pub newest: Vec<String>,
}

impl Outcome {
    /// Of a run of which nothing is known yet.
    pub fn of(scenario: &str, seed: u64, broken: Option<Breakage>) -> Self {
        let broken = broken.map(|breakage| breakage.name().to_owned());
        Self { scenario: scenario.to_owned(), seed, broken, ..Self::default() }
    }

    /// Why it failed, if it did, with what anybody needs to see that again.
    pub fn complaint(&self) -> Option<String> {
        let Self { scenario, seed, .. } = self;
        let failure = self.failure.as_ref()?;
        let again = self.again();
        Some(format!("{scenario} seed {seed}: {failure}\n  at commit {}\n  again: {again}", commit()))
    }

    /// The command that runs it again.
    pub fn again(&self) -> String {
        let broken = self.broken.as_ref().map(|name| format!(" BREAK={name}")).unwrap_or_default();
        format!("make sim SCENARIO={} SEED={}{broken}", self.scenario, self.seed)
    }
}

/// The commit that runs.
pub fn commit() -> String {
    let said = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let said = said.ok().filter(|output| output.status.success());
    said.map_or_else(|| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Tells `scenario` from `seed`, in a system that is whole unless it is to be broken.
pub fn run(scenario: &Scenario, seed: u64, prints: bool, broken: Option<Breakage>) -> Outcome {
    // The whole world is one thread.
    breakage::switch_on(broken);
    let outcome = tell(scenario, Outcome::of(scenario.name, seed, broken), prints);
    breakage::switch_on(None);
    outcome
}

fn tell(scenario: &Scenario, mut outcome: Outcome, prints: bool) -> Outcome {
    let seed = outcome.seed;
    let mut world = match World::new(seed, (scenario.shape)(seed), prints) {
        Ok(world) => world,
        Err(error) => {
            outcome.failure = Some(format!("no world: {error}"));
            return outcome;
        }
    };
    let told = catch_unwind(AssertUnwindSafe(|| (scenario.tell)(&mut world)));
    outcome.failure = match told {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure.to_string()),
        Err(panic) => Some(format!("panicked: {}", words(&*panic))),
    };
    let counts = world.oracle.counts();
    (outcome.acked, outcome.acked_after_resend, outcome.shown) =
        (counts.acked, counts.acked_after_resend, counts.shown);
    outcome.digest = world.trace.digest();
    outcome.events = world.trace.events();
    outcome.marks = world.trace.marks();
    outcome.simulated_ms = millis(world.elapsed());
    outcome.records = world.ledger.newest();
    outcome.failures = world.oracle.failures();
    outcome.coverage = world.covered();
    if outcome.failure.is_some() {
        outcome.newest = world.trace.newest();
        // What panicked may be half taken apart: it must not panic again on its way out. Its files go nevertheless; what
        // cannot be removed is no reason to say less about the failure.
        let _ = std::fs::remove_dir_all(world.folder.path());
        std::mem::forget(world);
    }
    outcome
}

/// What a set of runs must have seen at least once: otherwise they prove less than they seem to.
pub fn sometimes() -> Vec<String> {
    let mut all: Vec<String> = faults::ALL.iter().map(|kind| format!("fault {kind:?}")).collect();
    for kind in faults::ALL {
        all.extend(PHASES.map(|phase| during(kind, phase)));
    }
    all.extend(LIES.iter().map(|lie| faults::lied(*lie)));
    all.extend(scenario::move_steps());
    all.extend(SEEN.iter().map(|what| (*what).to_owned()));
    all
}

const TORN: &str = "disk: a write was torn";
const LOST: &str = "disk: a write was lost";
const RESENT: &str = "client: a commit was sent again and acknowledged";
const TYPED: &str = "client: a typing row was shown";
const HIDDEN: &str = "client: a message was hidden by its author";
const MEDDLED: &str = "client: a message was asked to be hidden by another";
const MOVED: &str = "log: a forum's primary changed";
const ELECTED: &str = "hubs: the lead changed";
const SNAPSHOT: &str = "hubs: a snapshot replaced a hub's state";
const CONFIRMED: &str = "log: a new copy was compared and counts";
const COPIED: &str = "log: an invited peer came to serve";
const OVER: &str = "peers: one started over below the trim point";
const SEEN: [&str; 25] = [
    TORN,
    LOST,
    RESENT,
    TYPED,
    HIDDEN,
    MEDDLED,
    MOVED,
    ELECTED,
    COPIED,
    SNAPSHOT,
    OVER,
    faults::STOPPED,
    faults::FOUND,
    faults::REPLACED,
    scenario::ALL_REPLACED,
    scenario::LATE,
    scenario::GREW,
    scenario::FULL,
    scenario::OUTLIVED,
    scenario::TAKEN_BACK,
    scenario::CLOSED,
    scenario::OPENED_ANEW,
    CONFIRMED,
    volunteers::ANEW,
    volunteers::OLD,
];

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}

impl World {
    /// What this run has seen, its disks' adventures included.
    fn covered(&self) -> BTreeMap<String, u64> {
        let mut coverage = self.coverage.clone();
        let mut add = |what: &str, count: u64| *coverage.entry(what.to_owned()).or_insert(0) += count;
        for hub in &self.hubs {
            let counts = hub.disk.counts();
            add(TORN, counts.torn);
            add(LOST, counts.lost);
        }
        let counts = self.oracle.counts();
        add(RESENT, counts.acked_after_resend);
        add(TYPED, counts.typed);
        add(HIDDEN, counts.hidden);
        add(MEDDLED, counts.meddled);
        let seen = self.ledger.seen();
        add(MOVED, seen.moved);
        add(COPIED, seen.copied);
        add(CONFIRMED, seen.confirmed);
        add(SNAPSHOT, seen.replaced);
        add(scenario::CLOSED, seen.closed);
        let logged = self.logged.lock();
        add(ELECTED, logged.elections);
        add(OVER, logged.started_over.len() as u64);
        coverage
    }
}
