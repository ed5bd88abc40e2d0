//! The records of a segment file, as bytes.
//!
//! A record: length of the payload (u32), checksum (u32) of all that follows and of the length, kind (u8),
//! index (u64), payload. Numbers are big-endian. Zeros where a record would begin mean that none does.

use loop_proto::breakage::{self, Breakage};

/// Bytes before the payload.
pub(super) const HEADER: usize = 4 + 4 + 1 + 8;

/// In a group's record, to find it when what is before it cannot be read.
pub(super) const GROUP_MAGIC: &[u8; 16] = b"\xf1loop raft group";

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// First of a file. Index: the entry that comes next. Payload: [`Head`] and meta.
    Head = 1,
    /// First of a group. Index: its own offset.
    Group = 2,
    /// An entry.
    Entry = 3,
    /// The meta, whole.
    Meta = 4,
    /// Entries from index on are forgotten.
    Truncate = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Head, Self::Group, Self::Entry, Self::Meta, Self::Truncate]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

fn checksum(len: u32, kind_to_end: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len.to_be_bytes());
    kind_to_end.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Appends a record to `bytes`. The payload is below 4 GiB.
pub(super) fn put(bytes: &mut Vec<u8>, kind: Kind, index: u64, payload: &[u8]) {
    let len = payload.len() as u32;
    let (kind, index) = ([kind as u8], index.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend(checksum(len, &[&kind, &index, payload]).to_be_bytes());
    bytes.extend(kind);
    bytes.extend(index);
    bytes.extend(payload);
}

/// Length of the payload that a header announces.
pub(super) fn payload_len(header: &[u8; HEADER]) -> u32 {
    u32::from_be_bytes([header[0], header[1], header[2], header[3]])
}

/// Kind, index and payload of the record that `bytes` are, if they are exactly one.
pub(super) fn parse(bytes: &[u8]) -> Option<(Kind, u64, &[u8])> {
    let (header, payload) = bytes.split_first_chunk::<HEADER>()?;
    let (len, rest) = (payload_len(header), &header[8..]);
    let crc = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let whole = crc == checksum(len, &[rest, payload]) || breakage::is_on(Breakage::TornWriteTaken);
    if len as usize != payload.len() || !whole {
        return None;
    }
    let (kind, index) = rest.split_first()?;
    Some((Kind::from_byte(*kind)?, u64::from_be_bytes(index.try_into().ok()?), payload))
}

/// What a file says about itself and the one before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub number: u32,
    /// Length of the previous file when this one was begun; 0 for the first.
    pub previous_len: u64,
    pub meta: &'a [u8],
}

/// Version of a file's layout.
const FORMAT_V1: u32 = 1;

/// A head's payload.
pub(super) fn encode_head(number: u32, previous_len: u64, meta: &[u8]) -> Vec<u8> {
    let mut bytes = FORMAT_V1.to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.extend(previous_len.to_be_bytes());
    bytes.extend(meta);
    bytes
}

/// A head from its payload.
pub(super) fn decode_head(bytes: &[u8]) -> Option<Head<'_>> {
    let (format, rest) = bytes.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (previous_len, meta) = rest.split_first_chunk::<8>()?;
    (u32::from_be_bytes(*format) == FORMAT_V1).then(|| Head {
        number: u32::from_be_bytes(*number),
        previous_len: u64::from_be_bytes(*previous_len),
        meta,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_comes_back_and_any_flipped_bit_is_noticed(
            index: u64, payload: Vec<u8>, at: prop::sample::Index, bit in 0..8u8,
        ) {
            let mut bytes = Vec::new();
            put(&mut bytes, Kind::Entry, index, &payload);
            prop_assert_eq!(parse(&bytes), Some((Kind::Entry, index, &payload[..])));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(parse(&bytes), None);
        }

        #[test]
        fn arbitrary_bytes_are_no_record(bytes: Vec<u8>) {
            prop_assert_eq!(parse(&bytes), None);
        }
    }

    #[test]
    fn a_head_comes_back_and_another_format_does_not() {
        let mut bytes = encode_head(7, 900, b"meta");
        assert_eq!(decode_head(&bytes), Some(Head { number: 7, previous_len: 900, meta: b"meta" }));
        bytes[3] = 2;
        assert_eq!(decode_head(&bytes), None);
        assert_eq!(decode_head(&bytes[..15]), None);
    }
}
