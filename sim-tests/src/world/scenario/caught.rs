//! Stories of what only a bug would do, and nothing else in the suite would show soon: a leader that is outvoted and can
//! still be asked, hubs that go on from snapshots while commits are sent again, a peer that is lost with half a copy.

use std::time::Duration;

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

/// Forums move, and each time the peer that is getting the copy is lost for a while: what follows its invitation must
/// wait for it.
pub(super) fn target_lost(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    world.add_visitors(3);
    for _ in 0..6 {
        world.strike(Kind::MoveForum, Duration::ZERO);
        let into_it = millis(world, 50, 400);
        world.run_for(into_it)?;
        let assignments = world.ledger.assignments().into_values();
        let targets: Vec<u32> =
            assignments.flat_map(|held| held.joining).map(|joining| joining.peer_id).collect();
        for peer in 0..world.peers.len() {
            if world.peer_id(peer).is_some_and(|id| targets.contains(&id)) {
                let down = millis(world, 600, 1800);
                world.crash_peer(peer, down);
            }
        }
        let pause = millis(world, 1000, 3000);
        world.run_for(pause)?;
    }
    world.settle()
}
