//! What happens at each maximum, and to commands nobody can read.

use bytes::Bytes;
use expect_test::expect;
use loop_proto::{
    ids::{PeerId, RequestId, TaskId},
    v1::{self, command::Body},
};
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Lie, Story};

#[test]
fn each_full_bound_refuses_and_says_so() {
    let bounds = Bounds {
        forums_max: 2,
        peers_max: 3,
        replicas_max: 3,
        open_tasks_max: 2,
        open_tasks_per_forum_max: 1,
        request_bytes_max: 60,
        facts_bytes_max: 300,
        ..Bounds::STANDARD
    };
    let mut story = Story::with_a_forum(bounds);
    story.register("dan");
    story.register("ann");
    story.open("ajps_other", &[1]);
    story.open("ajps_third", &[1]);
    story.write(178, "it fits", "");
    story.write(178, "it is longer than it may be", "");
    story.write(178, "second", "");
    story.write(179, "third", "");
    story.write(179, "fourth", "");
    let long: Lie = |executed| executed.facts.extend_from_within(..);
    let answer = Answer { task: 5, forum: 178, peer: 1, epoch: 1, lie: Some(long) };
    story.answer(answer);
    expect![[r#"
        > register peer dan
          refused: FULL held 0 current 3
        > register peer ann
          p1
        > open forum ajps_other on [1]
          f179 opened e1 p1 [1]
          - f179 opened
          - t3 f179 assignment e1 primary p1 replicas [p1]
          - t4 f179 facts by the hubs 58B
        > open forum ajps_third on [1]
          refused: FULL held 0 current 2
        > write "it fits" to f178
          t5 m2867
          - t5 f178 task m2867
        > write "it is longer than it may be" to f178
          refused: MALFORMED held 62 current 60
        > write "second" to f178
          refused: FULL held 0 current 1
        > write "third" to f179
          t6 m2868
          - t6 f179 task m2868
        > write "fourth" to f179
          refused: FULL held 0 current 2
        > p1 answers t5 under e1, lying
          refused: MALFORMED held 514 current 300
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn ids_run_out_without_being_given_twice() {
    let bounds = Bounds {
        message_id_first: u32::MAX,
        user_id_first: u32::MAX - 1,
        forum_id_first: u32::MAX,
        ..Bounds::STANDARD
    };
    let mut story = Story::with_a_forum(bounds);
    story.open("ajps_other", &[1]);
    story.hide(u32::MAX, "one", "ann");
    story.hide(u32::MAX, "two", "bob");
    story.hide(u32::MAX, "three", "cat");
    story.hide(u32::MAX, "four", "bob");
    story.write(u32::MAX, "last", "");
    story.write(u32::MAX, "one too many", "");
    expect![[r#"
        > open forum ajps_other on [1]
          refused: IDS_EXHAUSTED held 0 current 0
        > hide "one" in f4294967295
          t4
          - t3 directory facts by the hubs 38B
          - t4 f4294967295 task u4294967294@3
        > hide "two" in f4294967295
          t6
          - t5 directory facts by the hubs 37B
          - t6 f4294967295 task u4294967295@5
        > hide "three" in f4294967295
          refused: IDS_EXHAUSTED held 0 current 0
        > hide "four" in f4294967295
          t7
          - t7 f4294967295 task u4294967295@5
        > write "last" to f4294967295
          t8 m4294967295
          - t8 f4294967295 task m4294967295
        > write "one too many" to f4294967295
          refused: IDS_EXHAUSTED held 0 current 0
    "#]]
    .assert_eq(&story.told());
    assert_eq!(story.state.ids().message, u64::from(u32::MAX) + 1);
}

#[test]
fn a_trimmed_task_is_still_open_and_can_be_answered() {
    let mut story = Story::with_a_forum(Bounds { records_max: 3, ..Bounds::STANDARD });
    story.write(178, "one", "");
    story.trim(100);
    story.trim(1);
    assert!(story.state.record(TaskId::new(3).unwrap()).is_none());
    assert!(story.state.open_task(TaskId::new(3).unwrap()).is_some());
    for text in ["two", "three", "four", "five"] {
        story.write(178, text, "");
        story.keep(story.state.newest());
    }
    story.answer(Answer { task: 3, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    expect![[r#"
        > write "one" to f178
          t3 m2867
          - t3 f178 task m2867
        > trim through t100
          trimmed through t3
          - trimmed through t3
        > trim through t1
          trimmed through t3
        > write "two" to f178
          t4 m2868
          - t4 f178 task m2868
        > kept through t4
          trimmed through t3
        > write "three" to f178
          t5 m2869
          - t5 f178 task m2869
        > kept through t5
          trimmed through t3
        > write "four" to f178
          t6 m2870
          - t6 f178 task m2870
        > kept through t6
          trimmed through t3
        > write "five" to f178
          t7 m2871
          - t7 f178 task m2871
          - trimmed through t4
        > kept through t7
          trimmed through t4
        > p1 answers t3 under e1
          answered by t8
          - t8 f178 facts by p1 e1 closes t3 249B
          - trimmed through t5
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
    for (task, text) in [(4, "one"), (8, "two"), (12, "three")] {
        story.write(178, text, text);
        story.answer(Answer { task, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
        story.audit(178);
    }
    let counts = story.state.counts();
    assert_eq!((counts.receipts, counts.sessions, counts.proposals), (2, 2, 1));
    story.told();
    story.write(178, "three", "");
    story.write(178, "two", "");
    story.write(178, "one", "");
    expect![[r#"
        > write "three" to f178
          t12 m2869 known, answered with sid 2869
        > write "two" to f178
          t8 m2868 known, answered with sid 2868
        > write "one" to f178
          t15 m2870
          - t15 f178 task m2870
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
    let open = |key: &'static [u8], title: &str| {
        let (key, title) = (Bytes::from_static(key), title.to_owned());
        Body::OpenForum(v1::OpenForum { key, title, replicas: vec![1], decays_at_s: None })
    };
    story.command("open without a key", id(), open(b"short", ""));
    story.command("open with a long title", id(), open(&[7; 16], &"é".repeat(256)));
    let answer = |change| {
        let (session, receipt) = (Some(change), None);
        Body::AnswerTask(v1::AnswerTask {
            task_id: 1,
            forum_id: 178,
            peer_id: 1,
            session,
            receipt,
            ..Default::default()
        })
    };
    let name = Some("n".repeat(101));
    story.command("a long name", id(), answer(v1::SessionChange { name, ..Default::default() }));
    let latitude = Some("1".repeat(33));
    story.command("a long place", id(), answer(v1::SessionChange { latitude, ..Default::default() }));
    expect![[r#"
        > append to no forum
          refused: MALFORMED held 0 current 0
        > append with a bad session
          refused: MALFORMED held 0 current 0
        > append with a long session
          refused: MALFORMED held 0 current 0
        > open without a key
          refused: MALFORMED held 0 current 0
        > open with a long title
          refused: MALFORMED held 0 current 0
        > a long name
          refused: MALFORMED held 0 current 0
        > a long place
          refused: MALFORMED held 0 current 0
    "#]]
    .assert_eq(&story.told());
    assert!(story.state == before);
}

#[test]
fn a_peer_that_breaks_a_rule_is_suspended_and_what_it_said_meanwhile_counts_once() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let peer = PeerId::new(2).unwrap();
    let suspended = |story: &Story| story.state.suspended_ms(peer);
    story.breach(2, 5);
    assert_eq!(suspended(&story), 60_000);
    // Others of its answers were under way.
    story.breach(2, 4);
    assert_eq!(story.state.peer(peer).unwrap().breach.unwrap().count, 1);
    story.minutes_pass(1);
    assert_eq!(suspended(&story), 0);
    story.breach(2, 4);
    assert_eq!(suspended(&story), 120_000);
    story.breach(9, 4);
    expect![[r#"
        > p2 breaks rule 5
          done
          - p2 is to be used differently
        > p2 breaks rule 4
          done
        … 1 minutes pass
        > p2 breaks rule 4
          done
          - p2 is to be used differently
        > p9 breaks rule 4
          refused: UNKNOWN_PEER held 9 current 0
    "#]]
    .assert_eq(&story.told());
}
