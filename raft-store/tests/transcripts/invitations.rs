//! A peer is invited, gets a copy, catches up and serves: each step, and who may take it when.

use expect_test::expect;
use loop_proto::{
    ids::{ForumId, PeerId, RequestId, TaskId},
    v1::{PeerState, RejectReason},
};
use loop_raft_store::machine::{Bounds, JoinStage};

use crate::story::{Answer, Story, invitation};

#[test]
fn a_forum_moves_from_its_primary_to_another_peer() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.write(178, "while invited", "");
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 5);
    story.answer(Answer { task: 4, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.write(178, "for the next primary", "");
    story.cut_over(178, 3, 8);
    story.answer(Answer { task: 8, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 8, forum: 178, peer: 4, epoch: 2, ..Answer::default() });
    story.remove(178, 1, 8);
    story.remove(178, 1, 9);
    story.invitations();
    expect![[r#"
        > invite p4 to f178 in place of p1, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > write "while invited" to f178
          t4 m2867
          - t4 f178 task m2867
        > p4 accepts t3
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t3 from p1
          - f178 is held differently
        > p4 has f178 through t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t3 from p1
          - f178 is held differently
        > p1 answers t4 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t4 269B
        > write "for the next primary" to f178
          t8 m2868
          - t8 f178 task m2868
        > cut over t3, caught up through t8
          changed by t9
          - t9 f178 assignment e2 primary p4 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
        > p1 answers t8 under e1
          refused: STALE_EPOCH held 1 current 2
        > p4 answers t8 under e2
          answered by t10
          - t10 f178 facts by p4 e2 closes t8 283B
        > remove p1 from f178, passed t8
          refused: NOT_CAUGHT_UP held 8 current 9
        > remove p1 from f178, passed t9
          changed by t11
          - t11 f178 assignment e2 primary p4 replicas [p2, p3, p4] unconfirmed [p4]
          - f178 is held differently, [p1] left
          = t3 f178 p1 to p4 for p1 OPERATOR: Completed at t9
    "#]]
    .assert_eq(&story.told());
    let moved = story.state.last_completed_move(ForumId::new(178).unwrap()).unwrap();
    assert_eq!((moved.target.get(), moved.replaces.unwrap().get()), (4, 1));
    assert_eq!(story.state.forums_of(PeerId::new(1).unwrap()).count(), 0);
    assert_eq!(story.state.forums_of(PeerId::new(4).unwrap()).count(), 1);
}

#[test]
fn a_replica_that_does_not_lead_is_replaced_under_the_same_epoch() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 3);
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 3);
    story.cut_over(178, 3, 5);
    expect![[r#"
        > invite p4 to f178 in place of p3, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > p4 accepts t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t3 from p1
          - f178 is held differently
        > p4 has f178 through t3
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t3 from p1
          - f178 is held differently
        > cut over t3, caught up through t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2, p4] draining [p3] unconfirmed [p4]
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn one_more_replica_and_nobody_goes() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 2, 0);
    story.invite(178, 5, 2, 0);
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 4);
    story.cut_over(178, 3, 5);
    expect![[r#"
        > invite p4 to f178, p2 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p2
          - f178 is held differently
        > invite p5 to f178, p2 gives
          refused: BAD_REPLICAS held 5 current 4
        > p4 accepts t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t3 from p2
          - f178 is held differently
        > p4 has f178 through t4
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t3 from p2
          - f178 is held differently
        > cut over t3, caught up through t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2, p3, p4] unconfirmed [p4]
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.last_completed_move(ForumId::new(178).unwrap()), None);
}

