//! People of a workload: each makes a request when it is due and waits for the answer. Owns what they saw, by phases.
//!
//! Requests are due at fixed times, and latency counts from then, so that whoever comes during a stall is charged for
//! it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{Figures, Summary, figures::millis, system::System, visitor::Visitor};

/// Messages a reader asks for.
const RECORDS: u32 = 25;

/// Visitors that arrive at a time.
const ARRIVE_AT_ONCE: usize = 16;

/// One stretch of time.
pub struct Phase {
    /// What went on.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Commits in it.
    pub writes: Summary,
    /// Polls in it.
    pub reads: Summary,
}

impl Phase {
    /// One line of the table.
    pub fn line(&self) -> String {
        let part = |s: &Summary| {
            let (p50, p99, max) = (millis(s.p50), millis(s.p99), millis(s.max));
            format!("{:>7} {p50:>8.2} {p99:>8.2} {max:>8.2} {:>7}", s.count, s.failures)
        };
        format!(
            "{:<24} {:>7.2}  {}  {}",
            self.name,
            self.took.as_secs_f64(),
            part(&self.writes),
            part(&self.reads)
        )
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let (writes, reads) = (self.writes.json(), self.reads.json());
        json!({ "phase": self.name, "seconds": self.took.as_secs_f64(), "writes": writes, "reads": reads })
    }
}

/// The head of the table [`Phase::line`] fills.
pub fn head() -> String {
    let part = format!("{:>7} {:>8} {:>8} {:>8} {:>7}", "count", "p50 ms", "p99 ms", "max ms", "failed");
    format!("{:<24} {:>7}  {part}  {part}\n{:<24} {:>7}  {:<42}  reads", "phase", "s", "", "", "writes")
}

#[derive(Default)]
struct Seen {
    writes: Figures,
    reads: Figures,
}

/// What a crowd does together.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// People of each kind.
    pub people: u32,
    /// Writes a second; 0: nobody writes.
    pub writes: f64,
    /// Reads a second; 0: nobody reads.
    pub reads: f64,
}

/// The people, spread over forums and hubs.
pub struct Crowd {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    people: JoinSet<()>,
}

impl Crowd {
    /// They arrive, and begin a second later.
    pub async fn gather(system: &System, forums: &[String], pace: Pace) -> Result<Self> {
        ensure!(!forums.is_empty() && pace.people > 0, "a crowd needs people and a forum");
        let mut crowd = Self { seen: Arc::default(), stop: Arc::default(), people: JoinSet::new() };
        let kinds = [(pace.writes, true), (pace.reads, false)];
        let mut arrived = Vec::new();
        for (per_second, writes) in kinds.into_iter().filter(|(per_second, _)| *per_second > 0.0) {
            let every = Duration::try_from_secs_f64(f64::from(pace.people) / per_second)?;
            for (at, visitor) in (0..).zip(arrive(system, forums, pace.people).await?) {
                arrived.push((visitor, writes, every * at / pace.people, every));
            }
        }
        let begin = Instant::now() + Duration::from_secs(1);
        for (visitor, writes, first, every) in arrived {
            let (seen, stop) = (crowd.seen.clone(), crowd.stop.clone());
            crowd.people.spawn(live(visitor, writes, begin + first, every, seen, stop));
        }
        Ok(crowd)
    }

    /// What was seen since the last call.
    pub fn phase(&self, name: &'static str, took: Duration) -> Phase {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        Phase { name, took, writes: seen.writes.summary(took), reads: seen.reads.summary(took) }
    }

    /// Everybody finishes what they are at and goes.
    pub async fn send_home(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.people.join_next().await.is_some() {}
    }
}

/// So many visitors, one forum after the other.
pub async fn arrive(system: &System, forums: &[String], people: u32) -> Result<Vec<Visitor>> {
    let mut arriving: JoinSet<Result<(usize, Visitor)>> = JoinSet::new();
    let mut visitors = Vec::new();
    for at in 0..people as usize {
        if arriving.len() >= ARRIVE_AT_ONCE
            && let Some(arrived) = arriving.join_next().await
        {
            visitors.push(arrived??);
        }
        let (hub, forum) =
            (system.hubs[at % system.hubs.len()].http.clone(), forums[at % forums.len()].clone());
        arriving.spawn(async move { Ok((at, Visitor::arrive(&hub, &forum).await?)) });
    }
    while let Some(arrived) = arriving.join_next().await {
        visitors.push(arrived??);
    }
    visitors.sort_by_key(|(at, _)| *at);
    Ok(visitors.into_iter().map(|(_, visitor)| visitor).collect())
}

/// One person: a request at fixed times, until told to stop.
async fn live(
    mut visitor: Visitor,
    writes: bool,
    first: Instant,
    every: Duration,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
) {
    let mut due = first;
    let path = visitor.poll_path(RECORDS);
    loop {
        sleep_until(due).await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let outcome = match writes {
            true => visitor.post().await.map(drop),
            false => visitor.poll_unread(&path).await.map(drop),
        };
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let figures = if writes { &mut seen.writes } else { &mut seen.reads };
            match outcome {
                Ok(()) => figures.answered(due),
                Err(error) => figures.failed(format!("{error:#}")),
            }
        }
        due += every;
    }
}
