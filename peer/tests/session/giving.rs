//! Giving a copy of what this peer holds to another, through the hub.

use std::time::Duration;

use loop_peer::limits::Size;
use loop_proto::v1::{self, hub_to_peer, peer_to_hub};

use super::{
    Peer,
    backend::{Copy, MemoryBackend},
    hub::{Conversation, Hub, asked, assigned, line_of_another},
};

const FORUM: u32 = 7;

fn export(relay_id: u64, forum_id: u32, invitation_id: u64, offset: u64, sha256: &[u8]) -> hub_to_peer::Kind {
    let sha256 = sha256.to_vec().into();
    hub_to_peer::Kind::Export(v1::ExportRequest { relay_id, forum_id, invitation_id, offset, sha256 })
}

/// A peer that serves the forum with one line of `text`, everything through record 3 applied.
async fn serving(hub: &mut Hub, text: &str, size: Option<Size>) -> (Peer, Conversation, v1::Hello) {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let peer = Peer::start_with(&[hub], dir, MemoryBackend::new(0), |flags| flags.max_bandwidth = size);
    let (talk, hello) = hub.greet().await;
    let line = line_of_another(3, FORUM, 2, 1, text);
    talk.feed(vec![assigned(1, FORUM, 1, 2), asked(2, FORUM, "x"), line]).await;
    (peer, talk, hello)
}

async fn refusal(talk: &mut Conversation) -> v1::ExportRefused {
    match talk.next_of_note().await {
        Some(peer_to_hub::Kind::ExportRefused(refused)) => refused,
        other => panic!("not a refusal: {other:?}"),
    }
}

#[tokio::test]
async fn a_copy_is_given_whole_and_again_from_where_it_broke_off() {
    let mut hub = Hub::start(1).await;
    let text = "long ".repeat(200_000);
    let (peer, talk, hello) = serving(&mut hub, &text, None).await;
    talk.say(export(11, FORUM, 2, 0, &[])).await;
    let (first, bytes) = hub.given().await.all().await;
    assert_eq!((first.relay_id, first.peer_id, &first.secret), (11, 1, &hello.secret));
    let chunk = first.chunk.unwrap();
    let header = chunk.header.unwrap();
    let expected = Copy::of_lines(FORUM, 3, [&text]);
    assert_eq!((&header, chunk.offset, &bytes), (&expected.header, 0, &expected.bytes));

    // The forum goes on; whoever has the beginning of a copy gets the rest of that one.
    talk.feed(vec![asked(4, FORUM, "y"), line_of_another(5, FORUM, 4, 1, "more")]).await;
    talk.say(export(12, FORUM, 2, 600_000, &header.sha256)).await;
    let (first, rest) = hub.given().await.all().await;
    assert_eq!((first.relay_id, first.chunk.unwrap().offset), (12, 600_000));
    assert_eq!(rest, expected.bytes[600_000..]);

    // Another invitation needs another copy; who asks with the beginning of a stranger's gets all of it.
    talk.say(export(13, FORUM, 4, 600_000, &header.sha256)).await;
    let (first, bytes) = hub.given().await.all().await;
    let chunk = first.chunk.unwrap();
    assert_eq!((chunk.offset, chunk.header.unwrap().cursor), (0, 5));
    assert!(bytes.ends_with(b"more\n"));
    assert_eq!(std::fs::read_dir(peer.dir.path().join("checkpoints")).unwrap().count(), 2);
}

#[tokio::test]
async fn what_it_does_not_serve_or_has_not_reached_is_refused_with_a_reason() {
    let mut hub = Hub::start(1).await;
    let (_peer, mut talk, _) = serving(&mut hub, "x", None).await;
    talk.say(export(1, 8, 2, 0, &[])).await;
    let refused = refusal(&mut talk).await;
    assert!(refused.relay_id == 1 && refused.reason.contains("does not serve"), "{refused:?}");

    // It waits for the record that must be in the copy.
    talk.say(export(2, FORUM, 5, 0, &[])).await;
    talk.nothing_for(Duration::from_millis(100)).await;
    talk.feed_through(vec![], 5).await;
    let (first, _) = hub.given().await.all().await;
    assert_eq!((first.relay_id, first.chunk.unwrap().header.unwrap().cursor), (2, 5));
}

#[tokio::test]
async fn the_users_are_given_as_they_are_now() {
    let mut hub = Hub::start(1).await;
    let (peer, talk, _) = serving(&mut hub, "x", None).await;
    for (relay_id, through) in [(1, 4), (2, 9)] {
        talk.feed_through(vec![], through).await;
        talk.say(export(relay_id, 0, 0, 0, &[])).await;
        let (first, bytes) = hub.given().await.all().await;
        let header = first.chunk.unwrap().header.unwrap();
        assert_eq!((header.forum_id, header.cursor, bytes.len()), (0, through, 0));
    }
    assert_eq!(std::fs::read_dir(peer.dir.path().join("checkpoints")).unwrap().count(), 1);
}

#[tokio::test]
async fn only_a_few_files_are_kept_and_none_after_a_restart() {
    let mut hub = Hub::start(1).await;
    let (peer, talk, _) = serving(&mut hub, "x", None).await;
    let folder = peer.dir.path().join("checkpoints");
    talk.feed_through(vec![], 50).await;
    for invitation in 10..20 {
        talk.say(export(invitation, FORUM, invitation, 0, &[])).await;
        hub.given().await.all().await;
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
    drop(talk);
    let _peer = peer.restarted(&[&hub]).await;
    hub.greet().await;
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[tokio::test]
async fn giving_keeps_to_the_bandwidth_and_a_hub_that_takes_nothing_holds_up_nobody() {
    let mut hub = Hub::start(1).await;
    let text = "x".repeat((1 << 20) - 1);
    let (_peer, mut talk, _) = serving(&mut hub, &text, Some(Size(1 << 20))).await;
    talk.say(export(1, FORUM, 2, 0, &[])).await;
    let since = tokio::time::Instant::now();
    hub.given().await.all().await;
    let took = since.elapsed();
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(3), "{took:?}");

    // The one before may still be on its way out.
    tokio::time::sleep(Duration::from_millis(200)).await;
    for relay_id in 2..6 {
        talk.say(export(relay_id, FORUM, 2, 0, &[])).await;
    }
    let mut stuck = Vec::new();
    for _ in 2..6 {
        stuck.push(hub.given().await);
    }
    talk.say(export(6, FORUM, 2, 0, &[])).await;
    assert!(refusal(&mut talk).await.reason.contains("as many"));
    talk.feed(vec![assigned(6, 8, 1, 1), asked(7, 8, "meanwhile")]).await;
    assert_eq!(talk.answer().await.task_id, 7);
}
