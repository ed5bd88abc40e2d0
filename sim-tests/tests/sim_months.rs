//! Populations of volunteers over days, modelled: what is promised of each is kept, and rules that are switched off are
//! missed. `make months` runs the same for weeks.

use loop_sim_tests::months::{
    self, Order,
    agenda::HOUR,
    report::Report,
    scenarios::{self, Scenario},
};

/// Forums of a short run, where what is copied is not promised: new machines get as many copies, however many forums there are.
const FORUMS: usize = 150;

fn population(name: &str) -> Scenario {
    let mut scenario = scenarios::find(name).expect("a population of that name");
    if scenario.promises.copied_per_day.is_none() {
        scenario.forums = scenario.forums.min(FORUMS);
    }
    scenario
}

fn run(scenario: Scenario, hours: u64, seed: u64) -> Report {
    months::run(scenario, Order { seed, length: hours * HOUR, only_count: false }, |_| {})
}

fn must_be_fine(name: &str, hours: u64) -> Report {
    let report = run(population(name), hours, 1);
    let told = |promise: &months::report::Promise| {
        format!("{}: {} {}\n    {}", promise.at, promise.forum, promise.what, promise.story.join("\n    "))
    };
    let broken: Vec<String> = report.broken.iter().map(told).collect();
    assert!(report.is_fine(), "seed 1 of {name}:\n{report}\n{}", broken.join("\n"));
    report
}

#[test]
fn in_days_of_a_month_every_forum_is_served_nothing_is_lost_and_little_is_copied() {
    let report = must_be_fine("month", 5 * 24);
    assert!(report.visits > 500 && report.acknowledged > 20_000, "{report}");
}

#[test]
fn guests_of_seconds_cost_nothing() {
    for (name, hours) in [("guests", 24), ("guests-300", 4)] {
        let report = must_be_fine(name, hours);
        assert!(report.visits > 150, "{report}");
        assert_eq!((report.below_wanted, report.copied_mean), (0.0, 0.0), "{report}");
    }
}

#[test]
fn who_works_by_day_or_by_night_takes_no_forum_along() {
    must_be_fine("day-and-night", 48);
}

#[test]
fn a_crowd_of_newcomers_changes_little() {
    must_be_fine("flash-crowd", 24);
}

#[test]
fn after_half_of_all_have_left_nothing_is_lost_and_all_is_as_before() {
    let report = must_be_fine("half-leaves", 24);
    assert!(report.no_copy > 0.0, "it was not half: {report}");
}

#[test]
fn where_nobody_stays_what_is_there_is_served_and_nothing_is_lost() {
    must_be_fine("only-guests", 12);
}

#[test]
fn a_leader_that_remembers_nothing_does_as_well() {
    must_be_fine("leader-changes", 4 * 24);
}

#[test]
fn who_claims_more_than_is_true_costs_no_forum() {
    must_be_fine("liars", 24);
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_not() {
    let told = |seed| {
        let report = run(population("month"), 20, seed);
        (serde_json::to_string(&report).expect("a report can be written"), report.visits)
    };
    let (one, other) = (told(3), told(4));
    assert_eq!(one, told(3));
    assert_ne!(one.0, other.0);
}
