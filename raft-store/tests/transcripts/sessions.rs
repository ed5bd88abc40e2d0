//! Sessions: the user each gets with its first task, and what tasks change in them.

use expect_test::expect;
use loop_proto::v1::{Endpoint, fact::Kind};
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Lie, Sent, Story};

/// A new message in the session "abc".
fn shout(params: &'static str) -> Sent {
    Sent { forum: 178, endpoint: Endpoint::Shout, params, session: "abc", creates: true, named: 0 }
}

fn answer(task: u64) -> Answer {
    Answer { task, forum: 178, peer: 1, epoch: 1, lie: None }
}

#[test]
fn two_tasks_of_one_new_session_get_one_user() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "abc");
    story.write(178, "hello again", "abc");
    story.write(178, "from a stranger", "xyz");
    story.write(178, "from a robot", "");
    story.answer(answer(4));
    story.answer(answer(5));
    expect![[r#"
        > write "hello" to f178
          t4 m2867
          - t3 directory facts by the hubs 33B
          - t4 f178 task m2867 u414@3
        > write "hello again" to f178
          t5 m2868
          - t5 f178 task m2868 u414@3
        > write "from a stranger" to f178
          t7 m2869
          - t6 directory facts by the hubs 36B
          - t7 f178 task m2869 u415@6
        > write "from a robot" to f178
          t8 m2870
          - t8 f178 task m2870
        > p1 answers t4 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t4 265B
        > p1 answers t5 under e1
          answered by t10
          - t10 f178 facts by p1 e1 closes t5 277B
    "#]]
    .assert_eq(&story.told());
    let user = story.copies.user(414).unwrap();
    assert_eq!((user.last_ip.as_str(), user.created_at_s), ("192.97.98.99", 1000));
    assert_eq!(story.state.session("abc").unwrap().user_id, 414);
    assert_eq!(story.state.ids().user, 416);
    assert_eq!(story.state.directory_newest(), 6);
    let author = |id| story.copies.message(id).unwrap().author_id;
    assert_eq!((author(2867), author(2868)), (Some(414), Some(414)));
    assert_eq!(story.state.session("not a session id"), None);
}

#[test]
fn a_re_sent_request_mints_no_second_user() {
    let mut story = Story::with_a_forum(Bounds { session_age_ms: 1_000, ..Bounds::STANDARD });
    story.write(178, "hello", "abc");
    story.write(178, "hello", "abc");
    story.later(2_000);
    story.tick();
    assert_eq!(story.state.session("abc"), None);
    story.write(178, "hello", "abc");
    story.answer(answer(4));
    story.write(178, "hello", "abc");
    expect![[r#"
        > write "hello" to f178
          t4 m2867
          - t3 directory facts by the hubs 33B
          - t4 f178 task m2867 u414@3
        > write "hello" to f178
          t4 m2867 known
        … 2000 ms later
        > time goes on
          done
        > write "hello" to f178
          t4 m2867 known
        > p1 answers t4 under e1
          answered by t5
          - t5 f178 facts by p1 e1 closes t4 265B
        > write "hello" to f178
          t4 m2867 known, answered with sid 2867
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.ids().user, 415);
}

#[test]
fn changes_of_one_session_add_up_whichever_session_their_tasks_were_shown() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.send(shout("message=a&your_name=Ann"));
    story.send(shout("message=b&lat=48.5"));
    story.send(shout("message=c&your_name=Eve&lon=9"));
    story.send(Sent { session: "xyz", ..shout("message=d&lat=1") });
    story.answer(answer(4));
    let named = story.state.session("abc").unwrap().clone();
    assert_eq!((named.version, named.name.as_str(), named.latitude.as_str()), (9, "Ann", ""));
    story.later(5_000);
    story.answer(answer(5));
    story.answer(answer(6));
    story.answer(answer(8));
    expect![[r#"
        > send "message=a&your_name=Ann" to f178
          t4 m2867
          - t3 directory facts by the hubs 33B
          - t4 f178 task m2867 u414@3
        > send "message=b&lat=48.5" to f178
          t5 m2868
          - t5 f178 task m2868 u414@3
        > send "message=c&your_name=Eve&lon=9" to f178
          t6 m2869
          - t6 f178 task m2869 u414@3
        > send "message=d&lat=1" to f178
          t8 m2870
          - t7 directory facts by the hubs 36B
          - t8 f178 task m2870 u415@7
        > p1 answers t4 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t4 237B
        … 5000 ms later
        > p1 answers t5 under e1
          answered by t10
          - t10 f178 facts by p1 e1 closes t5 257B
        > p1 answers t6 under e1
          answered by t11
          - t11 f178 facts by p1 e1 closes t6 237B
        > p1 answers t8 under e1
          answered by t12
          - t12 f178 facts by p1 e1 closes t8 262B
    "#]]
    .assert_eq(&story.told());
    let known = story.state.session("abc").unwrap();
    assert_eq!(
        (known.name.as_str(), known.latitude.as_str(), known.longitude.as_str()),
        ("Eve", "48.5", "9")
    );
    assert_eq!((known.version, known.created_at_s, known.updated_at_s), (11, 1000, 1005));
    assert_eq!(story.state.session("xyz").unwrap().latitude, "1");
}

/// It would be a session without its first changes, or another user's.
#[test]
fn a_change_of_a_session_that_has_lapsed_is_left_out() {
    let mut story = Story::with_a_forum(Bounds { session_age_ms: 1_000, ..Bounds::STANDARD });
    story.send(shout("message=a&your_name=Ann"));
    story.send(shout("message=b&your_name=Ann"));
    story.later(2_000);
    story.tick();
    story.answer(answer(4));
    assert_eq!(story.state.session("abc"), None);
    story.send(shout("message=c"));
    story.answer(answer(5));
    expect![[r#"
        > send "message=a&your_name=Ann" to f178
          t4 m2867
          - t3 directory facts by the hubs 33B
          - t4 f178 task m2867 u414@3
        > send "message=b&your_name=Ann" to f178
          t5 m2868
          - t5 f178 task m2868 u414@3
        … 2000 ms later
        > time goes on
          done
        > p1 answers t4 under e1
          answered by t6
          - t6 f178 facts by p1 e1 closes t4 237B
        > send "message=c" to f178
          t8 m2869
          - t7 directory facts by the hubs 33B
          - t8 f178 task m2869 u415@7
        > p1 answers t5 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t5 237B
    "#]]
    .assert_eq(&story.told());
    let known = story.state.session("abc").unwrap();
    assert_eq!((known.user_id, known.name.as_str()), (415, ""));
}

#[test]
fn sessions_lapse_by_log_time_after_their_last_task() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "one", "stays");
    story.write(178, "two", "goes");
    story.later(500 * DAY_MS);
    story.write(178, "three", "stays");
    story.later(500 * DAY_MS);
    story.tick();
    assert_eq!(story.state.session("goes"), None);
    assert_eq!(story.state.session("stays").unwrap().version, 3);
    story.later(500 * DAY_MS);
    story.tick();
    assert_eq!(story.state.session("stays"), None);
    assert_eq!(story.state.counts().sessions_bytes, 0);
}

#[test]
fn an_answer_that_breaks_a_rule_is_refused_and_the_honest_one_after_it_wins() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.send(shout("message=hi&msg_id=3"));
    let lies: [Lie; 4] = [
        |executed| executed.facts.extend_from_within(..),
        |executed| {
            if let Some(Kind::MessageStored(message)) = &mut executed.facts[0].kind {
                message.author_id = Some(1);
            }
        },
        |executed| executed.facts.clear(),
        |executed| executed.receipt.lid = None,
    ];
    for lie in lies {
        story.answer(Answer { lie: Some(lie), ..answer(4) });
    }
    story.answer(answer(4));
    expect![[r#"
        > send "message=hi&msg_id=3" to f178
          t4 m2867
          - t3 directory facts by the hubs 33B
          - t4 f178 task m2867 u414@3
        > p1 answers t4 under e1, lying
          refused: BREAKS_RULES held 1 current 0
        > p1 answers t4 under e1, lying
          refused: BREAKS_RULES held 4 current 0
        > p1 answers t4 under e1, lying
          refused: BREAKS_RULES held 9 current 0
        > p1 answers t4 under e1, lying
          refused: BREAKS_RULES held 8 current 0
        > p1 answers t4 under e1
          answered by t5
          - t5 f178 facts by p1 e1 closes t4 259B
    "#]]
    .assert_eq(&story.told());
    assert!(story.copies.message(2867).unwrap().text.ends_with("hi"));
}
