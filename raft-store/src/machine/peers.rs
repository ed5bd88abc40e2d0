//! The volunteers' machines that were ever made known. Owns their ids. Never knows who is connected.

use std::{collections::BTreeMap, fmt};

use loop_proto::{
    ids::{HubTime, PeerId},
    v1,
};

use super::attendance::Attendance;

/// What an operator lets a peer hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PeerState {
    /// Holds forums and gets new ones.
    #[default]
    Active,
    /// Keeps what it holds, gets nothing new.
    Paused,
    /// Shall hold nothing any more.
    Draining,
    /// As if lost for ever.
    Removed,
}

impl PeerState {
    /// The state a message names, if it names one.
    pub const fn of_wire(wire: v1::PeerState) -> Option<Self> {
        match wire {
            v1::PeerState::Unspecified => None,
            v1::PeerState::Active => Some(Self::Active),
            v1::PeerState::Paused => Some(Self::Paused),
            v1::PeerState::Draining => Some(Self::Draining),
            v1::PeerState::Removed => Some(Self::Removed),
        }
    }
}

impl From<PeerState> for v1::PeerState {
    fn from(state: PeerState) -> Self {
        match state {
            PeerState::Active => Self::Active,
            PeerState::Paused => Self::Paused,
            PeerState::Draining => Self::Draining,
            PeerState::Removed => Self::Removed,
        }
    }
}

/// One volunteer's machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    /// Given when it joined.
    pub id: PeerId,
    /// Shown to operators.
    pub name: String,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// Label for spreading replicas.
    pub owner: String,
    /// Label for spreading replicas.
    pub network: String,
    /// When it joined.
    pub registered_at: HubTime,
    /// What it may hold.
    pub state: PeerState,
    /// How it comes and goes.
    pub attendance: Attendance,
    /// When one of its copies was last found not to be what the others are, in steady time.
    pub doubted_at: Option<HubTime>,
}

impl Peer {
    /// Whether its copies are there as far as the log knows: connected and not removed.
    pub fn is_present(&self) -> bool {
        self.attendance.connected && self.state != PeerState::Removed
    }
}

/// The hash is left out: whoever has it can check guesses.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} owner {:?} network {:?}", self.id, self.name, self.owner, self.network)?;
        match self.state {
            PeerState::Active => Ok(()),
            state => write!(f, " {state:?}"),
        }
    }
}

/// All peers. None is ever forgotten, so ids are dense from 1.
#[derive(Clone, Default, PartialEq)]
pub struct Peers {
    by_id: BTreeMap<PeerId, Peer>,
    by_secret: BTreeMap<[u8; 32], PeerId>,
}

impl Peers {
    /// The peer of that id.
    pub fn get(&self, id: PeerId) -> Option<&Peer> {
        self.by_id.get(&id)
    }

    /// The peer whose secret has this hash.
    pub fn by_secret(&self, hash: &[u8; 32]) -> Option<&Peer> {
        self.by_secret.get(hash).and_then(|id| self.by_id.get(id))
    }

    /// All peers, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Peer> {
        self.by_id.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The id the next new peer gets; `None` when the number range is used up.
    pub(super) fn next_id(&self) -> Option<PeerId> {
        match self.by_id.last_key_value() {
            Some((last, _)) => last.next(),
            None => PeerId::new(1),
        }
    }

    pub(super) fn store(&mut self, peer: Peer) {
        self.by_secret.insert(peer.secret_hash, peer.id);
        self.by_id.insert(peer.id, peer);
    }

    pub(super) fn set_state(&mut self, id: PeerId, state: PeerState) {
        if let Some(peer) = self.by_id.get_mut(&id) {
            peer.state = state;
        }
    }

    pub(super) fn note_presence(&mut self, id: PeerId, connected: bool, now: HubTime) {
        if let Some(peer) = self.by_id.get_mut(&id) {
            peer.attendance.note(connected, now);
        }
    }

    pub(super) fn doubt(&mut self, id: PeerId, now: HubTime) {
        if let Some(peer) = self.by_id.get_mut(&id) {
            peer.doubted_at = Some(now);
        }
    }

    pub(super) fn check(&self, now: HubTime) -> Result<(), &'static str> {
        if self.by_id.len() != self.by_secret.len() {
            return Err("two peers share a secret");
        }
        if self.by_id.last_key_value().is_some_and(|(id, _)| id.get() as usize != self.by_id.len()) {
            return Err("peer ids are not dense");
        }
        let indexed = |peer: &Peer| self.by_secret.get(&peer.secret_hash) == Some(&peer.id);
        if !self.by_id.iter().all(|(id, peer)| *id == peer.id && indexed(peer)) {
            return Err("the index of peers by secret is wrong");
        }
        if self.by_id.values().any(|peer| peer.doubted_at.is_some_and(|at| at > now)) {
            return Err("a peer is doubted from a time to come on");
        }
        self.by_id.values().try_for_each(|peer| peer.attendance.check(now))
    }
}
