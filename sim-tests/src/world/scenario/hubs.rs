//! Stories of the hubs: the leader lost, cut off, or back before anybody has missed it; hubs left behind, damaged, and
//! replaced.

use rand::{RngExt, seq::IndexedRandom};

use super::{begin, log_goes_on, millis, secs, strike};
use crate::world::{Failure, World, faults::Kind};

/// Seen when no hub was left of the first ones.
pub const ALL_REPLACED: &str = "hubs: all were replaced, one by one";

pub(super) fn failover(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..4 {
        strike(world, Kind::CrashLeader, (200, 4000), (500, 3000))?;
    }
    world.settle()
}

/// What the leader had sent to the others, and not yet on its own disk, is committed without it. It must not come back
/// as the leader of its old term and give those places to other commands.
pub(super) fn leader_restart(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..12 {
        strike(world, Kind::CrashLeader, (1, 150), (300, 1200))?;
    }
    world.settle()
}

pub(super) fn cut_off_leader(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..3 {
        strike(world, Kind::IsolateLeader, (300, 6000), (1000, 5000))?;
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
        log_goes_on(world, before, 160)?;
        world.heal();
        world.run_for(secs(2))?;
    }
    world.settle()
}

/// Bits turn over in what hubs have synced, one hub after another. Each says so and what to do, and it is done.
pub(super) fn bit_rot(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..4 {
        strike(world, Kind::RotDisk, (50, 1500), (200, 3000))?;
        strike(world, Kind::CrashLeader, (50, 1000), (500, 2000))?;
        world.run_until("all hubs are there", secs(60), |world| match world.is_replacing() {
            true => Err("a hub's place is still empty".into()),
            false => Ok(()),
        })?;
    }
    world.settle()
}

/// All hubs lose power while one enters the group, and while one leaves it. A change takes two steps: a leader that was
/// lost between them left a group that needed both the old hubs and the new ones, for ever.
pub(super) fn half_done_change(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..3 {
        let new = world.add_hub();
        strike_after(world, (60, 260), Kind::CrashAllHubs, (20, 400))?;
        enters(world, new)?;
        let old = world.hubs_left()[0];
        let leaves = world.hub_id(old);
        world.desk_has_removed(leaves);
        strike_after(world, (1, 60), Kind::CrashAllHubs, (20, 400))?;
        is_out(world, old)?;
        peers_are_there(world)?;
        world.retire(old);
    }
    world.settle()
}

fn strike_after(world: &mut World, pause: (u64, u64), kind: Kind, time: (u64, u64)) -> Result<(), Failure> {
    let (pause, time) = (millis(world, pause.0, pause.1), millis(world, time.0, time.1));
    world.run_for(pause)?;
    world.strike(kind, time);
    Ok(())
}

fn enters(world: &mut World, hub: usize) -> Result<(), Failure> {
    let id = world.hub_id(hub);
    world.run_until("a new hub votes", secs(60), move |world| match world.desk_knows_voter(id) {
        true => Ok(()),
        false => Err(format!("hub-{id} has not entered")),
    })
}

fn is_out(world: &mut World, hub: usize) -> Result<(), Failure> {
    let id = world.hub_id(hub);
    world.run_until("an old hub is out", secs(60), move |world| match world.desk_has_removed(id) {
        true => Ok(()),
        false => Err(format!("hub-{id} is still in the group")),
    })
}

/// An operator goes on once the peers are connected: one that was away while every hub it has heard of was replaced could
/// not know where to go.
fn peers_are_there(world: &mut World) -> Result<(), Failure> {
    world.run_until("peers have found the hubs", secs(60), |world| {
        let away = world.peers_in().into_iter().find(|peer| !world.is_connected(*peer));
        away.map_or(Ok(()), |peer| Err(format!("peer-{} is not connected", peer + 1)))
    })
}

/// Until none of the first hubs is left, the one that leads among them, while everybody writes.
pub(super) fn membership(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for old in world.hubs_left() {
        let new = world.add_hub();
        if world.rng.random_bool(0.5) {
            let (down, pause) = (millis(world, 50, 1000), millis(world, 1, 500));
            world.run_for(pause)?;
            let kind = *[Kind::CrashLeader, Kind::IsolateLeader, Kind::FlapLink]
                .choose(&mut world.rng)
                .expect("three");
            world.strike(kind, down);
        }
        enters(world, new)?;
        is_out(world, old)?;
        peers_are_there(world)?;
        // For a while it runs on, and whoever is connected to it must find out.
        let pause = millis(world, 1, 3000);
        world.run_for(pause)?;
        world.retire(old);
        let pause = millis(world, 100, 1500);
        world.run_for(pause)?;
    }
    world.saw(ALL_REPLACED);
    world.settle()
}
