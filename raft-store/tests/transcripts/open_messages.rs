//! Unfinished messages: begun, gone on with, finished, abandoned.

use expect_test::expect;
use loop_proto::v1::{Endpoint, MessageStatus};
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Sent, Story};

const TYPING: Sent = Sent {
    forum: 178,
    endpoint: Endpoint::Shout,
    params: "typing=on&message=h",
    session: "abc",
    creates: true,
    named: 0,
};
const COMMIT: Sent = Sent { params: "message=hello&shout_id=2867", creates: false, named: 2867, ..TYPING };

fn answer(task: u64) -> Answer {
    Answer { task, forum: 178, peer: 1, epoch: 1, lie: None }
}

/// The session "abc" has begun to write m2867, in t4 and t5.
fn typing(bounds: Bounds) -> Story {
    let mut story = Story::with_a_forum(bounds);
    story.send(TYPING);
    story.answer(answer(4));
    story.told();
    assert_eq!(story.state.counts().open_messages, 1);
    story
}

#[test]
fn a_finished_message_cannot_be_gone_on_with() {
    let mut story = typing(Bounds::STANDARD);
    story.send(Sent { params: "typing=on&message=he&shout_id=2867", creates: false, named: 2867, ..TYPING });
    story.send(COMMIT);
    story.answer(answer(6));
    assert_eq!(story.state.counts().open_messages, 1);
    story.answer(answer(7));
    assert_eq!(story.state.counts().open_messages, 0);
    story.send(Sent { params: "message=changed&shout_id=2867", ..COMMIT });
    story.answer(answer(10));
    expect![[r#"
        > send "typing=on&message=he&shout_id=2867" to f178, naming m2867
          t6
          - t6 f178 task u414@5 goes on with m2867
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t7
          - t7 f178 task u414@5 goes on with m2867
        > p1 answers t6 under e1
          answered by t8
          - t8 f178 facts by p1 e1 closes t6 280B
        > p1 answers t7 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t7 265B
        > send "message=changed&shout_id=2867" to f178, naming m2867
          t10
          - t10 f178 task u414@5
        > p1 answers t10 under e1
          answered by t11
          - t11 f178 facts by p1 e1 closes t10 0B
    "#]]
    .assert_eq(&story.told());
    let message = story.copies.message(2867).unwrap();
    assert!(message.text.ends_with("hello") && message.status() == MessageStatus::Final);
}

#[test]
fn nobody_but_its_author_goes_on_with_a_message_and_nowhere_but_in_its_forum() {
    let mut story = typing(Bounds::STANDARD);
    story.open("ajps_other", &[1]);
    story.send(Sent { session: "xyz", ..COMMIT });
    story.send(Sent { session: "", ..COMMIT });
    story.send(Sent { forum: 179, ..COMMIT });
    story.send(Sent { named: 9, ..COMMIT });
    for task in [9, 10] {
        story.answer(answer(task));
    }
    expect![[r#"
        > open forum ajps_other on [1]
          f179 opened e1 p1 [1]
          - f179 opened
          - t6 f179 assignment e1 primary p1 replicas [p1]
          - t7 f179 facts by the hubs 58B
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t9
          - t8 directory facts by the hubs 36B
          - t9 f178 task u415@8
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t10
          - t10 f178 task
        > send "message=hello&shout_id=2867" to f179, naming m2867
          t11
          - t11 f179 task u414@5
        > send "message=hello&shout_id=2867" to f178, naming m9
          t12
          - t12 f178 task u414@5
        > p1 answers t9 under e1
          answered by t13
          - t13 f178 facts by p1 e1 closes t9 0B
        > p1 answers t10 under e1
          answered by t14
          - t14 f178 facts by p1 e1 closes t10 0B
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.copies.unfinished(178).count(), 1);
}

#[test]
fn robots_go_on_with_what_they_began() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.send(Sent { session: "", ..TYPING });
    story.answer(answer(3));
    story.send(COMMIT);
    story.send(Sent { session: "", ..COMMIT });
    expect![[r#"
        > send "typing=on&message=h" to f178
          t3 m2867
          - t3 f178 task m2867
        > p1 answers t3 under e1
          answered by t4
          - t4 f178 facts by p1 e1 closes t3 268B
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t6
          - t5 directory facts by the hubs 33B
          - t6 f178 task u414@5
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t7
          - t7 f178 task goes on with m2867
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn an_abandoned_typing_message_goes_after_15_minutes() {
    let mut story = typing(Bounds::STANDARD);
    story.minutes_pass(10);
    story.send(Sent { params: "typing=on&message=he&shout_id=2867", creates: false, named: 2867, ..TYPING });
    story.answer(answer(6));
    story.minutes_pass(14);
    story.later(3_600_000);
    assert_eq!(story.state.counts().open_messages, 1, "nobody has waited while the clock was wrong");
    story.tick();
    story.send(COMMIT);
    expect![[r#"
        … 10 minutes pass
        > send "typing=on&message=he&shout_id=2867" to f178, naming m2867
          t6
          - t6 f178 task u414@5 goes on with m2867
        > p1 answers t6 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t6 280B
        … 14 minutes pass
        … 3600000 ms later
        > time goes on
          done
          - t8 f178 facts by the hubs 10B
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t9 m2868
          - t9 f178 task m2868 u414@5
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.counts().open_messages, 0);
    assert_eq!(story.copies.message(2867), None);
}

/// What its author has committed must not be lost because nobody could execute it for so long.
#[test]
fn a_message_does_not_go_while_a_task_goes_on_with_it() {
    let mut story = typing(Bounds::STANDARD);
    story.send(COMMIT);
    story.minutes_pass(100);
    story.answer(answer(6));
    expect![[r#"
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t6
          - t6 f178 task u414@5 goes on with m2867
        … 100 minutes pass
        > p1 answers t6 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t6 265B
    "#]]
    .assert_eq(&story.told());
    assert!(story.copies.message(2867).unwrap().text.ends_with("hello"));
}

#[test]
fn a_message_whose_author_stopped_typing_is_still_open_and_a_deleted_one_is_not() {
    let mut story = typing(Bounds::STANDARD);
    let hide = Sent { endpoint: Endpoint::HideMessage, creates: false, ..TYPING };
    story.send(Sent { params: "mid=2867&just_typing=1", ..hide });
    story.answer(answer(6));
    story.send(COMMIT);
    assert_eq!(story.state.counts().open_messages, 1);
    story.answer(Answer { lie: Some(|executed| executed.facts.clear()), ..answer(8) });
    story.answer(answer(8));
    story.send(Sent { params: "typing=on&message=h", ..TYPING });
    story.answer(answer(10));
    assert_eq!(story.state.counts().open_messages, 1);
    story.send(Sent { params: "mid=2868", ..hide });
    story.answer(answer(12));
    expect![[r#"
        > send "mid=2867&just_typing=1" to f178
          t6
          - t6 f178 task u414@5
        > p1 answers t6 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t6 10B
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t8
          - t8 f178 task u414@5 goes on with m2867
        > p1 answers t8 under e1, lying
          refused: BREAKS_RULES held 9 current 0
        > p1 answers t8 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t8 265B
        > send "typing=on&message=h" to f178
          t10 m2868
          - t10 f178 task m2868 u414@5
        > p1 answers t10 under e1
          answered by t11
          - t11 f178 facts by p1 e1 closes t10 280B
        > send "mid=2868" to f178
          t12
          - t12 f178 task u414@5
        > p1 answers t12 under e1
          answered by t13
          - t13 f178 facts by p1 e1 closes t12 10B
    "#]]
    .assert_eq(&story.told());
    assert!(story.copies.message(2867).unwrap().active);
    assert_eq!(story.copies.message(2868), None);
    assert_eq!(story.state.counts().open_messages, 0);
}

/// A text that its author said a moment ago is hidden, which finishes the message too.
#[test]
fn a_repetition_is_finished() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "abc");
    story.send(TYPING);
    story.answer(answer(4));
    story.answer(answer(5));
    story.send(Sent { params: "message=hello&shout_id=2868", named: 2868, ..COMMIT });
    story.answer(answer(8));
    expect![[r#"
        > write "hello" to f178
          t4 m2867
          - t3 directory facts by the hubs 33B
          - t4 f178 task m2867 u414@3
        > send "typing=on&message=h" to f178
          t5 m2868
          - t5 f178 task m2868 u414@3
        > p1 answers t4 under e1
          answered by t6
          - t6 f178 facts by p1 e1 closes t4 265B
        > p1 answers t5 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t5 280B
        > send "message=hello&shout_id=2868" to f178, naming m2868
          t8
          - t8 f178 task u414@7 goes on with m2868
        > p1 answers t8 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t8 12B
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.counts().open_messages, 0);
}

#[test]
fn the_oldest_goes_when_there_are_too_many() {
    let mut story = typing(Bounds { open_messages_max: 1, ..Bounds::STANDARD });
    story.send(Sent { session: "xyz", ..TYPING });
    story.answer(answer(7));
    expect![[r#"
        > send "typing=on&message=h" to f178
          t7 m2868
          - t6 directory facts by the hubs 36B
          - t7 f178 task m2868 u415@6
        > p1 answers t7 under e1
          answered by t8
          - t8 f178 facts by p1 e1 closes t7 286B
          - t9 f178 facts by the hubs 10B
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.copies.message(2867), None);
}

/// Lapsed ones wait for room in the log, and go as soon as there is some.
#[test]
fn an_abandoned_message_stays_while_the_log_is_full() {
    let mut story = typing(Bounds { records_max: 5, ..Bounds::STANDARD });
    for epoch in 1..16 {
        story.move_primary(178, 2, epoch);
    }
    story.told();
    story.minutes_pass(16);
    story.keep(20);
    story.tick();
    expect![[r#"
        … 16 minutes pass
        > kept through t20
          trimmed through t0
          - trimmed through t15
        > time goes on
          done
          - t21 f178 facts by the hubs 10B
    "#]]
    .assert_eq(&story.told());
}

/// Otherwise it would be told that its message is kept, and it would be nowhere.
#[test]
fn a_commit_that_comes_after_its_message_has_lapsed_is_a_message_of_its_own() {
    let mut story = typing(Bounds::STANDARD);
    story.minutes_pass(16);
    story.send(COMMIT);
    story.answer(answer(7));
    story.send(Sent { session: "xyz", ..COMMIT });
    expect![[r#"
        … 16 minutes pass
          - t6 f178 facts by the hubs 10B
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t7 m2868
          - t7 f178 task m2868 u414@5
        > p1 answers t7 under e1
          answered by t8
          - t8 f178 facts by p1 e1 closes t7 265B
        > send "message=hello&shout_id=2867" to f178, naming m2867
          t10
          - t9 directory facts by the hubs 36B
          - t10 f178 task u415@9
    "#]]
    .assert_eq(&story.told());
    let message = story.copies.message(2868).unwrap();
    assert!(message.text.ends_with("hello") && message.status() == MessageStatus::Final);
}
