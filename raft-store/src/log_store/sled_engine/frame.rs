//! How entries lie in sled: keys and values.
//!
//! Small entries lie together in frames, keyed by the first one's index (8 bytes); an entry too large for a frame
//! is split over keys of index and part number (12 bytes). No value is longer than [`VALUE_BYTES_MAX`]: sled puts
//! longer ones into files of their own, which it never syncs.

use bytes::Bytes;

use super::super::engine::{Record, entry_crc};

/// Longest value ever stored.
pub(super) const VALUE_BYTES_MAX: usize = 4000;
const FRAME: u8 = 1;
const PART: u8 = 2;
/// Length and checksum.
const ITEM_HEADER: usize = 8;
/// Longest entry that fits a frame.
const FRAMED_BYTES_MAX: usize = VALUE_BYTES_MAX - 1 - ITEM_HEADER;

/// Key of the frame that begins with `index`; sorts before every part of `index` and after all of `index - 1`.
pub(super) fn frame_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

fn part_key(index: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The key after every key of `index`.
pub(super) fn last_key(index: u64) -> [u8; 12] {
    part_key(index, u32::MAX)
}

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Frame(u64),
    Part(u64, u32),
}

impl Key {
    pub fn parse(key: &[u8]) -> Option<Self> {
        let (index, part) = key.split_first_chunk::<8>()?;
        let index = u64::from_be_bytes(*index);
        match part.len() {
            0 => Some(Self::Frame(index)),
            4 => Some(Self::Part(index, u32::from_be_bytes(part.try_into().ok()?))),
            _ => None,
        }
    }

    pub fn index(self) -> u64 {
        match self {
            Self::Frame(index) | Self::Part(index, _) => index,
        }
    }
}

/// The keys and values of consecutive entries, in key order.
pub(super) fn encode(records: &[Record], mut put: impl FnMut(&[u8], Vec<u8>)) {
    let mut frame: Option<(u64, Vec<u8>)> = None;
    for record in records {
        let size = ITEM_HEADER + record.bytes.len();
        let fits = |frame: &(u64, Vec<u8>)| frame.1.len() + size <= VALUE_BYTES_MAX;
        if let Some((first, value)) = frame.take_if(|frame| !fits(frame)) {
            put(&frame_key(first), value);
        }
        if record.bytes.len() > FRAMED_BYTES_MAX {
            encode_parts(record, &mut put);
            continue;
        }
        let (_, value) = frame.get_or_insert_with(|| (record.index, vec![FRAME]));
        put_item(value, record);
    }
    if let Some((first, value)) = frame {
        put(&frame_key(first), value);
    }
}

fn put_item(value: &mut Vec<u8>, record: &Record) {
    value.extend((record.bytes.len() as u32).to_be_bytes());
    value.extend(entry_crc(record.index, &record.bytes).to_be_bytes());
    value.extend(&record.bytes);
}

/// The first part begins with length and checksum of the whole.
fn encode_parts(record: &Record, put: &mut impl FnMut(&[u8], Vec<u8>)) {
    let mut whole = Vec::with_capacity(ITEM_HEADER + record.bytes.len());
    put_item(&mut whole, record);
    for (part, bytes) in (0..).zip(whole.chunks(VALUE_BYTES_MAX - 1)) {
        let mut value = vec![PART];
        value.extend(bytes);
        put(&part_key(record.index, part), value);
    }
}

/// Puts stored values together again, in key order, and checks them.
#[derive(Default)]
pub(super) struct Decoder {
    /// The entry whose parts are being gathered: index, next part, bytes so far.
    parts: Option<(u64, u32, Vec<u8>)>,
}

/// What is wrong with a stored value, and which entry it concerns.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage(pub u64, pub &'static str);

impl Decoder {
    /// Takes the next key and value; gives what entries they complete to `found`.
    pub fn take(&mut self, key: Key, value: &[u8], found: &mut impl FnMut(Record)) -> Result<(), Damage> {
        match (key, value.split_first()) {
            (Key::Frame(first), Some((&FRAME, items))) if self.parts.is_none() => {
                decode_items(first, items, found)
            }
            (Key::Part(index, part), Some((&PART, bytes))) => self.take_part(index, part, bytes, found),
            _ => Err(Damage(self.expected().unwrap_or(key.index()), "the stored value is not of its kind")),
        }
    }

    /// The entry of which parts are still to come.
    pub fn expected(&self) -> Option<u64> {
        self.parts.as_ref().map(|parts| parts.0)
    }

