//! Peers that lie about what they can hold, and about what they have.

use rand::{RngExt, seq::IndexedRandom};

use super::{LEISURELY, any_exit, begin_with_writers, millis, secs};
use crate::world::{Failure, World, faults::Kind, hosts::Given, liar::Lie, operator::Order};

/// What the disk of somebody holds who says it is endless: the database of the users and little more.
const SMALL_DISK: u64 = 200 << 10;

/// One peer says that it has all the disk one could want, and refuses what it is given; another one that it has every copy it
/// was offered, and has none. Meanwhile forums are moved to them and others leave.
pub(in super::super) fn disk_liars(world: &mut World) -> Result<(), Failure> {
    begin_with_writers(world, LEISURELY)?;
    let small = world.newcomer();
    world.gives(small, Given { disk: Some(SMALL_DISK), ..Given::default() });
    let faker = world.newcomer();
    world.run_for(secs(2))?;
    let liars = [(small, Lie::EndlessDisk), (faker, Lie::SeededAtOnce)];
    for round in 0..4 {
        for (liar, lie) in liars {
            let time = millis(world, 20_000, 40_000);
            world.lie(liar, lie, time);
            offer_all(world, liar);
        }
        let pause = millis(world, 3000, 10_000);
        world.run_for(pause)?;
        // The last of the honest ones, while the liars say that they have everything.
        let honest = world.peers_in().into_iter().filter(|peer| !liars.iter().any(|(liar, _)| liar == peer));
        let honest: Vec<usize> = honest.collect();
        let leaver = *honest.choose(&mut world.rng).expect("some honest peers");
        let exit = any_exit(world);
        world.leaves(leaver, exit);
        let away = millis(world, 2000, 30_000);
        world.run_for(away)?;
        world.returns(leaver);
        if round % 2 == 1 {
            let down = millis(world, 500, 2000);
            world.strike(Kind::CrashLeader, down);
        }
        world.run_for(secs(4))?;
    }
    world.settle()
}

/// The operator moves every forum to this peer, in place of anybody.
fn offer_all(world: &mut World, to: usize) {
    let Some(to) = world.peer_id(to) else { return };
    for (forum, held) in world.ledger.assignments() {
        let from = *held.replicas.choose(&mut world.rng).expect("a forum has a replica");
        if !held.replicas.contains(&to) && world.rng.random_bool(0.5) {
            world.desk.order(Order::Move { forum, from, to });
        }
    }
}
