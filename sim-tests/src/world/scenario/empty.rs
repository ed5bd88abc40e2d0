//! Forums that are opened and left.

use std::time::Duration;

use super::{begin, secs};
use crate::world::{Failure, World, faults::Kind, visitor::Habit, volunteers::Exit};

/// An empty forum was closed.
pub const CLOSED: &str = "log: a forum in which there was nothing was closed";
/// A forum that was closed is there once more.
pub const OPENED_ANEW: &str = "log: a forum that was closed was opened anew";

/// A day and the quarter of an hour for which what is typed stays, each scaled down.
const DAY: Duration = Duration::from_secs(300);
const TYPING_STAYS: Duration = Duration::from_secs(60);
/// Two forums have a writer who stays, four one who does not.
const OPENED: usize = 6;

/// People begin to type and go away, the leader and a peer are lost meanwhile, days pass. What they opened is gone from hubs and
/// from peers' disks, whatever role those had; a forum in which somebody has said one thing is not. Somebody comes back to a forum
/// that was closed.
pub(super) fn empty_forums(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| {
        (tuning.empty_forum_age_ms, tuning.open_message_age_ms) = (ms(DAY), ms(TYPING_STAYS));
    });
    begin(world)?;
    world.add_visitors(2);
    for habit in [Habit::TypesAndLeaves, Habit::TypesAndDeletes, Habit::TypesAndLeaves, Habit::SaysOneThing] {
        world.add_leaver(habit);
    }
    world.run_until("every forum is open", secs(120), |world| match world.ledger.assignments().len() {
        0..OPENED => Err("not all of them".into()),
        _ => Ok(()),
    })?;
    // Away while the forums go: it learns of that when it is back.
    let away = world.any_primary().unwrap_or(0);
    world.leaves(away, Exit::Power);
    world.strike(Kind::CrashLeader, secs(5));
    world.run_for(DAY)?;
    world.strike(Kind::CrashLeader, secs(5));
    world.run_for(DAY / 2)?;
    world.returns(away);
    let closed = world.ledger.closed();
    if closed.is_empty() {
        return Err(Failure("nothing was closed in one and a half days".into()));
    }
    let left_typing = world.forums.len() - 2;
    world.add_visitor(left_typing);
    world.run_for(secs(30))?;
    if world.ledger.assignments().keys().any(|forum| closed.iter().all(|gone| gone < forum)) {
        world.saw(OPENED_ANEW);
    }
    world.settle()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
