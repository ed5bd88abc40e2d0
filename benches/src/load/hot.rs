//! Workload `hot`: one forum becomes busy among many quiet ones, gets a further replica, and is quiet again.
//!
//! Owns the order of events, and what was moved about meanwhile. Peers run as small machines do: where all peers share
//! one, a further replica would bring nothing.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use loop_proto::v1::{Assignment, ForumInfo, InvitationCause};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    crowd::{Crowd, Pace, Phase, arrive},
    small::Small,
    system::{System, unique},
};

/// Peers.
pub const PEERS: u16 = 6;
/// How long the forums may take to come to rest once they are opened, and a busy one to get its replica.
const REST_WITHIN: Duration = Duration::from_secs(120);
/// How often the hubs are asked.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Largest number of forums and invitations that is asked for.
const LIST_MAX: u32 = 100_000;

/// How much goes on where.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Quiet forums.
    pub forums: u32,
    /// Reads a second over all quiet forums.
    pub quiet_reads: f64,
    /// Reads a second of the busy forum.
    pub reads: f64,
    /// Writes a second to the busy forum.
    pub writes: f64,
    /// Share of one processor that each peer gets.
    pub share: f64,
    /// How long is watched after the busy forum has become quiet.
    pub cooling: Duration,
    /// What is measured of each part. For as long before that, what has piled up is worked off, and not counted.
    pub part: Duration,
}

