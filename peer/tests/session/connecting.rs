//! Joining, greeting, losing a hub and finding another, stopping.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use loop_peer::PeerError;
use loop_proto::v1::{self, hub_to_peer};
use tonic::Status;

use super::{
    Peer,
    backend::MemoryBackend,
    hub::{Hub, asked, assigned, batch, committed, line_of_another},
};

#[tokio::test]
async fn a_peer_joins_once_and_is_the_same_peer_after_a_restart() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (talk, hello) = hub.greet().await;
    let joins = hub.joins();
    assert_eq!((joins.len(), joins[0].token.as_str(), joins[0].name.as_str()), (1, "let me in", "testing"));
    assert_eq!((hello.peer_id, hello.cursor, hello.restarted), (1, 0, true));
    assert_eq!((hello.secret.len(), &hello.secret), (32, &joins[0].secret));
    drop(talk);
    let dir = Arc::clone(&peer.dir);
    peer.stop().await.unwrap();

    let no_token = |flags: &mut loop_peer::config::Flags| flags.join_token = None;
    let _peer = Peer::start_with(&[&hub], dir, MemoryBackend::new(7), no_token);
    let (_talk, again) = hub.accept().await;
    assert_eq!((again.peer_id, again.cursor, again.secret), (1, 7, hello.secret));
    assert_eq!(hub.joins().len(), 1);
}

#[tokio::test]
async fn who_may_not_join_is_told_what_to_do() {
    let hub = Hub::start(1).await;
    hub.refuse_joins(Status::permission_denied("unknown token"));
    let error = Peer::start(&[&hub]).ended().await.unwrap_err().to_string();
    assert!(error.contains("--join-token") && error.contains("unknown token"), "{error}");
    assert!(!error.contains("let me in"), "{error}");

    let dir = Arc::new(tempfile::tempdir().unwrap());
    let none = Peer::start_with(&[&hub], dir, MemoryBackend::new(0), |flags| flags.join_token = None);
    assert!(matches!(none.ended().await, Err(PeerError::NoToken)));
}

#[tokio::test]
async fn an_unavailable_hub_is_asked_again_with_the_same_secret() {
    let mut hub = Hub::start(1).await;
    hub.refuse_joins(Status::unavailable("no leader"));
    let _peer = Peer::start(&[&hub]);
    while hub.joins().len() < 3 {
        hub.no_stream_for(Duration::from_millis(20)).await;
    }
    let joins = hub.joins();
    assert!(joins.iter().all(|join| join.secret == joins[0].secret));
}

#[tokio::test]
async fn sent_away_it_goes_to_a_hub_it_learnt_of_and_says_its_answers_again() {
    let (mut first, mut second) = (Hub::start(1).await, Hub::start(2).await);
    let peer = Peer::start(&[&first]);
    let (mut talk, _) = first.accept().await;
    let hubs = vec![first.addr.clone(), second.addr.clone(), "10.1.2.3:9080".into()];
    talk.say(hub_to_peer::Kind::Welcome(v1::Welcome { hubs, ..first.welcome() })).await;
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "one")]).await;
    let answer = talk.answer().await;
    talk.cursor(2).await;
    talk.say(hub_to_peer::Kind::GoAway(v1::GoAway { reason: "maintenance".into() })).await;
    talk.ended().await;

    let (mut talk, hello) = second.greet().await;
    assert_eq!((hello.cursor, hello.restarted), (2, false));
    talk.describe(7, 1, 3, vec![asked(2, 7, "one")]).await;
    talk.nothing_for(Duration::from_millis(100)).await;
    talk.feed(vec![asked(3, 7, "two")]).await;
    assert_eq!(talk.answer().await, answer);
    assert_eq!(talk.answer().await.task_id, 3);
    assert_eq!(peer.backend.executions(), 2);
}

