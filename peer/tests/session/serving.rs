//! Executing, answering, reading.

use std::{sync::atomic::Ordering, time::Duration};

use loop_peer::PeerError;
use loop_proto::v1::{self, hub_to_peer, rows_request};

use super::{
    Peer,
    hub::{Hub, ask, asked, assigned, committed, encode, line_of, line_of_another, newest, texts, verdict},
};

#[tokio::test]
async fn a_task_is_executed_answered_confirmed_and_read_back() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 4, 1), asked(2, 7, "hello")]).await;
    let answer = talk.answer().await;
    assert_eq!((answer.task_id, answer.forum_id, answer.epoch), (2, 7, 4));
    assert_eq!((answer.receipt.as_ref().unwrap().status, &answer.session), (200, &None));
    assert_eq!(line_of(&answer), "0:hello");

    // A read that must see it waits; one that need not does not.
    talk.say(newest(1, 7, 3)).await;
    talk.say(newest(2, 7, 2)).await;
    let early = talk.rows().await;
    assert_eq!((early.id, early.refused, early.as_of, early.messages.len()), (2, false, 2, 0));
    talk.feed(vec![committed(3, &answer)]).await;
    let late = talk.rows().await;
    assert_eq!((late.id, late.as_of, texts(&late)), (1, 3, vec!["0:hello"]));
    talk.cursor(3).await;
    assert_eq!(peer.backend.lines(7), ["0:hello"]);
}

#[tokio::test]
async fn tasks_of_a_forum_are_answered_in_order_without_waiting_for_each_other() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let tasks = (2..12).map(|id| asked(id, 7, "x"));
    talk.feed(std::iter::once(assigned(1, 7, 1, 1)).chain(tasks).collect()).await;
    for id in 2..12 {
        let answer = talk.answer().await;
        assert_eq!((answer.task_id, line_of(&answer)), (id, format!("{}:x", id - 2)));
    }
}

#[tokio::test]
async fn out_of_order_means_again_from_the_oldest_and_a_stale_epoch_means_wait() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "one"), asked(3, 7, "two")]).await;
    let (one, two) = (talk.answer().await, talk.answer().await);
    talk.say(verdict(&two, Some(v1::RejectionCode::OutOfOrder))).await;
    assert_eq!(talk.answer().await, one);
    assert_eq!(talk.answer().await, two);
    talk.say(verdict(&one, None)).await;
    assert_eq!((talk.answer().await, talk.answer().await), (one.clone(), two));
    talk.say(verdict(&one, Some(v1::RejectionCode::StaleEpoch))).await;
    talk.nothing_for(Duration::from_millis(200)).await;
    assert_eq!(peer.backend.executions(), 2);

    // The feed brings what made it stale: another peer's answer, and the forum back to us.
    talk.feed(vec![assigned(4, 7, 2, 2), line_of_another(5, 7, 2, 2, "theirs"), assigned(6, 7, 3, 1)]).await;
    let again = talk.answer().await;
    assert_eq!((again.task_id, again.epoch), (3, 3));
    assert_eq!(line_of(&again), "1:two");
    assert_eq!(peer.backend.lines(7), ["theirs"]);
}

#[tokio::test]
async fn a_task_comes_with_its_session_and_what_changed_of_it_goes_back() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let session = v1::SessionRecord { id: "e9kk7q".into(), user_id: 414, ..Default::default() };
    let mut task = asked(2, 7, "x");
    let Some(v1::record::Body::Task(body)) = &mut task.body else { panic!("it is a task") };
    body.session = Some(session);
    talk.feed(vec![assigned(1, 7, 1, 1), task]).await;
    let change = v1::SessionChange { name: Some("user 414".into()), ..Default::default() };
    assert_eq!(talk.answer().await.session, Some(change));
}

