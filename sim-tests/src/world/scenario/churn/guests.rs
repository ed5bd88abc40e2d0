//! Guests: peers that stay for seconds.

use rand::{
    RngExt,
    seq::{IndexedRandom, SliceRandom},
};

use super::{LEISURELY, any_exit, begin_with_writers, disks, millis, secs};
use crate::world::{Failure, World};

/// Machines that guests sit at, one after another.
const SEATS: usize = 3;
/// Comings and goings of guests.
const ROUNDS: usize = 24;
/// Newcomers of a crowd.
const CROWD: usize = 8;

/// Three peers stay; guests come for seconds to a minute, again and again. Some come back as who they were, others as
/// somebody new: the disk they left with is gone. The hubs wait for whoever is away for longer than most guests stay, and
/// count on nobody who has not stayed for longer than that.
pub(in super::super) fn guests(world: &mut World) -> Result<(), Failure> {
    let (grace, probation) = (world.rng.random_range(60..600), world.rng.random_range(60..300));
    let copy_grace = world.rng.random_range(1..8);
    world.tune(|tuning| {
        (tuning.peer_grace_s, tuning.peer_probation_s, tuning.copy_grace_s) = (grace, probation, copy_grace);
    });
    begin_with_writers(world, LEISURELY)?;
    let seats: Vec<usize> = (0..SEATS).map(|_| world.newcomer()).collect();
    for _ in 0..ROUNDS {
        let stay = millis(world, 5000, 45_000);
        world.run_for(stay)?;
        let seat = *seats.choose(&mut world.rng).expect("some seats");
        match world.is_out(seat) {
            true => world.returns(seat),
            false => goes(world, seat, 0.5)?,
        }
    }
    for seat in seats {
        goes(world, seat, 0.8)?;
    }
    world.settle()
}

/// A guest leaves, for ever with this probability.
fn goes(world: &mut World, seat: usize, for_ever: f64) -> Result<(), Failure> {
    let exit = any_exit(world);
    if !world.is_out(seat) && world.leaves(seat, exit) && world.rng.random_bool(for_ever) {
        world.run_for(secs(1))?;
        disks(world.destroy(seat))?;
    }
    Ok(())
}

/// Many newcomers at once, most of them gone again soon, together; then again.
pub(in super::super) fn flash_crowd(world: &mut World) -> Result<(), Failure> {
    begin_with_writers(world, LEISURELY)?;
    let mut crowd: Vec<usize> = Vec::new();
    for _ in 0..CROWD {
        let pause = millis(world, 0, 2000);
        world.run_for(pause)?;
        crowd.push(world.newcomer());
    }
    for _ in 0..3 {
        let stay = millis(world, 10_000, 90_000);
        world.run_for(stay)?;
        crowd.shuffle(&mut world.rng);
        let stay_on = world.rng.random_range(0..3);
        for guest in crowd.iter().copied().skip(stay_on) {
            goes(world, guest, 0.0)?;
        }
        world.run_for(secs(2))?;
        for guest in crowd.clone() {
            if world.is_out(guest) && world.rng.random_bool(0.6) {
                disks(world.destroy(guest))?;
            }
        }
        let pause = millis(world, 5000, 90_000);
        world.run_for(pause)?;
        crowd.iter().for_each(|guest| world.returns(*guest));
    }
    for guest in crowd {
        goes(world, guest, 0.0)?;
    }
    world.settle()
}