#[tokio::test]
async fn what_was_fed_but_not_durable_is_fed_again_and_applied_once() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    peer.backend.flushes_itself.store(false, Ordering::SeqCst);
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "one")]).await;
    let answer = talk.answer().await;
    talk.feed(vec![committed(3, &answer)]).await;
    talk.feed(vec![asked(4, 7, "two")]).await;
    talk.answer().await;
    drop(talk);

    let (mut talk, hello) = hub.greet().await;
    assert_eq!(hello.cursor, 0);
    talk.describe(7, 1, 4, vec![]).await;
    let log = vec![assigned(1, 7, 1, 1), asked(2, 7, "one"), committed(3, &answer), asked(4, 7, "two")];
    talk.feed(log).await;
    assert_eq!(talk.answer().await.task_id, 4);
    assert_eq!(peer.backend.lines(7), ["0:one"]);
}

#[tokio::test]
async fn a_silent_hub_is_left_after_four_heartbeats() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.accept().await;
    let welcome = v1::Welcome { heartbeat_ms: 50, ..hub.welcome() };
    talk.say(hub_to_peer::Kind::Welcome(welcome)).await;
    let since = tokio::time::Instant::now();
    talk.ended().await;
    let lasted = since.elapsed();
    assert!(lasted >= Duration::from_millis(150) && lasted < Duration::from_secs(2), "{lasted:?}");
    hub.accept().await;
}

#[tokio::test]
async fn heartbeats_keep_an_idle_connection_and_carry_the_peers_state() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.accept().await;
    let welcome = v1::Welcome { heartbeat_ms: 50, ..hub.welcome() };
    talk.say(hub_to_peer::Kind::Welcome(welcome)).await;
    talk.feed(vec![assigned(1, 7, 1, 1)]).await;
    for _ in 0..10 {
        talk.say(hub_to_peer::Kind::Heartbeat(v1::HubHeartbeat::default())).await;
        talk.nothing_for(Duration::from_millis(50)).await;
    }
    let last = talk.statuses.last().unwrap();
    assert!(talk.statuses.len() >= 8, "{} statuses", talk.statuses.len());
    assert_eq!((last.cursor, last.forums, last.executing, last.disk_bytes), (1, 1, 0, 4096));
}

#[tokio::test]
async fn where_streams_are_cut_records_are_polled() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    hub.will_fetch(batch(vec![assigned(1, 7, 1, 1), asked(2, 7, "one")], 2));
    hub.will_fetch(batch(vec![line_of_another(3, 7, 2, 1, "theirs")], 4));
    for _ in 0..3 {
        let (talk, _) = hub.greet().await;
        drop(talk);
    }
    while peer.backend.lines(7).is_empty() || hub.fetches().len() < 3 {
        hub.no_stream_for(Duration::from_millis(10)).await;
    }
    assert_eq!(peer.backend.lines(7), ["theirs"]);
    assert_eq!(peer.backend.executions(), 0);
    let cursors: Vec<u64> = hub.fetches().iter().map(|fetch| fetch.after).collect();
    assert_eq!(cursors[..3], [0, 2, 4]);
    peer.stop().await.unwrap();
}

#[tokio::test]
async fn on_shutdown_answers_leave_and_the_backend_is_closed() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "one")]).await;
    talk.answer().await;
    let backend = Arc::clone(&peer.backend);
    let stopping = tokio::spawn(peer.stop());
    talk.ended().await;
    drop(talk);
    stopping.await.unwrap().unwrap();
    assert!(backend.closed.load(Ordering::SeqCst));
}

#[tokio::test]
async fn it_stops_at_once_while_no_hub_can_be_reached() {
    let hub = Hub::start(1).await;
    let gone = Hub::start(2).await;
    let addr = gone.addr.clone();
    drop(gone);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let peer = Peer::start_with(&[&hub], dir, MemoryBackend::new(0), |flags| flags.hub = vec![addr]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let since = tokio::time::Instant::now();
    peer.stop().await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(1));
}
