//! Stories of many faults, one after another and overlapping.

use std::time::Duration;

use rand::{
    RngExt,
    seq::{IndexedRandom, SliceRandom},
};

use super::{begin, millis, secs, strike};
use crate::world::{
    Failure, World,
    faults::{self, Kind},
    liar::LIES,
    visitor::Habit,
};

pub(super) fn partitions(world: &mut World) -> Result<(), Failure> {
    let kinds = [
        Kind::CutLink,
        Kind::CutOneWay,
        Kind::IsolateHub,
        Kind::IsolatePeer,
        Kind::SplitHubs,
        Kind::HoldLink,
        Kind::SlowLink,
    ];
    mixed(world, &kinds, 15)
}

pub(super) fn power_cuts(world: &mut World) -> Result<(), Failure> {
    let kinds = [Kind::CrashHub, Kind::CrashLeader, Kind::CrashAllHubs, Kind::CrashPeer, Kind::CrashPrimary];
    mixed(world, &kinds, 12)
}

pub(super) fn sick_disks(world: &mut World) -> Result<(), Failure> {
    let kinds = [Kind::SlowDisk, Kind::FailSync, Kind::FullDisk, Kind::SlowPeerDisk, Kind::CrashHub];
    mixed(world, &kinds, 12)
}

pub(super) fn clocks(world: &mut World) -> Result<(), Failure> {
    mixed(world, &[Kind::JumpClock, Kind::JumpClock, Kind::CrashLeader], 12)
}

/// Meanwhile forums are opened and left with nothing in them, or with one message. A day is some seconds long.
pub(super) fn chaos(world: &mut World) -> Result<(), Failure> {
    let rounds = world.rng.random_range(5..25);
    let day_ms = world.rng.random_range(4_000..20_000);
    world.tune(|tuning| tuning.empty_forum_age_ms = day_ms);
    begin(world)?;
    for habit in [Habit::TypesAndDeletes, Habit::SaysOneThing, Habit::TypesAndDeletes, Habit::TypesAndLeaves]
    {
        world.add_leaver(habit);
    }
    strikes(world, &faults::ALL, rounds)
}

/// People watch forums through hubs that are lost, cut off and slow, while the forums move.
pub(super) fn watched(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for number in 0..2 * world.forums.len().min(3) {
        world.add_watcher(number / 2);
    }
    let kinds = [
        Kind::CrashLeader,
        Kind::CrashHub,
        Kind::CrashAllHubs,
        Kind::IsolateHub,
        Kind::SplitHubs,
        Kind::CrashPrimary,
        Kind::MoveForum,
        Kind::SlowConsumer,
    ];
    strikes(world, &kinds, 12)
}

fn mixed(world: &mut World, kinds: &[Kind], rounds: u32) -> Result<(), Failure> {
    begin(world)?;
    strikes(world, kinds, rounds)
}

fn strikes(world: &mut World, kinds: &[Kind], rounds: u32) -> Result<(), Failure> {
    for _ in 0..rounds {
        let kind = *kinds.choose(&mut world.rng).expect("some kinds");
        strike(world, kind, (50, 4000), (50, 1500))?;
    }
    world.settle()
}

/// Links that are cut and mended many times a second.
pub(super) fn flapping(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..8 {
        strike(world, Kind::FlapLink, (500, 5000), (100, 1000))?;
    }
    world.strike(Kind::CrashLeader, secs(1));
    world.run_for(secs(2))?;
    world.settle()
}

/// Peers and browsers that read very slowly while much is written.
pub(super) fn slow_consumer(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    world.add_visitors(4);
    for _ in 0..8 {
        strike(world, Kind::SlowConsumer, (500, 8000), (100, 1500))?;
    }
    world.run_for(secs(3))?;
    world.settle()
}

/// Peers that tell the hubs what is not so: each lie by a primary, and by anybody.
pub(super) fn liars(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    let mut lies = LIES.to_vec();
    lies.shuffle(&mut world.rng);
    for lie in lies {
        for peer in [world.any_primary(), world.any_peer()].into_iter().flatten() {
            let time = millis(world, 1000, 3000);
            world.lie(peer, lie, time);
            let pause = millis(world, 500, 2000);
            world.run_for(pause)?;
        }
        world.strike(Kind::MoveForum, Duration::ZERO);
    }
    world.settle()
}

/// Answers to browsers are lost on the way, so that they send the same commit again, to another hub perhaps.
pub(super) fn re_sent_commits(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..20 {
        let (time, pause) = (millis(world, 200, 3000), millis(world, 50, 600));
        world.lose_answers(time);
        world.run_for(pause)?;
        if world.rng.random_bool(0.15) {
            let kind = *[Kind::CrashPrimary, Kind::CrashLeader, Kind::CrashHub]
                .choose(&mut world.rng)
                .expect("three");
            world.strike(kind, time);
        }
    }
    world.settle()
}
