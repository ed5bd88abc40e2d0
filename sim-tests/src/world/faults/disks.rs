//! Disks that are slow, full, or fail.

use std::time::Duration;

use rand::{RngExt, seq::IndexedRandom};

use super::{Ailment, Kind, Place};
use crate::world::{World, disk::Knobs};

/// After its restart a hub with a damaged disk has said so, and is being replaced.
const ROT_FOUND_WITHIN: Duration = Duration::from_secs(1);

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
        let now = self.sim.elapsed();
        let is_another_rotten = now < self.faults.rot_found_by;
        if is_another_rotten || self.is_replacing() || is_down || self.faults.ailing.keys().any(is_sick) {
            return false;
        }
        let what = *[".seg", ".seg", ".snapshot"].choose(&mut self.rng).expect("three");
        if !self.hubs[hub].disk.flip_bit(what) {
            return false;
        }
        self.trace.tell("fault", &format!("{name}: a bit of a {what} has turned over"));
        self.faults.excused.insert(name.clone());
        self.faults.rot_found_by = now + time + ROT_FOUND_WITHIN;
        // It is read again when the process starts: the machine stays up, so nothing else is lost.
        self.note(Place::Power(name.clone()), Ailment::Down, time);
        self.sim.crash(name);
        true
    }
}
