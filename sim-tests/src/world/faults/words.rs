//! Who reads slowly, and who lies.

use std::time::Duration;

use rand::{RngExt, seq::IndexedRandom};

use super::{Ailment, Place};
use crate::world::{
    World,
    liar::{LIES, Lie, Tongue},
    net::Net,
};

/// Seen when a lie of this kind began.
pub fn lied(lie: Lie) -> String {
    format!("lie {lie:?}")
}

impl World {
    pub(super) fn net_of(&self, name: &str) -> Option<Net> {
        let peer = self.peers.iter().find(|peer| peer.machine.name == name);
        let visitor = || self.visitors.iter().find(|(known, _)| known == name);
        peer.map(|peer| peer.machine.net().clone()).or_else(|| visitor().map(|(_, net)| net.clone()))
    }

    pub(super) fn tongue_of(&self, name: &str) -> Option<Tongue> {
        self.peers.iter().find(|peer| peer.machine.name == name).map(|peer| peer.tongue.clone())
    }

    /// A peer, or a browser, reads one to some twenty kilobytes a second.
    pub(super) fn slow_consumer(&mut self, time: Duration) -> bool {
        let peers = self.peers.iter().map(|peer| peer.machine.name.clone());
        let all: Vec<String> = peers.chain(self.visitors.iter().map(|(name, _)| name.clone())).collect();
        let Some(name) = all.choose(&mut self.rng).cloned() else { return false };
        self.slow_down(&name, time)
    }

    /// This machine reads one to some twenty kilobytes a second on each connection.
    pub fn slow_down(&mut self, name: &str, time: Duration) -> bool {
        let bytes = self.rng.random_range(10..200);
        let slows = self.note(Place::Ears(name.to_owned()), Ailment::Slow, time);
        if slows {
            self.net_of(name).into_iter().for_each(|net| net.read_slowly(bytes));
        }
        slows
    }

    pub(super) fn lying_peer(&mut self, time: Duration) -> bool {
        let Some(peer) = self.any_peer() else { return false };
        let lie = *LIES.choose(&mut self.rng).expect("some lies");
        self.lie(peer, lie, time)
    }

    /// This peer tells this lie.
    pub fn lie(&mut self, peer: usize, lie: Lie, time: Duration) -> bool {
        let machine = self.peers[peer].machine.clone();
        let lies = self.note(Place::Words(machine.name.clone()), Ailment::Wrong, time);
        if lies {
            self.trace.tell("fault", &format!("{} lies: {lie:?}", machine.name));
            self.peers[peer].tongue.set(Some(lie));
            // On its next connection somebody sits who can change its words.
            machine.net().hang_up();
            self.saw(lied(lie));
        }
        lies
    }
}
