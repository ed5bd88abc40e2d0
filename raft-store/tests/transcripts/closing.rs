//! Forums that nobody uses go away; those with a message never do, unless an operator says so.

use expect_test::expect;
use loop_proto::{
    ids::RequestId,
    v1::{self, Endpoint, command::Body},
};
use loop_raft_store::machine::{Bounds, bounds::EMPTY_FORUM_GRACE_MS};

use crate::story::{Answer, Sent, Story};

const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;

const TYPING: Sent = Sent {
    forum: 178,
    endpoint: Endpoint::Shout,
    params: "typing=on&message=h",
    session: "abc",
    creates: true,
    named: 0,
};

fn answer(forum: u32, task: u64) -> Answer {
    Answer { task, forum, peer: 1, epoch: 1, lie: None }
}

fn delete(message: u32) -> Sent {
    let params = if message == 2867 { "mid=2867" } else { "mid=2868" };
    Sent { endpoint: Endpoint::HideMessage, params, creates: false, ..TYPING }
}

fn is_due(story: &Story) -> bool {
    story.state.forums_to_close().next().is_some()
}

#[test]
fn a_forum_that_was_only_opened_goes_after_a_day_and_its_name_is_opened_anew() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.invite(178, 4, 1, 0);
    story.minutes_pass(DAY - 1);
    assert!(!is_due(&story));
    story.close_forum(178, false);
    story.minutes_pass(1);
    assert_eq!(story.state.forums_to_close().map(|forum| forum.id.get()).collect::<Vec<_>>(), [178]);
    story.close_forum(178, false);
    story.invitations();
    story.close_forum(178, false);
    story.close_forum(179, false);
    story.write(178, "too late", "abc");
    story.open("ajps_test", &[2]);
    story.write(179, "too late", "abc");
    expect![[r#"
        > invite p4 to f178, p1 gives
          invited by t3
          - t3 f178 assignment e1 primary p1 replicas [p1, p2, p3] joining p4 Invited by t3 from p1
          - f178 is held differently
        … 1439 minutes pass
        > close f178
          refused: FORUM_IN_USE held 86340000 current 86400000
        … 1 minutes pass
        > close f178
          done
          - t4 directory closed f178
          - f178 closed
          = t3 f178 p1 to p4 OPERATOR: Timeout
        > close f178
          done
        > close f179
          refused: UNKNOWN_FORUM held 179 current 0
        > write "too late" to f178
          refused: UNKNOWN_FORUM held 178 current 0
        > open forum ajps_test on [2]
          f179 opened e1 p2 [2]
          - f179 opened
          - t5 f179 assignment e1 primary p2 replicas [p2]
          - t6 f179 facts by the hubs 58B
        > write "too late" to f179
          t8 m2867
          - t7 directory facts by the hubs 34B
          - t8 f179 task m2867 u414@7
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_forum_with_a_message_stays_for_ever_and_goes_a_day_after_its_last_message_is_deleted() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "abc");
    story.answer(answer(178, 4));
    story.minutes_pass(3 * DAY);
    assert!(!is_due(&story));
    story.told();
    story.close_forum(178, false);
    story.send(delete(2868));
    story.answer(answer(178, 6));
    assert!(story.state.empty_forums().next().is_none(), "somebody says that another message is gone");
    story.send(delete(2867));
    story.close_forum(178, false);
    story.answer(answer(178, 8));
    story.minutes_pass(DAY - 1);
    assert!(!is_due(&story));
    story.minutes_pass(1);
    assert!(is_due(&story));
    story.close_forum(178, false);
    expect![[r#"
        > close f178
          refused: FORUM_IN_USE held 0 current 86400000
        > send "mid=2868" to f178
          t6
          - t6 f178 task u414@5
        > p1 answers t6 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t6 0B
        > send "mid=2867" to f178
          t8
          - t8 f178 task u414@5
        > close f178
          refused: FORUM_IN_USE held 0 current 86400000
        > p1 answers t8 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t8 10B
        … 1439 minutes pass
        … 1 minutes pass
        > close f178
          done
          - t10 directory closed f178
          - f178 closed
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn what_was_only_typed_keeps_a_forum_until_a_day_after_it_is_taken_away() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.send(TYPING);
    story.answer(answer(178, 4));
    story.minutes_pass(15);
    assert_eq!(story.state.counts().open_messages, 0, "it was left for a quarter of an hour");
    story.minutes_pass(DAY - 1);
    assert!(!is_due(&story));
    story.minutes_pass(1);
    assert!(is_due(&story));
    story.told();
    // Its author comes back in the very moment it is closed. What he sends then is kept.
    story.close_forum(178, false);
    story.open("ajps_test", &[1]);
    story.send(Sent {
        forum: 179,
        params: "message=hello&shout_id=2867",
        creates: false,
        named: 2867,
        ..TYPING
    });
    story.answer(answer(179, 10));
    expect![[r#"
        > close f178
          done
          - t7 directory closed f178
          - f178 closed
        > open forum ajps_test on [1]
          f179 opened e1 p1 [1]
          - f179 opened
          - t8 f179 assignment e1 primary p1 replicas [p1]
          - t9 f179 facts by the hubs 58B
        > send "message=hello&shout_id=2867" to f179, naming m2867
          t10 m2868
          - t10 f179 task m2868 u414@5
        > p1 answers t10 under e1
          answered by t11
          - t11 f179 facts by p1 e1 closes t10 266B
    "#]]
    .assert_eq(&story.told());
    assert!(story.copies.message(2868).unwrap().text.ends_with("hello"));
}

#[test]
fn a_leaders_wrong_clock_closes_no_forum() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.later(30 * DAY * 60_000);
    story.close_forum(178, false);
    expect![[r#"
        … 2592000000 ms later
        > close f178
          refused: FORUM_IN_USE held 60000 current 86400000
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn a_move_that_is_sent_once_more_is_told_its_epoch_also_after_its_forum_was_closed() {
    let mut story = Story::with_room(Bounds::STANDARD);
    let proposal = RequestId([200; 16]);
    let body = || Body::MovePrimary(v1::MovePrimary { forum_id: 178, to_peer: 2, expected_epoch: 1 });
    story.command("move primary of f178 to p2", proposal, body());
    story.close_forum(178, true);
    story.command("the same move once more", proposal, body());
    story.move_primary(178, 2, 2);
    expect![[r#"
        > move primary of f178 to p2
          now e2
          - t3 f178 assignment e2 primary p2 replicas [p1, p2, p3]
        > close f178, whatever is in it
          done
          - t4 directory closed f178 with what was in it
          - f178 closed
        > the same move once more
          now e2
        > move primary of f178 to p2, expecting e2
          refused: UNKNOWN_FORUM held 178 current 0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn an_operator_closes_a_forum_with_whatever_is_in_it() {
    let mut story = Story::with_room(Bounds::STANDARD);
    story.write(178, "hello", "abc");
    story.answer(answer(178, 4));
    story.send(TYPING);
    story.answer(answer(178, 6));
    story.write(178, "never answered", "abc");
    story.invite(178, 4, 1, 2);
    story.told();
    story.close_forum(178, true);
    story.answer(answer(178, 8));
    story.seed(178, 9, 4, 9);
    story.open("ajps_test", &[1]);
    story.write(179, "never answered", "abc");
    story.write(179, "hello", "abc");
    expect![[r#"
        > close f178, whatever is in it
          done
          - t10 directory closed f178 with what was in it
          - f178 closed
        > p1 answers t8 under e1
          refused: UNKNOWN_FORUM held 178 current 0
        > p4 has f178 through t9
          refused: UNKNOWN_FORUM held 178 current 0
        > open forum ajps_test on [1]
          f179 opened e1 p1 [1]
          - f179 opened
          - t11 f179 assignment e1 primary p1 replicas [p1]
          - t12 f179 facts by the hubs 57B
        > write "never answered" to f179
          t13 m2870
          - t13 f179 task m2870 u414@5
        > write "hello" to f179
          t4 m2867 known, answered with sid 2867
    "#]]
    .assert_eq(&story.told());
    assert_eq!((story.state.counts().open_messages, story.copies.has_messages(178)), (0, false));
}

#[test]
fn the_longest_empty_forum_makes_room_for_another_one() {
    let mut story = Story::with_a_forum(Bounds { forums_max: 3, ..Bounds::STANDARD });
    story.write(178, "hello", "abc");
    story.answer(answer(178, 4));
    story.open("second", &[1]);
    story.later(EMPTY_FORUM_GRACE_MS / 2);
    story.open("third", &[1]);
    story.told();
    story.open("too soon", &[1]);
    story.later(EMPTY_FORUM_GRACE_MS / 2);
    story.open("fourth", &[1]);
    story.open("fifth", &[1]);
    story.open("fourth", &[1]);
    expect![[r#"
        > open forum too soon on [1]
          refused: FULL held 0 current 3
        … 30000 ms later
        > open forum fourth on [1]
          f181 opened e1 p1 [1]
          - t10 directory closed f179
          - f179 closed
          - f181 opened
          - t11 f181 assignment e1 primary p1 replicas [p1]
          - t12 f181 facts by the hubs 54B
        > open forum fifth on [1]
          refused: FULL held 0 current 3
        > open forum fourth on [1]
          f181 was open e1 p1 [1]
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.forums().map(|forum| forum.id.get()).collect::<Vec<_>>(), [178, 180, 181]);
}
