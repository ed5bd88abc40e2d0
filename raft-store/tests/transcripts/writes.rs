//! Forums open, writes become tasks, answers become facts, re-sends are recognised.

use expect_test::expect;
use loop_proto::ids::RequestId;
use loop_raft_store::machine::Bounds;

use crate::story::{Answer, Story, request_id};

#[test]
fn peers_join_and_forums_open_once() {
    let mut story = Story::new(Bounds::STANDARD);
    story.open("ajps_test", &[1]);
    story.register("ann");
    story.register("bob");
    story.register("ann");
    story.open("ajps_test", &[]);
    story.open("ajps_test", &[1, 1]);
    story.open("ajps_test", &[1, 9]);
    story.open("ajps_test", &[2, 1]);
    story.open("ajps_test", &[1]);
    story.open("ajps_other", &[1]);
    expect![[r#"
        > open forum ajps_test on [1]
          refused: BAD_REPLICAS held 1 current 0
        > register peer ann
          p1
          - p1 registered
        > register peer bob
          p2
          - p2 registered
        > register peer ann
          p1
        > open forum ajps_test on []
          refused: BAD_REPLICAS held 0 current 4
        > open forum ajps_test on [1, 1]
          refused: BAD_REPLICAS held 1 current 0
        > open forum ajps_test on [1, 9]
          refused: BAD_REPLICAS held 9 current 0
        > open forum ajps_test on [2, 1]
          f178 opened e1 p2 [2, 1]
          - f178 opened
          - t1 f178 assignment e1 primary p2 replicas [p2, p1]
          - t2 f178 facts by the hubs 57B
        > open forum ajps_test on [1]
          f178 was open e1 p2 [2, 1]
        > open forum ajps_other on [1]
          f179 opened e1 p1 [1]
          - f179 opened
          - t3 f179 assignment e1 primary p1 replicas [p1]
          - t4 f179 facts by the hubs 58B
    "#]]
    .assert_eq(&story.told());
    let held: Vec<_> = story.state.peers().map(|peer| story.state.forums_of(peer.id).count()).collect();
    assert_eq!(held, [2, 1]);
}

#[test]
fn a_write_is_executed_once_and_its_sender_told_again_when_it_asks_again() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "s1");
    story.write(178, "hello", "s1");
    story.answer(Answer { task: 4, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.write(178, "hello", "s1");
    story.write(178, "hello again", "s1");
    story.minutes_pass(14);
    story.later(60_000);
    story.write(178, "hello", "s1");
    story.tick();
    story.write(178, "hello", "s1");
    expect![[r#"
        > write "hello" to f178
          t4 m2867
          - t3 directory facts by the hubs 33B
          - t4 f178 task m2867 u414@3
        > write "hello" to f178
          t4 m2867 known
        > p1 answers t4 under e1
          answered by t5
          - t5 f178 facts by p1 e1 closes t4 265B
        > write "hello" to f178
          t4 m2867 known, answered with sid 2867
        > write "hello again" to f178
          t6 m2868
          - t6 f178 task m2868 u414@5
        … 14 minutes pass
        … 60000 ms later
        > write "hello" to f178
          t4 m2867 known, answered with sid 2867
        > time goes on
          done
        > write "hello" to f178
          t7 m2869
          - t7 f178 task m2869 u414@5
    "#]]
    .assert_eq(&story.told());
    let (task, message, receipt) = story.state.request(request_id("hello again")).unwrap();
    assert_eq!((task.get(), message.unwrap().get(), receipt), (6, 2868, None));
}

/// A hub whose clock is wrong leads for a moment. Nobody has waited for an hour.
#[test]
fn a_clock_that_jumps_an_hour_ahead_makes_no_re_sent_write_a_new_one() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.write(178, "hello", "s1");
    story.answer(Answer { task: 4, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.told();
    story.later(60 * 60_000);
    story.tick();
    story.write(178, "hello", "s1");
    story.minutes_pass(13);
    story.write(178, "hello", "s1");
    expect![[r#"
        … 3600000 ms later
        > time goes on
          done
        > write "hello" to f178
          t4 m2867 known, answered with sid 2867
        … 13 minutes pass
        > write "hello" to f178
          t4 m2867 known, answered with sid 2867
    "#]]
    .assert_eq(&story.told());
    story.minutes_pass(2);
    story.write(178, "hello", "s1");
    assert!(story.told().contains("t6 m2868"), "memory ends as it always does");
}

#[test]
fn an_answer_is_taken_once_and_its_retry_is_told_the_same() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let answer = || Answer { task: 3, forum: 178, peer: 1, epoch: 1, ..Answer::default() };
    story.write(178, "hello", "");
    story.answer_as("p1 answers, and the hub loses the reply", RequestId([77; 16]), answer());
    story.answer_as("the hub retries", RequestId([77; 16]), answer());
    story.answer_as("p1 answers anew", RequestId([78; 16]), answer());
    expect![[r#"
        > write "hello" to f178
          t3 m2867
          - t3 f178 task m2867
        > p1 answers, and the hub loses the reply
          answered by t4
          - t4 f178 facts by p1 e1 closes t3 253B
        > the hub retries
          answered by t4
        > p1 answers anew
          refused: ALREADY_ANSWERED held 1 current 1
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn tasks_of_a_forum_are_answered_in_order_and_those_of_others_do_not_wait() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    story.open("ajps_other", &[2]);
    story.write(178, "one", "");
    story.write(178, "two", "");
    story.write(179, "three", "");
    story.answer(Answer { task: 6, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 7, forum: 179, peer: 2, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 5, forum: 179, peer: 2, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 5, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 6, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 101, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    story.answer(Answer { task: 1, forum: 178, peer: 1, epoch: 1, ..Answer::default() });
    expect![[r#"
        > open forum ajps_other on [2]
          f179 opened e1 p2 [2]
          - f179 opened
          - t3 f179 assignment e1 primary p2 replicas [p2]
          - t4 f179 facts by the hubs 58B
        > write "one" to f178
          t5 m2867
          - t5 f178 task m2867
        > write "two" to f178
          t6 m2868
          - t6 f178 task m2868
        > write "three" to f179
          t7 m2869
          - t7 f179 task m2869
        > p1 answers t6 under e1
          refused: OUT_OF_ORDER held 6 current 5
        > p2 answers t7 under e1
          answered by t8
          - t8 f179 facts by p2 e1 closes t7 253B
        > p2 answers t5 under e1
          refused: UNKNOWN_TASK held 5 current 0
        > p1 answers t5 under e1
          answered by t9
          - t9 f178 facts by p1 e1 closes t5 249B
        > p1 answers t6 under e1
          answered by t10
          - t10 f178 facts by p1 e1 closes t6 249B
        > p1 answers t101 under e1
          refused: UNKNOWN_TASK held 101 current 0
        > p1 answers t1 under e1
          refused: UNKNOWN_TASK held 1 current 0
    "#]]
    .assert_eq(&story.told());
}

#[test]
fn time_never_falls_along_the_log() {
    let mut story = Story::with_a_forum(Bounds::STANDARD);
    let before = story.state.now();
    story.clock_falls_to(5);
    story.write(178, "hello", "");
    assert_eq!(story.state.now(), before);
    assert_eq!(story.state.open_tasks().next().unwrap().at, before);
}
