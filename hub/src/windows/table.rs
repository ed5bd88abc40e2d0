//! Which windows are in memory, and which of them was used longest ago. Owns the order of use and the sum of bytes; never
//! looks into a window.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use loop_proto::ids::ForumId;
use tokio::time::Instant;

use super::slot::Slot;

/// Slots by forum, in the order of their last use.
#[derive(Default)]
pub(super) struct Table {
    slots: HashMap<ForumId, Entry>,
    order: BTreeMap<u64, ForumId>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    slot: Arc<Slot>,
    use_number: u64,
    used_at: Instant,
    bytes: usize,
}

impl Table {
    /// The forum's slot, used now; a new one if it has none.
    pub fn enter(&mut self, forum: ForumId, now: Instant) -> Arc<Slot> {
        self.uses += 1;
        let use_number = self.uses;
        let entry = self.slots.entry(forum).or_insert_with(|| Entry {
            slot: Arc::default(),
            use_number,
            used_at: now,
            bytes: 0,
        });
        self.order.remove(&entry.use_number);
        (entry.use_number, entry.used_at) = (use_number, now);
        self.order.insert(use_number, forum);
        entry.slot.clone()
    }

    /// The forum's slot, if it has one; that is no use of it.
    pub fn get(&self, forum: ForumId) -> Option<Arc<Slot>> {
        self.slots.get(&forum).map(|entry| entry.slot.clone())
    }

    /// The slot of this forum costs so much now, if it is still this one.
    pub fn resize(&mut self, forum: ForumId, slot: &Arc<Slot>, bytes: usize) {
        let Some(entry) = self.slots.get_mut(&forum).filter(|entry| Arc::ptr_eq(&entry.slot, slot)) else {
            return;
        };
        self.bytes = self.bytes - entry.bytes + bytes;
        entry.bytes = bytes;
    }

    /// Drops what was used longest ago until at most `bytes` bytes and `slots` windows are left.
    #[must_use = "what was dropped is to be discarded"]
    pub fn shrink(&mut self, bytes: usize, slots: usize) -> Vec<Arc<Slot>> {
        self.drop_while(|table, _| table.bytes > bytes || table.slots.len() > slots)
    }

    /// Drops what was not used since `since`.
    #[must_use = "what was dropped is to be discarded"]
    pub fn drop_idle(&mut self, since: Instant) -> Vec<Arc<Slot>> {
        self.drop_while(|_, oldest| oldest.used_at < since)
    }

    /// Drops all.
    #[must_use = "what was dropped is to be discarded"]
    pub fn clear(&mut self) -> Vec<Arc<Slot>> {
        self.drop_while(|_, _| true)
    }

    /// How many there are, and what they cost.
    pub fn held(&self) -> (usize, usize) {
        (self.slots.len(), self.bytes)
    }

    /// Drops the forum's.
    #[must_use = "what was dropped is to be discarded"]
    pub fn remove(&mut self, forum: ForumId) -> Option<Arc<Slot>> {
        let entry = self.slots.remove(&forum)?;
        self.bytes -= entry.bytes;
        self.order.remove(&entry.use_number);
        Some(entry.slot)
    }

    fn drop_while(&mut self, is_due: impl Fn(&Self, &Entry) -> bool) -> Vec<Arc<Slot>> {
        let mut dropped = Vec::new();
        while let Some((use_number, forum)) = self.order.first_key_value().map(|(at, forum)| (*at, *forum)) {
            let Some(oldest) = self.slots.get(&forum).filter(|oldest| is_due(self, oldest)) else { break };
            self.bytes -= oldest.bytes;
            self.order.remove(&use_number);
            dropped.extend(self.slots.remove(&forum).map(|entry| entry.slot));
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn forum(id: u32) -> ForumId {
        ForumId::new(id).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_used_longest_ago_goes_first() {
        let mut table = Table::default();
        let now = Instant::now();
        for id in 1..=3 {
            let slot = table.enter(forum(id), now);
            table.resize(forum(id), &slot, 100);
        }
        table.enter(forum(1), now + Duration::from_secs(5));
        assert_eq!(table.shrink(250, 10).len(), 1);
        assert!(table.get(forum(2)).is_none() && table.get(forum(1)).is_some());
        assert_eq!(table.held(), (2, 200));
        assert_eq!(table.shrink(1000, 1).len(), 1);
        assert!(table.get(forum(3)).is_none());
        assert!(table.drop_idle(now + Duration::from_secs(5)).is_empty());
        assert_eq!(table.held().0, 1);
        assert_eq!(table.drop_idle(now + Duration::from_secs(6)).len(), 1);
        assert_eq!(table.held(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_was_dropped_meanwhile_counts_no_more() {
        let mut table = Table::default();
        let old = table.enter(forum(1), Instant::now());
        assert_eq!(table.clear().len(), 1);
        table.enter(forum(1), Instant::now());
        table.resize(forum(1), &old, 100);
        assert_eq!(table.held(), (1, 0));
    }
}
