//! Which copies count, and which may be taken away.

use expect_test::expect;
use loop_proto::v1::PeerState;
use loop_raft_store::machine::Bounds;

use crate::story::Story;

/// Forum f178 on p1, p2 and p3; p4 has taken the place of p3 and is not confirmed.
fn replaced() -> Story {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.register("dan");
    story.invite(178, 4, 1, 3);
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 5);
    story.cut_over(178, 3, 6);
    story.told();
    story
}

#[test]
fn a_replaced_copy_goes_once_enough_others_are_confirmed_and_there() {
    let mut story = replaced();
    story.remove_leaving(178, 3, 3);
    story.confirm(178, 4, 100);
    story.confirm(178, 4, 6);
    story.confirm(178, 4, 6);
    story.presence(&[], &[2]);
    story.remove_leaving(178, 3, 3);
    story.presence(&[2], &[]);
    story.remove_leaving(178, 3, 3);
    expect![[r#"
        > remove p3 from f178 if 3 others are left
          refused: LAST_REPLICA held 2 current 3
        > p4's copy of f178 was compared at t100
          refused: NOT_CAUGHT_UP held 100 current 6
        > p4's copy of f178 was compared at t6
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p4] draining [p3]
          - f178 is held differently
        > p4's copy of f178 was compared at t6
          it was so
        > connected [], away [2]
          done
        > remove p3 from f178 if 3 others are left
          refused: LAST_REPLICA held 2 current 3
        > connected [2], away []
          done
        > remove p3 from f178 if 3 others are left
          changed by t8
          - t8 f178 assignment e1 primary p1 replicas [p1, p2, p4]
          - f178 is held differently, [p3] left
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_replaced_copy_serves_again_where_the_only_one_that_serves_starts_over() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.remove(178, 2, 0);
    story.remove(178, 3, 0);
    story.invite(178, 2, 1, 1);
    story.accept(178, 5, 2);
    story.seed(178, 5, 2, 7);
    story.cut_over(178, 5, 8);
    story.told();
    story.restart(178, 2);
    expect![[r#"
        > restart p2 of f178
          changed by t9
          - t9 f178 assignment e3 primary p1 replicas [p1] joining p2 Invited by t9 from p1
          - f178 is held differently
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_replaced_copy_serves_again_where_its_successor_has_gone() {
    let mut story = replaced();
    story.presence(&[], &[4]);
    story.reinstate(178, 4);
    story.reinstate(178, 3);
    story.reinstate(178, 3);
    story.remove_leaving(178, 4, 0);
    story.reinstate(178, 4);
    expect![[r#"
        > connected [], away [4]
          done
        > reinstate p4 in f178
          it was so
        > reinstate p3 in f178
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p3, p4] unconfirmed [p4]
          - f178 is held differently
        > reinstate p3 in f178
          it was so
        > remove p4 from f178 if 0 others are left
          changed by t8
          - t8 f178 assignment e1 primary p1 replicas [p1, p2, p3]
          - f178 is held differently, [p4] left
        > reinstate p4 in f178
          refused: NOT_A_REPLICA held 4 current 0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn the_last_copy_that_is_there_stays_whoever_asks() {
    let mut story = replaced();
    story.presence(&[], &[1, 2]);
    story.remove_leaving(178, 3, 0);
    story.remove_leaving(178, 4, 0);
    story.peer_state(3, PeerState::Removed);
    story.remove_leaving(178, 3, 0);
    story.presence(&[1], &[]);
    story.remove_leaving(178, 3, 0);
    story.remove_leaving(178, 1, 0);
    expect![[r#"
        > connected [], away [1, 2]
          done
        > remove p3 from f178 if 0 others are left
          refused: LAST_REPLICA held 0 current 1
        > remove p4 from f178 if 0 others are left
          refused: LAST_REPLICA held 0 current 1
        > p3 is REMOVED
          done
          - p3 is to be used differently
        > remove p3 from f178 if 0 others are left
          refused: LAST_REPLICA held 0 current 1
        > connected [1], away []
          done
        > remove p3 from f178 if 0 others are left
          changed by t7
          - t7 f178 assignment e1 primary p1 replicas [p1, p2, p4] unconfirmed [p4]
          - f178 is held differently, [p3] left
        > remove p1 from f178 if 0 others are left
          refused: LAST_REPLICA held 0 current 1
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn without_another_copy_to_compare_with_a_copy_is_confirmed_as_it_is_and_never_beside_one() {
    let mut story = replaced();
    story.confirm(178, 4, 0);
    story.confirm(178, 3, 6);
    story.confirm(178, 9, 6);
    expect![[r#"
        > p4's copy of f178 was compared at t0
          refused: WRONG_STAGE held 4 current 0
        > p3's copy of f178 was compared at t6
          refused: NOT_A_REPLICA held 3 current 0
        > p9's copy of f178 was compared at t6
          refused: NOT_A_REPLICA held 9 current 0
    "#]]
    .assert_eq(&story.told());
}
