//! Maps and a set whose copies share what has not changed since.
//!
//! A snapshot starts with a copy of the state, and no command is applied meanwhile. A million entries must therefore
//! not be copied one by one: all are cut into parts behind `Arc`, a copy takes the parts, and a part is copied when
//! one of its entries changes. Iteration order depends on the entries alone, so it is the same on every hub.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included, Unbounded},
    sync::Arc,
};

use loop_proto::ids::{ForumId, ForumKey, HubTime, MessageId, PeerId, RequestId, TaskId};

/// Parts of a map. At 200,000 entries a part holds 200, which is copied in microseconds.
const PARTS: usize = 1024;

/// A key that says which part it belongs to.
pub(super) trait Keyed: Ord + Copy {
    /// Any number that differs for most keys; the same for equal keys.
    fn spread(&self) -> u64;
}

/// A map of point look-ups.
#[derive(Clone, PartialEq)]
pub(super) struct SharedMap<K, V> {
    parts: Vec<Arc<BTreeMap<K, V>>>,
    len: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        let empty = Arc::new(BTreeMap::new());
        Self { parts: vec![empty; PARTS], len: 0 }
    }
}

impl<K: Keyed, V: Clone> SharedMap<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.parts[part(key)].get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        Arc::make_mut(&mut self.parts[part(key)]).get_mut(key)
    }

    /// The value it replaces, if there was one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let before = Arc::make_mut(&mut self.parts[part(&key)]).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let part = &mut self.parts[part(key)];
        if !part.contains_key(key) {
            return None;
        }
        self.len -= 1;
        Arc::make_mut(part).remove(key)
    }

    /// All entries, part by part.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter())
    }
}

fn part(key: &impl Keyed) -> usize {
    // Fibonacci hashing: the high bits of the product depend on every bit of the number.
    (key.spread().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % PARTS
}

/// A number that depends on all of these bytes.
pub(super) fn fold(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    words.fold(0, |sum: u64, word| sum.wrapping_mul(31).wrapping_add(word))
}

impl Keyed for RequestId {
    fn spread(&self) -> u64 {
        fold(&self.0)
    }
}

impl Keyed for ForumKey {
    fn spread(&self) -> u64 {
        fold(&self.0)
    }
}

impl Keyed for TaskId {
    fn spread(&self) -> u64 {
        self.get()
    }
}

impl Keyed for MessageId {
    fn spread(&self) -> u64 {
        self.get().into()
    }
}

/// An entry that says which block of neighbours it belongs to.
pub(super) trait Blocked: Ord + Copy {
    /// A block's name; blocks are ordered as their entries are.
    type Block: Ord + Copy;
    /// The block of this entry.
    fn block(&self) -> Self::Block;
}

/// An ordered set.
#[derive(Clone, PartialEq)]
pub(super) struct SharedSet<T: Blocked> {
    blocks: BTreeMap<T::Block, Arc<BTreeSet<T>>>,
    len: usize,
}

impl<T: Blocked> Default for SharedSet<T> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), len: 0 }
    }
}

impl<T: Blocked> SharedSet<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn contains(&self, entry: &T) -> bool {
        self.blocks.get(&entry.block()).is_some_and(|block| block.contains(entry))
    }

    pub fn insert(&mut self, entry: T) {
        let block = self.blocks.entry(entry.block()).or_default();
        self.len += usize::from(Arc::make_mut(block).insert(entry));
    }

    pub fn remove(&mut self, entry: &T) {
        let Some(block) = self.blocks.get_mut(&entry.block()) else { return };
        self.len -= usize::from(Arc::make_mut(block).remove(entry));
        if block.is_empty() {
            self.blocks.remove(&entry.block());
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.values().flat_map(|block| block.iter())
    }

    /// Entries of `first` and the blocks after it, in order.
    pub fn starting_at(&self, first: T::Block) -> impl Iterator<Item = &T> {
        self.blocks.range(first..).flat_map(|(_, block)| block.iter())
    }

    pub fn pop_first(&mut self) -> Option<T> {
        let first = self.iter().next().copied()?;
        self.remove(&first);
        Some(first)
    }
}

/// An ordered map.
#[derive(Clone, PartialEq)]
pub(super) struct SharedOrdered<K: Blocked, V> {
    blocks: BTreeMap<K::Block, Arc<BTreeMap<K, V>>>,
    len: usize,
}

impl<K: Blocked, V> Default for SharedOrdered<K, V> {
    fn default() -> Self {
        Self { blocks: BTreeMap::new(), len: 0 }
    }
}

impl<K: Blocked, V: Clone> SharedOrdered<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.blocks.get(&key.block())?.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let block = self.blocks.get_mut(&key.block()).filter(|block| block.contains_key(key))?;
        Arc::make_mut(block).get_mut(key)
    }

    pub fn insert(&mut self, key: K, value: V) {
        let block = self.blocks.entry(key.block()).or_default();
        self.len += usize::from(Arc::make_mut(block).insert(key, value).is_none());
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let block = self.blocks.get_mut(&key.block()).filter(|block| block.contains_key(key))?;
        let removed = Arc::make_mut(block).remove(key);
        if block.is_empty() {
            self.blocks.remove(&key.block());
        }
        self.len -= 1;
        removed
    }

    /// All entries in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.blocks.values().flat_map(|block| block.iter())
    }

    /// Entries behind `after`, in order; all without it.
    pub fn after(&self, after: Option<K>) -> impl Iterator<Item = (&K, &V)> {
        let (block, key) = after.map_or((Unbounded, Unbounded), |key| (Included(key.block()), Excluded(key)));
        self.blocks.range((block, Unbounded)).flat_map(move |(_, block)| block.range((key, Unbounded)))
    }
}

