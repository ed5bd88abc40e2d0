//! The state as versioned bytes, the same on every hub. Never knows openraft or files.
//!
//! Layout: magic, version, frames (each a varint length and a protobuf message), CRC-32 of all before it. The first
//! frame is the head and says how many frames of each kind follow. What other frames imply (indexes, open tasks of a
//! forum, requests of open tasks) is not written but derived on reading, and then every invariant is checked.

mod read;
mod wire;

use loop_proto::breakage::{self, Breakage};

use super::{sessions::Sessions, state::HubState};

/// First bytes of every snapshot.
const MAGIC: [u8; 8] = *b"LOOPHUB\0";
/// The layout this version writes.
pub const VERSION: u32 = 4;
/// The oldest layout it reads. Those before it hold sessions in which only peers could read who their user is.
pub const OLDEST_VERSION: u32 = 3;
/// Magic and version.
const HEAD_BYTES: usize = 12;
/// CRC-32 at the end.
const TAIL_BYTES: usize = 4;

/// Why bytes are not a snapshot this version can go on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// Not a snapshot at all.
    #[error("these bytes are not a hub snapshot")]
    Foreign,
    /// Written by another version.
    #[error("snapshot version {found}, this hub reads versions {OLDEST_VERSION} to {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Bytes are missing or changed.
    #[error("the snapshot is damaged: its checksum is wrong")]
    Checksum,
    /// A frame cannot be read or does not fit the others.
    #[error("the snapshot is damaged: {0}")]
    Content(&'static str),
}

/// Writes the whole state. Equal states give equal bytes.
pub fn encode(state: &HubState) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + wire::size_hint(state));
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    for frame in wire::frames(state) {
        frame.put(&mut out);
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// Reads what [`encode`] wrote. Any other bytes give an error, and take memory in proportion to their length only.
pub fn decode(bytes: &[u8]) -> Result<HubState, BadSnapshot> {
    let head = bytes.get(..HEAD_BYTES).ok_or(BadSnapshot::Foreign)?;
    let version = head.strip_prefix(&MAGIC).ok_or(BadSnapshot::Foreign)?;
    let found = u32::from_le_bytes(version.try_into().map_err(|_| BadSnapshot::Foreign)?);
    if !(OLDEST_VERSION..=VERSION).contains(&found) {
        return Err(BadSnapshot::Version { found });
    }
    let frames_end = bytes.len().checked_sub(TAIL_BYTES).filter(|end| *end >= HEAD_BYTES);
    let (body, crc) = bytes.split_at(frames_end.ok_or(BadSnapshot::Checksum)?);
    if crc32fast::hash(body).to_le_bytes() != crc {
        return Err(BadSnapshot::Checksum);
    }
    let mut state = read::state(&body[HEAD_BYTES..])?;
    state.check_invariants().map_err(|broken| BadSnapshot::Content(broken.0))?;
    if breakage::is_on(Breakage::IdReuseAfterFailover) {
        state.next_message = u64::from(state.bounds.message_id_first);
    }
    if breakage::is_on(Breakage::SnapshotForgetsSessions) {
        state.sessions = Sessions::default();
    }
    Ok(state)
}
