//! Stories of what only a bug would do, and nothing else in the suite would show soon: a leader that is outvoted and can
//! still be asked, hubs that go on from snapshots while commits are sent again.

use rand::seq::IndexedRandom;

use super::{begin, millis, secs};
use crate::world::{Failure, World, faults::Kind};

/// The other hubs elect another one; peers and browsers still reach the old leader, which does not know yet.
pub(super) fn outvoted_leader(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    world.add_visitors(3);
    for _ in 0..4 {
        let (time, pause) = (millis(world, 1500, 5000), millis(world, 500, 2000));
        if let Some(leader) = world.leader() {
            world.outvote(leader, time);
        }
        world.run_for(time + pause)?;
    }
    world.settle()
}

/// Snapshots are made all the time; hubs lose power and go on from them, while answers are lost and commits come again.
pub(super) fn from_snapshots(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.snapshot_entries = 100);
    begin(world)?;
    world.add_visitors(6);
    world.run_for(secs(3))?;
    for _ in 0..16 {
        let (time, pause) = (millis(world, 500, 3000), millis(world, 100, 900));
        world.lose_answers(time);
        world.run_for(pause)?;
        let down = millis(world, 50, 500);
        let kind = *[Kind::CrashHub, Kind::CrashLeader, Kind::CrashAllHubs, Kind::CrashPrimary]
            .choose(&mut world.rng)
            .expect("four");
        world.strike(kind, down);
    }
    world.run_for(secs(1))?;
    world.settle()
}
