//! A snapshot of a hub that knew no invitations, written by that version.

use expect_test::expect;
use loop_proto::ids::{ForumId, TaskId};
use loop_raft_store::machine::{Bounds, PeerState, snapshot};

use crate::story::{Answer, Story};

const VERSION_1: &[u8] = include_bytes!("../fixtures/snapshot-v1.bin");

#[test]
fn a_version_1_snapshot_is_read_and_its_forums_can_be_moved() {
    assert_eq!(VERSION_1[8..12], 1u32.to_le_bytes());
    let state = snapshot::decode(VERSION_1).unwrap();
    assert_eq!((state.newest(), state.trimmed_through(), state.kept_through()), (9, 4, 4));
    assert!(state.peers().all(|peer| peer.state == PeerState::Active));
    assert!(state.forums().all(|forum| forum.replicas_wanted.is_none()));
    assert_eq!(state.open_tasks().map(|task| task.id.get()).collect::<Vec<_>>(), [3, 9]);
    assert_eq!(state.session("abc").unwrap().version, 6);
    assert_eq!(state.bounds().invitations_open_max, Bounds::STANDARD.invitations_open_max);
    assert_eq!(state.bounds().invitations_kept, Bounds::STANDARD.invitations_kept);

    let mut story = Story::new(Bounds::STANDARD);
    story.state = state;
    story.write(179, "answered", "abc");
    story.keep(9);
    story.invite(179, 1, 2, 2);
    story.accept(179, 10, 1);
    story.seed(179, 10, 1, 11);
    story.cut_over(179, 10, 12);
    story.answer(Answer { task: 9, forum: 179, peer: 1, epoch: 2, ..Answer::default() });
    expect![[r#"
        > write "answered" to f179
          t4 m2868 known, answered with sid 2868
        > kept through t9
          trimmed through t4
        > invite p1 to f179 in place of p2, p2 gives
          invited by t10
          - t10 f179 assignment e1 primary p2 replicas [p2] joining p1 Invited by t10 from p2
          - f179 is held differently
          - trimmed through t5
        > p1 accepts t10
          changed by t11
          - t11 f179 assignment e1 primary p2 replicas [p2] joining p1 Seeding by t10 from p2
          - f179 is held differently
          - trimmed through t6
        > p1 has f179 through t11
          changed by t12
          - t12 f179 assignment e1 primary p2 replicas [p2] joining p1 CatchingUp by t10 from p2
          - f179 is held differently
          - trimmed through t7
        > cut over t10, caught up through t12
          changed by t13
          - t13 f179 assignment e2 primary p1 replicas [p1] draining [p2] unconfirmed [p1]
          - f179 is held differently
          - trimmed through t8
        > p1 answers t9 under e2
          answered by t14
          - t14 f179 facts by p1 e2 closes t9 0B
          - trimmed through t9
    "#]]
    .assert_eq(&story.told());
    let written = snapshot::encode(&story.state);
    assert_eq!(written[8..12], snapshot::VERSION.to_le_bytes());
    let read = snapshot::decode(&written).unwrap();
    assert!(read.invitation(TaskId::new(10).unwrap()).is_some());
    assert!(read.forum(ForumId::new(179).unwrap()).unwrap().draining().next().is_some());
}
