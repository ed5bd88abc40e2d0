//! What a giving peer may send: one header, then the bytes it promises, in order. Checked before anything is passed on.

use loop_proto::v1;

/// Largest piece of a copy, bytes.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// 0: the directory.
    pub forum_id: u32,
    /// The copy contains every record up to this one.
    pub invitation_id: u64,
    /// Where to go on, if the copy is still the one of `sha256`.
    pub offset: u64,
    /// Of the copy whose first bytes are there already; empty: none.
    pub sha256: bytes::Bytes,
}

/// Follows one copy, chunk by chunk.
#[derive(Debug)]
pub struct ChunkCheck {
    wanted: Wanted,
    /// Where the next chunk must begin and where the last one ends; unset before the header.
    at: Option<(u64, u64)>,
}

impl ChunkCheck {
    /// Before the first chunk.
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted, at: None }
    }

    /// Looks at the next chunk. An error: the copy must not be used.
    pub fn take(&mut self, chunk: &v1::CheckpointChunk) -> Result<(), &'static str> {
        let Some((position, end)) = &mut self.at else {
            let header = chunk.header.as_ref().ok_or("the first chunk has no header")?;
            self.at = Some(check_header(&self.wanted, header, chunk)?);
            return Ok(());
        };
        if chunk.header.is_some() {
            return Err("a second header");
        }
        if chunk.data.is_empty() || chunk.data.len() > CHUNK_BYTES_MAX {
            return Err("a chunk is empty or larger than 256 KiB");
        }
        if chunk.offset != *position {
            return Err("the chunks are not in order");
        }
        *position += chunk.data.len() as u64;
        if *position > *end {
            return Err("more bytes than the header promised");
        }
        Ok(())
    }

    /// Whether everything the header promised has come.
    pub fn is_complete(&self) -> bool {
        self.at.is_some_and(|(position, end)| position == end)
    }
}

fn check_header(
    wanted: &Wanted,
    header: &v1::CheckpointHeader,
    chunk: &v1::CheckpointChunk,
) -> Result<(u64, u64), &'static str> {
    if header.forum_id != wanted.forum_id {
        return Err("a copy of another forum");
    }
    if header.cursor < wanted.invitation_id {
        return Err("a copy from before the invitation");
    }
    if header.sha256.len() != HASH_BYTES || header.digest.len() != HASH_BYTES {
        return Err("a hash that is none");
    }
    if !chunk.data.is_empty() {
        return Err("the first chunk has data");
    }
    let goes_on = chunk.offset == wanted.offset && header.sha256 == wanted.sha256;
    if chunk.offset > header.bytes || (chunk.offset != 0 && !goes_on) {
        return Err("it begins where nobody asked for");
    }
    Ok((chunk.offset, header.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted { forum_id: 7, invitation_id: 100, ..Wanted::default() }
    }

    fn header(bytes: u64) -> v1::CheckpointChunk {
        let hash = bytes::Bytes::from(vec![1; HASH_BYTES]);
        let header = v1::CheckpointHeader {
            forum_id: 7,
            cursor: 100,
            bytes,
            sha256: hash.clone(),
            digest: hash,
            messages: 1,
        };
        v1::CheckpointChunk { header: Some(header), ..Default::default() }
    }

    fn data(offset: u64, len: usize) -> v1::CheckpointChunk {
        v1::CheckpointChunk { header: None, offset, data: vec![0; len].into() }
    }

    #[test]
    fn a_whole_copy_in_order_is_complete() {
        let mut check = ChunkCheck::new(wanted());
        assert!(!check.is_complete(), "nothing has come yet");
        for chunk in [header(300_000), data(0, CHUNK_BYTES_MAX), data(262_144, 37_856)] {
            assert_eq!(check.take(&chunk), Ok(()));
        }
        assert!(check.is_complete());
        let mut empty = ChunkCheck::new(wanted());
        assert_eq!(empty.take(&header(0)), Ok(()));
        assert!(empty.is_complete(), "a forum without rows is a copy of no bytes");
    }

    #[test]
    fn what_breaks_the_order_or_the_promise_is_refused() {
        let after_header = |chunk| {
            let mut check = ChunkCheck::new(wanted());
            check.take(&header(10)).unwrap();
            check.take(&chunk)
        };
        assert_eq!(after_header(data(0, 10)), Ok(()));
        for bad in [data(1, 5), data(0, 11), data(0, 0), data(0, CHUNK_BYTES_MAX + 1), header(10)] {
            assert!(after_header(bad).is_err());
        }
    }

    #[test]
    fn a_header_of_something_else_is_refused() {
        let first = |chunk: v1::CheckpointChunk| ChunkCheck::new(wanted()).take(&chunk);
        assert_eq!(first(header(5)), Ok(()));
        assert!(first(data(0, 5)).is_err());
        let changed = |change: fn(&mut v1::CheckpointHeader)| {
            let mut chunk = header(5);
            chunk.header.as_mut().map(change);
            first(chunk)
        };
        assert!(changed(|header| header.forum_id = 8).is_err());
        assert!(changed(|header| header.cursor = 99).is_err());
        assert!(changed(|header| header.sha256 = vec![1; 31].into()).is_err());
        assert!(changed(|header| header.digest = bytes::Bytes::new()).is_err());
    }

    #[test]
    fn a_copy_goes_on_where_it_broke_off_only_if_it_still_is_the_same() {
        let resumed = Wanted { offset: 5, sha256: vec![1; HASH_BYTES].into(), ..wanted() };
        let mut check = ChunkCheck::new(resumed.clone());
        let at_five = v1::CheckpointChunk { offset: 5, ..header(9) };
        assert_eq!(check.take(&at_five), Ok(()));
        assert_eq!(check.take(&data(5, 4)), Ok(()));
        assert!(check.is_complete());
        let mut from_the_start = ChunkCheck::new(resumed.clone());
        assert_eq!(from_the_start.take(&header(9)), Ok(()), "the copy is a new one");
        let another = Wanted { sha256: vec![2; HASH_BYTES].into(), ..resumed };
        assert!(ChunkCheck::new(another).take(&at_five).is_err());
        assert!(ChunkCheck::new(wanted()).take(&v1::CheckpointChunk { offset: 3, ..header(9) }).is_err());
    }
}
