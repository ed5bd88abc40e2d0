//! Runs seeds as `make sim` does.

use std::path::Path;

use loop_sim_tests::{runs::Order, world::report::Outcome};

/// The simulation as it was built for this test.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sim"))
}

/// Tells a story from a seed.
#[allow(dead_code, reason = "not every test that shares this tells whole stories")]
pub fn run(scenario: &str, seed: u64) -> Outcome {
    Order { scenario, seed, broken: None }.run(program()).expect("the simulation starts")
}

/// As [`run`], and fails with what anybody needs to see the failure again.
#[allow(dead_code, reason = "not every test that shares this tells whole stories")]
pub fn must_be_fine(scenario: &str, seed: u64) -> Outcome {
    let outcome = run(scenario, seed);
    if let Some(complaint) = outcome.complaint() {
        outcome.newest.iter().for_each(|line| println!("{line}"));
        panic!("{complaint}");
    }
    outcome
}
