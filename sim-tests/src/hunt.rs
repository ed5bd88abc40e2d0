//! Proves the net: switches on one bug after another and looks for the first seed at which the simulation notices.
//!
//! Owns which story is most likely to meet a bug, and the list of what was found. Never knows what a bug does.

use std::{fmt::Write, io, path::Path};

use loop_proto::breakage::Breakage;

use crate::{
    runs::{self, Order},
    world::report::Outcome,
};

/// Each bug must be noticed within so many seeds of one story.
pub const SEEDS_MAX: u64 = 200;

/// The story in which a bug shows soonest, and the rules that are there to notice it, as what is printed of a breach begins.
/// If another one notices, that is luck: it shows nothing about the net.
const fn expected(breakage: Breakage) -> (&'static str, &'static [&'static str]) {
    const ANSWERS: &str = "answers follow from their tasks";
    const COPIES: &[&str] = &["copies follow the log"];
    const FORUMS: &str = "each forum is linearizable";
    const ONE_STATE: &[&str] = &["hubs hold one state", "one log"];
    const STOPPED: &str = "nobody stops without a reason";
    const TAKEN: &[&str] = &["no live copy is taken"];
    const USERS: &[&str] = &["one user per session"];
    match breakage {
        Breakage::AckBeforeCommit | Breakage::ForgottenSession => ("calm", USERS),
        Breakage::WindowMissesFacts => ("calm", &[FORUMS]),
        Breakage::CursorBeforeData | Breakage::FactsWithoutCursor | Breakage::FeedSkipsToLive => {
            ("primary-lost", COPIES)
        }
        Breakage::EpochNotRaised => ("primary-lost", &["one primary"]),
        Breakage::EpochUnchecked => ("liars", &["one primary"]),
        Breakage::ConformUnchecked
        | Breakage::KindUnchecked
        | Breakage::ForumUnchecked
        | Breakage::MessageUnchecked
        | Breakage::ColumnsUnchecked
        | Breakage::TextUnchecked
        | Breakage::PlaceUnchecked
        | Breakage::SessionUnchecked
        | Breakage::ReceiptUnchecked => ("liars", &[ANSWERS]),
        // Whether a message that is gone on with was unfinished still, the log alone does not tell.
        Breakage::MissingUnchecked => ("liars", &[ANSWERS, FORUMS]),
        Breakage::CutOverByWallClock => ("vitess-16563", &["nothing is logged as an error"]),
        Breakage::EffectLostAtElection => ("migration", &["not every replica has everything within 120s"]),
        Breakage::TrimPastSeeding => {
            ("target-away", &["a peer to which a copy was on its way had to start again"])
        }
        Breakage::ChangeHalfDone => ("half-done-change", &["not a new hub votes within 60s"]),
        Breakage::StagedFactsDropped => ("drain", COPIES),
        Breakage::DuplicateOnResend => ("re-sent-commits", &["one answer"]),
        Breakage::LostSync => ("failover", &[STOPPED]),
        // openraft's own assertions are there for it.
        Breakage::VoteNotDurable => ("power-cuts", &["panicked", "the run's process fell"]),
        Breakage::TornWriteTaken => {
            ("nats-7564", &["nobody stops without a reason", "hubs hold one state", "one log"])
        }
        Breakage::LeadRestored => ("leader-restart", ONE_STATE),
        Breakage::IdReuseAfterFailover
        | Breakage::SnapshotForgetsRequests
        | Breakage::SnapshotForgetsSessions => ("from-snapshots", ONE_STATE),
        Breakage::TimeFalls => ("clocks", &["ids are dense and increase"]),
        Breakage::UnfencedRead => ("cut-off-leader", &[FORUMS]),
        Breakage::UnconfirmedLead => ("outvoted-leader", &[FORUMS]),
        Breakage::LastCopyRemoved => ("late-removals", TAKEN),
        Breakage::ReplacedLetGoEarly => ("migration", TAKEN),
        Breakage::NewcomerCounts => ("guests", TAKEN),
        Breakage::AttendanceForgotten => ("leader-changes-while-away", &["an absence outlives its leaders"]),
        Breakage::LastCopyWaits => ("last-copy", &["not the last copy is copied within 90s"]),
        Breakage::NotReinstated => ("successor-leaves", &["not the replaced one serves again within 60s"]),
        Breakage::FullForumClosed => ("empty-forums", &["only empty forums are closed"]),
    }
}

/// Whether a run with the bug has shown it: a rule that is there for it was broken.
pub fn is_noticed(breakage: Breakage, outcome: &Outcome) -> bool {
    let by = outcome.failure.as_deref().map(noticed_by);
    by.is_some_and(|by| expected(breakage).1.contains(&by.as_str()))
}

/// Where a bug was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The bug.
    pub breakage: Breakage,
    /// The story.
    pub scenario: String,
    /// Its first seed that failed.
    pub seed: u64,
    /// What noticed it.
    pub by: String,
}

