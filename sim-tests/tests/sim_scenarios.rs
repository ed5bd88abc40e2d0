//! Every story from fixed seeds, chaos from some more, then seeds that every commit brings anew; and together the fixed
//! ones must have seen everything they are there to see.

mod sim_support;

use std::{
    collections::{BTreeMap, VecDeque},
    process::Command,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use loop_sim_tests::world::{
    report::{Outcome, sometimes},
    scenario::{PARTS, SCENARIOS},
};
use sim_support::must_be_fine;

/// Runs at once: each is one thread.
const JOBS: usize = 2;

/// Seeds of chaos among the fixed ones.
const CHAOS_SEEDS: std::ops::RangeInclusive<u64> = 1..=6;
/// Fresh seeds that are tried, unless `SIM_FRESH_RUNS` says otherwise.
const FRESH_RUNS: u64 = 24;

/// The fixed seeds of a story: one, but where several share what is to be seen.
fn seeds_of(story: &str) -> std::ops::RangeInclusive<u64> {
    match story {
        "chaos" => CHAOS_SEEDS,
        "phases" => 1..=PARTS,
        "migration-steps" => 1..=2,
        _ => 1..=1,
    }
}

/// Runs what `next` gives, two at a time, until it gives nothing more.
fn run_all(next: impl FnMut() -> Option<(&'static str, u64)> + Send) -> Vec<Outcome> {
    let (next, outcomes) = (Mutex::new(next), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let run = next.lock().expect("nobody panics with it")();
                    let Some((scenario, seed)) = run else { return };
                    let outcome = must_be_fine(scenario, seed);
                    outcomes.lock().expect("nobody panics with it").push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("all runs are over")
}

#[test]
fn every_story_ends_well_and_together_they_have_seen_everything() {
    let stories = SCENARIOS.iter().map(|scenario| scenario.name);
    let mut runs: VecDeque<_> =
        stories.flat_map(|name| seeds_of(name).map(move |seed| (name, seed))).collect();
    let mut coverage: BTreeMap<String, u64> = BTreeMap::new();
    for outcome in run_all(|| runs.pop_front()) {
        for (what, count) in outcome.coverage {
            *coverage.entry(what).or_default() += count;
        }
    }
    let seen = |what: &String| coverage.get(what).is_some_and(|count| *count > 0);
    let never: Vec<_> = sometimes().into_iter().filter(|what| !seen(what)).collect();
    assert!(never.is_empty(), "never seen: {never:#?}; seen: {coverage:#?}");
}

/// Every commit tries seeds that none before it has, and the same commit the same ones wherever it is tested: what fails
/// can be looked into. Without a repository, by the clock. Six digits: somebody may have to type it.
fn first_fresh_seed() -> u64 {
    let head =
        Command::new("git").args(["rev-parse", "HEAD"]).output().ok().filter(|out| out.status.success());
    let of_commit = head.and_then(|out| {
        let text = String::from_utf8(out.stdout).ok()?;
        u64::from_str_radix(text.get(..12)?, 16).ok()
    });
    let by_clock = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        u64::from(now.subsec_nanos())
    };
    of_commit.unwrap_or_else(by_clock) % 1_000_000
}

#[test]
fn fresh_seeds_end_well() {
    let runs = std::env::var("SIM_FRESH_RUNS").map_or(FRESH_RUNS, |text| {
        text.parse().unwrap_or_else(|_| panic!("SIM_FRESH_RUNS is {text:?}, which is no number of runs"))
    });
    let first = first_fresh_seed();
    // Chaos every other time, each story in its turn in between.
    let stories = SCENARIOS.iter().map(|scenario| scenario.name).filter(|name| *name != "chaos");
    let mut turns = stories.cycle().skip(usize::try_from(first).unwrap_or(0) % SCENARIOS.len());
    let mut number = 0;
    let outcomes = run_all(|| {
        if number == runs {
            return None;
        }
        number += 1;
        let story = if number % 2 == 1 { "chaos" } else { turns.next()? };
        Some((story, first + number))
    });
    let chaos = outcomes.iter().filter(|outcome| outcome.scenario == "chaos").count();
    println!("{} fresh seeds from {first} on ended well, {chaos} of them chaos", outcomes.len());
}
