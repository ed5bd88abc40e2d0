//! No faults, but what an operator asks for at any moment: forums that move, peers that are emptied.

use std::time::Duration;

use loop_proto::v1::PeerState;
use rand::{RngExt, seq::IndexedRandom};

use super::{Ailment, Place};
use crate::world::{World, operator::Order};

impl World {
    /// Has a replica of some forum moved to a peer that has none, or one replica more made there.
    pub(super) fn move_forum(&mut self) -> bool {
        let assignments: Vec<_> = self.ledger.assignments().into_iter().collect();
        let Some((forum, held)) = assignments.choose(&mut self.rng).cloned() else { return false };
        let peers = self.all_peer_ids();
        let outside: Vec<u32> = peers.into_iter().filter(|peer| !held.replicas.contains(peer)).collect();
        let Some(to) = outside.choose(&mut self.rng).copied() else { return false };
        // One replica more for good: never on every peer, or nothing could move any more.
        let from = match outside.len() > 1 && self.rng.random_bool(0.2) {
            true => 0,
            false => held.replicas.choose(&mut self.rng).copied().unwrap_or(0),
        };
        self.desk.order(Order::Move { forum, from, to });
        true
    }

    pub(super) fn drain_peer(&mut self, peer: usize, time: Duration) -> bool {
        let Some(id) = self.peer_id(peer) else { return false };
        let drains = self.note(Place::Standing(id), Ailment::Wrong, time);
        if drains {
            self.desk.order(Order::State(id, PeerState::Draining));
        }
        drains
    }
}
