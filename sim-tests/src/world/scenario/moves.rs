//! Stories of forums that move.

use std::time::Duration;

use rand::seq::IndexedRandom;

use super::{begin, millis};
use crate::world::{Failure, World, faults::Kind};

pub(super) fn migration(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    let kinds = [
        Kind::CrashLeader,
        Kind::CrashPeer,
        Kind::CrashPrimary,
        Kind::CutLink,
        Kind::IsolatePeer,
        Kind::SlowPeerDisk,
        Kind::SlowLink,
        Kind::CrashAllHubs,
    ];
    for _ in 0..8 {
        world.strike(Kind::MoveForum, Duration::ZERO);
        // A move takes some hundred milliseconds: this falls on any of its steps.
        let pause = millis(world, 1, 400);
        world.run_for(pause)?;
        let kind = *kinds.choose(&mut world.rng).expect("some kinds");
        let (time, pause) = (millis(world, 50, 3000), millis(world, 200, 2000));
        world.strike(kind, time);
        world.run_for(pause)?;
    }
    world.settle()
}
