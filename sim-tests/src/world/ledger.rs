//! The log as the hubs apply it: each hub's word, as it gives it, held against every other's.
//!
//! Owns the one sequence of records there may be. Each new record is shown to the invariants once, at the moment the
//! first hub applies it.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use loop_proto::v1::{self, fact, record::Body};
use loop_raft_store::{
    adapter::ApplySink,
    machine::{Event, HubState, snapshot},
};
use parking_lot::Mutex;
use prost::{Message, bytes::Bytes};

use super::trace::Trace;
use crate::invariants::Invariants;

/// Entries of Raft's log between two at which the hubs' states are compared: to encode the state of a long story after
/// each entry would take most of its time.
const COMPARED_EVERY: u64 = 32;

/// All records, and who has to be told of them. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Mutex<Inner>>,
    invariants: Invariants,
    trace: Trace,
}

/// How often what happened, as the log shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// A forum's primary changed.
    pub moved: u64,
    /// An invited peer came to serve.
    pub copied: u64,
    /// A copy was compared with another and counts.
    pub confirmed: u64,
    /// A hub's state was replaced by a snapshot.
    pub replaced: u64,
    /// A forum was closed.
    pub closed: u64,
}

#[derive(Default)]
struct Inner {
    records: Vec<(Bytes, v1::Record)>,
    /// The ids of each forum's records, ascending, and of those of them that say who holds it.
    forums: BTreeMap<u32, (Vec<u64>, Vec<u64>)>,
    /// The forums that are gone, each with the record that says so.
    closed: BTreeMap<u32, u64>,
    /// Records up to and including this one are gone from the hubs' log.
    trimmed_through: u64,
    /// How often a hub's state was replaced by a snapshot.
    replaced: u64,
    /// The state at indexes of Raft's log: the hub that came there first, and its digest.
    states: BTreeMap<u64, (u64, u64)>,
}

impl Ledger {
    /// Empty.
    pub fn new(invariants: Invariants, trace: Trace) -> Self {
        Self { inner: Arc::default(), invariants, trace }
    }

    /// A hub's ear, for one life of it.
    pub fn witness(&self, hub: u64) -> Arc<dyn ApplySink> {
        Arc::new(Witness { ledger: self.clone(), hub, next: Mutex::new(None) })
    }

    /// How many records there are: the newest one's id.
    pub fn newest(&self) -> u64 {
        self.inner.lock().records.len() as u64
    }

    /// The record of this id.
    pub fn record(&self, id: u64) -> Option<v1::Record> {
        self.inner.lock().record(id).cloned()
    }

    /// The newest record of a forum's stream up to `through`; 0: none.
    pub fn newest_of(&self, forum: u32, through: u64) -> u64 {
        let inner = self.inner.lock();
        inner.forums.get(&forum).map_or(0, |(records, _)| newest_upto(records, through))
    }

    /// The forums, each with who holds it now.
    pub fn assignments(&self) -> BTreeMap<u32, v1::Assignment> {
        let inner = self.inner.lock();
        let newest = |(forum, (_, all)): (&u32, &(Vec<u64>, Vec<u64>))| {
            Some((*forum, inner.assignment(newest_upto(all, u64::MAX))?.clone()))
        };
        let is_open = |forum: &(&u32, _)| !inner.closed.contains_key(forum.0);
        inner.forums.iter().filter(is_open).filter_map(newest).collect()
    }

    /// The forums that are gone.
    pub fn closed(&self) -> Vec<u32> {
        self.inner.lock().closed.keys().copied().collect()
    }

    /// Forums in which there is nothing, and nothing on its way into them.
    pub fn empty(&self) -> Vec<u32> {
        let open = self.open_tasks();
        let waits =
            |forum: u32| open.iter().any(|task| self.record(*task).is_some_and(|r| r.forum_id == forum));
        let forums = self.assignments().into_keys();
        forums.filter(|forum| self.messages_at(*forum, u64::MAX).is_empty() && !waits(*forum)).collect()
    }

