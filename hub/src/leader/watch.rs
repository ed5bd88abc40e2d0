//! Who is there, who is not and since when, as the leader has seen it. Forgotten with the lead.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::breakage::{self, Breakage};
use loop_proto::ids::PeerId;
use loop_raft_store::machine::{HubState, PeerState};
use tokio::time::Instant;

use super::context::LeaderContext;
use crate::{mesh::presence::Whereabouts, placement::balance::Policy};

/// One look at all peers.
pub(super) struct Present {
    /// When it was taken.
    pub at: Instant,
    /// The connected ones.
    pub peers: BTreeMap<PeerId, Whereabouts>,
}

/// What the leader has seen of peers so far.
#[derive(Default)]
pub(super) struct Watch {
    absent: BTreeMap<PeerId, Absence>,
    /// The last cursor each peer was seen with.
    cursors: BTreeMap<PeerId, u64>,
}

/// A peer that is away.
struct Absence {
    /// Since when this leader has seen it.
    since: Instant,
    /// How long it had been away by then, as earlier leaders have told the log.
    before: Duration,
}

impl Absence {
    fn lasts(&self, now: Instant) -> Duration {
        self.before + now.duration_since(self.since)
    }
}

impl Watch {
    /// Looks at everybody. `None` while the leader cannot reach a majority of hubs: peers that are connected to the others
    /// look absent and are not.
    pub(super) fn look(&mut self, cx: &LeaderContext) -> Option<Present> {
        if !reaches_majority(cx.mesh.links.count(), cx.mesh.group.all().len()) {
            return None;
        }
        let present =
            Present { at: Instant::now(), peers: cx.mesh.presence.everyone().into_iter().collect() };
        cx.log.read(|state| self.note(state, &present));
        Some(present)
    }

    fn note(&mut self, state: &HubState, present: &Present) {
        self.absent.retain(|peer, _| !present.peers.contains_key(peer));
        for peer in state.peers().filter(|peer| !present.peers.contains_key(&peer.id)) {
            self.absent.entry(peer.id).or_insert_with(|| {
                let told = peer.attendance.away_ms(state.steady()).unwrap_or(0);
                let told = if breakage::is_on(Breakage::AttendanceForgotten) { 0 } else { told };
                Absence { since: present.at, before: Duration::from_millis(told) }
            });
        }
        for (peer, at) in &present.peers {
            self.cursors.insert(*peer, at.cursor());
        }
    }

    /// Everybody who is away, and for how long.
    pub(super) fn absent(&self, now: Instant) -> impl Iterator<Item = (PeerId, Duration)> + '_ {
        self.absent.iter().map(move |(peer, absence)| (*peer, absence.lasts(now)))
    }

    /// How long a peer has been away; `None`: it is there.
    pub(super) fn absent_for(&self, peer: PeerId, now: Instant) -> Option<Duration> {
        self.absent.get(&peer).map(|absence| absence.lasts(now))
    }

    /// The last cursor a peer was seen with; `None`: never seen by this leader.
    pub(super) fn cursor(&self, peer: PeerId) -> Option<u64> {
        self.cursors.get(&peer).copied()
    }

    /// Whether a peer is lost: removed by an operator, or away for longer than it may be, given its habits.
    pub(super) fn is_lost(&self, state: &HubState, peer: PeerId, policy: &Policy, now: Instant) -> bool {
        state.peer(peer).is_none_or(|known| {
            let grace = Duration::from_millis(policy.patience(state).grace_ms(&known.attendance));
            known.state == PeerState::Removed || self.absent_for(peer, now).is_some_and(|away| away >= grace)
        })
    }
}

const fn reaches_majority(linked: usize, hubs: usize) -> bool {
    (linked + 1) * 2 > hubs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_is_cut_off_from_the_majority_knows_nothing_of_absences() {
        assert!(reaches_majority(0, 1) && reaches_majority(1, 3) && reaches_majority(2, 5));
        assert!(!reaches_majority(0, 2) && !reaches_majority(0, 3) && !reaches_majority(1, 5));
    }
}
