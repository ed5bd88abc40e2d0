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
    story.accept(178, 2, 3);
    story.restart(178, 3);
    story.accept(178, 4, 3);
    story.seed(178, 4, 3, 5);
    story.cut_over(178, 4, 6);
    story.invitations();
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn a_primary_that_lost_its_place_hands_over_first_and_the_last_one_stays() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "");
    let restart = || Body::RestartReplica(RestartReplica { forum_id: 178, peer_id: 1 });
    story.command("restart p1", RequestId([90; 16]), restart());
    story.command("the same again", RequestId([90; 16]), restart());
    story.answer(Answer { task: 2, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    story.restart(178, 3);
    story.restart(178, 2);
    story.remove(178, 2, 9);
    story.restart(178, 9);
    story.register("dan");
    story.restart(178, 4);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn who_is_being_replaced_or_drains_is_not_seeded_again() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.register("dan");
    story.told();
    story.invite(178, 4, 2, 1);
    story.restart(178, 1);
    story.invitations();
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 4);
    story.cut_over(178, 2, 5);
    story.invite(178, 1, 2, 2);
    story.accept(178, 7, 1);
    story.seed(178, 7, 1, 8);
    story.cut_over(178, 7, 9);
    story.restart(178, 2);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn with_no_invitation_left_a_replica_that_lost_its_place_is_let_go() {
    let mut story = Story::with_a_forum(Bounds { invitations_open_max: 1, ..Bounds::STANDARD });
    story.restart(178, 3);
    story.restart(178, 2);
    story.restart(178, 3);
    expect![[r#""#]].assert_eq(&story.told());
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
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 4);
    story.cut_over(178, 3, 5);
    story.remove(178, 1, 6);
    story.remove(178, 1, 6);
    story.peer_state(1, PeerState::Draining);
    story.register("ann");
    expect![[r#""#]].assert_eq(&story.told());
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
    story.accept(179, 4, 4);
    story.write(178, "hello", "");
    story.peer_state(4, PeerState::Removed);
    story.invitations();
    story.invite(178, 4, 2, 1);
    story.open("ajps_third", &[4]);
    story.lease(4, 10);
    story.peer_state(1, PeerState::Removed);
    story.answer(Answer { task: 6, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.store(Answer { forum: 178, peer: 1, epoch: 1, facts: "x", ..Answer::default() });
    story.restart(178, 1);
    story.remove(178, 1, 0);
    story.move_primary(178, 1, 1);
    story.move_primary(178, 2, 1);
    story.remove(178, 1, 0);
    story.remove(178, 3, 0);
    story.peer_state(9, PeerState::Removed);
    expect![[r#""#]].assert_eq(&story.told());
}

/// Where all others are removed, the last copy that is there must stay.
#[test]
fn a_removed_peers_replica_does_not_count_as_one_that_serves() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.peer_state(1, PeerState::Removed);
    story.remove(178, 3, 0);
    story.remove(178, 2, 0);
    story.restart(178, 2);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn a_mark_goes_into_the_stream_once() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let audit = || Body::AuditForum(AuditForum { forum_id: 178 });
    story.command("audit f178", RequestId([90; 16]), audit());
    story.command("the same again", RequestId([90; 16]), audit());
    story.audit(178);
    story.audit(999);
    expect![[r#""#]].assert_eq(&story.told());
    assert_eq!(story.state.forum(ForumId::new(178).unwrap()).unwrap().newest_record, 3);
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
    expect![[r#""#]].assert_eq(&story.told());
}