/// Runs the bug's own story from seed 1 on, `jobs` at once, and then chaos; `None` if nothing is noticed. A story that
/// ends badly without the bug, too, shows nothing. `tell` gets every outcome.
pub fn hunt(
    program: &Path,
    jobs: usize,
    breakage: Breakage,
    mut tell: impl FnMut(&Outcome),
) -> io::Result<Option<Found>> {
    let own = expected(breakage).0;
    let stories = [Some(own), (own != "chaos").then_some("chaos")];
    let orders = stories.into_iter().flatten().flat_map(|scenario| {
        (1..=SEEDS_MAX).map(move |seed| Order { scenario, seed, broken: Some(breakage) })
    });
    let mut found = Ok(None);
    runs::in_order(program, jobs, orders, |outcome| {
        tell(&outcome);
        found = found_in(program, breakage, &outcome);
        matches!(found, Ok(None))
    })?;
    found
}

fn found_in(program: &Path, breakage: Breakage, outcome: &Outcome) -> io::Result<Option<Found>> {
    let Outcome { scenario, seed, failure: Some(failure), .. } = outcome else { return Ok(None) };
    if !is_noticed(breakage, outcome) {
        return Ok(None);
    }
    let whole = Order { scenario, seed: *seed, broken: None }.run(program)?;
    let by = noticed_by(failure);
    Ok(whole.failure.is_none().then(|| Found { breakage, scenario: scenario.clone(), seed: *seed, by }))
}

/// The rule that was broken: what stands before the particulars of the run.
fn noticed_by(failure: &str) -> String {
    let end = failure.find([':', ';']).unwrap_or(failure.len());
    failure[..end].to_owned()
}

const HEAD: &str = "\
# The net catches

Each line is a bug that can be switched on in the code that ships, in a simulation only, and the first seed at which the
simulation notices it, by a rule that is there for it: if another rule is broken first, the seed does not count. Seeds were
tried from 1 on, so the seed's number is how many it took. The same seeds end well without the bug. `make breakages` writes this file; `sim-tests/tests/sim_breakages.rs` holds that every bug is still found.
To see one: `make sim BREAK=lost-sync SCENARIO=failover SEED=1 TRACE=1`.

| bug | what is wrong | story | seed | noticed by |
|---|---|---|---|---|
";

/// The list as it is kept in the repository.
pub fn list(found: &[Found]) -> String {
    let mut text = HEAD.to_owned();
    for Found { breakage, scenario, seed, by } in found {
        let (name, about) = (breakage.name(), breakage.about());
        writeln!(text, "| {name} | {about} | {scenario} | {seed} | {by} |")
            .expect("a string takes everything");
    }
    text
}

/// Reads [`list`].
pub fn read_list(text: &str) -> Vec<Found> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, _, scenario, seed, by, _] = cells[..] else { return None };
        let (breakage, seed) = (Breakage::from_name(name)?, seed.parse().ok()?);
        Some(Found { breakage, scenario: scenario.to_owned(), seed, by: by.to_owned() })
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_says_what_was_found_and_is_read_back() {
        let found = |breakage, seed| Found { breakage, scenario: "calm".into(), seed, by: "one log".into() };
        let all = [found(Breakage::LostSync, 3), found(Breakage::TimeFalls, 17)];
        assert_eq!(read_list(&list(&all)), all);
    }

    #[test]
    fn a_rule_is_named_without_the_particulars_of_the_run() {
        assert_eq!(noticed_by("one log: hub-1 applied another record 7"), "one log");
        assert_eq!(noticed_by("somebody is not served; open tasks [3]"), "somebody is not served");
        assert_eq!(noticed_by("nothing"), "nothing");
    }

    #[test]
    fn what_is_listed_was_noticed_by_a_rule_that_is_there_for_it() {
        let path = crate::source::repository().join("sim-tests/BREAKAGES.md");
        for found in read_list(&std::fs::read_to_string(path).expect("the list")) {
            assert!(expected(found.breakage).1.contains(&found.by.as_str()), "{found:?}");
        }
    }

    #[test]
    fn every_bug_has_a_story_that_there_is() {
        for breakage in Breakage::ALL {
            assert!(crate::world::scenario::find(expected(*breakage).0).is_some(), "{}", breakage.name());
        }
    }
}
