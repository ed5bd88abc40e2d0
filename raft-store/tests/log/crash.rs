//! The log after `kill -9`, and after a power cut that leaves only what was synced.
//!
//! A child process carries out a script on a log and says what is acknowledged. It is killed at some moment, and
//! what is found then must be the script's state after some step: not before the last acknowledged one, and not
//! after the last one asked for. The power cut is a preloaded library (`power_cut/shim.c`) that keeps, beside the
//! real files, what a disk would have kept.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    pin::Pin,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use loop_raft_store::log_store::Engine;
use openraft::storage::RaftLogStorage;

use crate::support::{Change, Model, durable, open, size_of};

/// Appends that may be under way at once; then groups form.
const IN_FLIGHT_MAX: usize = 12;

/// Steps that may follow the last acknowledged one: appends under way, and purges between them.
const UNANSWERED_MAX: u64 = 4 * IN_FLIGHT_MAX as u64;

/// An endless, repeatable sequence of changes.
struct Script {
    random: u64,
    model: Model,
}

impl Script {
    fn new(seed: u64) -> Self {
        Self { random: seed.wrapping_mul(2).wrapping_add(1), model: Model::new() }
    }

    /// A number below `below`.
    fn draw(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn next_change(&mut self) -> Change {
        let len = self.model.entries.len() as u64;
        match self.draw(40) {
            0 => Change::Truncate { back: 1 + self.draw(20) },
            1 | 2 if len > 100 => Change::Purge { count: 1 + self.draw(len) },
            3 => Change::Purge { count: len + 1 + self.draw(5) },
            4 => Change::Vote,
            _ => {
                let (first, count) = (self.model.next(), 1 + self.draw(20));
                Change::Append { sizes: (first..first + count).map(size_of).collect() }
            }
        }
    }
}

/// Ready when an append is durable.
type Durable = Pin<Box<dyn Future<Output = std::io::Result<()>>>>;

/// Carries out the first `steps` of the script; tells `acknowledged` how many are certain to last.
async fn carry_out(dir: &Path, engine: Engine, seed: u64, steps: u64, mut acknowledged: impl FnMut(u64)) {
    let mut store = open(dir, engine).unwrap();
    let mut script = Script::new(seed);
    let mut in_flight: VecDeque<(u64, Durable)> = VecDeque::new();
    for step in 1..=steps {
        let change = script.next_change();
        let model = &script.model;
        match &change {
            Change::Append { sizes } => {
                let (callback, durable) = durable();
                store.append(model.new_entries(sizes), callback).await.unwrap();
                in_flight.push_back((step, Box::pin(durable)));
            }
            Change::Truncate { back } => {
                store.truncate_after(model.last_before(*back)).await.unwrap();
                acknowledged(step);
            }
            // Not waited for: certain once something after it is.
            Change::Purge { count } => store.purge(model.purge_id(*count)).await.unwrap(),
            Change::Vote => {
                store.save_vote(&model.next_vote()).await.unwrap();
                acknowledged(step);
            }
        }
        script.model.take(&change);
        if in_flight.len() == IN_FLIGHT_MAX
            && let Some((step, durable)) = in_flight.pop_front()
        {
            durable.await.unwrap();
            acknowledged(step);
        }
    }
    for (step, durable) in in_flight {
        durable.await.unwrap();
        acknowledged(step);
    }
}

/// The log in `dir` is the script's after `acknowledged` steps, or after few more.
async fn check(dir: &Path, engine: Engine, seed: u64, acknowledged: u64) {
    let found = Model::of(&open(dir, engine).unwrap(), 0).await.unwrap();
    let mut script = Script::new(seed);
    for step in 0..acknowledged + UNANSWERED_MAX {
        let change = script.next_change();
        if step >= acknowledged && may_be_between(&found, &script.model, &change) {
            return;
        }
        script.model.take(&change);
    }
    panic!(
        "{engine:?}, seed {seed}: {acknowledged} steps acknowledged; found entries {}..{}, which is no state after",
        found.first(),
        found.next()
    );
}

/// Whether `found` is `before`, or `before` with a part of an append.
fn may_be_between(found: &Model, before: &Model, change: &Change) -> bool {
    if (found.purged, found.vote) != (before.purged, before.vote)
        || found.entries.len() < before.entries.len()
    {
        return false;
    }
    let (old, new) = found.entries.split_at(before.entries.len());
    let part_of_append = match change {
        Change::Append { sizes } => before.new_entries(sizes).starts_with(new),
        _ => new.is_empty(),
    };
    old == before.entries && part_of_append
}

/// What the child is told through its environment: engine, seed, directory.
const JOB: &str = "LOG_CRASH_JOB";

/// In a child: carries out the script until it is killed. Otherwise: the script itself is checked, without a crash.
#[test]
fn writer() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let Ok(job) = std::env::var(JOB) else {
        for engine in crate::support::ENGINES {
            let temp = tempfile::tempdir().unwrap();
            let mut last = 0;
            runtime.block_on(carry_out(temp.path(), engine, 9, 300, |step| last = last.max(step)));
            assert!(last >= 290, "purges at the end are not acknowledged, all else is: {last}");
            runtime.block_on(check(temp.path(), engine, 9, last));
        }
        return;
    };
    let (what, rest) = job.split_once(' ').unwrap();
    let (seed, dir) = rest.split_once(' ').unwrap();
    let (seed, dir) = (seed.parse().unwrap(), Path::new(dir));
    match what {
        "plain-sled" => plain_sled(dir, seed),
        engine => {
            let engine = if engine == "sled" { Engine::Sled } else { Engine::Segment };
            runtime.block_on(carry_out(dir, engine, seed, u64::MAX, acknowledge));
        }
    }
}

