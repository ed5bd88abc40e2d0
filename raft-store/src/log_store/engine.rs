//! What a place to keep the log must do. Two do it: sled and segment files.
//!
//! An engine stores bytes by index; it never knows what they mean, who waits for them, or what is cached.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use loop_proto::v1;

use super::error::LogError;

/// What a node must remember beside its entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Meta {
    pub vote: Option<v1::RaftVote>,
    pub committed: Option<v1::LogId>,
    /// The newest entry that is gone because a snapshot covers it.
    pub purged: Option<v1::LogId>,
}

impl Meta {
    /// The first index that may still be there.
    pub fn first_kept(&self) -> u64 {
        self.purged.as_ref().map_or(0, |id| id.index + 1)
    }
}

/// One encoded entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub index: u64,
    pub bytes: Bytes,
}

/// What was found on opening. Entries `first..next` are there, whole and checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Recovered {
    pub meta: Meta,
    pub first: u64,
    pub next: u64,
}

/// The writing half; one thread owns it. Operations take effect in order: after a crash, what is found is a
/// prefix of them that includes all that came before the last successful `sync`.
///
/// After an error the engine is not used again.
pub(crate) trait LogEngine: Send {
    /// Adds consecutive entries at the end. The first of an empty log may have any index.
    fn append(&mut self, records: &[Record]) -> Result<(), LogError>;
    /// Forgets entries `next..`.
    fn truncate(&mut self, next: u64) -> Result<(), LogError>;
    /// Replaces the meta. Entries up to `meta.purged` need not be readable from here on.
    fn save_meta(&mut self, meta: &Meta) -> Result<(), LogError>;
    /// Hands what is staged to the system, so that it survives this process but perhaps not the machine.
    fn flush(&mut self) -> Result<(), LogError>;
    /// Returns when everything so far survives a power cut.
    fn sync(&mut self) -> Result<(), LogError>;
    /// Gives back the space of purged entries. Called after the purge is synced.
    fn release(&mut self) -> Result<(), LogError>;
    /// The reading half.
    fn reader(&self) -> Arc<dyn EngineReader>;
}

/// The reading half, used by many at once, only for entries that are flushed, neither truncated nor purged.
pub(crate) trait EngineReader: Send + Sync {
    /// Consecutive entries from `range.start` on, at least one unless the range is empty, stopping before the sum
    /// of their sizes passes `max_bytes`. Every entry is checked; one that is missing or damaged is an error.
    fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Record>, LogError>;
}

/// Checksum of a stored entry: over index and bytes, so that an entry in the wrong place is noticed too.
pub(crate) fn entry_crc(index: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&index.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Version of the meta's bytes.
const META_V1: u8 = 1;

/// The meta as bytes: version, then for each field whether it is there and its numbers, fixed width.
pub(crate) fn encode_meta(meta: &Meta) -> Vec<u8> {
    let mut bytes = vec![META_V1];
    let mut put = |numbers: Option<[u64; 3]>| {
        bytes.push(numbers.is_some() as u8);
        numbers.unwrap_or_default().iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    };
    put(meta.vote.as_ref().map(|vote| [vote.term, vote.node_id, vote.committed as u64]));
    put(meta.committed.as_ref().map(|id| [id.term, id.node_id, id.index]));
    put(meta.purged.as_ref().map(|id| [id.term, id.node_id, id.index]));
    bytes
}

/// The meta from its bytes; `None` if they are none.
pub(crate) fn decode_meta(bytes: &[u8]) -> Option<Meta> {
    let (&META_V1, mut rest) = bytes.split_first()? else { return None };
    let mut take = || -> Option<Option<[u64; 3]>> {
        let (set, tail) = rest.split_first()?;
        let (numbers, tail) = tail.split_at_checked(24)?;
        rest = tail;
        let number = |i: usize| Some(u64::from_be_bytes(numbers.get(i * 8..i * 8 + 8)?.try_into().ok()?));
        let numbers = [number(0)?, number(1)?, number(2)?];
        Some((*set == 1).then_some(numbers))
    };
    let id = |[term, node_id, index]: [u64; 3]| v1::LogId { term, node_id, index };
    let vote =
        take()?.map(|[term, node_id, committed]| v1::RaftVote { term, node_id, committed: committed == 1 });
    let (committed, purged) = (take()?.map(id), take()?.map(id));
    rest.is_empty().then_some(Meta { vote, committed, purged })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_comes_back_from_its_bytes_and_nothing_shorter_or_longer_does() {
        let id = |index| v1::LogId { term: 3, node_id: 2, index };
        let vote = v1::RaftVote { term: 4, node_id: 1, committed: true };
        for meta in [
            Meta::default(),
            Meta { vote: Some(vote), committed: Some(id(9)), purged: Some(id(7)) },
            Meta { vote: Some(vote), committed: None, purged: Some(id(0)) },
        ] {
            let mut bytes = encode_meta(&meta);
            assert_eq!(decode_meta(&bytes), Some(meta));
            assert_eq!(decode_meta(&bytes[..bytes.len() - 1]), None);
            bytes.push(0);
            assert_eq!(decode_meta(&bytes), None);
        }
        assert_eq!(decode_meta(&[]), None);
    }
}
