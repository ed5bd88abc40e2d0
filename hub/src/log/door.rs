//! The leader's door: takes commands from its own and the other hubs' proposers, stamps the time, hands them to Raft.
//!
//! Owns the clock of the log. Never retries: that is the proposer's.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use loop_net::io::Io;
use loop_proto::{
    breakage::{self, Breakage},
    v1::{self, from_leader, to_leader},
};
use loop_raft_store::{machine, raft_types::Proposal};
use openraft::{ReadPolicy, async_runtime::watch::WatchReceiver};
use prost::Message;
use tokio::sync::mpsc;

use crate::raft::HubRaftNode;

/// Commands taken from a queue, or sent to the leader, in one go.
pub(super) const BATCH_MAX: usize = 512;

/// Takes commands while this hub leads. Cheap to clone.
#[derive(Clone)]
pub struct LeaderDoor {
    raft: HubRaftNode,
    io: Io,
    last_stamp: Arc<AtomicU64>,
}

impl LeaderDoor {
    /// A door into `raft`, stamping with the clock of `io`.
    pub fn new(raft: HubRaftNode, io: Io) -> Self {
        Self { raft, io, last_stamp: Arc::new(AtomicU64::new(0)) }
    }

    /// Serves one proposer until it hangs up.
    pub async fn serve(&self, mut rx: mpsc::Receiver<v1::ToLeader>, tx: mpsc::Sender<v1::FromLeader>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while rx.recv_many(&mut batch, BATCH_MAX).await > 0 {
            if !self.raft.is_leader() {
                let leader = self.raft.current_leader().await;
                for ask in batch.drain(..) {
                    let kind = from_leader::Kind::NotLeader(v1::NotLeader { leader });
                    if tx.send(v1::FromLeader { seq: ask.seq, kind: Some(kind) }).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            let (mut seqs, mut commands) = (Vec::new(), Vec::new());
            for ask in batch.drain(..) {
                match ask.kind {
                    Some(to_leader::Kind::Command(command)) => {
                        // In the log it would stop every hub that does not know it, this one first.
                        if machine::read_command(&command[..]).is_err() {
                            let kind = Some(from_leader::Kind::Outcome(machine::malformed()));
                            if tx.send(v1::FromLeader { seq: ask.seq, kind }).await.is_err() {
                                return;
                            }
                            continue;
                        }
                        seqs.push(ask.seq);
                        commands.push(Proposal(self.stamp(&command)));
                    }
                    Some(to_leader::Kind::ReadIndex(_)) => {
                        tokio::spawn(read_index(self.raft.clone(), ask.seq, tx.clone()));
                    }
                    None => {}
                }
            }
            if !commands.is_empty() {
                self.write(seqs, commands, tx.clone()).await;
            }
        }
    }

    /// Appends the leader's time. Protobuf reads a field given twice as its last value, so the command need not be
    /// written anew.
    fn stamp(&self, command: &[u8]) -> Bytes {
        let now = self.io.now_ms();
        let at_ms = self.last_stamp.fetch_max(now, Ordering::Relaxed).max(now);
        let mut stamped = BytesMut::with_capacity(command.len() + 12);
        stamped.extend_from_slice(command);
        let stamp = v1::Command { at_ms, ..v1::Command::default() };
        stamp.encode(&mut stamped).expect("BytesMut grows as needed");
        stamped.freeze()
    }

    async fn write(&self, seqs: Vec<u64>, commands: Vec<Proposal>, tx: mpsc::Sender<v1::FromLeader>) {
        match self.raft.client_write_many(commands).await {
            Ok(outcomes) => {
                let outcomes = outcomes.map(|outcome| match outcome {
                    Ok(Ok(response)) => from_leader::Kind::Outcome(response.response.0),
                    Ok(Err(error)) => indeterminate(&error),
                    Err(fatal) => indeterminate(&fatal),
                });
                tokio::spawn(tell(seqs, outcomes, tx));
            }
            Err(fatal) => {
                for seq in seqs {
                    let kind = Some(indeterminate(&fatal));
                    if tx.send(v1::FromLeader { seq, kind }).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn indeterminate(why: &dyn std::fmt::Display) -> from_leader::Kind {
    from_leader::Kind::Indeterminate(why.to_string().chars().take(200).collect())
}

/// Tells the outcome of each command. When Raft stops, `outcomes` ends early, and must not be asked again then.
async fn tell(
    seqs: Vec<u64>,
    outcomes: impl Stream<Item = from_leader::Kind>,
    tx: mpsc::Sender<v1::FromLeader>,
) {
    let mut outcomes = pin!(outcomes.fuse());
    for seq in seqs {
        let kind = outcomes.next().await.unwrap_or_else(|| indeterminate(&"the leader stepped down"));
        if tx.send(v1::FromLeader { seq, kind: Some(kind) }).await.is_err() {
            return;
        }
    }
}

async fn read_index(raft: HubRaftNode, seq: u64, tx: mpsc::Sender<v1::FromLeader>) {
    let index = match breakage::is_on(Breakage::UnconfirmedLead) && raft.is_leader() {
        true => raft.metrics().borrow_watched().last_applied.map(|id| id.index()),
        false => {
            let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await;
            linearizer.ok().map(|linearizer| linearizer.read_log_id().index())
        }
    };
    let kind = match index {
        Some(index) => from_leader::Kind::ReadIndex(index),
        None => from_leader::Kind::NotLeader(v1::NotLeader { leader: raft.current_leader().await }),
    };
    // A caller that has hung up asks again elsewhere.
    let _ = tx.send(v1::FromLeader { seq, kind: Some(kind) }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics if it is polled again after its end, as an async generator does.
    fn ends_after(outcomes: usize) -> impl Stream<Item = from_leader::Kind> {
        futures::stream::unfold(0, move |told| async move {
            (told < outcomes).then(|| (from_leader::Kind::Outcome(v1::Outcome::default()), told + 1))
        })
    }

    #[tokio::test]
    async fn a_raft_that_stops_in_the_middle_of_a_batch_leaves_the_rest_indeterminate() {
        let (tx, mut rx) = mpsc::channel(8);
        tell(vec![1, 2, 3, 4], ends_after(1), tx).await;
        let mut told = Vec::new();
        while let Some(v1::FromLeader { seq, kind: Some(kind) }) = rx.recv().await {
            told.push((seq, matches!(kind, from_leader::Kind::Indeterminate(_))));
        }
        assert_eq!(told, [(1, false), (2, true), (3, true), (4, true)]);
    }
}
