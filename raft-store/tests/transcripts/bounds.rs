//! What happens at each maximum, and to commands nobody can read.

use bytes::Bytes;
use expect_test::expect;
use loop_proto::{
    ids::{RequestId, TaskId},
    v1::{self, command::Body},
};
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story, session};

#[test]
fn each_full_bound_refuses_and_says_so() {
    let bounds = Bounds {
        forums_max: 2,
        peers_max: 3,
        replicas_max: 3,
        open_tasks_max: 2,
        open_tasks_per_forum_max: 1,
        request_bytes_max: 10,
        facts_bytes_max: 10,
        session_bytes_max: 4,
        ..Bounds::STANDARD
    };
    let mut story = Story::with_a_forum(bounds);
    story.register("dan");
    story.register("ann");
    story.open("ajps_other", &[1]);
    story.open("ajps_third", &[1]);
    story.write(178, "0123456789", "");
    story.write(178, "0123456789a", "");
    story.write(178, "second", "");
    story.write(179, "third", "");
    story.write(179, "fourth", "");
    let facts = || Answer { forum: 178, peer: 1, epoch: 1, ..Answer::default() };
    story.store(Answer { facts: "eleven bytes", ..facts() });
    story.store(Answer { sessions: vec![session("abc", 0, None, "12345")], ..facts() });
    expect![[r#"
        > register peer dan
          refused: FULL held 0 current 3
        > register peer ann
          p1
        > open forum ajps_other on [1]
          f179 opened e1 p1 [1]
          - f179 opened
          - t2 f179 assignment e1 primary p1 replicas [p1]
        > open forum ajps_third on [1]
          refused: FULL held 0 current 2
        > write "0123456789" to f178
          t3 m2867
          - t3 f178 task m2867
        > write "0123456789a" to f178
          refused: MALFORMED held 11 current 10
        > write "second" to f178
          refused: FULL held 0 current 1
        > write "third" to f179
          t4 m2868
          - t4 f179 task m2868
        > write "fourth" to f179
          refused: FULL held 0 current 2
        > p1 stores facts of a read under e1
          refused: MALFORMED held 12 current 10
        > p1 stores facts of a read under e1
          refused: MALFORMED held 5 current 4
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn ids_run_out_without_being_given_twice() {
    let bounds = Bounds {
        message_id_first: u32::MAX,
        user_id_first: u32::MAX - 2,
        forum_id_first: u32::MAX,
        user_id_block_max: 2,
        ..Bounds::STANDARD
    };
    let mut story = Story::with_a_forum(bounds);
    story.open("ajps_other", &[1]);
    story.write(u32::MAX, "last", "");
    story.write(u32::MAX, "one too many", "");
    story.lease(1, 10);
    story.lease(1, 10);
    story.lease(1, 10);
    expect![[r#"
        > open forum ajps_other on [1]
          refused: IDS_EXHAUSTED held 0 current 0
        > write "last" to f4294967295
          t2 m4294967295
          - t2 f4294967295 task m4294967295
        > write "one too many" to f4294967295
          refused: IDS_EXHAUSTED held 0 current 0
        > lease 10 user ids to p1
          2 users from u4294967293
        > lease 10 user ids to p1
          1 users from u4294967295
        > lease 10 user ids to p1
          refused: IDS_EXHAUSTED held 0 current 0
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.ids().message, u64::from(u32::MAX) + 1);
}

#[test]
fn a_trimmed_task_is_still_open_and_can_be_answered() {
    let mut story = Story::with_a_forum(Bounds { records_max: 3, ..Bounds::STANDARD });
    story.write(178, "one", "");
    story.trim(99);
    story.trim(1);
    assert!(story.state.record(TaskId::new(2).unwrap()).is_none());
    assert!(story.state.open_task(TaskId::new(2).unwrap()).is_some());
    for text in ["two", "three", "four", "five"] {
        story.write(178, text, "");
        story.keep(story.state.newest());
    }
    story.answer(Answer { task: 2, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    expect![[r#"
        > write "one" to f178
          t2 m2867
          - t2 f178 task m2867
        > trim through t99
          trimmed through t2
          - trimmed through t2
        > trim through t1
          trimmed through t2
        > write "two" to f178
          t3 m2868
          - t3 f178 task m2868
        > kept through t3
          trimmed through t2
        > write "three" to f178
          t4 m2869
          - t4 f178 task m2869
        > kept through t4
          trimmed through t2
        > write "four" to f178
          t5 m2870
          - t5 f178 task m2870
        > kept through t5
          trimmed through t2
        > write "five" to f178
          t6 m2871
          - t6 f178 task m2871
          - trimmed through t3
        > kept through t6
          trimmed through t3
        > p1 answers t2 under e1
          answered by t7
          - t7 f178 facts by p1 e1 closes t2 0B
          - trimmed through t4
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.records_after(0).len(), 3);
    assert_eq!(story.state.records_after(6).next().unwrap().id.get(), 7);
    assert_eq!(story.state.records_after(99).len(), 0);
}

#[test]
fn the_oldest_records_go_when_their_bytes_are_too_many() {
    let mut story = Story::with_a_forum(Bounds { records_bytes_max: 2000, ..Bounds::STANDARD });
    for text in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        story.write(178, text, "");
        story.keep(story.state.newest());
    }
    assert!(story.state.counts().records_bytes <= 2000);
    assert!(story.state.counts().records_bytes > 1500);
    assert_eq!(story.state.open_tasks().len(), 10);
}

#[test]
fn answered_requests_and_sessions_give_way_to_newer_ones() {
    let bounds = Bounds { receipts_max: 2, sessions_max: 2, proposals_max: 1, ..Bounds::STANDARD };
    let mut story = Story::with_a_forum(bounds);
    for (task, text) in [(2, "one"), (4, "two"), (6, "three")] {
        story.write(178, text, "");
        let sessions = vec![session(text, 0, Some("414"), "")];
        story.answer(Answer { task, forum: 178, peer: 1, epoch: 1, sessions, ..Answer::default() });
        story.lease(1, 1);
    }
    let counts = story.state.counts();
    assert_eq!((counts.receipts, counts.sessions, counts.proposals), (2, 2, 1));
    story.told();
    story.write(178, "three", "");
    story.write(178, "two", "");
    story.write(178, "one", "");
    expect![[r#"
        > write "three" to f178
          t6 m2869 known, answered with sid 
        > write "two" to f178
          t4 m2868 known, answered with sid 
        > write "one" to f178
          t8 m2870
          - t8 f178 task m2870
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.session("one"), None);
}

#[test]
fn what_nobody_can_read_is_refused_and_changes_nothing() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let before = story.state.clone();
    let id = || RequestId([9; 16]);
    let append = |forum_id, session_id: &str| {
        let session_id = session_id.into();
        Body::AppendTask(v1::AppendTask { forum_id, session_id, ..v1::AppendTask::default() })
    };
    story.command("append to no forum", id(), append(0, ""));
    story.command("append with a bad session", id(), append(178, "../etc"));
    story.command("append with a long session", id(), append(178, &"a".repeat(33)));
    story.command("lease nothing", id(), Body::LeaseUserIds(v1::LeaseUserIds { peer_id: 1, count: 0 }));
    let key = Bytes::from_static(b"short");
    story.command("open without a key", id(), Body::OpenForum(v1::OpenForum { key, replicas: vec![1] }));
    let twice = vec![session("abc", 0, None, ""), session("abc", 0, None, "")];
    story.store(Answer { forum: 178, peer: 1, epoch: 1, sessions: twice, ..Answer::default() });
    expect![[r#"
        > append to no forum
          refused: MALFORMED held 0 current 0
        > append with a bad session
          refused: MALFORMED held 0 current 0
        > append with a long session
          refused: MALFORMED held 0 current 0
        > lease nothing
          refused: MALFORMED held 0 current 0
        > open without a key
          refused: MALFORMED held 0 current 0
        > p1 stores facts of a read under e1
          refused: MALFORMED held 0 current 0
    "#]]
    .assert_eq(&story.told());
    assert!(story.state == before);
}
