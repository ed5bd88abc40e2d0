//! Asks peers for rows: which of those that could answer, how long it is waited for, and who is asked next.
//!
//! What a peer says is looked at by whoever asked; an answer that is not taken costs one attempt. Never knows what the rows
//! are for.

use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use loop_hub_edge::gateway::CallError;
use loop_net::io::Io;
use loop_proto::{ids::PeerId, v1};
use metrics::{counter, histogram};
use tokio::time::{Instant, sleep_until};

use super::{parts::Mesh, presence::Whereabouts};

/// A peer that has not answered after this is overtaken by a second one, unless answers usually take longer.
const HEDGE_AFTER: Duration = Duration::from_millis(50);
/// Longest wait before a second one is asked.
const HEDGE_AFTER_MAX: Duration = Duration::from_millis(500);

/// The way to peers' rows. Cheap to clone.
#[derive(Clone)]
pub struct PeerRows {
    mesh: Mesh,
    io: Io,
}

/// Who could answer.
pub enum Holders {
    /// These.
    Of(Vec<PeerId>),
    /// Every peer.
    Any,
}

impl PeerRows {
    /// The way over these connections.
    pub const fn new(mesh: Mesh, io: Io) -> Self {
        Self { mesh, io }
    }

    /// Asks the better of two holders chosen by chance, and a further one whenever an answer is overdue, lost or not taken.
    /// `take` says why it does not take one.
    pub async fn ask<T>(
        &self,
        request: &v1::RowsRequest,
        holders: Holders,
        deadline: Instant,
        take: impl Fn(v1::RowsReply) -> Result<T, &'static str>,
    ) -> Result<T, CallError> {
        let mut candidates = match holders {
            Holders::Of(peers) => self.mesh.presence.find_all(peers),
            Holders::Any => self.mesh.presence.everyone(),
        };
        let mut asked = FuturesUnordered::new();
        let mut overdue = Instant::now();
        loop {
            if !candidates.is_empty() && (asked.is_empty() || Instant::now() >= overdue) {
                let (peer, at) = self.take_better(&mut candidates);
                overdue = Instant::now() + hedge_delay(&at);
                asked.push(self.ask_one(peer, at, request.clone()));
            }
            if asked.is_empty() {
                return Err(CallError::NoPeer);
            }
            let wake = if candidates.is_empty() { deadline } else { overdue.min(deadline) };
            tokio::select! {
                Some((peer, reply)) = asked.next() => {
                    match reply.filter(|reply| !reply.refused).map(&take) {
                        Some(Ok(taken)) => return Ok(taken),
                        Some(Err(why)) => {
                            counter!("loop_rows_not_taken_total").increment(1);
                            tracing::warn!(%peer, why, "a peer has sent rows that cannot be taken");
                        }
                        None => counter!("loop_rows_unanswered_total").increment(1),
                    }
                    // Nothing is won by waiting for the others before somebody else is asked.
                    overdue = Instant::now();
                }
                () = sleep_until(wake) => {
                    if Instant::now() >= deadline {
                        return Err(CallError::Timeout);
                    }
                    counter!("loop_rows_hedged_total").increment(1);
                }
            }
        }
    }

    /// Power of two choices: better than the best of all, which every hub would rush to at once.
    fn take_better(&self, candidates: &mut Vec<(PeerId, Whereabouts)>) -> (PeerId, Whereabouts) {
        let first = self.io.random_below(candidates.len());
        let second = self.io.random_below(candidates.len());
        let better = if candidates[second].1.load() < candidates[first].1.load() { second } else { first };
        candidates.swap_remove(better)
    }

    async fn ask_one(
        &self,
        peer: PeerId,
        at: Whereabouts,
        request: v1::RowsRequest,
    ) -> (PeerId, Option<v1::RowsReply>) {
        let asked_at = Instant::now();
        counter!("loop_rows_asked_total").increment(1);
        let reply = self.mesh.ask_rows(peer, &at, request).await;
        if let (Whereabouts::Here(connection), Some(_)) = (&at, &reply) {
            connection.took(micros(asked_at));
        }
        histogram!("loop_rows_seconds").record(asked_at.elapsed().as_secs_f64());
        (peer, reply)
    }
}

/// Four times what an answer takes there lately, so that few are asked twice, and never at once.
fn hedge_delay(at: &Whereabouts) -> Duration {
    HEDGE_AFTER.max(Duration::from_micros(at.load() * 4)).min(HEDGE_AFTER_MAX)
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}