#[test]
fn who_cannot_be_invited() {
    let mut story = Story::with_room(Bounds { invitations_open_max: 2, ..Bounds::STANDARD });
    story.invite(999, 4, 1, 0);
    story.invite(178, 9, 1, 0);
    story.invite(178, 4, 9, 0);
    story.invite(178, 2, 1, 0);
    story.invite(178, 4, 5, 0);
    story.invite(178, 4, 1, 5);
    story.peer_state(4, PeerState::Paused);
    story.invite(178, 4, 1, 1);
    story.peer_state(4, PeerState::Draining);
    story.invite(178, 4, 1, 1);
    story.peer_state(4, PeerState::Active);
    story.invite(178, 4, 1, 1);
    story.invite(178, 4, 1, 2);
    story.invite(178, 5, 1, 1);
    story.invite(178, 5, 1, 2);
    story.register("fay");
    story.invite(178, 6, 1, 3);
    story.cut_over(178, 3, 3);
    expect![[r#"
        > invite p4 to f999, p1 gives
          refused: UNKNOWN_FORUM held 999 current 0
        > invite p9 to f178, p1 gives
          refused: UNKNOWN_PEER held 9 current 0
        > invite p4 to f178, p9 gives
          refused: UNKNOWN_PEER held 9 current 0
        > invite p2 to f178, p1 gives
          refused: ALREADY_A_REPLICA held 2 current 0
        > invite p4 to f178, p5 gives
          refused: NOT_A_REPLICA held 5 current 0
        > invite p4 to f178 in place of p5, p1 gives
          refused: NOT_A_REPLICA held 5 current 0
        > p4 is PAUSED
          done
          - p4 is to be used differently
        > invite p4 to f178 in place of p1, p1 gives
          refused: PEER_STATE held 4 current 2
        > p4 is DRAINING
          done
          - p4 is to be used differently
        > invite p4 to f178 in place of p1, p1 gives
          refused: PEER_STATE held 4 current 3
        > p4 is ACTIVE
          done
          - p4 is to be used differently
        > invite p4 to f178 in place of p1, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > invite p4 to f178 in place of p2, p1 gives
          refused: ALREADY_A_REPLICA held 4 current 0
        > invite p5 to f178 in place of p1, p1 gives
          refused: WRONG_STAGE held 1 current 0
        > invite p5 to f178 in place of p2, p1 gives
          invited by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1 joining p5 Invited by t4 from p1
          - f178 is held differently
        > register peer fay
          p6
          - p6 registered
        > invite p6 to f178 in place of p3, p1 gives
          refused: FULL held 0 current 2
        > cut over t3, caught up through t3
          refused: WRONG_STAGE held 3 current 1
    "#]].assert_eq(&story.told());
}

#[test]
fn a_joining_replica_answers_nothing_and_cannot_lead() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 0);
    story.write(178, "hello", "");
    story.answer(Answer { task: 4, forum: 178, peer: 4, epoch: 1, ..Answer::default() });
    story.move_primary(178, 4, 1);
    story.remove(178, 4, 10);
    expect![[r#"
        > invite p4 to f178, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > write "hello" to f178
          t4 m2867
          - t4 f178 task m2867
        > p4 answers t4 under e1
          refused: NOT_PRIMARY held 4 current 1
        > move primary of f178 to p4, expecting e1
          refused: NOT_A_REPLICA held 4 current 0
        > remove p4 from f178, passed t10
          refused: WRONG_STAGE held 4 current 1
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn steps_out_of_turn_are_refused_and_repeated_ones_told_what_is_so() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.command("invite p4", RequestId([90; 16]), invitation(178, 4, 1, 1));
    story.command("the same again", RequestId([90; 16]), invitation(178, 4, 1, 1));
    story.seed(178, 3, 4, 3);
    story.cut_over(178, 3, 3);
    story.accept(178, 3, 5);
    story.accept(178, 10, 4);
    story.accept(178, 3, 4);
    story.accept(178, 3, 4);
    story.cut_over(178, 3, 4);
    story.seed(178, 3, 4, 1);
    story.seed(178, 3, 4, 4);
    story.seed(178, 3, 4, 4);
    story.accept(178, 3, 4);
    story.cut_over(178, 3, 5);
    story.cut_over(178, 3, 5);
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 4);
    story.close(178, 3);
    story.decline(178, 3, 4, RejectReason::DiskFull);
    expect![[r#"
        > invite p4
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        > the same again
          invited by t3
        > p4 has f178 through t3
          refused: WRONG_STAGE held 3 current 1
        > cut over t3, caught up through t3
          refused: WRONG_STAGE held 3 current 1
        > p5 accepts t3
          refused: UNKNOWN_INVITATION held 3 current 0
        > p4 accepts t10
          refused: UNKNOWN_INVITATION held 10 current 0
        > p4 accepts t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t3 from p1
          - f178 is held differently
        > p4 accepts t3
          it was so
        > cut over t3, caught up through t4
          refused: WRONG_STAGE held 3 current 2
        > p4 has f178 through t1
          refused: NOT_CAUGHT_UP held 1 current 3
        > p4 has f178 through t4
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t3 from p1
          - f178 is held differently
        > p4 has f178 through t4
          it was so
        > p4 accepts t3
          it was so
        > cut over t3, caught up through t5
          changed by t6
          - t6 f178 assignment e2 primary p4 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
        > cut over t3, caught up through t5
          it was so
        > p4 accepts t3
          it was so
        > p4 has f178 through t4
          it was so
        > close t3: timeout
          refused: WRONG_STAGE held 3 current 0
        > p4 declines t3: DISK_FULL
          refused: WRONG_STAGE held 3 current 0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn who_lags_too_far_behind_its_forum_is_not_cut_over() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 4);
    for n in 0..1100 {
        story.write(178, &format!("{n}"), "");
    }
    story.told();
    story.cut_over(178, 3, 80);
    story.cut_over(178, 3, 81);
    expect![[r#"
        > cut over t3, caught up through t80
          refused: NOT_CAUGHT_UP held 80 current 81
        > cut over t3, caught up through t81
          changed by t1106
          - t1106 f178 assignment e2 primary p4 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
}

/// The leader moved the primary while the copy was on its way: what was to be replaced leads no more.
#[test]
fn places_are_counted_when_invited_and_again_at_the_cut_over() {
    let mut story = Story::with_room(Bounds { replicas_max: 3, ..Bounds::STANDARD });
    story.invite(178, 4, 1, 0);
    story.remove(178, 3, 0);
    story.invite(178, 4, 1, 0);
    story.invite(178, 5, 1, 0);
    story.invite(178, 5, 1, 2);
    story.accept(178, 4, 4);
    story.seed(178, 4, 4, 6);
    story.accept(178, 5, 5);
    story.seed(178, 5, 5, 7);
    story.cut_over(178, 5, 9);
    story.move_primary(178, 2, 1);
    story.cut_over(178, 4, 10);
    story.register("fay");
    story.invite(178, 6, 1, 1);
    expect![[r#"
        > invite p4 to f178, p1 gives
          refused: BAD_REPLICAS held 4 current 3
        > remove p3 from f178, passed t0
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2]
          - f178 is held differently, [p3] left
        > invite p4 to f178, p1 gives
          invited by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 Invited by t4 from p1
          - f178 is held differently
        > invite p5 to f178, p1 gives
          refused: BAD_REPLICAS held 4 current 3
        > invite p5 to f178 in place of p2, p1 gives
          invited by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 Invited by t4 from p1 joining p5 Invited by t5 from p1
          - f178 is held differently
        > p4 accepts t4
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 Seeding by t4 from p1 joining p5 Invited by t5 from p1
          - f178 is held differently
        > p4 has f178 through t6
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 CatchingUp by t4 from p1 joining p5 Invited by t5 from p1
          - f178 is held differently
        > p5 accepts t5
          changed by t8
          - t8 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 CatchingUp by t4 from p1 joining p5 Seeding by t5 from p1
          - f178 is held differently
        > p5 has f178 through t7
          changed by t9
          - t9 f178 assignment e1 primary p1 replicas [p1, p2] joining p4 CatchingUp by t4 from p1 joining p5 CatchingUp by t5 from p1
          - f178 is held differently
        > cut over t5, caught up through t9
          changed by t10
          - t10 f178 assignment e1 primary p1 replicas [p1, p5] joining p4 CatchingUp by t4 from p1 draining [p2] unconfirmed [p5]
          - f178 is held differently
        > move primary of f178 to p2, expecting e1
          now e2
          - t11 f178 assignment e2 primary p2 replicas [p1, p2, p5] joining p4 CatchingUp by t4 from p1 unconfirmed [p5]
          - f178 is held differently
        > cut over t4, caught up through t10
          refused: BAD_REPLICAS held 4 current 3
        > register peer fay
          p6
          - p6 registered
        > invite p6 to f178 in place of p1, p1 gives
          invited by t12
          - t12 f178 assignment e2 primary p2 replicas [p1, p2, p5] joining p4 CatchingUp by t4 from p1 joining p6 Invited by t12 from p1 unconfirmed [p5]
          - f178 is held differently
    "#]].assert_eq(&story.told());
    let forum = story.state.forum(ForumId::new(178).unwrap()).unwrap();
    let stages: Vec<JoinStage> = forum.joining().map(|joining| joining.stage).collect();
    assert_eq!(stages, [JoinStage::CatchingUp, JoinStage::Invited]);
}

#[test]
fn the_history_forgets_the_invitations_that_ended_first() {
    let mut story = Story::with_room(Bounds { invitations_kept: 2, ..Bounds::STANDARD });
    story.invite(178, 4, 1, 0);
    for _ in 0..3 {
        let id = story.state.newest() + 1;
        story.invite(178, 5, 1, 1);
        story.close(178, id);
    }
    story.told();
    story.close(178, 4);
    story.invitations();
    story.close(178, 3);
    story.invitations();
    expect![[r#"
        > close t4: timeout
          refused: UNKNOWN_INVITATION held 4 current 0
          = t8 f178 p1 to p5 for p1 OPERATOR: Timeout
          = t6 f178 p1 to p5 for p1 OPERATOR: Timeout
          = t3 f178 p1 to p4 OPERATOR: Waiting
        > close t3: timeout
          changed by t10
          - t10 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
          = t8 f178 p1 to p5 for p1 OPERATOR: Timeout
          = t3 f178 p1 to p4 OPERATOR: Timeout
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.invitation(TaskId::new(6).unwrap()), None);
}
