//! The newest values of a keyed table that may still be on their way to the disk, and some that are used often.
//!
//! Owns the rule that makes the disk a safe second place to ask: nothing leaves before it is durable. Bounded by two
//! generations of `capacity` entries each, and by what the writer's queue can hold.

use std::{collections::HashMap, hash::Hash};

/// Values with the record that brought them. The map is never iterated in an order that matters.
pub struct Recent<K, V> {
    young: HashMap<K, (u64, V)>,
    old: HashMap<K, (u64, V)>,
    capacity: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// Empty; two generations of `capacity`.
    pub fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), capacity }
    }

    /// The value, if it is here.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.get(key).or_else(|| self.old.get(key)).map(|(_, value)| value)
    }

    /// Forgets what the disk has by now: something else has written there.
    pub fn forget_durable(&mut self, durable: u64) {
        self.young.retain(|_, (record, _)| *record > durable);
        self.old.retain(|_, (record, _)| *record > durable);
    }

    /// Keeps a value at least until `durable` reaches `record`.
    pub fn insert(&mut self, key: K, value: V, record: u64, durable: u64) {
        if self.young.len() >= self.capacity {
            let mut old = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            old.retain(|_, (record, _)| *record > durable);
            // What is not durable yet stays, unless a newer value of the same key took its place.
            for (key, value) in old {
                if !self.old.contains_key(&key) {
                    self.young.insert(key, value);
                }
            }
        }
        self.young.insert(key, (record, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_before_it_is_durable() {
        let mut recent = Recent::new(2);
        for key in 1..=20_u64 {
            recent.insert(key, key, key, 0);
        }
        assert!((1..=20).all(|key| recent.get(&key) == Some(&key)));
        for key in 21..=40 {
            recent.insert(key, key, key, key - 1);
        }
        assert_eq!(recent.get(&1), None);
        assert_eq!(recent.get(&40), Some(&40));
    }

    #[test]
    fn the_newest_value_wins() {
        let mut recent = Recent::new(1);
        for value in 1..=9_u64 {
            recent.insert("k", value, value, 0);
            recent.insert("other", value, value, 0);
            assert_eq!(recent.get("k"), Some(&value));
        }
    }
}