fn acknowledge(step: u64) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("acknowledged {step}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Inserts as sled's documentation suggests: `flush()` and no more. Its files' names are synced first, so that only
/// the missing sync of the data counts.
fn plain_sled(dir: &Path, seed: u64) {
    let db = sled::Config::new().path(dir).flush_every_ms(None).open().unwrap();
    db.flush().unwrap();
    for file in fs::read_dir(dir).unwrap() {
        fs::File::open(file.unwrap().path()).unwrap().sync_all().unwrap();
    }
    fs::File::open(dir).unwrap().sync_all().unwrap();
    for step in 1u64.. {
        db.insert(step.to_be_bytes(), vec![seed as u8; 300]).unwrap();
        db.flush().unwrap();
        acknowledge(step);
    }
}

/// Starts the child, kills it `after` its first word, and returns the last step it acknowledged.
fn run_and_kill(
    what: &str,
    seed: u64,
    dir: &Path,
    after: Duration,
    power_cut: Option<(&Path, &Path)>,
) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::writer", "--nocapture"]).stdout(Stdio::piped());
    command.env(JOB, format!("{what} {seed} {}", dir.display()));
    if let Some((library, shadow)) = power_cut {
        command.env("LD_PRELOAD", library).env("POWER_CUT_DIR", dir).env("POWER_CUT_SHADOW", shadow);
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (said, heard) = std::sync::mpsc::channel();
    let listener = thread::spawn(move || {
        let mut last = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(step) = line.strip_prefix("acknowledged ").and_then(|step| step.parse::<u64>().ok()) {
                // An early append may be answered after a later truncation, which waited for it.
                last = step.max(last);
                // Only the first word is waited for.
                let _ = said.send(());
            }
        }
        last
    });
    heard.recv_timeout(Duration::from_secs(60)).expect("the child acknowledges something");
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap()
}

/// Moments to kill at; the machine's own unevenness does the rest.
const MOMENTS: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(60),
    Duration::from_millis(170),
    Duration::from_millis(400),
];

fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sled => "sled",
        Engine::Segment => "segment",
    }
}

fn survives_kill(engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (seed, moment) in (1..).zip(MOMENTS) {
        let temp = tempfile::tempdir().unwrap();
        let acknowledged = run_and_kill(name(engine), seed, temp.path(), moment, None);
        runtime.block_on(check(temp.path(), engine, seed, acknowledged));
    }
}

#[test]
fn sled_keeps_what_it_acknowledged_when_killed() {
    survives_kill(Engine::Sled);
}

#[test]
fn segment_keeps_what_it_acknowledged_when_killed() {
    survives_kill(Engine::Segment);
}

fn build_shim(dir: &Path) -> PathBuf {
    let library = dir.join("shim.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/power_cut/shim.c");
    let mut compile = Command::new("cc");
    compile.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).args(["-ldl", "-lpthread"]);
    assert!(compile.status().expect("a C compiler, cc, is installed").success());
    library
}

/// Makes `to` what the disk kept: names and bytes as of their last sync.
fn restore(shadow: &Path, id: u64, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let Ok(names) = fs::read_to_string(shadow.join(format!("{id}.list"))) else { return };
    for line in names.lines() {
        let (id, name) = line.split_once(' ').unwrap();
        let id = id.parse().unwrap();
        match name.strip_suffix('/') {
            Some(name) => restore(shadow, id, &to.join(name)),
            None => {
                let kept = fs::read(shadow.join(format!("{id}.data"))).unwrap_or_default();
                fs::write(to.join(name), kept).unwrap();
            }
        }
    }
}

/// One power cut: returns what was acknowledged before, and the directory found after.
fn cut_power(what: &str, seed: u64, moment: Duration, temp: &Path) -> (u64, PathBuf) {
    let library = build_shim(temp);
    let [dir, shadow, after] = ["log", "shadow", "after"].map(|name| temp.join(name));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&shadow).unwrap();
    let acknowledged = run_and_kill(what, seed, &dir, moment, Some((&library, &shadow)));
    restore(&shadow, 0, &after);
    (acknowledged, after)
}

fn survives_power_cut(engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (seed, moment) in (11..).zip(MOMENTS) {
        let temp = tempfile::tempdir().unwrap();
        let (acknowledged, after) = cut_power(name(engine), seed, moment, temp.path());
        runtime.block_on(check(&after, engine, seed, acknowledged));
    }
}

#[test]
fn sled_keeps_what_it_acknowledged_when_the_power_is_cut() {
    survives_power_cut(Engine::Sled);
}

#[test]
fn segment_keeps_what_it_acknowledged_when_the_power_is_cut() {
    survives_power_cut(Engine::Segment);
}

/// The control: without a sync of our own, the same cut must lose. If this fails, the cut proves nothing, or sled
/// has changed.
#[test]
fn sleds_own_flush_loses_what_it_acknowledged_when_the_power_is_cut() {
    for (seed, moment) in (21..).zip(MOMENTS) {
        let temp = tempfile::tempdir().unwrap();
        let (acknowledged, after) = cut_power("plain-sled", seed, moment, temp.path());
        assert!(after.join("db").exists(), "the file itself is there");
        let found = std::panic::catch_unwind(|| {
            let db = sled::Config::new().path(&after).flush_every_ms(None).open().unwrap();
            (1..=acknowledged).filter(|step| db.get(step.to_be_bytes()).unwrap().is_some()).count() as u64
        });
        assert!(found.is_err() || found.is_ok_and(|found| found < acknowledged), "{acknowledged} were kept");
    }
}
