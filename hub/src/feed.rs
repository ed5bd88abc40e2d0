//! What every hub does with what has been agreed: wakes the peers that need it, tells the browsers that wait.
//!
//! Owns no queue of records. A peer's feed reads the log itself from where it is, so a slow peer costs nothing but
//! its own lag.

use std::sync::{Arc, OnceLock};

use loop_proto::ids::PeerId;
use loop_raft_store::{
    adapter::{ApplySink, StateReader},
    machine::{Event, Record, RecordBody},
};
use metrics::counter;

use crate::{presence::Presence, waiters::Waiters};

/// Records looked at in one go while the state is locked for reading.
const SCAN_MAX: usize = 1024;
/// Bytes of records in one batch, before the one that reaches it.
const BATCH_BYTES: usize = 1 << 20;

/// Follows the machine on one hub.
pub struct Feed {
    own_hub: u64,
    presence: Arc<Presence>,
    waiters: Arc<Waiters>,
    reader: OnceLock<StateReader>,
}

impl Feed {
    /// A feed for this hub's peers and browsers.
    pub fn new(own_hub: u64, presence: Arc<Presence>, waiters: Arc<Waiters>) -> Arc<Self> {
        Arc::new(Self { own_hub, presence, waiters, reader: OnceLock::new() })
    }

    /// Gives it the state to look at; once, before anything is applied that peers could wait for.
    pub fn attach(&self, reader: StateReader) {
        // A second reader would be the same state.
        let _ = self.reader.set(reader);
    }

    fn wake_all(&self) {
        for connection in self.presence.all_here() {
            connection.wake.notify_one();
        }
    }

    fn tell_browsers(&self, record: &Record) {
        match &record.body {
            RecordBody::Task(task) => {
                counter!("loop_tasks_appended_total").increment(1);
                if task.origin_hub == self.own_hub {
                    self.waiters.appended(task.request_id, record.id);
                }
            }
            RecordBody::Facts(facts) => {
                if let (Some(task), Some(receipt)) = (facts.task, &facts.receipt) {
                    counter!("loop_tasks_answered_total").increment(1);
                    self.waiters.committed(task, (facts.peer, facts.epoch), receipt);
                }
            }
            RecordBody::Assignment(_) | RecordBody::Audit => {}
        }
    }
}

impl ApplySink for Feed {
    fn applied(&self, events: &[Event], _applied_index: u64) {
        let mut holders: Vec<PeerId> = Vec::new();
        let mut everybody = false;
        let mut forums = Vec::new();
        for event in events {
            let Event::RecordAppended(record) = event else { continue };
            self.tell_browsers(record);
            match record.forum {
                None => everybody = true,
                Some(forum) => forums.push(forum),
            }
        }
        if everybody {
            return self.wake_all();
        }
        forums.sort_unstable();
        forums.dedup();
        if let (false, Some(reader)) = (forums.is_empty(), self.reader.get()) {
            reader.read(|state| {
                for forum in forums.iter().filter_map(|forum| state.forum(*forum)) {
                    holders.extend(forum.replicas.iter().map(|replica| replica.peer));
                }
            });
        }
        holders.sort_unstable();
        holders.dedup();
        for connection in holders.into_iter().filter_map(|peer| self.presence.here(peer)) {
            connection.wake.notify_one();
        }
    }

    fn replaced(&self, _applied_index: u64) {
        self.wake_all();
    }
}

/// What a peer is sent next.
#[derive(Debug, Default)]
pub struct Portion {
    /// Encoded records, ascending.
    pub records: Vec<bytes::Bytes>,
    /// Nothing else for this peer up to this id.
    pub through: u64,
    /// Whether there is more already.
    pub more: bool,
}

/// The position lies below the trim point: the records after it are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("records up to {trimmed_through} are gone")]
pub struct Trimmed {
    /// The trim point.
    pub trimmed_through: u64,
}

/// Reads the log after `after` for `peer`: the directory, and the forums it holds.
pub fn portion(reader: &StateReader, peer: PeerId, after: u64) -> Result<Portion, Trimmed> {
    reader.read(|state| {
        if after < state.trimmed_through() {
            return Err(Trimmed { trimmed_through: state.trimmed_through() });
        }
        let mut portion = Portion { through: after.min(state.newest()), ..Portion::default() };
        let mut bytes = 0;
        for (looked_at, record) in state.records_after(after).enumerate() {
            if looked_at == SCAN_MAX || bytes >= BATCH_BYTES {
                portion.more = true;
                break;
            }
            let wanted = record.forum.is_none_or(|forum| {
                state.forum(forum).is_some_and(|forum| forum.replicas.iter().any(|r| r.peer == peer))
            });
            if wanted {
                bytes += record.encoded.len();
                portion.records.push(record.encoded.clone());
            }
            portion.through = record.id.get();
        }
        Ok(portion)
    })
}
