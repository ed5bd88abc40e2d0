//! Many at once: half of the volunteers by day and half by night; half of them gone in one moment.

use std::time::Duration;

use rand::{RngExt, seq::SliceRandom};

use super::{LEISURELY, SELDOM, any_exit, begin_with_writers, disks, millis, secs};
use crate::world::{Failure, World};

/// Days, each with its night.
const DAYS: usize = 2;

fn minutes(world: &mut World, from: u64, to: u64) -> Duration {
    Duration::from_secs(world.rng.random_range(60 * from..60 * to))
}

/// Volunteers in halves, one there by day and one by night, while two peers stay. Days are scaled down to a quarter of an hour.
pub(in super::super) fn day_and_night(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.peer_grace_s *= 10);
    begin_with_writers(world, SELDOM)?;
    let mut volunteers: Vec<usize> = (2..world.peers.len()).collect();
    volunteers.shuffle(&mut world.rng);
    let (by_day, by_night) = volunteers.split_at(volunteers.len() / 2);
    for _ in 0..DAYS {
        for (going, coming) in [(by_night, by_day), (by_day, by_night)] {
            for peer in coming {
                world.returns(*peer);
                let pause = millis(world, 0, 60_000);
                world.run_for(pause)?;
            }
            for peer in going {
                let exit = any_exit(world);
                world.leaves(*peer, exit);
                let pause = millis(world, 0, 60_000);
                world.run_for(pause)?;
            }
            let pause = minutes(world, 5, 10);
            world.run_for(pause)?;
        }
    }
    volunteers.iter().for_each(|peer| world.returns(*peer));
    world.settle()
}

/// Half of the peers leave in one moment and return one by one, in any order, some with the disk they had before.
pub(in super::super) fn half_leaves(world: &mut World) -> Result<(), Failure> {
    begin_with_writers(world, LEISURELY)?;
    for _ in 0..3 {
        let mut peers: Vec<usize> = (0..world.peers.len()).collect();
        peers.shuffle(&mut world.rng);
        let mut half = peers.split_off(peers.len() / 2);
        let old: Vec<usize> = half.iter().copied().filter(|_| world.rng.random_bool(0.3)).collect();
        for peer in &old {
            disks(world.set_aside(*peer))?;
        }
        let pause = millis(world, 1000, 8000);
        world.run_for(pause)?;
        for peer in &half {
            let exit = any_exit(world);
            world.leaves(*peer, exit);
        }
        half.shuffle(&mut world.rng);
        for peer in half {
            let pause = millis(world, 500, 15_000);
            world.run_for(pause)?;
            if old.contains(&peer) {
                disks(world.put_back(peer))?;
            }
            world.returns(peer);
        }
        world.run_for(secs(5))?;
    }
    world.settle()
}
