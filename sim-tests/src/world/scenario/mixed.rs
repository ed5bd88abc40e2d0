//! Stories of many faults, one after another and overlapping.

use rand::{RngExt, seq::IndexedRandom};

use super::{begin, millis};
use crate::world::{
    Failure, World,
    faults::{self, Kind},
};

pub(super) fn partitions(world: &mut World) -> Result<(), Failure> {
    let kinds = [
        Kind::CutLink,
        Kind::CutOneWay,
        Kind::IsolateHub,
        Kind::IsolatePeer,
        Kind::SplitHubs,
        Kind::HoldLink,
        Kind::SlowLink,
    ];
    mixed(world, &kinds, 15)
}

pub(super) fn power_cuts(world: &mut World) -> Result<(), Failure> {
    let kinds = [Kind::CrashHub, Kind::CrashLeader, Kind::CrashAllHubs, Kind::CrashPeer, Kind::CrashPrimary];
    mixed(world, &kinds, 12)
}

pub(super) fn sick_disks(world: &mut World) -> Result<(), Failure> {
    let kinds = [Kind::SlowDisk, Kind::FailSync, Kind::FullDisk, Kind::SlowPeerDisk, Kind::CrashHub];
    mixed(world, &kinds, 12)
}

pub(super) fn clocks(world: &mut World) -> Result<(), Failure> {
    mixed(world, &[Kind::JumpClock, Kind::JumpClock, Kind::CrashLeader], 12)
}

pub(super) fn chaos(world: &mut World) -> Result<(), Failure> {
    let rounds = world.rng.random_range(5..25);
    mixed(world, &faults::ALL, rounds)
}

fn mixed(world: &mut World, kinds: &[Kind], rounds: u32) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..rounds {
        let kind = *kinds.choose(&mut world.rng).expect("some kinds");
        let (time, pause) = (millis(world, 50, 4000), millis(world, 50, 1500));
        world.strike(kind, time);
        world.run_for(pause)?;
    }
    world.settle()
}
