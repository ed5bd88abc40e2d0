//! Stories of the peers: lost, all away, emptied.

use rand::seq::IndexedRandom;

use super::{begin, log_goes_on, millis, secs, strike};
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
        strike(world, Kind::DrainPeer, (3000, 8000), (1000, 4000))?;
        let down = millis(world, 50, 1500);
        world.strike(Kind::CrashPrimary, down);
    }
    world.run_for(secs(3))?;
    world.settle()
}

/// A peer is away for longer than the hubs keep what it misses. It starts again from what the others have, by itself.
pub(super) fn beyond_retention(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| {
        (tuning.retained_records, tuning.replicas, tuning.peer_grace_s) = (200, 2, 4);
    });
    begin(world)?;
    world.add_visitors(6);
    world.run_for(secs(2))?;
    for _ in 0..2 {
        let Some(peer) = world.any_primary() else { continue };
        let (before, over) = (world.ledger.newest(), world.started_over());
        world.crash_peer(peer, secs(600));
        // The log holds twice its budget at most.
        log_goes_on(world, before, 600)?;
        world.heal();
        world.run_until("it starts again", secs(30), |world| match world.started_over() > over {
            true => Ok(()),
            false => Err("it goes on as if nothing had been missed".into()),
        })?;
        world.run_for(secs(3))?;
    }
    world.settle()
}
