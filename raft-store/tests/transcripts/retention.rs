//! The log's end, its budget, and forums whose replicas are all away.

use expect_test::expect;
use loop_proto::v1::{RejectionCode, outcome::Kind};
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story};

/// Nobody has the records on disk that the budget would take, so they stay, and new work waits for room.
#[test]
fn what_no_replica_has_is_not_trimmed_and_new_work_is_refused() {
    let mut story = Story::with_a_forum(Bounds { records_max: 3, ..Bounds::STANDARD });
    for text in ["one", "two", "three", "four", "five"] {
        story.write(178, text, "");
    }
    story.write(178, "too much", "");
    story.write(178, "one", "");
    let facts = || Answer { forum: 178, peer: 1, epoch: 1, facts: "x", ..Answer::default() };
    story.store(facts());
    story.open("ajps_other", &[1]);
    story.audit(178);
    story.register("dan");
    story.invite(178, 4, 1, 0);
    story.answer(Answer { task: 2, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.move_primary(178, 2, 1);
    story.keep(8);
    story.keep(1);
    story.write(178, "too much", "");
    story.answer(Answer { task: 3, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    expect![[r#""#]].assert_eq(&story.told());
    assert_eq!(story.state.kept_through(), 8);
}

/// Answers and steps fit far above the budget, but not without end.
#[test]
fn nothing_is_appended_to_a_log_at_four_times_its_budget() {
    let mut story = Story::with_a_forum(Bounds { records_max: 5, ..Bounds::STANDARD });
    let mut refused = None;
    for epoch in 1..30 {
        if let Kind::Rejection(no) = story.move_primary(178, 2, epoch) {
            refused = refused.or(Some((epoch, no.code(), no.current)));
        }
    }
    assert_eq!(refused, Some((20, RejectionCode::Full, 20)));
    story.told();
    story.keep(99);
    story.move_primary(178, 2, 20);
    expect![[r#""#]].assert_eq(&story.told());
}

/// The bytes are counted as the records are.
#[test]
fn a_log_of_too_many_bytes_refuses_new_work() {
    let mut story = Story::with_a_forum(Bounds { records_bytes_max: 1000, ..Bounds::STANDARD });
    for text in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        story.write(178, text, "");
    }
    let held = story.state.counts().records_bytes;
    assert!((2000..2400).contains(&held), "{held}");
    story.told();
    story.write(178, "z", "");
    story.keep(story.state.newest());
    story.write(178, "z", "");
    expect![[r#""#]].assert_eq(&story.told());
    assert!(story.state.counts().records_bytes <= 1000);
}
