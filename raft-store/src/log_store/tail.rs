//! The newest entries, kept in memory. Replication and apply read here; the engine is for those far behind.
//!
//! Holds a run of consecutive entries up to the end of the log. Never drops an entry that the engine does not
//! hold yet: what is not cached can be read from the engine.

use std::collections::VecDeque;

use openraft::EntryPayload;

use crate::raft_types::Entry;

/// What an entry costs beside its command, roughly: the struct and its slot.
const ENTRY_OVERHEAD: usize = 96;
/// What one member of a membership costs, roughly: a map node and two short strings.
const MEMBER_OVERHEAD: usize = 160;

/// About how many bytes of memory an entry takes; also what bounds a read.
pub(crate) fn weight(entry: &Entry) -> usize {
    ENTRY_OVERHEAD
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Normal(proposal) => proposal.0.len(),
            EntryPayload::Membership(membership) => membership.nodes().count() * MEMBER_OVERHEAD,
        }
}

/// The cached run `first..first + len`.
#[derive(Debug)]
pub(crate) struct Tail {
    first: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    capacity: usize,
}

impl Tail {
    /// An empty cache of a log that goes on at `next`.
    pub fn new(next: u64, capacity: usize) -> Self {
        Self { first: next, entries: VecDeque::new(), bytes: 0, capacity }
    }

    /// The first cached index; where the next entry goes if there is none.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Adds the entry that follows the last one. If nothing is cached, the run starts anew with it.
    pub fn push(&mut self, entry: Entry) {
        if self.entries.is_empty() {
            self.first = entry.log_id.index();
        }
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
    }

    /// Forgets entries from `next` on.
    pub fn truncate(&mut self, next: u64) {
        while self.first + self.entries.len() as u64 > next {
            match self.entries.pop_back() {
                Some(entry) => self.bytes -= weight(&entry),
                None => break,
            }
        }
        self.first = self.first.min(next);
    }

    /// Forgets entries before `first`.
    pub fn purge(&mut self, first: u64) {
        while self.first < first {
            match self.entries.pop_front() {
                Some(entry) => {
                    self.bytes -= weight(&entry);
                    self.first += 1;
                }
                None => self.first = first,
            }
        }
    }

    /// Drops the oldest entries until the rest fit, but none from `persisted_next` on.
    pub fn evict(&mut self, persisted_next: u64) {
        while self.bytes > self.capacity && self.first < persisted_next {
            let Some(entry) = self.entries.pop_front() else { break };
            self.bytes -= weight(&entry);
            self.first += 1;
        }
    }

    /// The entry at `index`, if cached.
    pub fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Entries `start..end` as far as cached and until their weight passes `max_bytes`, at least one.
    pub fn read(&self, start: u64, end: u64, max_bytes: usize) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for index in start..end {
            let Some(entry) = self.get(index) else { break };
            bytes += weight(entry);
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::raft_types::{LeaderId, LogId, Proposal};

    fn entry(index: u64, size: usize) -> Entry {
        let payload = EntryPayload::Normal(Proposal(Bytes::from(vec![0; size])));
        Entry { log_id: LogId::new(LeaderId { term: 1, node_id: 1 }, index), payload }
    }

    fn filled(range: std::ops::Range<u64>, capacity: usize) -> Tail {
        let mut tail = Tail::new(range.start, capacity);
        range.for_each(|index| tail.push(entry(index, 100)));
        tail
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index()).collect()
    }

    #[test]
    fn eviction_keeps_within_the_bound_but_never_drops_what_is_not_on_disk() {
        let mut tail = filled(0..10, 3 * weight(&entry(0, 100)));
        tail.evict(0);
        assert_eq!(tail.first(), 0);
        tail.evict(4);
        assert_eq!(tail.first(), 4);
        tail.evict(10);
        assert_eq!(tail.first(), 7);
    }

    #[test]
    fn reads_are_bounded_by_weight_and_never_empty() {
        let tail = filled(5..10, usize::MAX);
        assert_eq!(indexes(&tail.read(6, 100, usize::MAX)), [6, 7, 8, 9]);
        assert_eq!(indexes(&tail.read(6, 9, 2 * weight(&entry(0, 100)))), [6, 7]);
        assert_eq!(indexes(&tail.read(6, 9, 1)), [6]);
        assert!(tail.read(4, 9, 1).is_empty(), "4 is not cached, so nothing may follow it");
    }

    #[test]
    fn truncate_and_purge_leave_the_run_where_the_log_goes_on() {
        let mut tail = filled(5..10, usize::MAX);
        tail.truncate(8);
        tail.purge(6);
        assert_eq!(indexes(&tail.read(6, 100, usize::MAX)), [6, 7]);
        tail.truncate(3);
        assert_eq!((tail.first(), tail.bytes), (3, 0));
        tail.purge(20);
        assert_eq!(tail.first(), 20);
        tail.push(entry(20, 1));
        assert_eq!(tail.get(20).unwrap().log_id.index(), 20);
    }
}
