//! Stories of forums that move.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::v1::{Assignment, JoinStage, record::Body};
use rand::{
    RngExt,
    seq::{IndexedRandom, SliceRandom},
};

use super::{begin, log_goes_on, millis, secs, strike};
use crate::world::{Failure, World, faults::Kind, operator::Order};

pub(super) fn migration(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    let kinds = [
        Kind::CrashLeader,
        Kind::CrashPeer,
        Kind::CrashPrimary,
        Kind::CutLink,
        Kind::IsolatePeer,
        Kind::SlowPeerDisk,
        Kind::SlowLink,
        Kind::CrashAllHubs,
    ];
    for _ in 0..8 {
        world.strike(Kind::MoveForum, Duration::ZERO);
        // A move takes some hundred milliseconds: this falls on any of its steps.
        let pause = millis(world, 1, 400);
        world.run_for(pause)?;
        let kind = *kinds.choose(&mut world.rng).expect("some kinds");
        strike(world, kind, (50, 3000), (200, 2000))?;
    }
    world.settle()
}

/// A step of a move, as the log shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Invited,
    Seeding,
    CatchingUp,
    CutOver,
    Removed,
}

const STEPS: [Step; 5] = [Step::Invited, Step::Seeding, Step::CatchingUp, Step::CutOver, Step::Removed];

/// Who falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
    Leader,
    Primary,
}

const VICTIMS: [Victim; 4] = [Victim::Source, Victim::Target, Victim::Leader, Victim::Primary];
/// Moves made for each pair until one shows the step.
const ATTEMPTS: u32 = 6;

fn fell(step: Step, victim: Victim) -> String {
    format!("move: the {victim:?} fell at {step:?}")
}

/// All that a set of runs must have seen of moves that were interrupted.
pub fn move_steps() -> Vec<String> {
    STEPS.iter().flat_map(|step| VICTIMS.map(|victim| fell(*step, victim))).collect()
}

/// A forum on its way from one peer to another.
#[derive(Clone, Copy, Debug)]
struct Move {
    forum: u32,
    from: u32,
    to: u32,
    /// Who gives the copy, once that is known.
    source: u32,
    /// The newest record that was looked at.
    seen: u64,
}

impl Move {
    /// Some move; of the primary if `of_primary`.
    fn any(world: &mut World, of_primary: bool) -> Option<Self> {
        let assignments: Vec<(u32, Assignment)> = world.ledger.assignments().into_iter().collect();
        let (forum, held) = assignments.choose(&mut world.rng).cloned()?;
        let from = match of_primary {
            true => held.primary,
            false => *held.replicas.choose(&mut world.rng)?,
        };
        let outside: Vec<u32> =
            world.all_peer_ids().into_iter().filter(|peer| !held.replicas.contains(peer)).collect();
        let to = *outside.choose(&mut world.rng)?;
        let seen = world.ledger.newest();
        world.desk.order(Order::Move { forum, from, to });
        Some(Self { forum, from, to, source: from, seen })
    }

