//! Guests: peers that stay for seconds.

use std::time::Duration;

use rand::{RngExt, seq::SliceRandom};

use super::{LEISURELY, any_exit, begin_with_writers, disks, millis, secs};
use crate::world::{Failure, World};

/// Machines that guests sit at, one after another.
const SEATS: usize = 3;
/// Comings and goings of guests.
const ROUNDS: usize = 24;
/// Newcomers of a crowd.
const CROWD: usize = 8;

/// How old a group is when guests come, seconds: in a younger one they could not be told from its founders.
const OLD: u64 = 200;
/// Nobody who has stayed for as long stays on while others come and go.
const STAY_MAX: Duration = Duration::from_secs(40);

/// Three peers stay; guests come for seconds to a minute, again and again. Some come back as who they were, others as
/// somebody new: the disk they left with is gone. The hubs wait for whoever is away for longer than most guests stay, and
/// count on nobody who has not stayed for longer than any guest does.
pub(in super::super) fn guests(world: &mut World) -> Result<(), Failure> {
    let (grace, copy_grace) = (world.rng.random_range(60..600), world.rng.random_range(1..8));
    world.tune(|tuning| (tuning.peer_grace_s, tuning.copy_grace_s) = (grace, copy_grace));
    begin_in_an_old_group(world)?;
    let mut seats: Vec<Seat> = (0..SEATS).map(|_| Seat::taken(world)).collect();
    for _ in 0..ROUNDS {
        let stay = millis(world, 5000, 30_000);
        world.run_for(stay)?;
        let longest = (0..SEATS).max_by_key(|at| seats[*at].sits(world)).expect("some seats");
        let any = world.rng.random_range(0..SEATS);
        let next = if seats[longest].sits(world) > STAY_MAX { longest } else { any };
        let seat = &mut seats[next];
        match world.is_out(seat.peer) {
            true => seat.returns(world),
            false => seat.leaves(world, 0.5)?,
        }
    }
    for mut seat in seats {
        seat.leaves(world, 0.8)?;
    }
    world.settle()
}

/// Nobody is counted on who has been there for less than minutes, nor for less than half of the time.
fn begin_in_an_old_group(world: &mut World) -> Result<(), Failure> {
    let probation = world.rng.random_range(OLD..600);
    world.tune(|tuning| tuning.peer_probation_s = probation);
    begin_with_writers(world, LEISURELY)?;
    world.run_for(secs(OLD))
}

/// Where guests sit, one after another.
struct Seat {
    peer: usize,
    since: Duration,
    /// How long who sits there had been there before.
    stayed: Duration,
}

impl Seat {
    fn taken(world: &mut World) -> Self {
        Self { peer: world.newcomer(), since: world.elapsed(), stayed: Duration::ZERO }
    }

    /// For how long somebody has been sitting there now.
    fn sits(&self, world: &World) -> Duration {
        if world.is_out(self.peer) { Duration::ZERO } else { world.elapsed() - self.since }
    }

    fn returns(&mut self, world: &mut World) {
        world.returns(self.peer);
        self.since = world.elapsed();
    }

    /// A guest leaves, for ever with this probability, and surely if it has been there for long.
    fn leaves(&mut self, world: &mut World, for_ever: f64) -> Result<(), Failure> {
        self.stayed += self.sits(world);
        let for_ever = if self.stayed > STAY_MAX { 1.0 } else { for_ever };
        let is_somebody_new = goes(world, self.peer, for_ever)?;
        if is_somebody_new {
            self.stayed = Duration::ZERO;
        }
        Ok(())
    }
}

/// A guest leaves, for ever with this probability. Returns whether who sits there next is somebody new.
fn goes(world: &mut World, seat: usize, for_ever: f64) -> Result<bool, Failure> {
    let exit = any_exit(world);
    let gone = !world.is_out(seat) && world.leaves(seat, exit) && world.rng.random_bool(for_ever);
    if gone {
        world.run_for(secs(1))?;
        disks(world.destroy(seat))?;
    }
    Ok(gone)
}

/// Many newcomers at once, most of them gone again soon, together; then again. Some come back as somebody new: the disk they left
/// with is gone. Whoever has been there for half of what hubs wait for before they count on a peer goes as well, and comes back so:
/// where one copy is wanted, a peer that is counted on may have the only one.
pub(in super::super) fn flash_crowd(world: &mut World) -> Result<(), Failure> {
    begin_in_an_old_group(world)?;
    let mut crowd: Vec<usize> = Vec::new();
    for _ in 0..CROWD {
        let pause = millis(world, 0, 2000);
        world.run_for(pause)?;
        crowd.push(world.newcomer());
    }
    for _ in 0..3 {
        let stay = millis(world, 10_000, 30_000);
        world.run_for(stay)?;
        crowd.shuffle(&mut world.rng);
        // Nobody stays while the others are away for long.
        let (stay_on, away_ms) = match world.rng.random_bool(0.5) {
            true => (0, 90_000),
            false => (world.rng.random_range(0..3), 20_000),
        };
        for (at, guest) in crowd.iter().copied().enumerate() {
            let has_stayed = world.has_machine_stayed(guest);
            if at >= stay_on || has_stayed {
                goes(world, guest, if has_stayed { 1.0 } else { 0.0 })?;
            }
        }
        world.run_for(secs(2))?;
        for guest in crowd.clone() {
            if world.is_out(guest) && world.rng.random_bool(0.6) {
                disks(world.destroy(guest))?;
            }
        }
        let pause = millis(world, 5000, away_ms);
        world.run_for(pause)?;
        crowd.iter().for_each(|guest| world.returns(*guest));
    }
    for guest in crowd {
        goes(world, guest, 0.0)?;
    }
    world.settle()
}
