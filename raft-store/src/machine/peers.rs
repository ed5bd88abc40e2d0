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
    /// The last time it said what cannot follow from its task.
    pub breach: Option<Breach>,
}

/// A peer has broken a rule of answers, and is suspended for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// How often that has happened.
    pub count: u32,
    /// The last rule, by its number.
    pub rule: u32,
    /// When it happened last, in steady time.
    pub at: HubTime,
}

/// Longest suspension, milliseconds.
const SUSPENDED_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Why hubs have nothing to do with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// It has said what cannot be.
    Suspended {
        /// For how long still, milliseconds.
        for_ms: u64,
    },
    /// An operator has removed it.
    Removed,
}

impl Breach {
    /// For how long the peer is suspended still, milliseconds. `first_ms` is how long the first time is.
    pub fn suspended_ms(&self, now: HubTime, first_ms: u64) -> u64 {
        let doublings = self.count.saturating_sub(1).min(32);
        let whole = first_ms.saturating_mul(1 << doublings).min(SUSPENDED_MS_MAX);
        self.at.0.saturating_add(whole).saturating_sub(now.0)
    }
}

impl Peer {
    /// One that has just joined, without its labels.
    pub(super) fn new(id: PeerId, secret_hash: [u8; 32], now: HubTime, attendance: Attendance) -> Self {
        Self {
            id,
            name: String::new(),
            secret_hash,
            owner: String::new(),
            network: String::new(),
            registered_at: now,
            state: PeerState::default(),
            attendance,
            doubted_at: None,
            breach: None,
        }
    }

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

    pub(super) fn breached(&mut self, id: PeerId, rule: u32, now: HubTime) {
        if let Some(peer) = self.by_id.get_mut(&id) {
            let count = peer.breach.map_or(0, |breach| breach.count).saturating_add(1);
            peer.breach = Some(Breach { count, rule, at: now });
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
        if self
            .by_id
            .values()
            .filter_map(|peer| peer.breach)
            .any(|breach| breach.at > now || breach.count == 0)
        {
            return Err("a peer breaks a rule in a time to come, or never");
        }
        self.by_id.values().try_for_each(|peer| peer.attendance.check(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suspension_is_twice_as_long_as_the_one_before_and_never_longer_than_a_day() {
        let breach = |count, at| Breach { count, rule: 5, at: HubTime(at) };
        assert_eq!(breach(1, 100).suspended_ms(HubTime(100), 60_000), 60_000);
        assert_eq!(breach(1, 100).suspended_ms(HubTime(60_099), 60_000), 1);
        assert_eq!(breach(1, 100).suspended_ms(HubTime(60_100), 60_000), 0);
        assert_eq!(breach(3, 0).suspended_ms(HubTime(0), 60_000), 240_000);
        assert_eq!(breach(u32::MAX, 0).suspended_ms(HubTime(0), 60_000), SUSPENDED_MS_MAX);
    }
}
