//! Every fault in every phase of a cluster's life, a part of them with each seed.

use std::time::Duration;

use super::{begin, millis, secs};
use crate::world::{
    Failure, World,
    faults::{
        ALL, Kind,
        phases::{PHASES, Phase},
    },
};

/// How many seeds share the work: as many following seeds see everything.
pub const PARTS: u64 = 4;
/// How long a phase may be waited for, with a fault that finds its place.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long until a phase that does not come, or passes too soon, is brought about again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(super) fn phases(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.replicas = 2);
    begin(world)?;
    let pairs = ALL.iter().flat_map(|kind| PHASES.map(|phase| (*kind, phase)));
    let part = world.seed % PARTS;
    let mine: Vec<(Kind, Phase)> =
        (0..).zip(pairs).filter(|(number, _)| number % PARTS == part).map(|(_, pair)| pair).collect();
    for (kind, phase) in mine {
        quiet(world)?;
        strike_in(world, kind, phase)?;
        let pause = millis(world, 200, 600);
        world.run_for(pause)?;
        world.heal();
    }
    world.settle()
}

/// Nothing goes wrong, somebody leads, nothing moves.
fn quiet(world: &mut World) -> Result<(), Failure> {
    world.run_until("quiet", secs(90), |world| match () {
        () if world.is_replacing() => Err("a hub's place is still empty".into()),
        () if world.is_in(Phase::Electing) => Err("nobody leads".into()),
        () if world.is_in(Phase::Moving) => Err("a forum moves".into()),
        () => Ok(()),
    })
}

/// Brings about the phase and strikes in it. It may take a few attempts: a phase passes, and a place may be taken.
fn strike_in(world: &mut World, kind: Kind, phase: Phase) -> Result<(), Failure> {
    let time = millis(world, 200, 800);
    bring_about(world, phase);
    let until = world.elapsed() + PATIENCE;
    let mut again = world.elapsed() + AGAIN_AFTER;
    while world.elapsed() < until {
        if world.is_in(phase) && world.strike(kind, time) {
            return Ok(());
        }
        if world.elapsed() >= again {
            bring_about(world, phase);
            again = world.elapsed() + AGAIN_AFTER;
        }
        world.run_for(Duration::from_millis(1))?;
    }
    Ok(())
}

fn bring_about(world: &mut World, phase: Phase) {
    match phase {
        Phase::Calm | Phase::Writing => {}
        Phase::Moving => drop(world.strike(Kind::MoveForum, Duration::ZERO)),
        Phase::Electing => drop(world.strike(Kind::CrashLeader, Duration::from_millis(900))),
        Phase::Ailing => drop(world.strike(Kind::SlowLink, AGAIN_AFTER)),
    }
}
