//! The net catches: a bug that is switched on is noticed.

mod sim_support;

use std::sync::Mutex;

use loop_proto::breakage::Breakage;
use loop_sim_tests::{
    hunt::{self, Found},
    runs::Order,
    source::repository,
};
use sim_support::program;

/// Bugs looked for at once.
const JOBS: usize = 2;

fn listed() -> Vec<Found> {
    let path = repository().join("sim-tests/BREAKAGES.md");
    hunt::read_list(&std::fs::read_to_string(path).expect("the list of what was found"))
}

#[test]
fn every_bug_is_in_the_list() {
    let listed: Vec<Breakage> = listed().into_iter().map(|found| found.breakage).collect();
    assert_eq!(listed, Breakage::ALL, "`make breakages` writes sim-tests/BREAKAGES.md anew");
}

/// Where the list says so, or, since a change elsewhere can move that to another seed, at any other of the same story
/// or of chaos.
fn is_noticed(found: &Found) -> bool {
    let order = Order { scenario: &found.scenario, seed: found.seed, broken: Some(found.breakage) };
    let outcome = order.run(program()).expect("the simulation starts");
    hunt::is_noticed(found.breakage, &outcome)
        || hunt::hunt(program(), 1, found.breakage, |_| {}).expect("the simulation starts").is_some()
}

#[test]
fn every_bug_is_noticed() {
    let (left, holes) = (Mutex::new(listed()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(|| {
                loop {
                    let Some(found) = left.lock().expect("nobody panics with it").pop() else { return };
                    if !is_noticed(&found) {
                        holes.lock().expect("nobody panics with it").push(found.breakage.name());
                    }
                }
            });
        }
    });
    let holes = holes.into_inner().expect("all hunts are over");
    assert!(holes.is_empty(), "not noticed within {} seeds: {holes:?}", hunt::SEEDS_MAX);
}
