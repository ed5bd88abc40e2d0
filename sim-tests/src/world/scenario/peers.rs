//! Stories of the peers: lost, all away, emptied.

use rand::seq::IndexedRandom;

use super::{begin, millis, secs};
use crate::world::{Failure, World, faults::Kind};

pub(super) fn primary_lost(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..5 {
        let (down, pause) = (millis(world, 100, 4000), millis(world, 300, 2500));
        let kind =
            *[Kind::CrashPrimary, Kind::CrashPrimary, Kind::StopPeer].choose(&mut world.rng).expect("three");
        world.strike(kind, down);
        world.run_for(pause)?;
    }
    world.settle()
}

pub(super) fn all_peers_away(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    let away = millis(world, 500, 6000);
    world.strike(Kind::CrashAllPeers, away);
    world.run_for(away + secs(2))?;
    world.strike(Kind::CrashAllPeers, away);
    let while_away = millis(world, 100, 1000);
    world.run_for(while_away)?;
    world.strike(Kind::CrashLeader, secs(1));
    world.run_for(away + secs(1))?;
    world.settle()
}

pub(super) fn drain(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..3 {
        let (time, pause) = (millis(world, 3000, 8000), millis(world, 1000, 4000));
        world.strike(Kind::DrainPeer, time);
        world.run_for(pause)?;
        let down = millis(world, 50, 1500);
        world.strike(Kind::CrashPrimary, down);
    }
    world.run_for(secs(3))?;
    world.settle()
}
