//! Runs seeds as `make sim` does: each in a process of its own, since what tokio counts for a whole process would
//! make a second run in the same one differ.

use std::process::Command;

use loop_sim_tests::world::report::Outcome;

/// Tells a story from a seed.
pub fn run(scenario: &str, seed: u64) -> Outcome {
    run_with(scenario, seed, &[])
}

/// As [`run`], with more arguments.
pub fn run_with(scenario: &str, seed: u64, more: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["--scenario", scenario, "--json", "--seed", &seed.to_string()])
        .args(more)
        .output()
        .expect("the simulation starts");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("{scenario} seed {seed} ended with {} and said {error}: {errors}", output.status)
    })
}

/// As [`run`], and fails with what anybody needs to see the failure again.
#[allow(dead_code, reason = "not every test that shares this tells whole stories")]
pub fn must_be_fine(scenario: &str, seed: u64) -> Outcome {
    let outcome = run(scenario, seed);
    if let Some(failure) = &outcome.failure {
        outcome.newest.iter().for_each(|line| println!("{line}"));
        panic!(
            "{scenario} seed {seed}: {failure}\n  at commit {}\n  again: make sim SCENARIO={scenario} SEED={seed}",
            commit_of()
        );
    }
    outcome
}

/// The commit that runs.
pub fn commit_of() -> String {
    let said = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    said.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
