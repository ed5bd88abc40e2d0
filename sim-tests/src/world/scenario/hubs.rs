//! Stories of the hubs: the leader lost, cut off, or back before anybody has missed it.

use super::{begin, millis};
use crate::world::{Failure, World, faults::Kind};

pub(super) fn failover(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..4 {
        let (down, pause) = (millis(world, 200, 4000), millis(world, 500, 3000));
        world.strike(Kind::CrashLeader, down);
        world.run_for(pause)?;
    }
    world.settle()
}

/// What the leader had sent to the others, and not yet on its own disk, is committed without it. It must not come back
/// as the leader of its old term and give those places to other commands.
pub(super) fn leader_restart(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..12 {
        let (down, pause) = (millis(world, 1, 150), millis(world, 300, 1200));
        world.strike(Kind::CrashLeader, down);
        world.run_for(pause)?;
    }
    world.settle()
}

pub(super) fn cut_off_leader(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..3 {
        let (time, pause) = (millis(world, 300, 6000), millis(world, 1000, 5000));
        world.strike(Kind::IsolateLeader, time);
        world.run_for(pause)?;
        let time = millis(world, 300, 3000);
        world.strike(Kind::SplitHubs, time);
    }
    world.settle()
}
