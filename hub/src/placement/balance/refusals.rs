//! Who said no lately, or left copies unfinished, by the invitations that the log remembers.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::{
    ids::{ForumId, HubTime, PeerId},
    v1::RejectReason,
};
use loop_raft_store::machine::{HubState, InvitationStatus, Peer};

use super::blocked::Obstacle;

/// For how long a peer that said no is not asked again, milliseconds: when it was busy, when it takes nothing.
const BUSY_FOR_MS: u64 = 5_000;
const REFUSES_FOR_MS: u64 = 60_000;
/// For how long a peer is not asked again for the same forum, milliseconds: when it came to nothing in time, which may
/// have been the giver's fault; when the peer would not or could not have it.
const TIMED_OUT_FOR_MS: u64 = 60_000;
const FAILED_FOR_MS: u64 = 600_000;
/// A peer that left as many copies in a row unfinished gets none for a while, doubled with each further one; what is longer ago
/// than a day does not count.
const UNFINISHED_MAX: u32 = 3;
const UNFINISHED_FOR_MS: u64 = 600_000;
const UNFINISHED_WITHIN_MS: u64 = 24 * 3_600_000;
/// Who said no lately: peers that are not to be asked, and peers not to be asked for one forum.
#[derive(Default)]
pub(super) struct Refusals {
    pub peers: BTreeMap<PeerId, Obstacle>,
    pub pairs: BTreeSet<(ForumId, PeerId)>,
}

/// Copies that a peer left unfinished one after the other.
struct Row {
    times: u32,
    ago_ms: u64,
    is_over: bool,
}

impl Refusals {
    /// What is to be heeded now.
    pub fn of(state: &HubState, now_ms: u64) -> Self {
        let mut refusals = Self::default();
        // How many copies in a row each peer left unfinished, newest first, and how long ago the last of them was.
        let mut unfinished: BTreeMap<PeerId, Row> = BTreeMap::new();
        for invitation in state.invitations_newest_first() {
            let age = now_ms.saturating_sub(invitation.changed_at.0);
            let target = invitation.target;
            match (invitation.status, invitation.reason) {
                (InvitationStatus::Rejected, RejectReason::ForumTooLarge | RejectReason::BadCheckpoint)
                    if age < FAILED_FOR_MS =>
                {
                    refusals.pairs.insert((invitation.forum, target));
                }
                (InvitationStatus::Timeout, _) => {
                    if age < TIMED_OUT_FOR_MS {
                        refusals.pairs.insert((invitation.forum, target));
                    }
                    let row =
                        unfinished.entry(target).or_insert(Row { times: 0, ago_ms: age, is_over: false });
                    row.times += u32::from(!row.is_over && age < UNFINISHED_WITHIN_MS);
                }
                // Whoever has finished one is not doubted for those before it.
                (InvitationStatus::Completed, _) => {
                    unfinished
                        .entry(target)
                        .or_insert(Row { times: 0, ago_ms: age, is_over: true })
                        .is_over = true;
                }
                (InvitationStatus::Rejected, reason @ RejectReason::Busy) if age < BUSY_FOR_MS => {
                    refusals.peers.entry(target).or_insert(Obstacle::SaidNo(reason));
                }
                (
                    InvitationStatus::Rejected,
                    reason @ (RejectReason::Paused | RejectReason::ForumsMax | RejectReason::DiskFull),
                ) if age < REFUSES_FOR_MS => {
                    refusals.peers.entry(target).or_insert(Obstacle::SaidNo(reason));
                }
                // For a reason that is not known here: a newer peer's, or none.
                (InvitationStatus::Rejected, RejectReason::Unspecified) if age < TIMED_OUT_FOR_MS => {
                    refusals.pairs.insert((invitation.forum, target));
                }
                _ => {}
            }
        }
        for (peer, Row { times, ago_ms, .. }) in unfinished {
            let doublings = times.saturating_sub(UNFINISHED_MAX).min(u64::BITS - 1);
            let pause_ms = UNFINISHED_FOR_MS.saturating_mul(1 << doublings);
            if times >= UNFINISHED_MAX && ago_ms < pause_ms.min(UNFINISHED_WITHIN_MS) {
                refusals.peers.entry(peer).or_insert(Obstacle::Unfinished);
            }
        }
        refusals
    }
}

/// Whoever has been known for as long had its time to get a copy that is right, milliseconds.
const FRUITLESS_AFTER_MS: u64 = 3_600_000;

/// What came of copies that peers were to have, as far as the log remembers.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// Who lately left one copy after the other unfinished.
    pub unreliable: BTreeSet<PeerId>,
    /// Who was invited to any, successfully or not.
    pub invited: BTreeSet<PeerId>,
}

impl Outcomes {
    /// At this time, Unix milliseconds.
    pub fn of(state: &HubState, now_ms: u64) -> Self {
        let refusals = Refusals::of(state, now_ms).peers;
        let is_unfinished = |(peer, obstacle)| (obstacle == Obstacle::Unfinished).then_some(peer);
        let ended = state.invitations_newest_first().filter(|invitation| !invitation.status.is_open());
        Self {
            unreliable: refusals.into_iter().filter_map(is_unfinished).collect(),
            invited: ended.map(|invitation| invitation.target).collect(),
        }
    }

    /// Whether a peer without a confirmed copy has had its time to get one: what is written to it may be nowhere.
    pub fn is_fruitless(&self, peer: &Peer, now: HubTime) -> bool {
        self.invited.contains(&peer.id) || peer.attendance.known_ms(now) >= FRUITLESS_AFTER_MS
    }
}