#[tokio::test]
async fn what_cannot_be_executed_now_is_tried_again_and_other_forums_do_not_wait() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let tasks = [asked(3, 7, "not now"), asked(4, 8, "x")];
    talk.feed([assigned(1, 7, 1, 1), assigned(2, 8, 1, 1)].into_iter().chain(tasks).collect()).await;
    assert_eq!(talk.answer().await.task_id, 4);
    talk.nothing_for(Duration::from_millis(150)).await;
    peer.backend.can_execute.store(true, Ordering::SeqCst);
    assert_eq!(talk.answer().await.task_id, 3);
}

#[tokio::test]
async fn users_on_the_directory_stream_are_applied_by_every_peer() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let user = v1::UserStored { id: 500, ..Default::default() };
    let facts = v1::Facts { facts: vec![v1::Fact { kind: Some(v1::fact::Kind::UserStored(user)) }] };
    // The hubs make them themselves.
    let facts = v1::TaskFacts { peer_id: 0, facts: encode(&facts), ..Default::default() };
    let body = Some(v1::record::Body::Facts(facts));
    talk.feed_through(vec![v1::Record { id: 4, at_ms: 1, forum_id: 0, body }], 9).await;
    talk.cursor(9).await;
    assert_eq!(peer.backend.users(), [500]);
    talk.say(ask(1, 9, rows_request::Kind::UserId(500))).await;
    assert_eq!(talk.rows().await.user.map(|user| user.id), Some(500));
    talk.say(ask(2, 9, rows_request::Kind::UserId(501))).await;
    let nobody = talk.rows().await;
    assert_eq!((nobody.refused, nobody.as_of, nobody.user), (false, 9, None));
}

#[tokio::test]
async fn a_forum_is_read_page_by_page() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 2)]).await;
    for (id, text) in [(2, "one"), (3, "two"), (4, "three")] {
        talk.feed(vec![line_of_another(id, 7, id, 1, text)]).await;
    }
    let page = |before: Option<&v1::MessageStored>| {
        let before = before.map(|row| v1::MessagePosition { shouted_at_s: row.shouted_at_s, id: row.id });
        rows_request::Kind::Forum(v1::ForumRows { forum_id: 7, before, limit: 2 })
    };
    talk.say(ask(1, 4, page(None))).await;
    let first = talk.rows().await;
    assert_eq!((texts(&first), first.complete, first.as_of), (vec!["three", "two"], false, 4));
    assert_eq!(first.forum.as_ref().map(|forum| forum.id), Some(7));
    talk.say(ask(2, 4, page(first.messages.last()))).await;
    let second = talk.rows().await;
    assert_eq!((texts(&second), second.complete, &second.forum), (vec!["one"], true, &None));
}

#[tokio::test]
async fn what_it_cannot_answer_is_refused() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 1)]).await;
    talk.say(newest(1, 8, 0)).await;
    let not_held = talk.rows().await;
    assert_eq!(not_held, v1::RowsReply { id: 1, refused: true, ..Default::default() });

    let since = tokio::time::Instant::now();
    talk.say(newest(2, 7, 99)).await;
    let never_reached = talk.rows().await;
    assert_eq!((never_reached.id, never_reached.refused), (2, true));
    assert!(since.elapsed() >= Duration::from_millis(1900));

    // A newer hub may ask for what this peer has never heard of.
    talk.say(hub_to_peer::Kind::Rows(v1::RowsRequest { id: 3, fence: 0, kind: None })).await;
    assert!(talk.rows().await.refused);
}

#[tokio::test]
async fn too_many_waiting_reads_are_turned_away_and_the_feed_goes_on() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    for id in 0..1034 {
        talk.say(newest(id, 7, 5)).await;
    }
    for _ in 0..10 {
        assert!(talk.rows().await.refused);
    }
    talk.feed_through(vec![assigned(1, 7, 1, 1)], 5).await;
    for _ in 0..1024 {
        let reply = talk.rows().await;
        assert!(!reply.refused && reply.as_of == 5, "{reply:?}");
    }
}

#[tokio::test]
async fn a_backend_that_fails_stops_the_peer() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "fatal")]).await;
    let error = peer.ended().await.unwrap_err();
    assert!(matches!(&error, PeerError::Backend(why) if why.contains("disk full")), "{error}");
}
