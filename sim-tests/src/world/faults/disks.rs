//! Disks that are slow, full, or fail.

use std::time::Duration;

use rand::{RngExt, seq::IndexedRandom};

use super::{Ailment, Kind, Place};
use crate::world::{World, disk::Knobs};

impl World {
    /// One hub's disk at a time: with more of them nobody could say what must survive.
    pub(super) fn ail_hub_disk(&mut self, kind: Kind, time: Duration) -> bool {
        let sick = |place: &Place| matches!(place, Place::Disk(name) if name.starts_with("hub"));
        if self.faults.ailing.keys().any(sick) {
            return false;
        }
        let Some(hub) = self.any_hub() else { return false };
        let name = self.hub_name(hub);
        self.note(Place::Disk(name.clone()), Ailment::Wrong, time);
        let mut knobs = Knobs::default();
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

    /// Whether this hub's disk may lose what it had synced. That may be found much later: one hub at a time may have such a
    /// disk, and nobody while one is being replaced.
    fn may_lose(&self, name: &str) -> bool {
        !self.is_replacing() && self.faults.unsound.iter().all(|unsound| unsound == name)
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

    /// Of one hub at a time, until it has been replaced: what a minority has lost, the others have.
    pub(super) fn rot_hub_disk(&mut self, time: Duration) -> bool {
        let Some(hub) = self.any_hub() else { return false };
        let name = self.hub_name(hub);
        let is_sick = |place: &Place| matches!(place, Place::Disk(name) if name.starts_with("hub"));
        let is_down = self.faults.ailing.contains_key(&Place::Power(name.clone()));
        if !self.may_lose(&name) || is_down || self.faults.ailing.keys().any(is_sick) {
            return false;
        }
        let what = *[".seg", ".seg", ".snapshot"].choose(&mut self.rng).expect("three");
        if !self.hubs[hub].disk.flip_bit(what) {
            return false;
        }
        self.trace.tell("fault", &format!("{name}: a bit of a {what} has turned over"));
        self.faults.excused.insert(name.clone());
        self.faults.unsound.insert(name.clone());
        // It is read again when the process starts: the machine stays up, so nothing else is lost.
        self.note(Place::Power(name.clone()), Ailment::Down, time);
        self.sim.crash(name);
        true
    }
}
