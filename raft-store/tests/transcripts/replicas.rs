//! Replicas that start again, peers that are emptied or lost, marks for digests.

use expect_test::expect;
use loop_proto::{
    ids::{ForumId, PeerId, RequestId},
    v1::{AuditForum, PeerState, RestartReplica, command::Body},
};
use loop_raft_store::machine::{self, Bounds};

use crate::story::{Answer, Story};

#[test]
fn a_replica_that_lost_its_place_starts_again() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.restart(178, 3);
    story.accept(178, 3, 3);
    story.restart(178, 3);
    story.accept(178, 5, 3);
    story.seed(178, 5, 3, 6);
    story.cut_over(178, 5, 7);
    story.invitations();
    expect![[r#"
        > restart p3 of f178
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2] joining p3 Invited by t3 from p1
          - f178 is held differently
        > p3 accepts t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1, p2] joining p3 Seeding by t3 from p1
          - f178 is held differently
        > restart p3 of f178
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2] joining p3 Invited by t5 from p1
          - f178 is held differently
        > p3 accepts t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2] joining p3 Seeding by t5 from p1
          - f178 is held differently
        > p3 has f178 through t6
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2] joining p3 CatchingUp by t5 from p1
          - f178 is held differently
        > cut over t5, caught up through t7
          changed by t8
          - t8 f178 assignment e1 primary p1 replicas [p1, p2, p3] unconfirmed [p3]
          - f178 is held differently
          = t5 f178 p1 to p3 BEHIND: Completed at t8
          = t3 f178 p1 to p3 BEHIND: Timeout
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_primary_that_lost_its_place_hands_over_first_and_the_last_one_stays() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "");
    let restart = || Body::RestartReplica(RestartReplica { forum_id: 178, peer_id: 1 });
    story.command("restart p1", RequestId([90; 16]), restart());
    story.command("the same again", RequestId([90; 16]), restart());
    story.answer(Answer { task: 3, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    story.restart(178, 3);
    story.restart(178, 2);
    story.remove(178, 2, 10);
    story.restart(178, 9);
    story.register("dan");
    story.restart(178, 4);
    expect![[r#"
        > write "hello" to f178
          t3 m2867
          - t3 f178 task m2867
        > restart p1
          changed by t4
          - t4 f178 assignment e2 primary p2 replicas [p2, p3] joining p1 Invited by t4 from p2
          - f178 is held differently
        > the same again
          changed by t4
        > p2 answers t3 under e2
          answered by t5
          - t5 f178 facts by p2 e2 closes t3 253B
        > restart p3 of f178
          changed by t6
          - t6 f178 assignment e2 primary p2 replicas [p2] joining p1 Invited by t4 from p2 joining p3 Invited by t6 from p2
          - f178 is held differently
        > restart p2 of f178
          refused: LAST_REPLICA held 2 current 0
        > remove p2 from f178, passed t10
          refused: LAST_REPLICA held 0 current 1
        > restart p9 of f178
          refused: UNKNOWN_PEER held 9 current 0
        > register peer dan
          p4
          - p4 registered
        > restart p4 of f178
          refused: NOT_A_REPLICA held 4 current 0
    "#]].assert_eq(&story.told());
}

#[test]
fn who_is_being_replaced_or_drains_is_not_seeded_again() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.register("dan");
    story.told();
    story.invite(178, 4, 2, 1);
    story.restart(178, 1);
    story.invitations();
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 5);
    story.cut_over(178, 3, 6);
    story.invite(178, 1, 2, 2);
    story.accept(178, 8, 1);
    story.seed(178, 8, 1, 9);
    story.cut_over(178, 8, 10);
    story.restart(178, 2);
    expect![[r#"
        > invite p4 to f178 in place of p1, p2 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p2
          - f178 is held differently
        > restart p1 of f178
          changed by t4
          - t4 f178 assignment e2 primary p2 replicas [p2, p3] joining p4 Invited by t3 from p2
          - f178 is held differently, [p1] left
          = t3 f178 p2 to p4 OPERATOR: Waiting
        > p4 accepts t3
          changed by t5
          - t5 f178 assignment e2 primary p2 replicas [p2, p3] joining p4 Seeding by t3 from p2
          - f178 is held differently
        > p4 has f178 through t5
          changed by t6
          - t6 f178 assignment e2 primary p2 replicas [p2, p3] joining p4 CatchingUp by t3 from p2
          - f178 is held differently
        > cut over t3, caught up through t6
          changed by t7
          - t7 f178 assignment e2 primary p2 replicas [p2, p3, p4] unconfirmed [p4]
          - f178 is held differently
        > invite p1 to f178 in place of p2, p2 gives
          invited by t8
          - t8 f178 assignment e2 primary p2 replicas [p2, p3, p4] joining p1 Invited by t8 from p2 unconfirmed [p4]
          - f178 is held differently
        > p1 accepts t8
          changed by t9
          - t9 f178 assignment e2 primary p2 replicas [p2, p3, p4] joining p1 Seeding by t8 from p2 unconfirmed [p4]
          - f178 is held differently
        > p1 has f178 through t9
          changed by t10
          - t10 f178 assignment e2 primary p2 replicas [p2, p3, p4] joining p1 CatchingUp by t8 from p2 unconfirmed [p4]
          - f178 is held differently
        > cut over t8, caught up through t10
          changed by t11
          - t11 f178 assignment e3 primary p1 replicas [p3, p4, p1] draining [p2] unconfirmed [p4, p1]
          - f178 is held differently
        > restart p2 of f178
          changed by t12
          - t12 f178 assignment e3 primary p1 replicas [p3, p4, p1] unconfirmed [p4, p1]
          - f178 is held differently, [p2] left
    "#]]
    .assert_eq(&story.told());
}

/// It has missed too much to be followed, and is still all that was ever compared.
#[test]
fn the_only_compared_copy_stays_until_it_has_what_the_others_have() {
    let mut story = Story::new(Bounds::STANDARD);
    story.register("ann");
    story.register("bob");
    story.open("ajps_test", &[1]);
    story.told();
    story.invite(178, 2, 1, 1);
    story.accept(178, 3, 2);
    story.seed(178, 3, 2, 4);
    story.cut_over(178, 3, 5);
    story.restart(178, 1);
    expect![[r#"
        > invite p2 to f178 in place of p1, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1] joining p2 Invited by t3 from p1
          - f178 is held differently
        > p2 accepts t3
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1] joining p2 Seeding by t3 from p1
          - f178 is held differently
        > p2 has f178 through t4
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1] joining p2 CatchingUp by t3 from p1
          - f178 is held differently
        > cut over t3, caught up through t5
          changed by t6
          - t6 f178 assignment e2 primary p2 replicas [p2] draining [p1] unconfirmed [p2]
          - f178 is held differently
        > restart p1 of f178
          changed by t7
          - t7 f178 assignment e2 primary p2 replicas [p2] joining p1 Invited by t7 from p2 unconfirmed [p2]
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn with_no_invitation_left_a_replica_that_lost_its_place_is_let_go() {
    let mut story = Story::with_a_forum(Bounds { invitations_open_max: 1, ..Bounds::STANDARD });
    story.restart(178, 3);
    story.restart(178, 2);
    story.restart(178, 3);
    expect![[r#"
        > restart p3 of f178
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2] joining p3 Invited by t3 from p1
          - f178 is held differently
        > restart p2 of f178
          changed by t4
          - t4 f178 assignment e1 primary p1 replicas [p1] joining p3 Invited by t3 from p1
          - f178 is held differently, [p2] left
        > restart p3 of f178
          changed by t5
          - t5 f178 assignment e1 primary p1 replicas [p1] joining p3 Invited by t5 from p1
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_peer_is_drained_and_holds_nothing_in_the_end() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.register("dan");
    story.told();
    story.peer_state(1, PeerState::Draining);
    story.open("ajps_other", &[1]);
    story.open("ajps_other", &[4, 2]);
    story.invite(178, 4, 1, 1);
    story.accept(178, 5, 4);
    story.seed(178, 5, 4, 6);
    story.cut_over(178, 5, 7);
    story.remove(178, 1, 8);
    story.remove(178, 1, 8);
    story.peer_state(1, PeerState::Draining);
    story.register("ann");
    expect![[r#"
        > p1 is DRAINING
          done
          - p1 is to be used differently
        > open forum ajps_other on [1]
          refused: PEER_STATE held 1 current 3
        > open forum ajps_other on [4, 2]
          f179 opened e1 p4 [4, 2]
          - f179 opened
          - t3 f179 assignment e1 primary p4 replicas [p4, p2]
          - t4 f179 facts by the hubs 58B
        > invite p4 to f178 in place of p1, p1 gives
          invited by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t5 from p1
          - f178 is held differently
        > p4 accepts t5
          changed by t6
          - t6 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Seeding by t5 from p1
          - f178 is held differently
        > p4 has f178 through t6
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 CatchingUp by t5 from p1
          - f178 is held differently
        > cut over t5, caught up through t7
          changed by t8
          - t8 f178 assignment e2 primary p4 replicas [p2, p3, p4] draining [p1] unconfirmed [p4]
          - f178 is held differently
        > remove p1 from f178, passed t8
          changed by t9
          - t9 f178 assignment e2 primary p4 replicas [p2, p3, p4] unconfirmed [p4]
          - f178 is held differently, [p1] left
        > remove p1 from f178, passed t8
          it was so
        > p1 is DRAINING
          done
        > register peer ann
          p1
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.forums_of(PeerId::new(1).unwrap()).count(), 0);
    assert_eq!(story.state.peer(PeerId::new(1).unwrap()).unwrap().state, machine::PeerState::Draining);
}

#[test]
fn a_removed_peer_does_nothing_more_and_gets_nothing() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.register("dan");
    story.open("ajps_other", &[2, 3]);
    story.told();
    story.invite(178, 4, 2, 1);
    story.invite(179, 4, 2, 3);
    story.accept(179, 6, 4);
    story.write(178, "hello", "");
    story.peer_state(4, PeerState::Removed);
    story.invitations();
    story.invite(178, 4, 2, 1);
    story.open("ajps_third", &[4]);
    story.peer_state(1, PeerState::Removed);
    story.answer(Answer { task: 8, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.restart(178, 1);
    story.remove(178, 1, 0);
    story.move_primary(178, 1, 1);
    story.move_primary(178, 2, 1);
    story.remove(178, 1, 0);
    story.remove(178, 3, 0);
    story.peer_state(9, PeerState::Removed);
    expect![[r#"
        > invite p4 to f178 in place of p1, p2 gives
          invited by t5
          - t5 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t5 from p2
          - f178 is held differently
        > invite p4 to f179 in place of p3, p2 gives
          invited by t6
          - t6 f179 assignment e1 primary p2 replicas [p2, p3] joining p4 Invited by t6 from p2
          - f179 is held differently
        > p4 accepts t6
          changed by t7
          - t7 f179 assignment e1 primary p2 replicas [p2, p3] joining p4 Seeding by t6 from p2
          - f179 is held differently
        > write "hello" to f178
          t8 m2867
          - t8 f178 task m2867
        > p4 is REMOVED
          done
          - p4 is to be used differently
          - t9 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
          - t10 f179 assignment e1 primary p2 replicas [p2, p3]
          - f179 is held differently, [p4] left
          = t6 f179 p2 to p4 for p3 OPERATOR: Timeout
          = t5 f178 p2 to p4 for p1 OPERATOR: Timeout
        > invite p4 to f178 in place of p1, p2 gives
          refused: PEER_STATE held 4 current 4
        > open forum ajps_third on [4]
          refused: PEER_STATE held 4 current 4
        > p1 is REMOVED
          done
          - p1 is to be used differently
        > p1 answers t8 under e1
          refused: PEER_STATE held 1 current 4
        > restart p1 of f178
          refused: PEER_STATE held 1 current 4
        > remove p1 from f178, passed t0
          refused: WRONG_STAGE held 1 current 0
        > move primary of f178 to p1, expecting e1
          refused: PEER_STATE held 1 current 4
        > move primary of f178 to p2, expecting e1
          now e2
          - t11 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > remove p1 from f178, passed t0
          changed by t12
          - t12 f178 assignment e2 primary p2 replicas [p2, p3]
          - f178 is held differently, [p1] left
        > remove p3 from f178, passed t0
          changed by t13
          - t13 f178 assignment e2 primary p2 replicas [p2]
          - f178 is held differently, [p3] left
        > p9 is REMOVED
          refused: UNKNOWN_PEER held 9 current 0
    "#]]
    .assert_eq(&story.told());
}

/// Where all others are removed, the last copy that is there must stay.
#[test]
fn a_removed_peers_replica_does_not_count_as_one_that_serves() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.peer_state(1, PeerState::Removed);
    story.remove(178, 3, 0);
    story.remove(178, 2, 0);
    story.restart(178, 2);
    expect![[r#"
        > p1 is REMOVED
          done
          - p1 is to be used differently
        > remove p3 from f178, passed t0
          changed by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2]
          - f178 is held differently, [p3] left
        > remove p2 from f178, passed t0
          refused: LAST_REPLICA held 0 current 1
        > restart p2 of f178
          refused: LAST_REPLICA held 2 current 0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_mark_goes_into_the_stream_once() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let audit = || Body::AuditForum(AuditForum { forum_id: 178 });
    story.command("audit f178", RequestId([90; 16]), audit());
    story.command("the same again", RequestId([90; 16]), audit());
    story.audit(178);
    story.audit(999);
    expect![[r#"
        > audit f178
          marked at t3
          - t3 f178 audit
        > the same again
          marked at t3
        > audit f178
          marked at t4
          - t4 f178 audit
        > audit f999
          refused: UNKNOWN_FORUM held 999 current 0
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.forum(ForumId::new(178).unwrap()).unwrap().newest_record, 4);
}

#[test]
fn a_forum_may_want_more_or_fewer_replicas_than_others() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let wanted = |story: &Story| story.state.forum(ForumId::new(178).unwrap()).unwrap().replicas_wanted;
    story.want(178, 4);
    assert_eq!(wanted(&story), Some(4));
    story.want(178, 5);
    story.want(999, 1);
    assert_eq!(wanted(&story), Some(4));
    story.want(178, 0);
    assert_eq!(wanted(&story), None);
    expect![[r#"
        > f178 shall have 4 replicas
          done
        > f178 shall have 5 replicas
          refused: BAD_REPLICAS held 5 current 4
        > f999 shall have 1 replicas
          refused: UNKNOWN_FORUM held 999 current 0
        > f178 shall have 0 replicas
          done
    "#]]
    .assert_eq(&story.told());
}
