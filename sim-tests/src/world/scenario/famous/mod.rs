//! Failures other systems are known for. Each story says what happened there, how this system could have had it, what is
//! done to it here, and which check would see it.

mod load;
mod log;
mod subscribers;
mod switches;

use std::time::Duration;

pub use self::load::FULL;
pub(super) use self::{
    load::{hub_monorepo_823, socketio_5413},
    log::{etcd_18089, nats_7564},
    subscribers::{etcd_17529, nats_4736},
    switches::{vitess_16563, vitess_17326},
};

use super::secs;
use crate::world::{
    Failure, World,
    visitor::{Habit, Manner},
};

/// Somebody who hardly waits.
const BUSY: Manner =
    Manner { pause_max: Duration::from_millis(60), strays: 1, ballast: 0, habit: Habit::Stays };

/// This many people who hardly wait come to a forum.
fn crowd(world: &mut World, forum: usize, count: usize) {
    for _ in 0..count {
        world.add_visitor_who(forum, BUSY);
    }
}

/// Lets `time` pass, in which a forum's people never wait longer than `gap` for somebody's commit to be acknowledged.
fn served(world: &mut World, forum: usize, time: Duration, gap: Duration) -> Result<(), Failure> {
    let begun = world.elapsed();
    while world.elapsed() < begun + time {
        world.run_for(Duration::from_millis(50))?;
        let since = world.elapsed() - world.oracle.served(forum).max(begun);
        if since > gap {
            return Err(Failure(format!("nobody has served forum number {forum} for {since:?}")));
        }
    }
    Ok(())
}

/// A peer has on its disk what its forums were at when this began, `within` a time.
fn follows(world: &mut World, peer: usize, within: Duration) -> Result<(), Failure> {
    let due = world.ledger.newest();
    let name = world.peer_name(peer);
    world.run_until(&format!("{name} follows"), within, |world| world.has_all_of(peer, due))
}

/// All peers follow.
fn all_follow(world: &mut World) -> Result<(), Failure> {
    (0..world.peers.len()).try_for_each(|peer| follows(world, peer, secs(25)))
}
