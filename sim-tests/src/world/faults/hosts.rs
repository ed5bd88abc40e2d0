//! Machines that lose power, are asked to stop, or have a wrong clock.

use std::time::Duration;

use rand::RngExt;

use super::{Ailment, Place};
use crate::world::World;

impl World {
    /// Takes a hub's power away for `time`.
    pub fn crash_hub(&mut self, hub: usize, time: Duration) -> bool {
        let name = self.hub_name(hub);
        if !self.note(Place::Power(name.clone()), Ailment::Down, time) {
            return false;
        }
        self.sim.crash(name);
        self.hubs[hub].disk.cut_power();
        true
    }

    /// Ends a peer's process for `time`.
    pub fn crash_peer(&mut self, peer: usize, time: Duration) -> bool {
        let name = self.peer_name(peer);
        if !self.note(Place::Power(name.clone()), Ailment::Down, time) {
            return false;
        }
        self.cut_off_peer(peer);
        true
    }

    /// Ends a peer's process at once.
    pub(in crate::world) fn cut_off_peer(&mut self, peer: usize) {
        let name = self.peer_name(peer);
        self.logged.lock().connected.remove(&name);
        self.sim.crash(name);
    }

    /// Whether something is wrong with a machine's power.
    pub(in crate::world) fn has_no_power(&self, name: &str) -> bool {
        self.faults.ailing.contains_key(&Place::Power(name.to_owned()))
    }

    /// Asks a hub to stop, and starts it again after `time`.
    pub fn stop_hub(&mut self, hub: usize, time: Duration) -> bool {
        let machine = self.hubs[hub].machine.clone();
        let stops = self.note(Place::Power(machine.name.clone()), Ailment::Down, time);
        if stops {
            machine.stop();
        }
        stops
    }

    /// Asks a peer to stop, and starts it again after `time`.
    pub fn stop_peer(&mut self, peer: usize, time: Duration) -> bool {
        let machine = self.peers[peer].machine.clone();
        let stops = self.note(Place::Power(machine.name.clone()), Ailment::Down, time);
        if stops {
            machine.stop();
        }
        stops
    }

    pub(super) fn jump_clock(&mut self, hub: usize, time: Duration) -> bool {
        let machine = self.hubs[hub].machine.clone();
        let off_ms = self.rng.random_range(-3_600_000_i64..3_600_000);
        let jumps = self.note(Place::Clock(machine.name.clone()), Ailment::Wrong, time);
        if jumps {
            machine.set_clock(off_ms);
        }
        jumps
    }
}
