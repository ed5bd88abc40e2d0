//! What lies between machines: cut, held, slow.

use std::time::Duration;

use rand::RngExt;

use super::{Ailment, Place, link};
use crate::world::World;

impl World {
    fn everybody(&self) -> Vec<String> {
        let hubs = self.hubs.iter().map(|hub| hub.machine.name.clone());
        let peers = self.peers.iter().map(|peer| peer.machine.name.clone());
        hubs.chain(peers).chain(self.visitors.iter().cloned()).collect()
    }

    pub(super) fn ail_any_link(&mut self, ailment: Ailment, time: Duration) -> bool {
        let everybody = self.everybody();
        let hub = self.rng.random_range(0..self.hubs.len());
        let other = self.rng.random_range(0..everybody.len());
        other != hub && self.ail_link(&everybody[hub], &everybody[other], ailment, time)
    }

    fn ail_link(&mut self, one: &str, other: &str, ailment: Ailment, time: Duration) -> bool {
        if !self.note(Place::Link(link(one, other)), ailment, time) {
            return false;
        }
        match ailment {
            Ailment::Cut => self.sim.partition(one, other),
            Ailment::CutOneWay => match self.rng.random_bool(0.5) {
                true => self.sim.partition_oneway(one, other),
                false => self.sim.partition_oneway(other, one),
            },
            Ailment::Held => self.sim.hold(one, other),
            Ailment::Slow | Ailment::Down | Ailment::Wrong => {
                let latency = Duration::from_millis(self.rng.random_range(50..600));
                self.sim.set_link_latency(one, other, latency);
            }
        }
        true
    }

    /// Cuts a machine off from everybody.
    pub fn isolate(&mut self, name: &str, time: Duration) -> bool {
        let others: Vec<String> = self.everybody().into_iter().filter(|other| other != name).collect();
        others.iter().filter(|other| self.ail_link(name, other, Ailment::Cut, time)).count() > 0
    }

    /// Cuts the links between two groups of hubs; everybody else reaches all.
    pub(super) fn split_hubs(&mut self, time: Duration) -> bool {
        let names = self.hub_names();
        let side: Vec<bool> = names.iter().map(|_| self.rng.random_bool(0.5)).collect();
        let mut any = false;
        for one in 0..names.len() {
            for other in one + 1..names.len() {
                if side[one] != side[other] {
                    any |= self.ail_link(&names[one], &names[other], Ailment::Cut, time);
                }
            }
        }
        any
    }
}
