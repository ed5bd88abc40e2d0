//! Workload `proposals`: 512-byte commands through the leader's Propose stream, acknowledged when a majority of hubs
//! has them on disk.
//!
//! The command is AuditForum, filled up to its size: an AppendTask needs somebody to answer it, or the bound on open tasks
//! ends the run; a mark is complete in itself, becomes a record on every hub, and is remembered by request id like any other.
//! The marks belong to a forum of the driver's own, held by a peer that was registered but never connects, so that no
//! peer's work is measured and no peer's data is touched.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use anyhow::Result;
use tokio::time::{Instant, timeout};

use super::{
    Figures, Pace, Schedule, Span,
    door::{self, Door},
    peer::{self, Identity},
    system::{System, unique},
};

/// Bytes of one command.
pub const COMMAND_BYTES: usize = 512;

/// Commands under way in an open run; more wait, with their due times.
const OPEN_IN_FLIGHT: usize = 4096;

/// How long the last answers may take.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// One run: `in_flight` commands at a time, or as many per second as `pace` says.
pub async fn run(system: &System, pace: Pace, in_flight: usize, span: Span) -> Result<Figures> {
    let mut door = Door::open(system).await?;
    let identity = Identity::new();
    let peer_id = peer::join(system, &identity).await?;
    let forum_id = door.open_forum(&unique("load-forum-"), vec![peer_id]).await?;
    let in_flight = if pace == Pace::Closed { in_flight } else { OPEN_IN_FLIGHT };
    let schedule = Schedule::start(pace, span);
    let mut figures = Figures::default();
    let mut under_way: HashMap<u64, Instant> = HashMap::with_capacity(in_flight);
    // Ready made, so that the driver takes little of the processor it shares with the system.
    let mut ready: VecDeque<_> = VecDeque::new();
    let (mut seq, mut over) = (1, false);
    while !over || !under_way.is_empty() {
        if ready.is_empty() {
            ready.extend((0..64).map(|_| door::audit_of_size(forum_id, COMMAND_BYTES)));
        }
        tokio::select! {
            biased;
            due = schedule.due(), if !over && under_way.len() < in_flight => match due {
                None => over = true,
                Some(due) => {
                    under_way.insert(seq, due);
                    if let Some(command) = ready.pop_front() {
                        door.send(seq, command).await?;
                    }
                    seq += 1;
                }
            },
            answer = timeout(DRAIN_WITHIN, door.answer()), if !under_way.is_empty() => {
                let (seq, came_to) = answer??;
                let Some(due) = under_way.remove(&seq) else { continue };
                match came_to {
                    _ if !schedule.counts(due) => {}
                    Ok(_) => figures.answered(due),
                    Err(reason) => figures.failed(reason),
                }
            }
        }
    }
    figures.fail_many(schedule.unserved(), "due, but never made".into());
    Ok(figures)
}
