//! Every story from fixed seeds, chaos from some more and from fresh ones; and together they must have seen
//! everything they are there to see.

mod sim_support;

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use loop_sim_tests::world::{report::Outcome, scenario::SCENARIOS};
use sim_support::must_be_fine;

/// Runs at once: each is one thread.
const JOBS: usize = 2;

/// Seeds of chaos that together show every fault.
const CHAOS_SEEDS: std::ops::Range<u64> = 1..7;
/// Seeds nobody has seen before.
const FRESH_SEEDS: u64 = 2;

fn all_of(runs: Vec<(&'static str, u64)>) -> Vec<Outcome> {
    let (left, outcomes) = (Mutex::new(runs), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let Some((scenario, seed)) = left.lock().expect("nobody panics with it").pop() else {
                        return;
                    };
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
    let stories = SCENARIOS.iter().filter(|scenario| scenario.name != "chaos");
    let mut runs: Vec<(&str, u64)> = stories.map(|scenario| (scenario.name, 1)).collect();
    runs.extend(CHAOS_SEEDS.map(|seed| ("chaos", seed)));
    let outcomes = all_of(runs);
    let mut coverage: BTreeMap<String, u64> = BTreeMap::new();
    for outcome in &outcomes {
        for (what, count) in &outcome.coverage {
            *coverage.entry(what.clone()).or_default() += count;
        }
    }
    let never: Vec<_> = loop_sim_tests::world::report::sometimes()
        .into_iter()
        .filter(|what| coverage.get(what).copied().unwrap_or(0) == 0)
        .collect();
    assert!(never.is_empty(), "never seen: {never:?}; seen: {coverage:#?}");
}

#[test]
fn chaos_from_fresh_seeds_ends_well() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    // Six digits: somebody may have to type it.
    let first = u64::from(now.subsec_nanos()) % 1_000_000;
    all_of((0..FRESH_SEEDS).map(|number| ("chaos", first + number)).collect());
}
