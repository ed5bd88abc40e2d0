//! A queue of records whose copies share what has not changed since, as in `shared`. Never knows ids.

use std::{collections::VecDeque, sync::Arc};

use super::record::Record;

/// Records of one chunk. A first chunk is freed when its last record leaves: at most this many stay a little longer.
const CHUNK: usize = 256;

type Chunk = Arc<Vec<Arc<Record>>>;

/// Records in order, with positions from 0.
#[derive(Clone, Default)]
pub(super) struct Log {
    // All chunks but the last are full.
    chunks: VecDeque<Chunk>,
    /// Records of the first chunk that have left.
    left: usize,
    len: usize,
}

impl Log {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, at: usize) -> Option<&Arc<Record>> {
        if at >= self.len {
            return None;
        }
        let at = at + self.left;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub fn push(&mut self, record: Arc<Record>) {
        if self.chunks.back().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push_back(Arc::new(Vec::with_capacity(CHUNK)));
        }
        if let Some(chunk) = self.chunks.back_mut() {
            Arc::make_mut(chunk).push(record);
            self.len += 1;
        }
    }

    /// Lets the first record go and says what it cost, bytes; `None` if there is none.
    pub fn pop_first(&mut self) -> Option<u64> {
        let bytes = self.get(0)?.bytes();
        self.left += 1;
        self.len -= 1;
        if self.left == CHUNK {
            self.chunks.pop_front();
            self.left = 0;
        }
        Some(bytes)
    }

    /// Records from a position on; none if it lies behind the last.
    pub fn iter_from(&self, at: usize) -> Iter<'_> {
        Iter { log: self, at: at.min(self.len) }
    }
}

/// Equal records in equal positions; how they are cut into chunks does not matter.
impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter_from(0).eq(other.iter_from(0))
    }
}

/// Records in order.
#[derive(Clone)]
pub(super) struct Iter<'a> {
    log: &'a Log,
    at: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Arc<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.log.get(self.at)?;
        self.at += 1;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.log.len - self.at;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use loop_proto::ids::{ForumEpoch, ForumId, HubTime, TaskId};
    use proptest::prelude::*;

    use super::*;
    use crate::machine::record::{FactsBody, RecordBody};

    fn record(id: u64) -> Arc<Record> {
        let facts =
            FactsBody { task: None, peer: None, epoch: ForumEpoch(1), facts: Bytes::new(), receipt: None };
        Record::new(TaskId::new(id).unwrap(), HubTime(0), ForumId::new(1), RecordBody::Facts(facts))
    }

    proptest! {
        #[test]
        fn a_log_is_a_queue_and_its_copy_stays_as_it_was(
            steps in prop::collection::vec((0..600usize, 0..600usize), 1..6),
        ) {
            let (mut log, mut plain) = (Log::default(), VecDeque::new());
            let mut copies = Vec::new();
            let mut next = 0;
            for (pushed, popped) in steps {
                for _ in 0..pushed {
                    next += 1;
                    log.push(record(next));
                    plain.push_back(next);
                }
                copies.push((log.clone(), plain.clone()));
                for _ in 0..popped {
                    prop_assert_eq!(log.pop_first().is_some(), plain.pop_front().is_some());
                }
                copies.push((log.clone(), plain.clone()));
            }
            for (log, plain) in copies {
                prop_assert_eq!(log.len(), plain.len());
                prop_assert!(log.iter_from(0).map(|record| record.id.get()).eq(plain.iter().copied()));
                let middle = plain.len() / 2;
                prop_assert_eq!(log.iter_from(middle).len(), plain.len() - middle);
                prop_assert_eq!(log.get(middle).map(|r| r.id.get()), plain.get(middle).copied());
                prop_assert_eq!(log.iter_from(plain.len() + 1).len(), 0);
            }
        }
    }
}
