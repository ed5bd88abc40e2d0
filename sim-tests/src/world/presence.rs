//! Who is there, by the world's own knowledge: machines that run, and what their peers say of their connections.
//!
//! Never knows what a hub believes.

use std::{collections::BTreeMap, time::Duration};

use loop_peer::identity::Identity;
use parking_lot::Mutex;

use super::World;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Since when it has been connected.
    since: Option<Duration>,
    /// When it was last connected.
    last: Option<Duration>,
    /// How long it was connected in all, before `since`.
    before: Duration,
    /// When something was last wrong with its way to the hubs.
    doubtful: Option<Duration>,
}

/// See the module.
#[derive(Default)]
pub struct Presence {
    peers: Vec<Seen>,
    /// What the hubs call the peers, as far as they have it on disk.
    ids: Mutex<BTreeMap<usize, u32>>,
    /// When anything but a peer's power was last wrong.
    troubled: Option<Duration>,
}

impl World {
    /// The id the hubs gave a peer, as it has it on disk.
    pub(super) fn peer_id(&self, peer: usize) -> Option<u32> {
        if let Some(id) = self.presence.ids.lock().get(&peer) {
            return Some(*id);
        }
        let id = Identity::load(&self.peers[peer].folder).ok()??.peer_id?.get();
        self.presence.ids.lock().insert(peer, id);
        Some(id)
    }

    /// A peer has another disk, and is somebody else if that has no identity.
    pub(super) fn forget_peer(&mut self, peer: usize, is_new: bool) {
        self.presence.ids.lock().remove(&peer);
        self.copies.disks.remove(&peer);
        if let Some(seen) = self.presence.peers.get_mut(peer).filter(|_| is_new) {
            *seen = Seen::default();
        }
    }

    /// Takes note of who is there.
    pub(super) fn note_peers(&mut self) {
        let now = self.sim.elapsed();
        self.presence.peers.resize_with(self.peers.len(), Seen::default);
        for peer in 0..self.peers.len() {
            let connected = self.is_connected(peer);
            let doubtful = self.has_doubtful_way(&self.peers[peer].machine.name);
            let seen = &mut self.presence.peers[peer];
            if connected {
                seen.since.get_or_insert(now);
                seen.last = Some(now);
            } else if let Some(since) = seen.since.take() {
                seen.before += now - since;
            }
            if doubtful {
                seen.doubtful = Some(now);
            }
        }
        if self.is_troubled() {
            self.presence.troubled = Some(now);
        }
    }

    /// Whether a peer is connected to a hub, by its own word, and runs.
    pub fn is_connected(&self, peer: usize) -> bool {
        let machine = &self.peers[peer].machine;
        self.logged.lock().connected.contains(&machine.name) && machine.ended().is_none()
    }

    /// Whether a peer is connected, or a hub may think so already: one that is about to be greeted runs, and is not cut off.
    pub(super) fn may_be_connected(&self, peer: usize) -> bool {
        let machine = &self.peers[peer].machine;
        let runs = !self.is_out(peer) && !self.has_no_power(&machine.name) && machine.ended().is_none();
        self.is_connected(peer) || runs
    }

    /// Whether a peer is connected, or was as long ago as hubs need to know better, or cannot be told apart from one
    /// that is.
    pub(super) fn was_connected(&self, id: u32) -> bool {
        let Some(peer) = self.peer_of(id) else { return false };
        let Seen { last, doubtful, .. } = self.presence.peers[peer];
        let slack = self.shape.pace.known_within();
        let lately = |at: Option<Duration>| at.is_some_and(|at| at + slack >= self.sim.elapsed());
        lately(last) || lately(doubtful)
    }

    /// Whether every hub must know that a peer is connected.
    pub(super) fn is_surely_connected(&self, id: u32) -> bool {
        let Some(peer) = self.peer_of(id) else { return false };
        let Seen { since, doubtful, .. } = self.presence.peers[peer];
        let slack = self.shape.pace.known_within();
        let now = self.sim.elapsed();
        since.is_some_and(|since| since + slack <= now) && doubtful.is_none_or(|at| at + slack < now)
    }

    /// Whether a peer has been there for so long that its copies may count: at least half of what it must, so that how hubs
    /// round it does not matter. In a young group that is half of the group's age.
    pub(super) fn has_stayed(&self, id: u32) -> bool {
        self.peer_of(id).is_some_and(|peer| self.has_machine_stayed(peer))
    }

    /// The same of the peer at a machine.
    pub(super) fn has_machine_stayed(&self, peer: usize) -> bool {
        let now = self.sim.elapsed();
        let Seen { since, before, .. } = self.presence.peers[peer];
        let present = before + since.map_or(Duration::ZERO, |since| now - since);
        let probation = Duration::from_secs(self.tuning.lock().peer_probation_s);
        present >= probation.min(now / 2) / 2
    }

    /// Whether nothing is wrong, nor was a moment ago, but that peers come and go.
    pub(super) fn is_calm(&self) -> bool {
        let slack = self.shape.pace.known_within();
        let lately = |at: Duration| at + slack >= self.sim.elapsed();
        self.leader().is_some() && !self.presence.troubled.is_some_and(lately)
    }

    /// Whether nothing ever happened but that volunteers came and went.
    pub(super) fn only_volunteers_moved(&self) -> bool {
        !self.faults.any_ever() && self.desk.orders() == 0
    }
}
