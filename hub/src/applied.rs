//! What every hub does with what has been agreed: wakes the peers that need it, tells the browsers that wait.
//!
//! Owns no queue of records: a peer's feed reads the log itself from where it is.

use std::sync::{Arc, OnceLock};

use loop_proto::ids::{ForumId, PeerId};
use loop_raft_store::{
    adapter::{ApplySink, StateReader},
    machine::{Event, HubState, Record, RecordBody},
};
use metrics::counter;

use crate::{
    calls::{waiters::Waiters, watchers::Watchers},
    group::Freshness,
    mesh::{presence::Presence, traffic::Traffic},
    windows::Windows,
};

/// Follows the machine on one hub.
pub struct OnApplied {
    presence: Arc<Presence>,
    browsers: Browsers,
    windows: Arc<Windows>,
    counted: Counted,
    reader: OnceLock<StateReader>,
}

/// Who of this hub's browsers waits for something to be applied.
pub struct Browsers {
    /// For its own write.
    pub waiters: Arc<Waiters>,
    /// For anybody's in its forum.
    pub watchers: Arc<Watchers>,
}

/// Where tasks are counted as they are appended. A hub that was started, or was away, applies in a moment what happened in
/// hours: that is no traffic, and is not counted.
pub struct Counted {
    /// Each forum's.
    pub traffic: Arc<Traffic>,
    /// Whether what is applied happens now.
    pub freshness: Arc<Freshness>,
}

impl OnApplied {
    /// Tells this hub's peers and browsers.
    pub fn new(
        presence: Arc<Presence>,
        browsers: Browsers,
        windows: Arc<Windows>,
        counted: Counted,
    ) -> Arc<Self> {
        Arc::new(Self { presence, browsers, windows, counted, reader: OnceLock::new() })
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

    fn part_from_unwanted(&self, peer: PeerId) {
        let Some(reader) = self.reader.get() else { return };
        let is_unwanted = reader.read(|state| state.unwanted(peer).is_some());
        if let (true, Some(connection)) = (is_unwanted, self.presence.here(peer)) {
            connection.gone.send_replace(true);
        }
    }

    /// Forums in which something has changed that may be shown; those that are closed are noticed by who watches them.
    fn tell_watchers(&self, mut forums: Vec<ForumId>) {
        let watchers = &self.browsers.watchers;
        let Some(reader) = self.reader.get().filter(|_| !forums.is_empty() && !watchers.is_empty()) else {
            return;
        };
        forums.sort_unstable();
        forums.dedup();
        let key = |state: &HubState, forum: ForumId| state.forum(forum).map(|forum| forum.key);
        let keys: Vec<_> =
            reader.read(|state| forums.iter().filter_map(|forum| key(state, *forum)).collect());
        keys.into_iter().for_each(|key| watchers.changed(key));
    }

    fn tell_browsers(&self, record: &Record) {
        match &record.body {
            RecordBody::Task(task) => self.browsers.waiters.appended(task.request_id, record.id),
            RecordBody::Facts(facts) => {
                if let (Some(task), Some(receipt)) = (facts.task, &facts.receipt) {
                    self.browsers.waiters.committed(task, receipt);
                }
            }
            RecordBody::Assignment(_) | RecordBody::Audit | RecordBody::Closed { .. } => {}
        }
    }
}

impl ApplySink for OnApplied {
    fn applied(&self, events: &[Event], _applied_index: u64) {
        let mut holders: Vec<PeerId> = Vec::new();
        let mut everybody = false;
        let mut forums = Vec::new();
        let mut shown = Vec::new();
        self.counted.count(events);
        // Before any browser is told, and before any read is told that this is applied.
        self.windows.applied(events, self.counted.freshness.is_current());
        for event in events {
            match event {
                Event::RecordAppended(record) => {
                    self.tell_browsers(record);
                    shown.extend(record.forum.filter(|_| matches!(record.body, RecordBody::Facts(_))));
                    match record.forum {
                        None => everybody = true,
                        Some(forum) => forums.push(forum),
                    }
                }
                // They are found among the forum's replicas no more, but must read that it is so.
                Event::ReplicasChanged { left, .. } => holders.extend(left),
                Event::ForumOpened(forum) => shown.push(*forum),
                Event::PeerStateChanged(peer) => self.part_from_unwanted(*peer),
                _ => {}
            }
        }
        self.tell_watchers(shown);
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
        self.windows.clear();
        self.browsers.watchers.all_changed();
        for connection in self.presence.all_here() {
            self.part_from_unwanted(connection.peer);
        }
        self.wake_all();
    }
}

impl Counted {
    fn count(&self, events: &[Event]) {
        if !self.freshness.is_current() {
            return;
        }
        self.traffic.tasks(events.iter().filter_map(task_of));
        let records = || events.iter().filter_map(record_of);
        let appended = records().filter(|record| record.task().is_some()).count();
        let answered = records().filter(|record| answers(record)).count();
        counter!("loop_tasks_appended_total").increment(appended as u64);
        counter!("loop_tasks_answered_total").increment(answered as u64);
    }
}

const fn record_of(event: &Event) -> Option<&Arc<Record>> {
    match event {
        Event::RecordAppended(record) => Some(record),
        _ => None,
    }
}

/// Whether a record closes a task.
fn answers(record: &Record) -> bool {
    matches!(&record.body, RecordBody::Facts(facts) if facts.task.is_some() && facts.receipt.is_some())
}

/// The forum an event gives a task to.
fn task_of(event: &Event) -> Option<ForumId> {
    record_of(event).and_then(|record| record.task().and(record.forum))
}
