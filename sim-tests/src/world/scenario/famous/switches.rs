//! Switches from one holder to the next.

use std::time::Duration;

use loop_proto::v1::{Assignment, JoinStage};
use rand::{RngExt, seq::IndexedRandom};

use super::{crowd, served};
use crate::world::{
    Failure, World,
    faults::Kind,
    operator::Order,
    scenario::{begin, millis, secs},
};

/// Longest time in which a forum may serve nobody while its holder changes and one machine falls.
const NOBODY_MAX: Duration = Duration::from_secs(20);
/// Longest way of an invitation to its end; one that stands still is closed long before.
const OVER_WITHIN: Duration = Duration::from_secs(120);

/// Orders a forum's primary to go to a peer that has no replica. `None`: there is none.
fn order_switch(world: &mut World, forum: u32) -> Option<(u32, u32)> {
    let held = world.ledger.assignments().remove(&forum)?;
    let outside: Vec<u32> =
        world.all_peer_ids().into_iter().filter(|peer| !held.replicas.contains(peer)).collect();
    let to = *outside.choose(&mut world.rng)?;
    world.desk.order(Order::Move { forum, from: held.primary, to });
    Some((held.primary, to))
}

fn is_over(held: &Assignment) -> bool {
    held.joining.is_empty() && held.draining.is_empty()
}

/// Whether a forum's invitation is at a stage, or past it.
fn at_least(world: &World, forum: u32, stage: JoinStage, to: u32) -> bool {
    let Some(held) = world.ledger.assignments().remove(&forum) else { return false };
    held.replicas.contains(&to) || held.joining.iter().any(|j| j.peer_id == to && j.stage() >= stage)
}

fn wait_until_over(world: &mut World, forum: u32) -> Result<(), Failure> {
    world.run_until("the move is over", OVER_WITHIN, |world| {
        match world.ledger.assignments().get(&forum).is_none_or(is_over) {
            true => Ok(()),
            false => Err(format!("forum {forum} is on its way")),
        }
    })
}

/// vitess 16563: the position at which traffic was to switch was read before writes to the source had been stopped; what
/// was written in between was lost.
///
/// Here: a target that serves from a position which is not the log's at that moment. The busiest forum's primary moves
/// again and again while a crowd writes, to a target that reads and stores slowly, so that much lies between what it has
/// and what there is. What was acknowledged at the source in the last moment must be in the target's copy, and read
/// there: *each forum is linearizable*, *acknowledged is kept* and *copies follow the log* see what is not.
pub fn vitess_16563(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.replicas = 2);
    begin(world)?;
    crowd(world, 0, 4);
    world.run_for(secs(1))?;
    let Some(forum) = busiest(world) else { return world.settle() };
    for _ in 0..3 {
        let Some((_, to)) = order_switch(world, forum) else { break };
        let time = millis(world, 500, 4000);
        if let Some(name) = world.peer_of(to).map(|peer| world.peer_name(peer)) {
            world.slow_down(&name, time);
        }
        world.strike(Kind::SlowPeerDisk, time);
        world.run_for(secs(1))?;
        wait_until_over(world, forum)?;
        if at_least(world, forum, JoinStage::CatchingUp, to) {
            world.saw("move: a busy forum was cut over");
        }
    }
    world.settle()
}

/// The forum most is written to: that of the first name.
fn busiest(world: &World) -> Option<u32> {
    let number_of = |forum: &u32| world.forum_number(*forum) == Some(0);
    world.ledger.assignments().into_keys().find(number_of)
}

/// vitess 17326: a switch of traffic failed at its last step; the source had already stopped and the target had not
/// begun, so that nobody served until an operator came.
///
/// Here: a move whose leader, target or source falls when the target has caught up and the cut-over is all that is left.
/// The forum has one more replica then, or the same; a crowd is the prober: it must be served by somebody within a bound,
/// all the time, and the move must come to one of its two ends by itself.
pub fn vitess_17326(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.replicas = 2);
    begin(world)?;
    crowd(world, 0, 2);
    world.run_for(secs(1))?;
    let Some(forum) = busiest(world) else { return world.settle() };
    for _ in 0..3 {
        let Some((from, to)) = order_switch(world, forum) else { break };
        let until = world.elapsed() + secs(10);
        while !at_least(world, forum, JoinStage::CatchingUp, to) && world.elapsed() < until {
            world.run_for(Duration::from_millis(1))?;
        }
        let down = millis(world, 500, 5000);
        let peers = [world.peer_of(to), world.peer_of(from)];
        match world.rng.random_range(0..4_u32) {
            0 => drop(world.strike(Kind::CrashLeader, down)),
            1 => drop(world.strike(Kind::IsolateLeader, down)),
            2 => drop(peers[0].map(|target| world.crash_peer(target, down))),
            _ => drop(peers[1].map(|source| world.crash_peer(source, down))),
        }
        served(world, 0, down + secs(3), NOBODY_MAX)?;
        wait_until_over(world, forum)?;
    }
    served(world, 0, secs(3), NOBODY_MAX)?;
    world.settle()
}
