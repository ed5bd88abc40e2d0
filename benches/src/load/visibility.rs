//! Workload `visibility`: how long after its acknowledgement a write is at the peers.
//!
//! Three peers are played by the driver, one on each hub, beside a real primary; they note when a record has come, as
//! the stream of any peer brings it. Two measures, both at an open pace and both over all three hubs:
//!
//! - `record`: from the leader's outcome for a proposal (committed, on disk at a majority) to the record at a peer.
//! - `write`: from the browser's answer to a commit, to the facts at a peer. What is there earlier counts as 0.
//!
//! Writing the rows to disk is each peer's own affair and not in these figures; a read waits for it, where it must.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Figures, Pace, Schedule, Span,
    door::{self, Door},
    peer::{self, Heard, Identity, Listener},
    proposals::COMMAND_BYTES,
    system::{System, unique},
    visitor::Visitor,
};
use loop_proto::v1::outcome;

/// Proposals a second for `record`.
const PROPOSALS_PER_SECOND: f64 = 500.0;

/// Writers for `write`, each posting after a pause.
const WRITERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(20);

/// After the last acknowledgement, how long records may still come.
const SETTLE: Duration = Duration::from_millis(500);

/// A forum with a real primary and a listener on every hub.
struct Audience {
    forum: String,
    forum_id: u32,
    listeners: Vec<Listener>,
}

impl Audience {
    async fn gather(system: &System, door: &mut Door) -> Result<Self> {
        let peers = system.peers().await?;
        let primary = peers.iter().find(|peer| peer.owner != "load").context("no peer is connected")?;
        let mut replicas = vec![primary.peer_id];
        let mut identities = Vec::new();
        // A forum has at most four replicas.
        for hub in system.hubs.iter().take(3) {
            let identity = Identity::new();
            let peer_id = peer::join(system, &identity).await?;
            replicas.push(peer_id);
            identities.push((hub.grpc.clone(), peer_id, identity));
        }
        let cursor = system.newest().await?;
        let forum = unique("load-forum-");
        let forum_id = door.open_forum(&forum, replicas).await?;
        let mut listeners = Vec::new();
        for (hub, peer_id, identity) in &identities {
            listeners.push(connect(hub, *peer_id, identity, cursor).await?);
        }
        Ok(Self { forum, forum_id, listeners })
    }

    async fn heard(self) -> Result<Vec<Vec<Heard>>> {
        sleep(SETTLE).await;
        let mut all = Vec::new();
        for listener in self.listeners {
            all.push(listener.finish().await?);
        }
        Ok(all)
    }
}

/// A hub that does not lead may know of the new peer a moment later.
async fn connect(hub: &str, peer_id: u32, identity: &Identity, cursor: u64) -> Result<Listener> {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match Listener::connect(hub, peer_id, identity, cursor).await {
            Err(_) if Instant::now() < until => sleep(Duration::from_millis(20)).await,
            connected => return connected,
        }
    }
}

/// From the outcome of a proposal to its record at the peers.
pub async fn record(system: &System, span: Span) -> Result<Figures> {
    let mut door = Door::open(system).await?;
    let audience = Audience::gather(system, &mut door).await?;
    let schedule = Schedule::start(Pace::Open(PROPOSALS_PER_SECOND), span);
    let (mut acknowledged, mut failures) = (HashMap::new(), Vec::new());
    let (mut seq, mut over, mut waiting) = (1, false, HashMap::new());
    while !over || !waiting.is_empty() {
        tokio::select! {
            due = schedule.due(), if !over => match due {
                None => over = true,
                Some(due) => {
                    door.send(seq, door::audit_of_size(audience.forum_id, COMMAND_BYTES)).await?;
                    waiting.insert(seq, due);
                    seq += 1;
                }
            },
            answer = timeout(Duration::from_secs(5), door.answer()), if !waiting.is_empty() => {
                let at = Instant::now();
                let (answered, came_to) = answer??;
                let Some(due) = waiting.remove(&answered) else { continue };
                match came_to {
                    Ok(outcome::Kind::ForumAudited(stored)) if schedule.counts(due) => {
                        acknowledged.insert(stored.record_id, at);
                    }
                    Ok(_) => {}
                    Err(reason) => failures.push(reason),
                }
            }
        }
    }
    let mut figures = compare(&acknowledged, &audience.heard().await?, |heard, _| Some(heard.record));
    failures.into_iter().for_each(|reason| figures.failed(reason));
    Ok(figures)
}

/// From a browser's answer to the facts at the peers.
pub async fn write(system: &System, span: Span) -> Result<Figures> {
    // They arrive elsewhere and first: a read of this forum might be asked of those who hold no rows, and a forum that
    // is opened while these are connected might be given to them.
    let elsewhere = unique("load-forum-");
    let mut visitors = Vec::new();
    for at in 0..WRITERS {
        let hub = &system.hubs[at % system.hubs.len()].http;
        visitors.push(Visitor::arrive(hub, &elsewhere).await?);
    }
    let mut door = Door::open(system).await?;
    let audience = Audience::gather(system, &mut door).await?;
    let mut writers = tokio::task::JoinSet::new();
    let end = Instant::now() + span.warmup + span.measured;
    for mut visitor in visitors {
        visitor.enter(&audience.forum);
        writers.spawn(async move {
            let (mut acknowledged, mut failures) = (Vec::new(), Vec::new());
            while Instant::now() < end {
                match visitor.post().await {
                    Ok(id) => acknowledged.push((id, Instant::now())),
                    Err(error) => failures.push(format!("{error:#}")),
                }
                sleep(PAUSE).await;
            }
            (acknowledged, failures)
        });
    }
    let mut acknowledged = HashMap::new();
    let mut failures = Vec::new();
    for (written, failed) in writers.join_all().await {
        acknowledged.extend(written);
        failures.extend(failed);
    }
    ensure!(!acknowledged.is_empty(), "nothing was written: {:?}", failures.first());
    let mut figures = compare(&acknowledged, &audience.heard().await?, |heard, messages| {
        heard.closes.and_then(|task| messages.get(&task).copied())
    });
    failures.into_iter().for_each(|reason| figures.failed(reason));
    Ok(figures)
}

/// Pairs what was acknowledged with what each peer heard; what a peer never heard is a failure.
fn compare(
    acknowledged: &HashMap<u64, Instant>,
    all_heard: &[Vec<Heard>],
    key: impl Fn(&Heard, &HashMap<u64, u64>) -> Option<u64>,
) -> Figures {
    let mut figures = Figures::default();
    for heard in all_heard {
        let tasks = heard.iter().filter_map(|heard| Some((heard.record, u64::from(heard.message?))));
        let messages: HashMap<u64, u64> = tasks.collect();
        let mut met = 0;
        for heard in heard {
            if let Some(acknowledged) = key(heard, &messages).and_then(|key| acknowledged.get(&key)) {
                met += 1;
                figures.took(heard.at.saturating_duration_since(*acknowledged));
            }
        }
        let missed = acknowledged.len() as u64 - met;
        figures.fail_many(missed, "acknowledged, but not heard by a peer in time".into());
    }
    figures
}
