//! One session, executed everywhere.

use std::time::Duration;

use super::{begin, millis, secs};
use crate::world::{
    Failure, World,
    faults::Kind,
    visitor::{Habit, Manner},
};

/// People who wander between all forums and hardly wait.
const WANDERER: Manner =
    Manner { pause_max: Duration::from_millis(80), strays: 10, ballast: 0, habit: Habit::Stays };

/// Requests of one session right after one another in several forums, through any hub, so that they are executed on
/// different peers, with a primary or the leader lost in between. The session stays one user (*one user per session*),
/// knows its own messages everywhere (a hide works for its author only), and reads what it has written.
pub(super) fn session_across_peers(world: &mut World) -> Result<(), Failure> {
    for number in world.forums.len()..4 {
        let name = format!("forum{number}x{:x}", world.seed);
        world.oracle.secret(&name);
        world.forums.push(name);
    }
    world.tune(|tuning| tuning.replicas = 2);
    begin(world)?;
    for forum in 0..4 {
        world.add_visitor_who(forum, WANDERER);
    }
    for round in 0..8 {
        let (down, pause) = (millis(world, 100, 2500), millis(world, 300, 1500));
        world.strike(if round % 4 == 3 { Kind::CrashLeader } else { Kind::CrashPrimary }, down);
        world.run_for(pause)?;
    }
    world.run_for(secs(1))?;
    world.settle()
}
