//! A peer whose cursor lies below what the hubs still have.

use std::{sync::Arc, time::Duration};

use loop_proto::v1::{self, JoinStage, hub_to_peer};

use super::{
    Peer,
    backend::{Copy, MemoryBackend},
    hub::{Conversation, Hub, asked, assigned, joining, line_of_another},
};

/// Greets as a hub that has nothing before record 10 any more.
async fn greet_trimmed(hub: &mut Hub) -> (Conversation, v1::Hello) {
    let (talk, hello) = hub.accept().await;
    let welcome = v1::Welcome { trimmed_through: 9, newest: 20, ..hub.welcome() };
    talk.say(hub_to_peer::Kind::Welcome(welcome)).await;
    (talk, hello)
}

fn users() -> Copy {
    Copy::of_lines(0, 15, &["414".to_owned(), "415".to_owned()])
}

#[tokio::test]
async fn it_gets_all_users_anew_and_says_that_it_started_over_until_a_hub_has_heard() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, hello) = hub.greet().await;
    assert!(!hello.started_over);
    let line = line_of_another(3, 7, 2, 1, "old");
    talk.feed(vec![assigned(1, 7, 1, 2), asked(2, 7, "x"), line]).await;
    talk.cursor(3).await;
    drop(talk);

    let (mut talk, hello) = greet_trimmed(&mut hub).await;
    assert_eq!((hello.cursor, hello.started_over), (3, false));
    talk.ended().await;
    let fetched = hub.fetched().await;
    assert_eq!((fetched.request.forum_id, fetched.request.invitation_id), (0, 0));
    // What breaks off goes on; what is older than the hubs' log is of no use.
    fetched.send(&users(), 3, 6).await;
    drop(fetched);
    let (_talk, _) = greet_trimmed(&mut hub).await;
    let fetched = hub.fetched().await;
    assert_eq!(fetched.request.offset, 6);
    fetched.send_all(&users()).await;

    // The hub goes before it has said a word: it must be told again.
    let (talk, hello) = hub.accept().await;
    assert_eq!((hello.cursor, hello.started_over, hello.restarted), (15, true, true));
    assert_eq!(peer.backend.users(), [414, 415]);
    drop(talk);
    let (mut talk, hello) = greet_trimmed(&mut hub).await;
    assert!(hello.started_over);
    talk.describe_as(7, joining(2, 20, JoinStage::Invited), 20, vec![]).await;
    let invited = super::hub::assigned_to(20, 7, joining(2, 20, JoinStage::Invited));
    talk.feed(vec![invited]).await;
    assert!(talk.invitation().await.accepted);
    assert_eq!(peer.backend.lines(7), ["old"], "its rows stay until better ones come");
    drop(talk);
    let (_talk, hello) = hub.greet().await;
    assert_eq!((hello.cursor, hello.started_over), (20, false));
}

#[tokio::test]
async fn a_new_peer_of_an_old_group_begins_with_all_users() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (_talk, hello) = greet_trimmed(&mut hub).await;
    assert_eq!(hello.cursor, 0);
    hub.fetched().await.send_all(&users()).await;
    let (mut talk, hello) = greet_trimmed(&mut hub).await;
    assert_eq!((hello.cursor, hello.started_over), (15, true));
    talk.feed(vec![assigned(16, 7, 1, 1), asked(17, 7, "first")]).await;
    assert_eq!(talk.answer().await.task_id, 17);
    assert_eq!(peer.backend.users(), [414, 415]);
}

#[tokio::test]
async fn users_older_than_the_hubs_log_or_refused_by_the_backend_change_nothing() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let forbidden = Copy::of_lines(0, 15, &[super::backend::FORBIDDEN.to_owned()]);
    for bad in [Copy::of_lines(0, 8, &["1".to_owned()]), forbidden] {
        let (_talk, hello) = greet_trimmed(&mut hub).await;
        assert_eq!(hello.cursor, 0);
        hub.fetched().await.send_all(&bad).await;
    }
    let (_talk, hello) = greet_trimmed(&mut hub).await;
    assert_eq!((hello.cursor, peer.backend.users()), (0, vec![]));
    let last = hub.fetched().await;
    assert_eq!(last.request.offset, 0);
    last.send_all(&users()).await;
    let (_talk, hello) = hub.greet().await;
    assert_eq!(hello.cursor, 15);
}

#[tokio::test]
async fn copies_on_their_way_are_left_because_their_records_are_gone() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let invited = super::hub::assigned_to(5, 7, joining(1, 5, JoinStage::Invited));
    talk.feed(vec![invited]).await;
    assert!(talk.invitation().await.accepted);
    drop(talk);
    let (_talk, _) = greet_trimmed(&mut hub).await;
    hub.fetched().await.send_all(&users()).await;
    let (mut talk, _) = greet_trimmed(&mut hub).await;
    talk.describe_as(7, joining(1, 5, JoinStage::Invited), 20, vec![]).await;
    let reply = talk.invitation().await;
    assert_eq!((reply.invitation_id, reply.accepted), (5, false));
    drop(peer);
}

#[tokio::test]
async fn it_stops_at_once_while_nobody_has_the_users() {
    let mut hub = Hub::start(1).await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let peer = Peer::start_with(&[&hub], dir, MemoryBackend::new(5), |_| {});
    let (_talk, _) = greet_trimmed(&mut hub).await;
    let _fetched = hub.fetched().await;
    let since = tokio::time::Instant::now();
    peer.stop().await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(1));
}
