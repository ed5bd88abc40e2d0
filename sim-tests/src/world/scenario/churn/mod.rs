//! Stories of volunteers who come and go.

mod guests;
mod liars;
mod returns;
mod tides;

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

pub use self::returns::{OUTLIVED, TAKEN_BACK};
pub(super) use self::{
    guests::{flash_crowd, guests},
    liars::disk_liars,
    returns::{last_copy, late_removals, leader_changes_while_away, old_copy, successor_leaves},
    tides::{day_and_night, half_leaves},
};

use super::{begin, millis, secs};
use crate::world::{
    Failure, Pace, Shape, World, derive,
    visitor::{Habit, Manner},
    volunteers::Exit,
};

/// Somebody who writes now and then: of forums there are many, and of time as well.
const LEISURELY: Manner =
    Manner { pause_max: Duration::from_secs(8), strays: 3, ballast: 40, habit: Habit::Stays };
/// The same where it takes hours.
const SELDOM: Manner =
    Manner { pause_max: Duration::from_secs(20), strays: 3, ballast: 40, habit: Habit::Stays };

/// A few permanent peers and more forums than they have replicas to themselves.
pub(super) fn few_stay(seed: u64) -> Shape {
    Shape { hubs: 3, peers: 3, forums: some(seed, 8, 13), visitors: 0, pace: Pace::COARSE }
}

/// Peers enough that half of them can go.
pub(super) fn many(seed: u64) -> Shape {
    Shape { hubs: 3, peers: some(seed, 6, 8), forums: some(seed, 3, 6), visitors: 0, pace: Pace::COARSE }
}

fn some(seed: u64, from: usize, to: usize) -> usize {
    StdRng::seed_from_u64(derive(seed, "shape", 1)).random_range(from..=to)
}

/// Hubs and peers are there, and each forum has a writer of its own.
fn begin_with_writers(world: &mut World, manner: Manner) -> Result<(), Failure> {
    begin(world)?;
    world.add_visitors_who(world.forums.len(), manner);
    let forums = world.forums.len();
    world.run_until("every forum is open", secs(120), move |world| match world.ledger.assignments().len() {
        open if open >= forums => Ok(()),
        open => Err(format!("{open} of {forums} are")),
    })
}

fn any_exit(world: &mut World) -> Exit {
    if world.rng.random_bool(0.5) { Exit::Power } else { Exit::Asked }
}

fn disks<T>(done: std::io::Result<T>) -> Result<T, Failure> {
    done.map_err(|error| Failure(format!("a peer's folder: {error}")))
}
