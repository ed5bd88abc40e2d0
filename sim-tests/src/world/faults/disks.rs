//! Disks that are slow, full, or fail.

use std::time::Duration;

use rand::RngExt;

use super::{Ailment, Kind, Place};
use crate::world::World;

impl World {
    /// One hub's disk at a time: with more of them nobody could say what must survive.
    pub(super) fn ail_hub_disk(&mut self, kind: Kind, time: Duration) -> bool {
        let sick = |place: &Place| matches!(place, Place::Disk(name) if name.starts_with("hub"));
        if self.faults.ailing.keys().any(sick) {
            return false;
        }
        let hub = self.rng.random_range(0..self.hubs.len());
        let name = self.hub_name(hub);
        self.note(Place::Disk(name.clone()), Ailment::Wrong, time);
        let mut knobs = self.healthy_disk();
        match kind {
            Kind::FailSync => knobs.failing = true,
            Kind::FullDisk => knobs.full = true,
            _ => knobs.slow = Duration::from_millis(self.rng.random_range(20..1000)),
        }
        if kind != Kind::SlowDisk {
            self.faults.excused.insert(name);
        }
        self.hubs[hub].disk.set(knobs);
        true
    }

    pub(super) fn slow_peer_disk(&mut self, peer: usize, time: Duration) -> bool {
        let machine = self.peers[peer].machine.clone();
        let every = Duration::from_millis(self.rng.random_range(100..5000));
        let slows = self.note(Place::Disk(machine.name.clone()), Ailment::Wrong, time);
        if slows {
            machine.set_commit_every(every);
        }
        slows
    }
}