    /// Who holds a forum, by the newest record that is not after `through`.
    pub fn assignment_at(&self, forum: u32, through: u64) -> Option<v1::Assignment> {
        let inner = self.inner.lock();
        if inner.is_closed_at(forum, through) {
            return None;
        }
        let (_, assignments) = inner.forums.get(&forum)?;
        inner.assignment(newest_upto(assignments, through)).cloned()
    }

    /// The ids of the messages a copy of a forum has that has applied its records up to `through`.
    pub fn messages_at(&self, forum: u32, through: u64) -> BTreeSet<u64> {
        let inner = self.inner.lock();
        let mut messages = BTreeSet::new();
        let Some((records, _)) = inner.forums.get(&forum) else { return messages };
        for record in records.iter().take_while(|id| **id <= through).filter_map(|id| inner.record(*id)) {
            for fact in crate::invariants::facts_of(record) {
                match fact {
                    fact::Kind::MessageStored(row) => _ = messages.insert(row.id.into()),
                    fact::Kind::MessageRemoved(row) => _ = messages.remove(&row.id.into()),
                    _ => {}
                }
            }
        }
        messages
    }

    /// Records up to and including this one are gone from the hubs' log.
    pub fn trimmed_through(&self) -> u64 {
        self.inner.lock().trimmed_through
    }

    /// How often what happened.
    pub fn seen(&self) -> Seen {
        let inner = self.inner.lock();
        let mut held = BTreeMap::<u32, &v1::Assignment>::new();
        let closed = inner.closed.len() as u64;
        let mut seen = Seen { replaced: inner.replaced, closed, ..Seen::default() };
        for (_, record) in &inner.records {
            let Some(Body::Assignment(now)) = &record.body else { continue };
            let Some(before) = held.insert(record.forum_id, now) else { continue };
            seen.moved += u64::from(before.primary != now.primary);
            let came = before.joining.iter().filter(|joining| now.replicas.contains(&joining.peer_id));
            seen.copied += came.count() as u64;
            let counts = |id: &&u32| now.replicas.contains(id) && !now.unconfirmed.contains(id);
            seen.confirmed += before.unconfirmed.iter().filter(counts).count() as u64;
        }
        seen
    }

    /// Whether a peer serves a forum, by the newest assignment that is not after `through`, if that is after `after`.
    pub fn serves_at(&self, forum: u32, after: u64, through: u64, peer: u32) -> bool {
        let inner = self.inner.lock();
        let Some((_, assignments)) = inner.forums.get(&forum) else { return false };
        if inner.is_closed_at(forum, through) {
            return false;
        }
        let id = newest_upto(assignments, through);
        id > after && inner.assignment(id).is_some_and(|assignment| assignment.replicas.contains(&peer))
    }

    /// Tasks without an answer.
    pub fn open_tasks(&self) -> Vec<u64> {
        let inner = self.inner.lock();
        let mut open = BTreeSet::new();
        for (_, record) in &inner.records {
            match &record.body {
                Some(Body::Task(_)) => open.insert(record.id),
                Some(Body::Facts(facts)) => facts.task_id.is_some_and(|task| open.remove(&task)),
                _ => false,
            };
        }
        open.into_iter().collect()
    }

    /// A hub's state at an index of Raft's log is every hub's state there, whatever led to it: a log or a snapshot. States that
    /// differ go on to differ, so some of the indexes tell.
    fn stepped(&self, hub: u64, state: &HubState, applied_index: u64) {
        if !applied_index.is_multiple_of(COMPARED_EVERY) {
            return;
        }
        let mut hasher = DefaultHasher::new();
        snapshot::encode(state).hash(&mut hasher);
        let digest = hasher.finish();
        let (first, known) = *self.inner.lock().states.entry(applied_index).or_insert((hub, digest));
        if known != digest {
            let what = format!("at index {applied_index} hub-{hub} holds another state than hub-{first}");
            self.invariants.broken("hubs hold one state", what);
        }
    }

