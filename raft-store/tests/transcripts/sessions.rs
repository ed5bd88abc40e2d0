//! Reads that change something, and the sessions they carry.

use expect_test::expect;
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story, session};

#[test]
fn a_first_read_makes_a_user_a_forum_row_and_a_session_that_the_next_write_carries() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.store(Answer {
        forum: 178,
        peer: 2,
        epoch: 1,
        facts: "forum row",
        directory: "user u414",
        sessions: vec![session("abc", 0, None, "logged-user|i:414;")],
        ..Answer::default()
    });
    story.write(178, "hello", "abc");
    story.write(178, "from a stranger", "xyz");
    expect![[r#"
        > p2 stores facts of a read under e1
          stored by t3
          - t2 directory facts by p2 e1 9B
          - t3 f178 facts by p2 e1 9B sessions=1
          - session abc stored
        > write "hello" to f178
          t4 m2867
          - t4 f178 task m2867 session@3
        > write "from a stranger" to f178
          t5 m2868
          - t5 f178 task m2868
    "#]]
    .assert_eq(&story.told());
    let task = story.state.open_tasks().next().unwrap().task().unwrap().clone();
    assert_eq!(task.session.unwrap().data, "logged-user|i:414;");
    assert_eq!(story.state.session("abc").unwrap().version, 3);
    assert_eq!(story.state.session("not a session id"), None);
}

#[test]
fn two_reads_of_one_session_race_and_the_second_must_read_again() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let read = |peer, based_on, data| Answer {
        forum: 178,
        peer,
        epoch: 1,
        directory: "a user",
        sessions: vec![session("abc", based_on, None, data)],
        ..Answer::default()
    };
    story.store(read(1, 0, "first"));
    story.store(read(2, 0, "second, made from nothing too"));
    story.store(read(2, 3, "second, made from the first"));
    story.write(178, "hello", "abc");
    story.answer(Answer {
        task: 6,
        forum: 178,
        peer: 1,
        epoch: 1,
        sessions: vec![session("abc", 3, Some("414"), "a task's answer always wins")],
        ..Answer::default()
    });
    expect![[r#"
        > p1 stores facts of a read under e1
          stored by t3
          - t2 directory facts by p1 e1 6B
          - t3 f178 facts by p1 e1 0B sessions=1
          - session abc stored
        > p2 stores facts of a read under e1
          refused: STALE_SESSION held 0 current 3
        > p2 stores facts of a read under e1
          stored by t5
          - t4 directory facts by p2 e1 6B
          - t5 f178 facts by p2 e1 0B sessions=1
          - session abc stored
        > write "hello" to f178
          t6 m2867
          - t6 f178 task m2867 session@5
        > p1 answers t6 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t6 0B sessions=1
          - session abc stored
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.session("abc").unwrap().data, "a task's answer always wins");
}

#[test]
fn only_a_serving_replica_under_the_current_epoch_stores_facts() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.register("dan");
    let facts = |peer, epoch| Answer { forum: 178, peer, epoch, facts: "row", ..Answer::default() };
    story.store(facts(4, 1));
    story.store(facts(9, 1));
    story.store(facts(2, 0));
    story.store(Answer { forum: 5, ..facts(2, 1) });
    story.store(facts(2, 1));
    story.store(Answer { facts: "", directory: "user", ..facts(2, 1) });
    story.store(Answer { facts: "", ..facts(2, 1) });
    expect![[r#"
        > register peer dan
          p4
          - p4 registered
        > p4 stores facts of a read under e1
          refused: NOT_A_REPLICA held 4 current 0
        > p9 stores facts of a read under e1
          refused: UNKNOWN_PEER held 9 current 0
        > p2 stores facts of a read under e0
          refused: STALE_EPOCH held 0 current 1
        > p2 stores facts of a read under e1
          refused: UNKNOWN_FORUM held 5 current 0
        > p2 stores facts of a read under e1
          stored by t2
          - t2 f178 facts by p2 e1 3B
        > p2 stores facts of a read under e1
          stored by t3
          - t3 directory facts by p2 e1 4B
        > p2 stores facts of a read under e1
          stored by t0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn sessions_lapse_by_log_time_those_without_a_user_first() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let facts = |id, user| Answer {
        forum: 178,
        peer: 1,
        epoch: 1,
        sessions: vec![session(id, 0, user, "")],
        ..Answer::default()
    };
    story.store(facts("stranger", None));
    story.store(facts("nobody", Some("")));
    story.store(facts("user", Some("414")));
    story.later(DAY_MS);
    story.lease(1, 1);
    assert_eq!(story.state.session("stranger"), None);
    assert_eq!(story.state.session("nobody"), None);
    assert!(story.state.session("user").is_some());
    story.later(999 * DAY_MS);
    story.lease(1, 1);
    assert_eq!(story.state.session("user"), None);
    assert_eq!(story.state.counts().sessions_bytes, 0);
}
