//! A primary falls silent, another takes over, the first one's late answer is refused.

use expect_test::expect;
use loop_proto::ids::RequestId;
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story};

#[test]
fn the_next_primary_answers_and_the_late_answer_is_refused() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "");
    story.move_primary(178, 2, 1);
    story.answer(Answer { task: 3, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 3, forum: 178, peer: 1, epoch: 2, ..Answer::default() });
    story.answer(Answer { task: 3, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    story.answer(Answer { task: 3, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.minutes_pass(15);
    story.tick();
    story.answer(Answer { task: 3, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    expect![[r#"
        > write "hello" to f178
          t3 m2867
          - t3 f178 task m2867
        > move primary of f178 to p2, expecting e1
          now e2
          - t4 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > p1 answers t3 under e1
          refused: STALE_EPOCH held 1 current 2
        > p1 answers t3 under e2
          refused: NOT_PRIMARY held 1 current 2
        > p2 answers t3 under e2
          answered by t5
          - t5 f178 facts by p2 e2 closes t3 253B
        > p1 answers t3 under e1
          refused: ALREADY_ANSWERED held 1 current 2
        … 15 minutes pass
        > time goes on
          done
        > p1 answers t3 under e1
          refused: ALREADY_ANSWERED held 1 current 0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn two_leaders_in_a_row_move_a_primary_once_and_a_restarted_primary_gets_a_new_epoch() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.register("dan");
    story.move_primary(178, 2, 1);
    story.move_primary(178, 3, 1);
    story.move_primary(178, 2, 2);
    story.move_primary(178, 4, 3);
    story.move_primary(178, 9, 3);
    story.move_primary(999, 1, 1);
    expect![[r#"
        > register peer dan
          p4
          - p4 registered
        > move primary of f178 to p2, expecting e1
          now e2
          - t3 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > move primary of f178 to p3, expecting e1
          refused: STALE_EPOCH held 1 current 2
        > move primary of f178 to p2, expecting e2
          now e3
          - t4 f178 assignment e3 primary p2 replicas [p1, p2, p3]
        > move primary of f178 to p4, expecting e3
          refused: NOT_A_REPLICA held 4 current 0
        > move primary of f178 to p9, expecting e3
          refused: UNKNOWN_PEER held 9 current 0
        > move primary of f999 to p1, expecting e1
          refused: UNKNOWN_FORUM held 999 current 0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn retried_proposals_are_told_the_same() {
    use loop_proto::v1::{AuditForum, MovePrimary, command::Body};
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let moved = || Body::MovePrimary(MovePrimary { forum_id: 178, to_peer: 2, expected_epoch: 1 });
    story.command("move to p2", RequestId([52; 16]), moved());
    story.command("the same move again", RequestId([52; 16]), moved());
    let audit = || Body::AuditForum(AuditForum { forum_id: 178 });
    story.command("audit", RequestId([53; 16]), audit());
    story.command("the same audit again", RequestId([53; 16]), audit());
    story.command("another audit", RequestId([54; 16]), audit());
    story.command("an audit under the move's id", RequestId([52; 16]), audit());
    expect![[r#"
        > move to p2
          now e2
          - t3 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > the same move again
          now e2
        > audit
          marked at t4
          - t4 f178 audit
        > the same audit again
          marked at t4
        > another audit
          marked at t5
          - t5 f178 audit
        > an audit under the move's id
          refused: MALFORMED held 0 current 0
    "#]]
    .assert_eq(&story.told());
}