    fn heard(&self, hub: u64, id: u64, encoded: &Bytes) {
        let mut inner = self.inner.lock();
        let at = usize::try_from(id).unwrap_or(usize::MAX);
        if at == 0 || at > inner.records.len() + 1 {
            let newest = inner.records.len();
            self.invariants.broken(
                "one log",
                format!("hub-{hub} applied record {id} when nobody had applied more than {newest}"),
            );
        } else if let Some((known, _)) = inner.records.get(at - 1) {
            if known != encoded {
                self.invariants.broken("one log", format!("hub-{hub} applied another record {id}"));
            }
        } else {
            let record = match v1::Record::decode(encoded.clone()) {
                Ok(record) => record,
                Err(error) => {
                    return self.invariants.broken("one log", format!("record {id}: {error}"));
                }
            };
            inner.records.push((encoded.clone(), record.clone()));
            if let Some(Body::Closed(closed)) = &record.body {
                inner.closed.insert(closed.forum_id, id);
            }
            let (records, assignments) = inner.forums.entry(record.forum_id).or_default();
            records.push(id);
            if matches!(record.body, Some(Body::Assignment(_))) {
                assignments.push(id);
            }
            drop(inner);
            self.trace.bytes(hub, encoded);
            if self.trace.prints() {
                self.trace.remark("log", &story(&record));
            }
            self.invariants.each(|invariant| invariant.on_record(&record));
        }
    }
}

impl Inner {
    fn record(&self, id: u64) -> Option<&v1::Record> {
        let at = usize::try_from(id).ok()?.checked_sub(1)?;
        self.records.get(at).map(|(_, record)| record)
    }

    fn is_closed_at(&self, forum: u32, through: u64) -> bool {
        self.closed.get(&forum).is_some_and(|at| *at <= through)
    }

    fn assignment(&self, id: u64) -> Option<&v1::Assignment> {
        match self.record(id)?.body.as_ref()? {
            Body::Assignment(assignment) => Some(assignment),
            _ => None,
        }
    }
}

/// The last of these ascending ids that is not above `through`; 0: none.
fn newest_upto(ids: &[u64], through: u64) -> u64 {
    ids[..ids.partition_point(|id| *id <= through)].last().copied().unwrap_or(0)
}

/// A record in words.
fn story(record: &v1::Record) -> String {
    let what = match &record.body {
        Some(Body::Task(task)) => format!("task, message {:?}", task.message_id),
        Some(Body::Facts(facts)) => {
            format!("facts of task {:?} by peer {} under e{}", facts.task_id, facts.peer_id, facts.epoch)
        }
        Some(Body::Assignment(assignment)) => {
            let v1::Assignment { epoch, primary, replicas, joining, draining, unconfirmed, .. } = assignment;
            let joining: Vec<u32> = joining.iter().map(|joining| joining.peer_id).collect();
            format!(
                "e{epoch}: primary {primary} of {replicas:?}, joining {joining:?}, draining {draining:?}, not compared \
                 {unconfirmed:?}"
            )
        }
        Some(Body::Closed(closed)) => format!("forum {} is closed", closed.forum_id),
        _ => "something else".to_owned(),
    };
    format!("record {} of forum {}: {what}", record.id, record.forum_id)
}

struct Witness {
    ledger: Ledger,
    hub: u64,
    /// The record that must come next; unknown at a start and after a snapshot.
    next: Mutex<Option<u64>>,
}

impl ApplySink for Witness {
    fn applied(&self, events: &[Event], _applied_index: u64) {
        for event in events {
            if let Event::Trimmed { through } = event {
                let mut inner = self.ledger.inner.lock();
                inner.trimmed_through = inner.trimmed_through.max(*through);
            }
            let Event::RecordAppended(record) = event else { continue };
            let id = record.id.get();
            let due = self.next.lock().replace(id + 1);
            if due.is_some_and(|due| due != id) {
                let what = format!("hub-{} applied record {id} where {due:?} was due", self.hub);
                self.ledger.invariants.broken("one log", what);
            }
            self.ledger.heard(self.hub, id, &record.encoded);
        }
    }

    fn stepped(&self, state: &HubState, applied_index: u64) {
        self.ledger.stepped(self.hub, state, applied_index);
    }

    fn replaced(&self, _applied_index: u64) {
        *self.next.lock() = None;
        self.ledger.inner.lock().replaced += 1;
    }
}
