//! What comes between a peer and the forum it was invited to: an end, a new primary, somebody who left, a way back.

use expect_test::expect;
use loop_proto::v1::RejectReason;
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story};

#[test]
fn an_invitation_ends_at_any_stage_and_the_epoch_stays() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.decline(178, 3, 4, RejectReason::ForumsMax);
    story.decline(178, 3, 4, RejectReason::ForumsMax);
    story.invite(178, 4, 1, 1);
    story.accept(178, 5, 4);
    story.decline(178, 5, 4, RejectReason::BadCheckpoint);
    story.invite(178, 4, 1, 1);
    story.close(178, 8);
    story.close(178, 8);
    story.accept(178, 8, 4);
    story.invite(178, 4, 1, 1);
    story.accept(178, 10, 4);
    story.close(178, 10);
    story.seed(178, 10, 4, 11);
    story.invite(178, 4, 1, 1);
    story.accept(178, 13, 4);
    story.seed(178, 13, 4, 14);
    story.close(178, 13);
    story.cut_over(178, 13, 15);
    story.invitations();
    expect![[r#"
        > invite p4 to f178 in place of p1, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > p4 declines t3: FORUMS_MAX
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > p4 declines t3: FORUMS_MAX
          it was so
        > invite p4 to f178 in place of p1, p1 gives
          invited by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t5 from p1
          - f178 is held differently
        > p4 accepts t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t5 from p1
          - f178 is held differently
        > p4 declines t5: BAD_CHECKPOINT
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > invite p4 to f178 in place of p1, p1 gives
          invited by t8
          - t8 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t8 from p1
          - f178 is held differently
        > close t8: timeout
          changed by t9
          - t9 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > close t8: timeout
          it was so
        > p4 accepts t8
          refused: UNKNOWN_INVITATION held 8 current 0
        > invite p4 to f178 in place of p1, p1 gives
          invited by t10
          - t10 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t10 from p1
          - f178 is held differently
        > p4 accepts t10
          changed by t11
          - t11 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t10 from p1
          - f178 is held differently
        > close t10: timeout
          changed by t12
          - t12 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > p4 has f178 through t11
          refused: UNKNOWN_INVITATION held 10 current 0
        > invite p4 to f178 in place of p1, p1 gives
          invited by t13
          - t13 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t13 from p1
          - f178 is held differently
        > p4 accepts t13
          changed by t14
          - t14 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t13 from p1
          - f178 is held differently
        > p4 has f178 through t14
          changed by t15
          - t15 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t13 from p1
          - f178 is held differently
        > close t13: timeout
          changed by t16
          - t16 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > cut over t13, caught up through t15
          refused: UNKNOWN_INVITATION held 13 current 0
          = t13 f178 p1 to p4 for p1 OPERATOR: Timeout
          = t10 f178 p1 to p4 for p1 OPERATOR: Timeout
          = t8 f178 p1 to p4 for p1 OPERATOR: Timeout
          = t5 f178 p1 to p4 for p1 OPERATOR: Rejected BAD_CHECKPOINT
          = t3 f178 p1 to p4 for p1 OPERATOR: Rejected FORUMS_MAX
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_primary_moves_while_its_successor_is_seeded() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 3, 4);
    story.write(178, "hello", "");
    story.move_primary(178, 2, 1);
    story.seed(178, 3, 4, 6);
    story.cut_over(178, 3, 7);
    story.answer(Answer { task: 5, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    expect![[r#"
        > invite p4 to f178 in place of p1, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > p4 accepts t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t3 from p1
          - f178 is held differently
        > write "hello" to f178
          t5 m2867
          - t5 f178 task m2867
        > move primary of f178 to p2, expecting e1
          now e2
          - t6 f178 assignment e2 primary p2 replicas [p1, p2, p3] joining p4 Seeding by t3 from p1
        > p4 has f178 through t6
          changed by t7
          - t7 f178 assignment e2 primary p2 replicas [p1, p2, p3] joining p4 CatchingUp by t3 from p1
          - f178 is held differently
        > cut over t3, caught up through t7
          changed by t8
          - t8 f178 assignment e2 primary p2 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
        > p2 answers t5 under e2
          answered by t9
          - t9 f178 facts by p2 e2 closes t5 253B
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn what_was_to_be_replaced_is_gone_so_nobody_drains() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 3);
    story.remove(178, 3, 0);
    story.invitations();
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 5);
    story.cut_over(178, 3, 6);
    expect![[r#"
        > invite p4 to f178 in place of p3, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > remove p3 from f178, passed t0
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 Invited by t3 from p1
          - f178 is held differently, [p3] left
          = t3 f178 p1 to p4 OPERATOR: Waiting
        > p4 accepts t3
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 Seeding by t3 from p1
          - f178 is held differently
        > p4 has f178 through t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 CatchingUp by t3 from p1
          - f178 is held differently
        > cut over t3, caught up through t6
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p4] unconfirmed [p4]
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
}

/// The one who took over dies at once. The old one follows the stream still and serves again.
#[test]
fn a_draining_replica_is_taken_back() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 4);
    story.cut_over(178, 3, 5);
    story.write(178, "hello", "");
    story.move_primary(178, 1, 2);
    story.answer(Answer { task: 7, forum: 178, peer: 1, epoch: 3, ..Answer::default() });
    story.remove(178, 4, 0);
    expect![[r#"
        > invite p4 to f178 in place of p1, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > p4 accepts t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t3 from p1
          - f178 is held differently
        > p4 has f178 through t4
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t3 from p1
          - f178 is held differently
        > cut over t3, caught up through t5
          changed by t6
          - t6 f178 assignment e2 primary p4 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
        > write "hello" to f178
          t7 m2867
          - t7 f178 task m2867
        > move primary of f178 to p1, expecting e2
          now e3
          - t8 f178 assignment e3 primary p1 replicas [p1, p2, p3, p4] unconfirmed [p4]
          - f178 is held differently
        > p1 answers t7 under e3
          answered by t9
          - t9 f178 facts by p1 e3 closes t7 253B
        > remove p4 from f178, passed t0
          changed by t10
          - t10 f178 assignment e3 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
    "#]]
    .assert_eq(&story.told());
}