/// What is told as it happens.
pub enum News {
    /// What the people of the busy forum, or of the others, have seen.
    Seen(&'static str, Box<Phase>),
    /// The busy forum got its further replica.
    Grew {
        /// After this time under load.
        after: Duration,
        /// How many it has.
        replicas: usize,
    },
    /// What was moved about in a part.
    Moved {
        /// Which part.
        part: &'static str,
        /// Invitations for the busy forum, by cause.
        busy: BTreeMap<&'static str, usize>,
        /// Quiet forums whose peers or primary are others now.
        quiet: usize,
    },
}

impl News {
    /// A line of text.
    pub fn line(&self) -> String {
        match self {
            Self::Seen(who, phase) => format!("{who:<6} {}", phase.line()),
            Self::Grew { after, replicas } => {
                format!(
                    "       the busy forum has {replicas} replicas, {:.1} s after its people came",
                    after.as_secs_f64()
                )
            }
            Self::Moved { part, busy, quiet } => {
                format!("       {part}: invitations for the busy forum {busy:?}, quiet forums moved {quiet}")
            }
        }
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        match self {
            Self::Seen(who, phase) => json!({ "who": who, "seen": phase.json() }),
            Self::Grew { after, replicas } => {
                json!({ "grew_after_s": after.as_secs_f64(), "replicas": replicas })
            }
            Self::Moved { part, busy, quiet } => {
                json!({ "part": part, "busy_invitations": busy, "quiet_forums_moved": quiet })
            }
        }
    }
}

/// Opens the forums, makes one busy and quiet again; `told` hears of everything as it happens. An error if the busy
/// forum gets no further replica.
pub async fn run(system: &System, options: Options, mut told: impl FnMut(News)) -> Result<()> {
    let part = options.part;
    let names: Vec<String> = (0..options.forums).map(|_| unique("load-quiet-")).collect();
    arrive(system, &names, options.forums).await.context("opening the quiet forums")?;
    rest(system).await?;
    let _small = Small::make(&system.pids().1, options.share)?;
    let pace = Pace { people: options.forums, writes: 0.0, reads: options.quiet_reads };
    let quiet = Crowd::gather(system, &names, pace).await?;
    measure(&quiet, "quiet", "nobody is busy", part, &mut told).await;

    let busy = unique("load-busy-");
    let mut ledger = Ledger::begin(system).await?;
    let pace = Pace { people: 64, writes: options.writes, reads: options.reads };
    let hot = Crowd::gather(system, std::slice::from_ref(&busy), pace).await?;
    let begin = Instant::now();
    let replicas = grown(system, &ledger).await?;
    told(News::Seen("busy", Box::new(hot.phase("on three peers", begin.elapsed()))));
    told(News::Seen("quiet", Box::new(quiet.phase("on three peers", begin.elapsed()))));
    told(News::Grew { after: begin.elapsed(), replicas });
    sleep(part).await;
    drop((hot.phase("", part), quiet.phase("", part)));
    sleep(part).await;
    told(News::Seen("busy", Box::new(hot.phase("on four peers", part))));
    told(News::Seen("quiet", Box::new(quiet.phase("on four peers", part))));
    told(ledger.moved(system, "while it was busy").await?);
    hot.send_home().await;
    drop(quiet.phase("", part));
    sleep(options.cooling).await;
    told(News::Seen("quiet", Box::new(quiet.phase("after it was busy", options.cooling))));
    told(ledger.moved(system, "when it was quiet again").await?);
    quiet.send_home().await;
    Ok(())
}

async fn measure(
    crowd: &Crowd,
    who: &'static str,
    what: &'static str,
    part: Duration,
    told: &mut impl FnMut(News),
) {
    sleep(part).await;
    drop(crowd.phase("", part));
    sleep(part).await;
    told(News::Seen(who, Box::new(crowd.phase(what, part))));
}

async fn forums(system: &System) -> Result<Vec<ForumInfo>> {
    Ok(system.admin().forums(None, LIST_MAX).await?.0)
}

/// Waits until nothing is on its way.
async fn rest(system: &System) -> Result<()> {
    let until = Instant::now() + REST_WITHIN;
    loop {
        let open = system.admin().invitations(true, LIST_MAX).await?;
        if open.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{} moves are under way after {REST_WITHIN:?}", open.len());
        sleep(ASK_EVERY).await;
    }
}

/// Waits for the busy forum's further replica; how many it has.
async fn grown(system: &System, ledger: &Ledger) -> Result<usize> {
    let until = Instant::now() + REST_WITHIN;
    loop {
        let now = forums(system).await?;
        let busy = now.into_iter().find(|forum| !ledger.forums.contains_key(&forum.forum_id));
        let held = busy.and_then(|forum| forum.assignment).map_or(0, |assignment| assignment.replicas.len());
        if held > 3 {
            return Ok(held);
        }
        ensure!(Instant::now() < until, "the busy forum still has {held} replicas after {REST_WITHIN:?}");
        sleep(ASK_EVERY).await;
    }
}

/// Where the quiet forums are, and which invitations there were.
struct Ledger {
    forums: BTreeMap<u32, Option<Assignment>>,
    newest: u64,
}

impl Ledger {
    async fn begin(system: &System) -> Result<Self> {
        let forums =
            forums(system).await?.into_iter().map(|forum| (forum.forum_id, forum.assignment)).collect();
        let invitations = system.admin().invitations(false, LIST_MAX).await?;
        Ok(Self { forums, newest: invitations.iter().map(|i| i.invitation_id).max().unwrap_or(0) })
    }

    /// What is different since the last call.
    async fn moved(&mut self, system: &System, part: &'static str) -> Result<News> {
        let mut quiet = 0;
        for forum in forums(system).await? {
            if let Some(before) = self.forums.get_mut(&forum.forum_id) {
                quiet += usize::from(*before != forum.assignment);
                *before = forum.assignment;
            }
        }
        let mut busy: BTreeMap<&'static str, usize> = BTreeMap::new();
        let known = self.newest;
        for invitation in system.admin().invitations(false, LIST_MAX).await? {
            self.newest = self.newest.max(invitation.invitation_id);
            if invitation.invitation_id > known && !self.forums.contains_key(&invitation.forum_id) {
                *busy.entry(word(invitation.cause())).or_default() += 1;
            }
        }
        Ok(News::Moved { part, busy, quiet })
    }
}

fn word(cause: InvitationCause) -> &'static str {
    cause.as_str_name().trim_start_matches("INVITATION_CAUSE_")
}
