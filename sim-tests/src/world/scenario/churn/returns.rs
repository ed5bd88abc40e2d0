//! Who is away, and what is done about it meanwhile: a last copy, an absence that outlives leaders, an old disk.

use std::time::Duration;

use loop_proto::v1::{Assignment, PeerState, record::Body};
use rand::{
    RngExt,
    seq::{IndexedRandom, SliceRandom},
};

use super::{LEISURELY, SELDOM, any_exit, begin_with_writers, disks, millis, secs};
use crate::world::{Failure, World, faults::Kind, operator::Order, volunteers::Exit};

/// A peer's disk is replaced by an older copy, and it comes back with that; others have gone on.
pub(in super::super) fn old_copy(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.replicas = tuning.replicas.max(2));
    begin_with_writers(world, SELDOM)?;
    for _ in 0..2 {
        let Some(peer) = world.any_primary() else { break };
        disks(world.set_aside(peer))?;
        world.run_for(secs(1200))?;
        let exit = any_exit(world);
        world.leaves(peer, exit);
        world.run_for(secs(5))?;
        disks(world.put_back(peer))?;
        let away = millis(world, 0, 60_000);
        world.run_for(away)?;
        world.returns(peer);
        world.run_for(secs(120))?;
    }
    world.settle()
}

/// All peers of a forum but one leave at once, while much else is to be moved. The one that is left is copied before anything
/// else moves; then it leaves, too.
pub(in super::super) fn last_copy(world: &mut World) -> Result<(), Failure> {
    let grace = world.rng.random_range(100..400);
    world.tune(|tuning| (tuning.replicas, tuning.peer_grace_s) = (tuning.replicas.max(2), grace));
    begin_with_writers(world, LEISURELY)?;
    for _ in 0..3 {
        at_rest(world)?;
        let (forum, held) = any_forum(world);
        let last = *held.replicas.choose(&mut world.rng).expect("a forum has a replica");
        // What is to be emptied has to go somewhere: the copies of everything on it compete with the one that matters.
        let holds = |id: &u32| held.replicas.contains(id);
        let empties = world.all_peer_ids().into_iter().find(|id| !holds(id));
        for id in held.replicas.iter().filter(|id| **id != last) {
            let Some(peer) = world.peer_of(*id) else { continue };
            world.leaves(peer, Exit::Power);
        }
        if let Some(id) = empties {
            world.desk.order(Order::State(id, PeerState::Draining));
        }
        world.run_until("the last copy is copied", secs(90), |world| {
            match world.live_copies(forum).iter().any(|id| *id != last) {
                true => Ok(()),
                false => Err(format!("forum {forum} is on peer {last} alone")),
            }
        })?;
        if let Some(peer) = world.peer_of(last) {
            let exit = any_exit(world);
            world.leaves(peer, exit);
        }
        let pause = millis(world, 5000, 20_000);
        world.run_for(pause)?;
        if let Some(id) = empties {
            world.desk.order(Order::State(id, PeerState::Active));
        }
        all_return(world)?;
    }
    world.settle()
}

/// A peer leaves, and it is proposed that copies end which are left, by somebody who led until a moment ago and does not know
/// who has left. What the log shows is what decides. Copies that nobody has compared yet are among them.
pub(in super::super) fn late_removals(world: &mut World) -> Result<(), Failure> {
    let copy_grace = world.rng.random_range(0..60);
    world.tune(|tuning| (tuning.replicas, tuning.copy_grace_s) = (3, copy_grace));
    begin_with_writers(world, LEISURELY)?;
    for _ in 0..5 {
        let (forum, held) = any_forum(world);
        let leaver = *held.replicas.choose(&mut world.rng).expect("a forum has a replica");
        if let Some(peer) = world.peer_of(leaver) {
            world.leaves(peer, Exit::Power);
        }
        let known = world.shape.pace.known_within();
        world.run_for(known)?;
        for _ in 0..4 {
            for peer in held.replicas.iter().copied() {
                world.desk.order(Order::LetGo { forum, peer });
            }
            let pause = millis(world, 500, 4000);
            world.run_for(pause)?;
        }
        all_return(world)?;
        world.run_for(secs(10))?;
    }
    world.settle()
}

/// Seen when a replaced copy served again.
pub const TAKEN_BACK: &str = "balance: a replaced copy was taken back";

