//! What comes between a peer and the forum it was invited to: an end, a new primary, somebody who left, a way back.

use expect_test::expect;
use loop_proto::v1::RejectReason;
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story};

#[test]
fn an_invitation_ends_at_any_stage_and_the_epoch_stays() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.decline(178, 2, 4, RejectReason::ForumsMax);
    story.decline(178, 2, 4, RejectReason::ForumsMax);
    story.invite(178, 4, 1, 1);
    story.accept(178, 4, 4);
    story.decline(178, 4, 4, RejectReason::BadCheckpoint);
    story.invite(178, 4, 1, 1);
    story.close(178, 7);
    story.close(178, 7);
    story.accept(178, 7, 4);
    story.invite(178, 4, 1, 1);
    story.accept(178, 9, 4);
    story.close(178, 9);
    story.seed(178, 9, 4, 10);
    story.invite(178, 4, 1, 1);
    story.accept(178, 12, 4);
    story.seed(178, 12, 4, 13);
    story.close(178, 12);
    story.cut_over(178, 12, 14);
    story.invitations();
    expect![[r#"
        > invite p4 to f178 in place of p1, p1 gives
          invited by t2
          - t2 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t2 from p1
          - f178 is held differently
        > p4 declines t2: FORUMS_MAX
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > p4 declines t2: FORUMS_MAX
          it was so
        > invite p4 to f178 in place of p1, p1 gives
          invited by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t4 from p1
          - f178 is held differently
        > p4 accepts t4
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t4 from p1
          - f178 is held differently
        > p4 declines t4: BAD_CHECKPOINT
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > invite p4 to f178 in place of p1, p1 gives
          invited by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t7 from p1
          - f178 is held differently
        > close t7: timeout
          changed by t8
          - t8 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > close t7: timeout
          it was so
        > p4 accepts t7
          refused: UNKNOWN_INVITATION held 7 current 0
        > invite p4 to f178 in place of p1, p1 gives
          invited by t9
          - t9 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t9 from p1
          - f178 is held differently
        > p4 accepts t9
          changed by t10
          - t10 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t9 from p1
          - f178 is held differently
        > close t9: timeout
          changed by t11
          - t11 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > p4 has f178 through t10
          refused: UNKNOWN_INVITATION held 9 current 0
        > invite p4 to f178 in place of p1, p1 gives
          invited by t12
          - t12 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t12 from p1
          - f178 is held differently
        > p4 accepts t12
          changed by t13
          - t13 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t12 from p1
          - f178 is held differently
        > p4 has f178 through t13
          changed by t14
          - t14 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t12 from p1
          - f178 is held differently
        > close t12: timeout
          changed by t15
          - t15 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > cut over t12, caught up through t14
          refused: UNKNOWN_INVITATION held 12 current 0
          = t12 f178 p1 to p4 for p1 OPERATOR: Timeout
          = t9 f178 p1 to p4 for p1 OPERATOR: Timeout
          = t7 f178 p1 to p4 for p1 OPERATOR: Timeout
          = t4 f178 p1 to p4 for p1 OPERATOR: Rejected BAD_CHECKPOINT
          = t2 f178 p1 to p4 for p1 OPERATOR: Rejected FORUMS_MAX
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_primary_moves_while_its_successor_is_seeded() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 2, 4);
    story.write(178, "hello", "");
    story.move_primary(178, 2, 1);
    story.seed(178, 2, 4, 5);
    story.cut_over(178, 2, 6);
    story.answer(Answer { task: 4, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    expect![[r#"
        > invite p4 to f178 in place of p1, p1 gives
          invited by t2
          - t2 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t2 from p1
          - f178 is held differently
        > p4 accepts t2
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t2 from p1
          - f178 is held differently
        > write "hello" to f178
          t4 m2867
          - t4 f178 task m2867
        > move primary of f178 to p2, expecting e1
          now e2
          - t5 f178 assignment e2 primary p2 replicas [p1, p2, p3] joining p4 Seeding by t2 from p1
        > p4 has f178 through t5
          changed by t6
          - t6 f178 assignment e2 primary p2 replicas [p1, p2, p3] joining p4 CatchingUp by t2 from p1
          - f178 is held differently
        > cut over t2, caught up through t6
          changed by t7
          - t7 f178 assignment e2 primary p2 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
        > p2 answers t4 under e2
          answered by t8
          - t8 f178 facts by p2 e2 closes t4 0B
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn what_was_to_be_replaced_is_gone_so_nobody_drains() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 3);
    story.remove(178, 3, 0);
    story.invitations();
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 4);
    story.cut_over(178, 2, 5);
    expect![[r#"
        > invite p4 to f178 in place of p3, p1 gives
          invited by t2
          - t2 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t2 from p1
          - f178 is held differently
        > remove p3 from f178, passed t0
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 Invited by t2 from p1
          - f178 is held differently, [p3] left
          = t2 f178 p1 to p4 OPERATOR: Waiting
        > p4 accepts t2
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 Seeding by t2 from p1
          - f178 is held differently
        > p4 has f178 through t4
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 CatchingUp by t2 from p1
          - f178 is held differently
        > cut over t2, caught up through t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2, p4] unconfirmed [p4]
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
}

/// The one who took over dies at once. The old one follows the stream still and serves again.
#[test]
fn a_draining_replica_is_taken_back() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 3);
    story.cut_over(178, 2, 4);
    story.write(178, "hello", "");
    story.move_primary(178, 1, 2);
    story.answer(Answer { task: 6, forum: 178, peer: 1, epoch: 3, ..Answer::default() });
    story.remove(178, 4, 0);
    expect![[r#"
        > invite p4 to f178 in place of p1, p1 gives
          invited by t2
          - t2 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t2 from p1
          - f178 is held differently
        > p4 accepts t2
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t2 from p1
          - f178 is held differently
        > p4 has f178 through t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t2 from p1
          - f178 is held differently
        > cut over t2, caught up through t4
          changed by t5
          - t5 f178 assignment e2 primary p4 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
        > write "hello" to f178
          t6 m2867
          - t6 f178 task m2867
        > move primary of f178 to p1, expecting e2
          now e3
          - t7 f178 assignment e3 primary p1 replicas [p1, p2, p3, p4] unconfirmed [p4]
          - f178 is held differently
        > p1 answers t6 under e3
          answered by t8
          - t8 f178 facts by p1 e3 closes t6 0B
        > remove p4 from f178, passed t0
          changed by t9
          - t9 f178 assignment e3 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
    "#]]
    .assert_eq(&story.told());
}
