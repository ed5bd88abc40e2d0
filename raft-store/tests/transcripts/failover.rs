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
    story.answer(Answer { task: 2, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 2, forum: 178, peer: 1, epoch: 2, ..Answer::default() });
    story.answer(Answer { task: 2, forum: 178, peer: 2, epoch: 2, facts: "message", ..Answer::default() });
    story.answer(Answer { task: 2, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.minutes_pass(15);
    story.lease(1, 1);
    story.answer(Answer { task: 2, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    expect![[r#"
        > write "hello" to f178
          t2 m2867
          - t2 f178 task m2867
        > move primary of f178 to p2, expecting e1
          now e2
          - t3 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > p1 answers t2 under e1
          refused: STALE_EPOCH held 1 current 2
        > p1 answers t2 under e2
          refused: NOT_PRIMARY held 1 current 2
        > p2 answers t2 under e2
          answered by t4
          - t4 f178 facts by p2 e2 closes t2 7B
        > p1 answers t2 under e1
          refused: ALREADY_ANSWERED held 1 current 2
        … 15 minutes pass
        > lease 1 user ids to p1
          1 users from u414
        > p1 answers t2 under e1
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
          - t2 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > move primary of f178 to p3, expecting e1
          refused: STALE_EPOCH held 1 current 2
        > move primary of f178 to p2, expecting e2
          now e3
          - t3 f178 assignment e3 primary p2 replicas [p1, p2, p3]
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
    use loop_proto::v1::{LeaseUserIds, MovePrimary, command::Body};
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let lease = || Body::LeaseUserIds(LeaseUserIds { peer_id: 1, count: 10 });
    story.command("lease", RequestId([50; 16]), lease());
    story.command("the same lease again", RequestId([50; 16]), lease());
    story.command("another lease", RequestId([51; 16]), lease());
    let moved = || Body::MovePrimary(MovePrimary { forum_id: 178, to_peer: 2, expected_epoch: 1 });
    story.command("move to p2", RequestId([52; 16]), moved());
    story.command("the same move again", RequestId([52; 16]), moved());
    let facts = || Answer { forum: 178, peer: 3, epoch: 2, facts: "forum row", ..Answer::default() };
    story.store_as("facts", RequestId([53; 16]), facts());
    story.store_as("the same facts again", RequestId([53; 16]), facts());
    expect![[r#"
        > lease
          10 users from u414
        > the same lease again
          10 users from u414
        > another lease
          10 users from u424
        > move to p2
          now e2
          - t2 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > the same move again
          now e2
        > facts
          stored by t3
          - t3 f178 facts by p3 e2 9B
        > the same facts again
          stored by t3
    "#]]
    .assert_eq(&story.told());
}
