//! Stories of the hubs: the leader lost, cut off, or back before anybody has missed it; hubs left behind, damaged, and
//! replaced.

use rand::{RngExt, seq::IndexedRandom};

use super::{begin, millis, secs};
use crate::world::{Failure, World, faults::Kind};

/// Seen when no hub was left of the first ones.
pub const ALL_REPLACED: &str = "hubs: all were replaced, one by one";

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

/// What the group has forgotten by the time a hub comes back, it gets as a snapshot.
pub(super) fn left_behind(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.snapshot_entries = 100);
    begin(world)?;
    world.add_visitors(6);
    for _ in 0..2 {
        let hub = *world.hubs_left().choose(&mut world.rng).expect("some hubs");
        let before = world.ledger.newest();
        world.crash_hub(hub, secs(600));
        world.run_until("the log has gone on", secs(120), |world| {
            match world.ledger.newest() > before + 250 {
                true => Ok(()),
                false => Err(format!("{} records since", world.ledger.newest() - before)),
            }
        })?;
        world.heal();
        world.run_for(secs(2))?;
    }
    world.settle()
}

/// Bits turn over in what hubs have synced, one hub after another. Each says so and what to do, and it is done.
pub(super) fn bit_rot(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..4 {
        let (down, pause) = (millis(world, 50, 1500), millis(world, 200, 3000));
        world.strike(Kind::RotDisk, down);
        world.run_for(pause)?;
        let (down, pause) = (millis(world, 50, 1000), millis(world, 500, 2000));
        world.strike(Kind::CrashLeader, down);
        world.run_for(pause)?;
        world.run_until("all hubs are there", secs(60), |world| match world.is_replacing() {
            true => Err("a hub's place is still empty".into()),
            false => Ok(()),
        })?;
    }
    world.settle()
}

/// Until none of the first hubs is left, the one that leads among them, while everybody writes.
pub(super) fn membership(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for old in world.hubs_left() {
        let new = world.add_hub();
        let id = world.hub_id(new);
        if world.rng.random_bool(0.5) {
            let (down, pause) = (millis(world, 50, 1000), millis(world, 1, 500));
            world.run_for(pause)?;
            let kind = *[Kind::CrashLeader, Kind::IsolateLeader, Kind::FlapLink]
                .choose(&mut world.rng)
                .expect("three");
            world.strike(kind, down);
        }
        world.run_until("a new hub votes", secs(60), move |world| match world.desk_knows_voter(id) {
            true => Ok(()),
            false => Err(format!("hub-{id} has not entered")),
        })?;
        let leaves = world.hub_id(old);
        world.run_until("an old hub is out", secs(60), move |world| {
            match world.desk_has_removed(leaves) {
                true => Ok(()),
                false => Err(format!("hub-{leaves} is still in the group")),
            }
        })?;
        // For a while it runs on, and whoever hangs on it must find out.
        let pause = millis(world, 1, 3000);
        world.run_for(pause)?;
        world.retire(old);
        let pause = millis(world, 100, 1500);
        world.run_for(pause)?;
    }
    world.saw(ALL_REPLACED);
    world.settle()
}