/// Forums, 256 neighbouring ids to a block: a block is copied after each snapshot when one of them changes.
impl Blocked for ForumId {
    type Block = u32;

    fn block(&self) -> Self::Block {
        self.get() >> 8
    }
}

/// Empty forums by the time since when, about 17 minutes to a block: days of it must not be a million blocks.
impl Blocked for (HubTime, ForumId) {
    type Block = u64;

    fn block(&self) -> Self::Block {
        self.0.0 >> 20
    }
}

/// Forums of one peer, 4,096 neighbouring ids to a block.
impl Blocked for (PeerId, ForumId) {
    type Block = (PeerId, u32);

    fn block(&self) -> Self::Block {
        (self.0, self.1.get() >> 12)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(id: u16) -> RequestId {
        let [a, b] = id.to_be_bytes();
        RequestId([a, b, a, b, a, b, a, b, a, b, a, b, a, b, a, b])
    }

    proptest! {
        #[test]
        fn a_map_is_a_map_and_its_copy_stays_as_it_was(
            before: Vec<(u16, u8)>,
            after: Vec<(u16, Option<u8>)>,
        ) {
            let (mut map, mut plain) = (SharedMap::default(), BTreeMap::new());
            for (key, value) in before {
                prop_assert_eq!(map.insert(request(key), value), plain.insert(request(key), value));
            }
            let (copy, plain_copy) = (map.clone(), plain.clone());
            for (key, value) in after {
                match value {
                    Some(value) => {
                        prop_assert_eq!(map.insert(request(key), value), plain.insert(request(key), value));
                    }
                    None => prop_assert_eq!(map.remove(&request(key)), plain.remove(&request(key))),
                }
                if let Some(value) = map.get_mut(&request(key)) {
                    *value = value.wrapping_add(1);
                    plain.entry(request(key)).and_modify(|value| *value = value.wrapping_add(1));
                }
            }
            for (map, plain) in [(map, plain), (copy, plain_copy)] {
                prop_assert_eq!(map.len(), plain.len());
                let entries: BTreeMap<_, _> = map.iter().map(|(key, value)| (*key, *value)).collect();
                prop_assert_eq!(&entries, &plain);
                prop_assert!(plain.iter().all(|(key, value)| map.get(key) == Some(value)));
            }
        }

        #[test]
        fn an_ordered_map_is_an_ordered_map_and_its_copy_stays_as_it_was(
            before in prop::collection::vec((1..2000u32, any::<u8>()), 0..60),
            after in prop::collection::vec((1..2000u32, any::<Option<u8>>()), 0..60),
            from in 0..2000u32,
        ) {
            let key = |raw| ForumId::new(raw).unwrap();
            let (mut map, mut plain) = (SharedOrdered::default(), BTreeMap::new());
            for (raw, value) in &before {
                map.insert(key(*raw), *value);
                plain.insert(key(*raw), *value);
            }
            let (copy, plain_copy) = (map.clone(), plain.clone());
            let gone = before.iter().map(|(raw, _)| (*raw, None)).step_by(2);
            for (raw, value) in after.into_iter().chain(gone) {
                if let Some(value) = map.get_mut(&key(raw)) {
                    *value = value.wrapping_add(1);
                    plain.entry(key(raw)).and_modify(|value| *value = value.wrapping_add(1));
                }
                match value {
                    Some(value) => {
                        map.insert(key(raw), value);
                        plain.insert(key(raw), value);
                    }
                    None => prop_assert_eq!(map.remove(&key(raw)), plain.remove(&key(raw))),
                }
            }
            for (map, plain) in [(map, plain), (copy, plain_copy)] {
                prop_assert_eq!(map.len(), plain.len());
                prop_assert!(map.iter().eq(plain.iter()) && map.iter().rev().eq(plain.iter().rev()));
                let after = ForumId::new(from);
                prop_assert!(map.after(after).eq(plain.iter().filter(|(id, _)| id.get() > from)));
                prop_assert!(plain.iter().all(|(id, value)| map.get(id) == Some(value)));
            }
        }

        #[test]
        fn a_set_is_an_ordered_set_and_its_copy_stays_as_it_was(
            before in prop::collection::vec((1..4u32, 1..20_000u32), 0..40),
            after in prop::collection::vec((1..4u32, 1..20_000u32, any::<bool>()), 0..40),
            pops in 0..5usize,
        ) {
            let entry = |peer, forum| (PeerId::new(peer).unwrap(), ForumId::new(forum).unwrap());
            let (mut set, mut plain) = (SharedSet::default(), BTreeSet::new());
            for (peer, forum) in &before {
                set.insert(entry(*peer, *forum));
                plain.insert(entry(*peer, *forum));
            }
            let (copy, plain_copy) = (set.clone(), plain.clone());
            let removed = before.iter().map(|(peer, forum)| (*peer, *forum, false)).take(pops);
            for (peer, forum, added) in after.into_iter().chain(removed) {
                let entry = entry(peer, forum);
                if added {
                    set.insert(entry);
                    plain.insert(entry);
                } else {
                    set.remove(&entry);
                    plain.remove(&entry);
                }
            }
            for _ in 0..pops {
                prop_assert_eq!(set.pop_first(), plain.pop_first());
            }
            for (set, plain) in [(set, plain), (copy, plain_copy)] {
                prop_assert_eq!(set.len(), plain.len());
                prop_assert!(set.iter().eq(plain.iter()));
                let from = PeerId::new(2).unwrap();
                prop_assert!(set.starting_at((from, 0)).eq(plain.iter().filter(|(peer, _)| *peer >= from)));
                prop_assert!(plain.iter().all(|entry| set.contains(entry)));
            }
        }
    }
}
