//! A peer is invited, gets a copy, catches up and serves; and every way in which it does not come to that.

use expect_test::expect;
use loop_proto::{
    ids::{ForumId, PeerId, RequestId, TaskId},
    v1::{PeerState, RejectReason},
};
use loop_raft_store::machine::{Bounds, JoinStage};

use crate::story::{Answer, Story, invitation};

/// Three peers hold f178, p4 and p5 hold nothing.
fn with_room(bounds: Bounds) -> Story {
    let mut story = Story::with_a_forum(bounds);
    story.register("dan");
    story.register("eve");
    story.told();
    story
}

#[test]
fn a_forum_moves_from_its_primary_to_another_peer() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.write(178, "while invited", "");
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 4);
    story.answer(Answer { task: 3, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.write(178, "for the next primary", "");
    story.cut_over(178, 2, 7);
    story.answer(Answer { task: 7, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 7, forum: 178, peer: 4, epoch: 2, ..Answer::default() });
    story.store(Answer { forum: 178, peer: 1, epoch: 2, facts: "of a read", ..Answer::default() });
    story.remove(178, 1, 7);
    story.remove(178, 1, 8);
    story.invitations();
    expect![[r#""#]].assert_eq(&story.told());
    let moved = story.state.last_completed_move(ForumId::new(178).unwrap()).unwrap();
    assert_eq!((moved.target.get(), moved.replaces.unwrap().get()), (4, 1));
    assert_eq!(story.state.forums_of(PeerId::new(1).unwrap()).count(), 0);
    assert_eq!(story.state.forums_of(PeerId::new(4).unwrap()).count(), 1);
}

#[test]
fn a_replica_that_does_not_lead_is_replaced_under_the_same_epoch() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 3);
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 2);
    story.cut_over(178, 2, 4);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn one_more_replica_and_nobody_goes() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 2, 0);
    story.invite(178, 5, 2, 0);
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 3);
    story.cut_over(178, 2, 4);
    story.store(Answer { forum: 178, peer: 4, epoch: 1, facts: "of a read", ..Answer::default() });
    expect![[r#""#]].assert_eq(&story.told());
    assert_eq!(story.state.last_completed_move(ForumId::new(178).unwrap()), None);
}

#[test]
fn who_cannot_be_invited() {
    let mut story = with_room(Bounds { invitations_open_max: 2, ..Bounds::STANDARD });
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
    story.cut_over(178, 2, 2);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn a_joining_replica_answers_nothing_and_cannot_lead() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 0);
    story.write(178, "hello", "");
    story.answer(Answer { task: 3, forum: 178, peer: 4, epoch: 1, ..Answer::default() });
    story.store(Answer { forum: 178, peer: 4, epoch: 1, facts: "x", ..Answer::default() });
    story.move_primary(178, 4, 1);
    story.remove(178, 4, 9);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn an_invitation_ends_at_any_stage_and_the_epoch_stays() {
    let mut story = with_room(Bounds::STANDARD);
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
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn steps_out_of_turn_are_refused_and_repeated_ones_told_what_is_so() {
    let mut story = with_room(Bounds::STANDARD);
    story.command("invite p4", RequestId([90; 16]), invitation(178, 4, 1, 1));
    story.command("the same again", RequestId([90; 16]), invitation(178, 4, 1, 1));
    story.seed(178, 2, 4, 2);
    story.cut_over(178, 2, 2);
    story.accept(178, 2, 5);
    story.accept(178, 9, 4);
    story.accept(178, 2, 4);
    story.accept(178, 2, 4);
    story.cut_over(178, 2, 3);
    story.seed(178, 2, 4, 1);
    story.seed(178, 2, 4, 3);
    story.seed(178, 2, 4, 3);
    story.accept(178, 2, 4);
    story.cut_over(178, 2, 4);
    story.cut_over(178, 2, 4);
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 3);
    story.close(178, 2);
    story.decline(178, 2, 4, RejectReason::DiskFull);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn who_lags_too_far_behind_its_forum_is_not_cut_over() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 3);
    for n in 0..1100 {
        story.write(178, &format!("{n}"), "");
    }
    story.told();
    story.cut_over(178, 2, 79);
    story.cut_over(178, 2, 80);
    expect![[r#""#]].assert_eq(&story.told());
}

/// The leader moved the primary while the copy was on its way: what was to be replaced leads no more.
#[test]
fn a_primary_moves_while_its_successor_is_seeded() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 2, 4);
    story.write(178, "hello", "");
    story.move_primary(178, 2, 1);
    story.seed(178, 2, 4, 5);
    story.cut_over(178, 2, 6);
    story.answer(Answer { task: 4, forum: 178, peer: 2, epoch: 2, ..Answer::default() });
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn what_was_to_be_replaced_is_gone_so_nobody_drains() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 3);
    story.remove(178, 3, 0);
    story.invitations();
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 4);
    story.cut_over(178, 2, 5);
    expect![[r#""#]].assert_eq(&story.told());
}

/// The one who took over dies at once. The old one follows the stream still and serves again.
#[test]
fn a_draining_replica_is_taken_back() {
    let mut story = with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 1);
    story.accept(178, 2, 4);
    story.seed(178, 2, 4, 3);
    story.cut_over(178, 2, 4);
    story.write(178, "hello", "");
    story.move_primary(178, 1, 2);
    story.answer(Answer { task: 6, forum: 178, peer: 1, epoch: 3, ..Answer::default() });
    story.remove(178, 4, 0);
    expect![[r#""#]].assert_eq(&story.told());
}

#[test]
fn places_are_counted_when_invited_and_again_at_the_cut_over() {
    let mut story = with_room(Bounds { replicas_max: 3, ..Bounds::STANDARD });
    story.invite(178, 4, 1, 0);
    story.remove(178, 3, 0);
    story.invite(178, 4, 1, 0);
    story.invite(178, 5, 1, 0);
    story.invite(178, 5, 1, 2);
    story.accept(178, 3, 4);
    story.seed(178, 3, 4, 5);
    story.accept(178, 4, 5);
    story.seed(178, 4, 5, 6);
    story.cut_over(178, 4, 8);
    story.move_primary(178, 2, 1);
    story.cut_over(178, 3, 9);
    story.register("fay");
    story.invite(178, 6, 1, 1);
    expect![[r#""#]].assert_eq(&story.told());
    let forum = story.state.forum(ForumId::new(178).unwrap()).unwrap();
    let stages: Vec<JoinStage> = forum.joining().map(|joining| joining.stage).collect();
    assert_eq!(stages, [JoinStage::CatchingUp, JoinStage::Invited]);
}

#[test]
fn the_history_forgets_the_invitations_that_ended_first() {
    let mut story = with_room(Bounds { invitations_kept: 2, ..Bounds::STANDARD });
    story.invite(178, 4, 1, 0);
    for _ in 0..3 {
        let id = story.state.newest() + 1;
        story.invite(178, 5, 1, 1);
        story.close(178, id);
    }
    story.told();
    story.close(178, 3);
    story.invitations();
    story.close(178, 2);
    story.invitations();
    expect![[r#""#]].assert_eq(&story.told());
    assert_eq!(story.state.invitation(TaskId::new(5).unwrap()), None);
}
