//! Workload `migrate`: a big forum moves to another peer and back, while people write and read through every hub.
//!
//! Owns the people and what they saw before, during and after each move. Requests are due at fixed times, and latency
//! counts from then, so that whoever comes during a stall is charged for it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use loop_hub::hubctl::Admin;
use loop_proto::{
    ids::ForumKey,
    v1::{ForumInfo, InvitationStatus, show_forum_request::Which},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Figures, Summary,
    figures::millis,
    system::{System, unique},
    visitor::Visitor,
};

/// Writers that fill the forum.
const FILLERS: u64 = 64;

/// People of each kind. Each makes a request when it is due and waits for the answer.
const PEOPLE: u32 = 40;

/// Messages a reader asks for.
const RECORDS: u32 = 25;

/// How long people are measured without a move, before and after.
const QUIET: Duration = Duration::from_secs(5);

/// How long one move may take.
const MOVE_WITHIN: Duration = Duration::from_secs(600);

/// What to move, and under which load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Messages in the forum before the first move.
    pub messages: u64,
    /// Writes a second.
    pub writes: f64,
    /// Reads a second.
    pub reads: f64,
}

/// One stretch of time.
pub struct Phase {
    /// `before`, `move`, `between`, `reverse` or `after`.
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
            "{:<8} {:>7.2}  {}  {}",
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
    format!("{:<8} {:>7}  {part}  {part}\n{:<8} {:>7}  {:<42}  reads", "phase", "s", "", "", "writes")
}

#[derive(Default)]
struct Seen {
    writes: Figures,
    reads: Figures,
}

struct Crowd {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    people: JoinSet<()>,
}

/// Fills a forum, moves it and moves it back; `told` hears of each phase as it ends.
pub async fn run(system: &System, options: Options, mut told: impl FnMut(Phase)) -> Result<()> {
    let admin = system.admin();
    let forum = unique("load-forum-");
    fill(system, &forum, options.messages).await.context("filling the forum")?;
    let info = find(admin, &forum).await?;
    let (from, to) = ends(admin, &info).await?;
    let crowd = Crowd::gather(system, &forum, options).await?;
    sleep(QUIET).await;
    told(crowd.phase("before", QUIET));
    for (phase, after) in [("move", "between"), ("reverse", "after")] {
        let begin = Instant::now();
        let id = match phase {
            "move" => admin.move_forum(info.forum_id, from, to).await?,
            _ => admin.reverse_forum(info.forum_id).await?,
        };
        settle(admin, info.forum_id, id).await?;
        told(crowd.phase(phase, begin.elapsed()));
        sleep(QUIET).await;
        told(crowd.phase(after, QUIET));
        let answer = admin.verify_forum(info.forum_id).await?;
        ensure!(answer.equal, "the replicas differ after the {phase}: {answer:?}");
    }
    crowd.send_home().await;
    let now = find(admin, &forum).await?.assignment.context("no assignment")?;
    ensure!(
        now.replicas.contains(&from) && !now.replicas.contains(&to),
        "the reverse did not bring it back: {now:?}"
    );
    Ok(())
}

async fn fill(system: &System, forum: &str, messages: u64) -> Result<()> {
    let mut fillers: JoinSet<Result<()>> = JoinSet::new();
    for at in 0..FILLERS {
        let hub = &system.hubs[at as usize % system.hubs.len()];
        let mut visitor = Visitor::arrive(&hub.http, forum).await?;
        let share = messages / FILLERS + u64::from(at < messages % FILLERS);
        fillers.spawn(async move {
            for _ in 0..share {
                visitor.post().await?;
            }
            Ok(())
        });
    }
    while let Some(filled) = fillers.join_next().await {
        filled??;
    }
    Ok(())
}

async fn find(admin: &Admin, forum: &str) -> Result<ForumInfo> {
    let key = ForumKey::of_name(forum.as_bytes()).0.to_vec();
    Ok(admin.forum(Which::Key(key.into())).await?)
}

/// The forum's primary, and a connected peer that has no part in it.
async fn ends(admin: &Admin, info: &ForumInfo) -> Result<(u32, u32)> {
    let assignment = info.assignment.as_ref().context("no assignment")?;
    let peers = admin.peers().await?;
    let free = peers.iter().find(|p| p.connected_to.is_some() && !assignment.replicas.contains(&p.peer_id));
    let free = free.context("every peer holds the forum already: more peers than replicas are needed")?;
    Ok((assignment.primary, free.peer_id))
}

/// Waits until the move is over and nothing of it is left.
async fn settle(admin: &Admin, forum: u32, id: u64) -> Result<()> {
    let until = Instant::now() + MOVE_WITHIN;
    loop {
        let all = admin.invitations(false, 100).await?;
        let info = all
            .into_iter()
            .find(|info| info.invitation_id == id)
            .context("the hubs forgot the invitation")?;
        let assignment = admin.forum(Which::ForumId(forum)).await?.assignment.context("no assignment")?;
        match info.status() {
            InvitationStatus::Completed if assignment.draining.is_empty() => return Ok(()),
            InvitationStatus::Completed | InvitationStatus::Waiting | InvitationStatus::Accepted => {}
            ended => bail!("the move ended as {ended:?} ({:?})", info.reason()),
        }
        ensure!(Instant::now() < until, "the move is not over after {MOVE_WITHIN:?}: {}", info.waits_for);
        sleep(Duration::from_millis(20)).await;
    }
}

impl Crowd {
    async fn gather(system: &System, forum: &str, options: Options) -> Result<Self> {
        let mut crowd = Self { seen: Arc::default(), stop: Arc::default(), people: JoinSet::new() };
        let begin = Instant::now() + Duration::from_secs(1);
        for (per_second, writes) in [(options.writes, true), (options.reads, false)] {
            let every = Duration::from_secs_f64(f64::from(PEOPLE) / per_second);
            for at in 0..PEOPLE {
                let hub = &system.hubs[at as usize % system.hubs.len()];
                let visitor = Visitor::arrive(&hub.http, forum).await?;
                let first = begin + every * at / PEOPLE;
                let (seen, stop) = (crowd.seen.clone(), crowd.stop.clone());
                crowd.people.spawn(live(visitor, writes, first, every, seen, stop));
            }
        }
        Ok(crowd)
    }

    /// What was seen since the last call.
    fn phase(&self, name: &'static str, took: Duration) -> Phase {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        Phase { name, took, writes: seen.writes.summary(took), reads: seen.reads.summary(took) }
    }

    async fn send_home(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while self.people.join_next().await.is_some() {}
    }
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
    while !stop.load(Ordering::Relaxed) {
        sleep_until(due).await;
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