/// Whoever has just taken a forum over leaves again, and the one it replaced serves again: it has followed all the time.
pub(in super::super) fn successor_leaves(world: &mut World) -> Result<(), Failure> {
    let grace = world.rng.random_range(30..200);
    world.tune(|tuning| {
        (tuning.peer_grace_s, tuning.copy_grace_s) = (grace, 20);
        tuning.replicas = tuning.replicas.max(2);
    });
    begin_with_writers(world, LEISURELY)?;
    let wanted = world.wanted();
    for _ in 0..3 {
        at_rest(world)?;
        let (forum, held) = any_forum(world);
        let mut from = *held.replicas.choose(&mut world.rng).expect("a forum has a replica");
        let outside: Vec<u32> =
            world.all_peer_ids().into_iter().filter(|id| !held.replicas.contains(id)).collect();
        let Some(to) = outside.choose(&mut world.rng).copied() else { break };
        world.run_until("the successor serves", secs(90), |world| {
            let now = &world.ledger.assignments()[&forum];
            if now.replicas.contains(&to) {
                return Ok(());
            }
            // Balance may be moving this very forum: then an operator asks again, for what is there by then.
            if !now.replicas.contains(&from) {
                from = now.primary;
            }
            if world.desk.is_idle() && !now.joining.iter().any(|joining| joining.peer_id == to) {
                world.desk.order(Order::Move { forum, from, to });
            }
            Err(format!("peer {to} does not hold forum {forum}"))
        })?;
        let pause = millis(world, 0, 5000);
        world.run_for(pause)?;
        let exit = any_exit(world);
        if let Some(peer) = world.peer_of(to) {
            world.leaves(peer, exit);
        }
        world.run_until("the replaced one serves again", secs(60), |world| {
            match world.live_copies(forum) {
                live if live.len() >= wanted && live.contains(&from) => Ok(()),
                live => Err(format!("the live copies of forum {forum} are {live:?}")),
            }
        })?;
        world.saw(TAKEN_BACK);
        all_return(world)?;
    }
    world.settle()
}

fn any_forum(world: &mut World) -> (u32, Assignment) {
    let all: Vec<(u32, Assignment)> = world.ledger.assignments().into_iter().collect();
    all.choose(&mut world.rng).cloned().expect("some forum")
}

fn all_return(world: &mut World) -> Result<(), Failure> {
    let mut out: Vec<usize> = (0..world.peers.len()).filter(|peer| world.is_out(*peer)).collect();
    out.shuffle(&mut world.rng);
    for peer in out {
        let pause = millis(world, 0, 5000);
        world.run_for(pause)?;
        world.returns(peer);
    }
    Ok(())
}

/// Everybody is there, and every forum on as many peers as it should be and on no more.
fn at_rest(world: &mut World) -> Result<(), Failure> {
    let wanted = world.wanted();
    world.run_until("at rest", secs(180), |world| {
        for (forum, held) in world.ledger.assignments() {
            let live = world.live_copies(forum).len();
            if live < wanted
                || held.replicas.len() > wanted
                || !held.joining.is_empty()
                || !held.draining.is_empty()
            {
                return Err(format!("forum {forum} has {live} live copies of {wanted}: {held:?}"));
            }
        }
        Ok(())
    })
}

/// Seen when a forum was given another peer although the lead changed all the time.
pub const OUTLIVED: &str = "balance: an absence outlived its leaders";

/// How long a peer's absence may be noticed, decided on and made up for beyond the grace.
const MADE_UP_WITHIN: Duration = Duration::from_secs(30);

/// While the lead changes again and again, a peer is away for less than the grace in all, and nobody takes its place; then
/// for longer, and somebody does: whoever leads must know since when it is away.
pub(in super::super) fn leader_changes_while_away(world: &mut World) -> Result<(), Failure> {
    const GRACE: u64 = 15;
    world.tune(|tuning| (tuning.replicas, tuning.peer_grace_s) = (3, GRACE));
    begin_with_writers(world, LEISURELY)?;
    at_rest(world)?;
    // Whoever is away for most of the time is not counted on.
    world.run_for(secs(GRACE * 2))?;
    let Some(peer) = world.any_peer() else { return world.settle() };
    let id = world.peer_id(peer).expect("it has joined");
    let exit = any_exit(world);
    world.leaves(peer, exit);
    let (left, from) = (world.elapsed(), world.ledger.newest());
    while world.elapsed() < left + secs(GRACE * 6 / 10) {
        changes_lead(world)?;
    }
    world.returns(peer);
    world.run_for(secs(2))?;
    if let Some(record) = first_replacement(world, from, id) {
        return Err(Failure(format!(
            "whoever is away within the grace keeps its place: record {record} gives it away"
        )));
    }
    at_rest(world)?;
    let exit = any_exit(world);
    world.leaves(peer, exit);
    let (left, from) = (world.elapsed(), world.ledger.newest());
    while first_replacement(world, from, id).is_none() {
        if world.elapsed() > left + secs(GRACE * 3) + MADE_UP_WITHIN {
            return Err(Failure(
                "an absence outlives its leaders: nobody took the place of who is away".to_owned(),
            ));
        }
        changes_lead(world)?;
    }
    world.saw(OUTLIVED);
    world.returns(peer);
    world.settle()
}

/// The leader loses power a while after it has come to lead: longer than it takes to plan, less than the grace.
fn changes_lead(world: &mut World) -> Result<(), Failure> {
    let (lead, down) = (millis(world, 4500, 6000), millis(world, 300, 900));
    world.run_for(lead)?;
    world.strike(Kind::CrashLeader, down);
    world.run_for(down)
}

/// The first record after this one with which somebody is asked to hold a forum that this peer serves, or takes its place.
fn first_replacement(world: &World, after: u64, id: u32) -> Option<u64> {
    let mut served: std::collections::BTreeMap<u32, Assignment> = Default::default();
    (1..=world.ledger.newest()).find(|at| {
        let Some(record) = world.ledger.record(*at) else { return false };
        let Some(Body::Assignment(now)) = record.body else { return false };
        let before = served.insert(record.forum_id, now.clone());
        let was_its = before.is_some_and(|before| before.replicas.contains(&id) && before.joining.is_empty());
        *at > after && was_its && !now.joining.is_empty()
    })
}
