//! What a plan is made from besides the agreed state.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};

use crate::mesh::traffic::ForumRate;

/// What everybody has to do, and who is there. A peer that is not listed is away, for how long is not known.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// Unix time, milliseconds, on the clock of the log.
    pub now_ms: u64,
    /// By peer.
    pub peers: BTreeMap<PeerId, PeerLoad>,
    /// Forums that had something to do lately.
    pub forums: BTreeMap<ForumId, ForumRate>,
    /// Forums that are busy, or were until a short while ago.
    pub hot: BTreeSet<ForumId>,
    /// Forums that were changed a short while ago and are not moved for evenness.
    pub resting: BTreeSet<ForumId>,
    /// Forums whose replaced copies have been kept for long enough beside confirmed successors.
    pub kept_enough: BTreeSet<ForumId>,
}

/// One peer.
#[derive(Clone, Debug, Default)]
pub struct PeerLoad {
    /// For how long it has been away, milliseconds; `None`: it is connected.
    pub absent_ms: Option<u64>,
    /// The last record it has on disk, as it last said.
    pub cursor: u64,
    /// For how long it has lacked so many records that it would keep everybody waiting, milliseconds; `None`: it does not.
    pub behind_ms: Option<u64>,
    /// What its volunteer gives.
    pub limits: v1::PeerLimits,
    /// What it uses of its disk for forums, bytes.
    pub disk_bytes: u64,
    /// What it uses of its memory, bytes.
    pub memory_bytes: u64,
    /// Requests it has answered per minute, lately.
    pub requests_per_minute: u64,
}

impl PeerLoad {
    /// Whether it has room for a forum of unknown size: a tenth of what it gives is kept free, as forums grow.
    pub fn has_room(&self) -> bool {
        self.has_disk() && self.has_memory()
    }

    /// Whether its disk has.
    pub fn has_disk(&self) -> bool {
        below(self.disk_bytes, self.limits.disk_bytes)
    }

    /// Whether its memory has.
    pub fn has_memory(&self) -> bool {
        below(self.memory_bytes, self.limits.memory_bytes)
    }
}

fn below(used: u64, limit: u64) -> bool {
    limit == 0 || used < limit - limit / 10
}
