//! The net catches: a world broken on purpose does not end well.

mod sim_support;

use sim_support::{commit_of, run_with};

/// Seeds within which each must be found.
const SEEDS: u64 = 20;

fn is_found(breakage: &str, scenario: &str) {
    let found = (1..=SEEDS).find_map(|seed| {
        let outcome = run_with(scenario, seed, &["--break", breakage]);
        outcome.failure.map(|failure| (seed, failure))
    });
    let Some((seed, failure)) = found else {
        panic!("{breakage} was not noticed in {SEEDS} seeds of {scenario}, at commit {}", commit_of())
    };
    println!("{breakage}: {scenario} seed {seed}: {failure}");
}

#[test]
fn disks_that_lie_about_syncs_are_noticed() {
    is_found("lost-sync", "power-cuts");
}

#[test]
fn a_cursor_saved_before_its_rows_is_noticed() {
    is_found("cursor-before-data", "primary-lost");
}