    fn take_part(
        &mut self,
        index: u64,
        part: u32,
        bytes: &[u8],
        found: &mut impl FnMut(Record),
    ) -> Result<(), Damage> {
        let (expected, next, mut whole) = self.parts.take().unwrap_or((index, 0, Vec::new()));
        if (expected, next) != (index, part) {
            return Err(Damage(expected, "a part of it is missing"));
        }
        whole.extend(bytes);
        let Some(header) = whole.first_chunk::<ITEM_HEADER>() else {
            return Err(Damage(index, "its first part is too short"));
        };
        let (len, crc) = item_header(header);
        if whole.len() < ITEM_HEADER + len {
            self.parts = Some((index, part + 1, whole));
            return Ok(());
        }
        let bytes = Bytes::from(whole).slice(ITEM_HEADER..);
        if bytes.len() != len || crc != entry_crc(index, &bytes) {
            return Err(Damage(index, "its checksum does not match"));
        }
        found(Record { index, bytes });
        Ok(())
    }
}

fn item_header(header: &[u8; ITEM_HEADER]) -> (usize, u32) {
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    (number(0) as usize, number(4))
}

fn decode_items(first: u64, mut items: &[u8], found: &mut impl FnMut(Record)) -> Result<(), Damage> {
    let mut index = first;
    while !items.is_empty() {
        let item = items.split_first_chunk::<ITEM_HEADER>().and_then(|(header, rest)| {
            let (len, crc) = item_header(header);
            Some((crc, rest.split_at_checked(len)?))
        });
        let Some((crc, (bytes, rest))) = item else {
            return Err(Damage(index, "its frame is cut short"));
        };
        if crc != entry_crc(index, bytes) {
            return Err(Damage(index, "its checksum does not match"));
        }
        found(Record { index, bytes: Bytes::copy_from_slice(bytes) });
        items = rest;
        index += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn decode(stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Vec<Record>, Damage> {
        let (mut decoder, mut records) = (Decoder::default(), Vec::new());
        for (key, value) in stored {
            decoder.take(Key::parse(key).unwrap(), value, &mut |record| records.push(record))?;
        }
        match decoder.expected() {
            Some(index) => Err(Damage(index, "parts are missing")),
            None => Ok(records),
        }
    }

    fn store(first: u64, sizes: &[usize]) -> (Vec<Record>, BTreeMap<Vec<u8>, Vec<u8>>) {
        let records: Vec<Record> = (first..)
            .zip(sizes)
            .map(|(index, size)| Record { index, bytes: Bytes::from(vec![index as u8; *size]) })
            .collect();
        let mut stored = BTreeMap::new();
        encode(&records, |key, value| {
            assert!(value.len() <= VALUE_BYTES_MAX);
            assert_eq!(stored.insert(key.to_vec(), value), None, "a key is used once");
        });
        (records, stored)
    }

    #[test]
    fn small_entries_share_a_frame_and_a_large_one_is_split_between_frames() {
        let (records, stored) = store(65530, &[500, 500, 9000, 500, FRAMED_BYTES_MAX, 0]);
        assert_eq!(decode(&stored), Ok(records));
        let keys: Vec<Key> = stored.keys().map(|key| Key::parse(key).unwrap()).collect();
        use Key::{Frame, Part};
        assert_eq!(
            keys,
            [
                Frame(65530),
                Part(65532, 0),
                Part(65532, 1),
                Part(65532, 2),
                Frame(65533),
                Frame(65534),
                Frame(65535)
            ]
        );
    }

    proptest! {
        #[test]
        fn entries_come_back_and_a_flipped_bit_never_passes_unnoticed(
            first in 0..1000u64,
            sizes in prop::collection::vec(prop_oneof![0..600usize, 3900..12_100usize], 1..12),
            value in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let (records, mut stored) = store(first, &sizes);
            prop_assert_eq!(decode(&stored), Ok(records));
            let value = value.index(stored.len());
            let value = stored.values_mut().nth(value).unwrap();
            let byte = byte.index(value.len());
            value[byte] ^= 1 << bit;
            prop_assert!(decode(&stored).is_err());
        }

        #[test]
        fn a_missing_value_is_noticed_inside_an_entry_and_leaves_a_gap_elsewhere(
            sizes in prop::collection::vec(prop_oneof![0..600usize, 3900..12_100usize], 2..12),
            gone in any::<prop::sample::Index>(),
        ) {
            let (records, mut stored) = store(5, &sizes);
            let key = stored.keys().nth(gone.index(stored.len())).unwrap().clone();
            stored.remove(&key);
            prop_assert_ne!(decode(&stored).unwrap_or_default(), records);
        }
    }
}
