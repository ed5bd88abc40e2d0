//! What lies between machines: cut, held, slow.

use std::time::Duration;

use rand::{RngExt, seq::IndexedRandom};

use super::{Ailment, Place, link};
use crate::world::World;

impl World {
    fn everybody(&self) -> Vec<String> {
        let hubs = self.hubs_left().into_iter().map(|hub| self.hub_name(hub));
        let peers = self.peers.iter().map(|peer| peer.machine.name.clone());
        hubs.chain(peers).chain(self.visitors.iter().map(|(name, _)| name.clone())).collect()
    }

    pub(super) fn ail_any_link(&mut self, ailment: Ailment, time: Duration) -> bool {
        let everybody = self.everybody();
        let hub = self.rng.random_range(0..self.hubs_left().len());
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
            Ailment::Flapping => {
                self.faults.flapping.insert(link(one, other), (Duration::ZERO, false));
            }
            Ailment::Slow | Ailment::Down | Ailment::Wrong => {
                let latency = Duration::from_millis(self.rng.random_range(50..600));
                self.sim.set_link_latency(one, other, latency);
            }
        }
        true
    }

    /// Cuts a hub off from all other hubs; everybody else reaches it.
    pub fn outvote(&mut self, hub: usize, time: Duration) -> bool {
        let (one, names) = (self.hub_name(hub), self.roster.names());
        let others = names.iter().filter(|name| **name != one);
        others.filter(|other| self.ail_link(&one, other, Ailment::Cut, time)).count() > 0
    }

    /// What some hub sends to some browser is lost; what the browser sends arrives.
    pub fn lose_answers(&mut self, time: Duration) -> bool {
        let hubs = self.roster.names();
        let (Some(hub), Some((browser, _))) =
            (hubs.choose(&mut self.rng).cloned(), self.visitors.choose(&mut self.rng).cloned())
        else {
            return false;
        };
        let cuts = self.note(Place::Link(link(&hub, &browser)), Ailment::CutOneWay, time);
        if cuts {
            self.sim.partition_oneway(hub, browser);
        }
        cuts
    }

    /// Nothing of what one sends to the other arrives, `lost` for good or held back, and neither end is told.
    pub fn silence(&mut self, one: &str, other: &str, lost: bool, time: Duration) -> bool {
        let ailment = if lost { Ailment::CutOneWay } else { Ailment::Held };
        let silences = self.note(Place::Link(link(one, other)), ailment, time);
        match lost {
            _ if !silences => {}
            true => self.sim.partition_oneway(one, other),
            false => self.sim.hold(one, other),
        }
        silences
    }

    /// Cuts a machine off from everybody.
    pub fn isolate(&mut self, name: &str, time: Duration) -> bool {
        let others: Vec<String> = self.everybody().into_iter().filter(|other| other != name).collect();
        others.iter().filter(|other| self.ail_link(name, other, Ailment::Cut, time)).count() > 0
    }

    /// Cuts the links between two groups of hubs; everybody else reaches all.
    pub(super) fn split_hubs(&mut self, time: Duration) -> bool {
        let names = self.roster.names();
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

    /// Turns those links over whose turn it is.
    pub(super) fn flap(&mut self) {
        let now = self.sim.elapsed();
        for ((one, other), (next, is_cut)) in &mut self.faults.flapping {
            if *next > now {
                continue;
            }
            *is_cut = !*is_cut;
            match *is_cut {
                true => self.sim.partition(one.as_str(), other.as_str()),
                false => self.sim.repair(one.as_str(), other.as_str()),
            }
            *next = now + Duration::from_millis(self.rng.random_range(50..500));
        }
    }
}
