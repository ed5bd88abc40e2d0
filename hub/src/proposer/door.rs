//! The leader's door: takes commands from its own and the other hubs' proposers, stamps the time, hands them to Raft.
//!
//! Owns the clock of the log. Never retries: that is the proposer's.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use loop_proto::{
    breakage::{self, Breakage},
    v1::{self, from_leader, to_leader},
};
use loop_raft_store::raft_types::Proposal;
use openraft::{ReadPolicy, async_runtime::watch::WatchReceiver};
use prost::Message;
use tokio::sync::mpsc;

use super::BATCH_MAX;
use crate::{io::Io, raft_node::HubRaftNode};

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
    /// decoded.
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
        let indeterminate =
            |why: String| from_leader::Kind::Indeterminate(why.chars().take(200).collect::<String>());
        match self.raft.client_write_many(commands).await {
            Ok(outcomes) => {
                // When Raft stops it ends early, and must not be asked again then.
                let mut outcomes = outcomes.fuse();
                tokio::spawn(async move {
                    for seq in seqs {
                        let kind = match outcomes.next().await {
                            Some(Ok(Ok(response))) => from_leader::Kind::Outcome(response.response.0),
                            Some(Ok(Err(error))) => indeterminate(error.to_string()),
                            Some(Err(fatal)) => indeterminate(fatal.to_string()),
                            None => indeterminate("the leader stepped down".into()),
                        };
                        if tx.send(v1::FromLeader { seq, kind: Some(kind) }).await.is_err() {
                            return;
                        }
                    }
                });
            }
            Err(fatal) => {
                for seq in seqs {
                    let kind = Some(indeterminate(fatal.to_string()));
                    if tx.send(v1::FromLeader { seq, kind }).await.is_err() {
                        return;
                    }
                }
            }
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
