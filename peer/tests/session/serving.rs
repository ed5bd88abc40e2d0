//! Executing, answering, reading.

use std::{sync::Arc, time::Duration};

use loop_peer::PeerError;
use loop_proto::v1::{self, hub_to_peer};

use super::{
    Peer,
    backend::MemoryBackend,
    hub::{Hub, asked, assigned, committed, encode, line_of_another, read, verdict},
};

#[tokio::test]
async fn a_task_is_executed_answered_confirmed_and_read_back() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 4, 1), asked(2, 7, "hello")]).await;
    let answer = talk.answer().await;
    assert_eq!((answer.task_id, answer.forum_id, answer.epoch, answer.origin_hub), (2, 7, 4, 3));
    assert_eq!(answer.receipt.as_ref().unwrap().status, 200);
    assert_eq!(&answer.body.as_ref().unwrap().body[..], b"0:hello");

    // A read that must see it waits; one that need not does not.
    talk.say(read(1, 7, 3, "")).await;
    talk.say(read(2, 7, 2, "")).await;
    let early = talk.read_reply().await;
    assert_eq!((early.read_id, early.epoch), (2, 4));
    assert_eq!(early.body.unwrap().body.len(), 0);
    talk.feed(vec![committed(3, &answer)]).await;
    let late = talk.read_reply().await;
    assert_eq!((late.read_id, &late.body.unwrap().body[..]), (1, &b"0:hello"[..]));
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
        let line = format!("{}:x", id - 2);
        assert_eq!((answer.task_id, &answer.body.unwrap().body[..]), (id, line.as_bytes()));
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
    assert_eq!(&again.body.unwrap().body[..], b"1:two");
    assert_eq!(peer.backend.lines(7), ["theirs"]);
}

#[tokio::test]
async fn a_new_user_waits_for_a_lease_and_others_do_not() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![
        assigned(1, 7, 1, 1),
        assigned(2, 8, 1, 1),
        asked(3, 7, "new here"),
        asked(4, 8, "known"),
    ])
    .await;
    assert_eq!(talk.answer().await.task_id, 4);
    talk.say(read(1, 7, 0, "new reader")).await;
    talk.nothing_for(Duration::from_millis(150)).await;
    assert_eq!(talk.id_requests, [v1::UserIdRequest { count: 100 }]);

    talk.say(hub_to_peer::Kind::UserIds(v1::UserIdsLeased { first: 414, count: 100 })).await;
    let mut given = Vec::new();
    for _ in 0..2 {
        let facts = match talk.next_of_note().await.unwrap() {
            v1::peer_to_hub::Kind::Answer(answer) => answer.directory_facts,
            v1::peer_to_hub::Kind::ReadReply(reply) => reply.directory_facts,
            other => panic!("{other:?}"),
        };
        let facts = <v1::Facts as prost::Message>::decode(facts).unwrap().facts;
        let Some(v1::fact::Kind::UserStored(user)) = &facts[0].kind else { panic!("{facts:?}") };
        given.push(user.id);
    }
    given.sort();
    assert_eq!(given, [414, 415]);
    drop(peer);
}

#[tokio::test]
async fn users_on_the_directory_stream_are_applied_by_every_peer() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let user = v1::UserStored { id: 500, ..Default::default() };
    let facts = v1::Facts { facts: vec![v1::Fact { kind: Some(v1::fact::Kind::UserStored(user)) }] };
    let facts = v1::TaskFacts { peer_id: 2, facts: encode(&facts), ..Default::default() };
    let body = Some(v1::record::Body::Facts(facts));
    talk.feed_through(vec![v1::Record { id: 4, at_ms: 1, forum_id: 0, body }], 9).await;
    talk.cursor(9).await;
    assert_eq!(peer.backend.users(), [500]);
}

#[tokio::test]
async fn a_read_it_cannot_answer_goes_back_without_a_body() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 1)]).await;
    talk.say(read(1, 8, 0, "")).await;
    let not_held = talk.read_reply().await;
    assert_eq!((not_held.read_id, not_held.body), (1, None));

    let since = tokio::time::Instant::now();
    talk.say(read(2, 7, 99, "")).await;
    let never_reached = talk.read_reply().await;
    assert_eq!((never_reached.read_id, never_reached.body), (2, None));
    assert!(since.elapsed() >= Duration::from_millis(1900));

    talk.say(read(3, 0, 0, "")).await;
    assert!(talk.read_reply().await.body.is_some(), "no forum is no obstacle");
}

#[tokio::test]
async fn too_many_waiting_reads_are_turned_away_and_the_feed_goes_on() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    for id in 0..1034 {
        talk.say(read(id, 0, 5, "")).await;
    }
    for _ in 0..10 {
        assert_eq!(talk.read_reply().await.body, None);
    }
    talk.feed_through(vec![assigned(1, 7, 1, 1)], 5).await;
    for _ in 0..1024 {
        assert!(talk.read_reply().await.body.is_some());
    }
}

#[tokio::test]
async fn files_are_served_from_the_static_folder() {
    let mut hub = Hub::start(1).await;
    let www = tempfile::tempdir().unwrap();
    std::fs::write(www.path().join("chat.js"), "let a;").unwrap();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let root = www.path().to_owned();
    let _peer = Peer::start_with(&[&hub], dir, MemoryBackend::new(0), |flags| flags.static_dir = Some(root));
    let (mut talk, _) = hub.greet().await;
    let mut ask = async |path: &'static str| {
        let request = v1::ClientRequest {
            endpoint: v1::Endpoint::Static.into(),
            method: "GET".into(),
            path: path.as_bytes().into(),
            ..Default::default()
        };
        let request = encode(&request);
        talk.say(hub_to_peer::Kind::Read(v1::ReadRequest { request, ..Default::default() })).await;
        talk.read_reply().await.body.unwrap()
    };
    let found = ask("/chat.js").await;
    assert_eq!((found.status, &found.body[..]), (200, &b"let a;"[..]));
    assert_eq!(ask("/../chat.js").await.status, 404);
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