    /// Lets time pass until the log shows `step`. False: it did not in time.
    fn reaches(&mut self, world: &mut World, step: Step, within: Duration) -> Result<bool, Failure> {
        let until = world.elapsed() + within;
        while world.elapsed() < until {
            world.run_for(Duration::from_millis(1))?;
            for id in self.seen + 1..=world.ledger.newest() {
                self.seen = id;
                let record = world.ledger.record(id);
                let held =
                    record.filter(|record| record.forum_id == self.forum).and_then(|record| record.body);
                let Some(Body::Assignment(held)) = held else { continue };
                if self.shown_by(&held) == Some(step) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn shown_by(&mut self, held: &Assignment) -> Option<Step> {
        if let Some(joining) = held.joining.iter().find(|joining| joining.peer_id == self.to) {
            self.source = joining.source;
            return match joining.stage() {
                JoinStage::Invited => Some(Step::Invited),
                JoinStage::Seeding => Some(Step::Seeding),
                JoinStage::CatchingUp => Some(Step::CatchingUp),
                JoinStage::Unspecified => None,
            };
        }
        let serves = held.replicas.contains(&self.to);
        match held.draining.contains(&self.from) {
            true if serves => Some(Step::CutOver),
            false if serves && !held.replicas.contains(&self.from) => Some(Step::Removed),
            _ => None,
        }
    }
}

/// At each step of a move, in the moment the log shows it, the source, the target, the leader or the primary falls. Half
/// of the pairs with each seed.
pub(super) fn steps(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| {
        (tuning.replicas, tuning.peer_grace_s) = (2, 60);
        (tuning.invitation_timeout_s, tuning.copy_grace_s) = (2, 1);
    });
    begin(world)?;
    let half = (world.seed % 2) as usize;
    let pairs = STEPS.iter().flat_map(|step| VICTIMS.map(|victim| (*step, victim)));
    let mut pairs: Vec<_> = pairs.skip(half).step_by(2).collect();
    pairs.shuffle(&mut world.rng);
    for (step, victim) in pairs {
        for _ in 0..ATTEMPTS {
            at_rest(world)?;
            let of_primary = world.rng.random_bool(0.5);
            let Some(mut moving) = Move::any(world, of_primary) else { continue };
            // A replaced copy is kept until its successor's has been compared.
            let within = secs(if step == Step::Removed { 20 } else { 5 });
            if moving.reaches(world, step, within)? && falls(world, &moving, victim) {
                world.saw(fell(step, victim));
                let pause = millis(world, 300, 1500);
                world.run_for(pause)?;
                break;
            }
        }
    }
    world.settle()
}

fn falls(world: &mut World, moving: &Move, victim: Victim) -> bool {
    let down = millis(world, 50, 3000);
    let peer = match victim {
        Victim::Leader => return world.strike(Kind::CrashLeader, down),
        Victim::Source => Some(moving.source),
        Victim::Target => Some(moving.to),
        Victim::Primary => world.ledger.assignments().get(&moving.forum).map(|held| held.primary),
    };
    peer.and_then(|peer| world.peer_of(peer)).is_some_and(|peer| world.crash_peer(peer, down))
}

/// Everybody is there and no forum is on its way.
fn at_rest(world: &mut World) -> Result<(), Failure> {
    world.run_until("at rest", secs(90), |world| {
        let moves = world.ledger.assignments();
        let moves = moves.iter().find(|(_, held)| !held.joining.is_empty() || !held.draining.is_empty());
        match moves {
            Some((forum, held)) => Err(format!("forum {forum} moves: {held:?}")),
            None if world.is_ailing() => Err("something is wrong".into()),
            None => Ok(()),
        }
    })
}

/// The target of a move is away while others write on. The log is not trimmed past what it waits for, and it goes on where
/// it was.
pub(super) fn target_away(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| (tuning.replicas, tuning.peer_grace_s, tuning.invitation_timeout_s) = (2, 60, 30));
    begin(world)?;
    for _ in 0..4 {
        at_rest(world)?;
        let Some(mut moving) = Move::any(world, false) else { continue };
        let step = *STEPS[..3].choose(&mut world.rng).expect("three");
        if !moving.reaches(world, step, secs(5))? {
            continue;
        }
        let Some(target) = world.peer_of(moving.to) else { continue };
        let (before, over) = (world.ledger.newest(), world.started_over());
        world.crash_peer(target, secs(30));
        log_goes_on(world, before, 30)?;
        world.heal();
        let due = world.ledger.newest();
        world.run_until("the target follows", secs(30), |world| world.has_all_of(target, due))?;
        if world.started_over() > over {
            return Err(Failure("a peer to which a copy was on its way had to start again".to_owned()));
        }
    }
    world.settle()
}

/// The primary moves; as its target is about to take over, the lead is lost; and the old primary, which was cut off in
/// that moment, comes back late and believes it still is one.
pub(super) fn against_failover(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| (tuning.replicas, tuning.peer_grace_s) = (2, 60));
    begin(world)?;
    for _ in 0..6 {
        at_rest(world)?;
        let Some(mut moving) = Move::any(world, true) else { continue };
        if !moving.reaches(world, Step::CatchingUp, secs(5))? {
            continue;
        }
        let kind = *[Kind::CrashLeader, Kind::IsolateLeader].choose(&mut world.rng).expect("two");
        let (down, away) = (millis(world, 200, 3000), millis(world, 1000, 6000));
        world.strike(kind, down);
        if world.rng.random_bool(0.5) {
            cut_off(world, moving.from, away);
            moving.reaches(world, Step::CutOver, secs(8))?;
        } else if moving.reaches(world, Step::CutOver, secs(8))? {
            cut_off(world, moving.from, away);
            world.saw(LATE);
        }
        let pause = millis(world, 500, 2000);
        world.run_for(pause)?;
    }
    world.settle()
}

/// Seen when the old primary was cut off in the moment of the cut-over, after the lead was lost.
pub const LATE: &str = "move: the old primary missed the cut-over";

fn cut_off(world: &mut World, peer: u32, time: Duration) {
    if let Some(peer) = world.peer_of(peer) {
        let name = world.peer_name(peer);
        world.isolate(&name, time);
    }
}

/// One forum is written and read much more than the others: it gets a further replica, and what was given is not taken
/// away or moved about.
pub(super) fn hot_forum(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| (tuning.replicas, tuning.peer_grace_s) = (2, 60));
    begin(world)?;
    (0..14).for_each(|_| world.add_visitor(0));
    let mut grown = None;
    world.run_until("a busy forum has a further replica", secs(60), |world| {
        let Some(hot) = busiest(world) else { return Err("nothing was written".into()) };
        match world.ledger.assignments().get(&hot).map(|held| held.replicas.len()) {
            Some(3..) => {
                grown = Some(hot);
                Ok(())
            }
            held => Err(format!("forum {hot} has {held:?} replicas")),
        }
    })?;
    world.saw(GREW);
    let from = world.ledger.newest();
    world.run_for(secs(20))?;
    let hot = grown.unwrap_or_default();
    let (mut before, mut moved): (Option<Assignment>, u32) = (None, 0);
    for held in (1..=world.ledger.newest()).filter_map(|id| world.ledger.record(id)) {
        let Some(Body::Assignment(now)) = held.body.filter(|_| held.forum_id == hot) else { continue };
        if let Some(before) = before.as_ref().filter(|_| held.id > from) {
            moved += u32::from(before.primary != now.primary);
            let left = before.replicas.iter().find(|peer| !now.replicas.contains(peer));
            if let Some(left) = left {
                let what =
                    format!("forum {hot} is busy and peer {left} was taken from it at record {}", held.id);
                return Err(Failure(what));
            }
        }
        before = Some(now);
    }
    if moved > 2 {
        return Err(Failure(format!("the primary of forum {hot} moved {moved} times within 20 s")));
    }
    world.settle()
}

/// Seen when a busy forum got a further replica.
pub const GREW: &str = "balance: a busy forum got a further replica";

/// The forum with the most tasks.
fn busiest(world: &World) -> Option<u32> {
    let mut tasks: BTreeMap<u32, u64> = BTreeMap::new();
    for record in (1..=world.ledger.newest()).filter_map(|id| world.ledger.record(id)) {
        if matches!(record.body, Some(Body::Task(_))) {
            *tasks.entry(record.forum_id).or_default() += 1;
        }
    }
    tasks.into_iter().max_by_key(|(_, tasks)| *tasks).map(|(forum, _)| forum)
}
