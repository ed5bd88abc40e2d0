//! The log's end, its budget, and forums whose replicas are all away.

use expect_test::expect;
use loop_proto::v1::{RejectionCode, outcome::Kind};
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story};

/// Nobody has the records on disk that the budget would take, so they stay, and new work waits for room.
#[test]
fn what_no_replica_has_is_not_trimmed_and_new_work_is_refused() {
    let mut story = Story::with_a_forum(Bounds { records_max: 3, ..Bounds::STANDARD });
    for text in ["one", "two", "three", "four"] {
        story.write(178, text, "");
    }
    story.write(178, "too much", "");
    story.write(178, "one", "");
    story.open("ajps_other", &[1]);
    story.audit(178);
    story.register("dan");
    story.invite(178, 4, 1, 0);
    story.answer(Answer { task: 3, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.move_primary(178, 2, 1);
    story.keep(8);
    story.keep(1);
    story.write(178, "too much", "");
    story.answer(Answer { task: 4, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    expect![[r#"
        > write "one" to f178
          t3 m2867
          - t3 f178 task m2867
        > write "two" to f178
          t4 m2868
          - t4 f178 task m2868
        > write "three" to f178
          t5 m2869
          - t5 f178 task m2869
        > write "four" to f178
          t6 m2870
          - t6 f178 task m2870
        > write "too much" to f178
          refused: FULL held 0 current 6
        > write "one" to f178
          t3 m2867 known
        > open forum ajps_other on [1]
          refused: FULL held 0 current 6
        > audit f178
          refused: FULL held 0 current 6
        > register peer dan
          p4
          - p4 registered
        > invite p4 to f178, p1 gives
          invited by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t7 from p1
          - f178 is held differently
        > p1 answers t3 under e1
          answered by t8
          - t8 f178 facts by p1 e1 closes t3 249B
        > move primary of f178 to p2, expecting e1
          now e2
          - t9 f178 assignment e2 primary p2 replicas [p1, p2, p3] joining p4 Invited by t7 from p1
        > kept through t8
          trimmed through t0
          - trimmed through t6
        > kept through t1
          trimmed through t6
        > write "too much" to f178
          t10 m2871
          - t10 f178 task m2871
          - trimmed through t7
        > p2 answers t4 under e2
          answered by t11
          - t11 f178 facts by p2 e2 closes t4 249B
          - trimmed through t8
    "#]]
    .assert_eq(&story.told());
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
    assert_eq!(refused, Some((19, RejectionCode::Full, 20)));
    story.told();
    story.keep(100);
    story.move_primary(178, 2, 19);
    expect![[r#"
        > kept through t100
          trimmed through t0
          - trimmed through t15
        > move primary of f178 to p2, expecting e19
          now e20
          - t21 f178 assignment e20 primary p2 replicas [p1, p2, p3]
          - trimmed through t16
    "#]]
    .assert_eq(&story.told());
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
    expect![[r#"
        > write "z" to f178
          refused: FULL held 0 current 2000
        > kept through t7
          trimmed through t0
          - trimmed through t4
        > write "z" to f178
          t8 m2872
          - t8 f178 task m2872
          - trimmed through t5
    "#]]
    .assert_eq(&story.told());
    assert!(story.state.counts().records_bytes <= 1000);
}
