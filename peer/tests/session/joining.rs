//! A forum's way to this peer: invited, seeded, cut over; and how it goes again.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use loop_proto::v1::{self, JoinStage, RejectReason, peer_to_hub};

use super::{
    Peer,
    backend::{Copy, FORBIDDEN, MemoryBackend, digest},
    hub::{
        Conversation, Hub, ask, asked, assigned, assigned_to, audit, joining, line_of, line_of_another,
        newest, texts, without_this_peer,
    },
};

const FORUM: u32 = 7;

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn stage(id: u64, invitation: u64, stage: JoinStage) -> v1::Record {
    assigned_to(id, FORUM, joining(4, invitation, stage))
}

/// A peer that has accepted the invitation of record 5 and been told, by record 6, to get its copy.
async fn accepted(hub: &mut Hub) -> (Peer, Conversation, v1::Hello) {
    let peer = Peer::start(&[hub]);
    let (mut talk, hello) = hub.greet().await;
    talk.feed(vec![stage(5, 5, JoinStage::Invited)]).await;
    let reply = talk.invitation().await;
    assert_eq!((reply.forum_id, reply.invitation_id, reply.accepted), (FORUM, 5, true));
    talk.feed(vec![stage(6, 5, JoinStage::Seeding)]).await;
    (peer, talk, hello)
}

fn copy() -> Copy {
    Copy::of_lines(FORUM, 6, &lines(&["one", "two", "three"]))
}

/// Waits until a status shows this copy this far.
async fn progress(talk: &mut Conversation, bytes_done: u64) -> v1::SeedProgress {
    loop {
        match talk.next().await {
            Some(peer_to_hub::Kind::Status(status)) => {
                let found = status.seeding.into_iter().find(|seeding| seeding.bytes_done == bytes_done);
                if let Some(seeding) = found {
                    return seeding;
                }
            }
            other => panic!("not a status: {other:?}"),
        }
    }
}

async fn until(what: impl Fn() -> bool) {
    let waited = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(super::hub::SOON, waited).await.expect("it does not come to that");
}

#[tokio::test]
async fn an_invited_peer_gets_a_copy_keeps_up_and_serves_after_the_cut_over() {
    let mut hub = Hub::start(1).await;
    let (peer, mut talk, hello) = accepted(&mut hub).await;
    talk.describe_as(FORUM, joining(4, 5, JoinStage::Invited), 5, vec![asked(3, FORUM, "old")]).await;
    let fetched = hub.fetched().await;
    let request = &fetched.request;
    assert_eq!((request.peer_id, &request.secret), (1, &hello.secret));
    assert_eq!((request.forum_id, request.invitation_id, request.offset), (FORUM, 5, 0));
    talk.feed(vec![line_of_another(7, FORUM, 2, 4, "meanwhile")]).await;
    talk.cursor(7).await;
    assert_eq!((peer.backend.lines(FORUM), peer.backend.staged(FORUM)), (vec![], lines(&["meanwhile"])));

    fetched.send_all(&copy()).await;
    assert_eq!(talk.seeded().await, v1::Seeded { forum_id: FORUM, invitation_id: 5, cursor: 6 });
    assert_eq!(peer.backend.lines(FORUM), ["one", "two", "three", "meanwhile"]);
    talk.feed(vec![stage(8, 5, JoinStage::CatchingUp), asked(9, FORUM, "late")]).await;
    talk.say(newest(1, FORUM, 9)).await;
    assert!(talk.rows().await.refused, "it does not serve yet");

    talk.feed(vec![assigned(10, FORUM, 5, 1)]).await;
    let (old, new) = (talk.answer().await, talk.answer().await);
    assert_eq!((old.task_id, old.epoch, line_of(&old).as_str()), (3, 5, "4:old"));
    assert_eq!((new.task_id, line_of(&new).as_str()), (9, "5:late"));
    talk.say(newest(2, FORUM, 10)).await;
    let reply = talk.rows().await;
    assert_eq!((reply.as_of, texts(&reply)), (10, vec!["meanwhile", "three", "two", "one"]));
    assert_eq!(std::fs::read_dir(peer.dir.path().join("checkpoints")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_copy_that_broke_off_goes_on_where_it_was_on_a_new_connection_too() {
    let mut hub = Hub::start(1).await;
    let (peer, mut talk, _) = accepted(&mut hub).await;
    let fetched = hub.fetched().await;
    fetched.send(&copy(), 4, 6).await;
    let seen = progress(&mut talk, 6).await;
    assert_eq!((seen.forum_id, seen.invitation_id, seen.bytes_total, seen.installing), (FORUM, 5, 14, false));
    drop(fetched);
    let again = hub.fetched().await;
    assert_eq!((again.request.offset, &again.request.sha256), (6, &copy().header.sha256));
    again.send(&copy(), 4, 9).await;
    progress(&mut talk, 9).await;
    drop((talk, again));

    let (mut talk, _) = hub.greet().await;
    talk.describe_as(FORUM, joining(4, 5, JoinStage::Seeding), 6, vec![]).await;
    let last = hub.fetched().await;
    assert_eq!(last.request.offset, 9);
    last.send_all(&copy()).await;
    assert_eq!(talk.seeded().await.cursor, 6);
    assert_eq!(peer.backend.lines(FORUM), ["one", "two", "three"]);
}

#[tokio::test]
async fn another_copy_than_the_one_that_broke_off_is_taken_from_its_beginning() {
    let mut hub = Hub::start(1).await;
    let (peer, mut talk, _) = accepted(&mut hub).await;
    let fetched = hub.fetched().await;
    fetched.send(&copy(), 4, 6).await;
    drop(fetched);
    let other = Copy::of_lines(FORUM, 9, &lines(&["one", "two", "three", "four"]));
    hub.fetched().await.send_all(&other).await;
    assert_eq!(talk.seeded().await.cursor, 9);
    assert_eq!(peer.backend.lines(FORUM), ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn what_a_limit_forbids_is_rejected_with_its_reason() {
    let held = || {
        let backend = MemoryBackend::new(0);
        backend.disk_bytes.store(5_000, Ordering::SeqCst);
        backend
    };
    for (flag, size, reason) in [
        ("forums", 1, RejectReason::ForumsMax),
        ("disk", 5_000, RejectReason::DiskFull),
        // These two are known when the copy's size is.
        ("disk", 5_027, RejectReason::DiskFull),
        ("forum", 13, RejectReason::ForumTooLarge),
    ] {
        let mut hub = Hub::start(1).await;
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let limits = |flags: &mut loop_peer::config::Flags| {
            let size_of = loop_peer::limits::Size(size);
            match flag {
                "forums" => flags.max_forums = Some(size as u32),
                "disk" => flags.max_disk = Some(size_of),
                _ => flags.max_forum_size = Some(size_of),
            }
        };
        let _peer = Peer::start_with(&[&hub], dir, held(), limits);
        let (mut talk, hello) = hub.greet().await;
        let told = hello.limits.unwrap();
        assert_eq!(u64::from(told.forums) + told.disk_bytes + told.forum_bytes, size);
        talk.feed(vec![assigned(4, 8, 1, 1), stage(5, 5, JoinStage::Invited)]).await;
        let mut reply = talk.invitation().await;
        if reply.accepted {
            talk.feed(vec![stage(6, 5, JoinStage::Seeding)]).await;
            hub.fetched().await.send_all(&copy()).await;
            reply = talk.invitation().await;
        }
        assert_eq!((reply.accepted, reply.reason()), (false, reason), "{flag} {size}");
    }
}

#[tokio::test]
async fn more_copies_at_once_than_it_may_get_are_put_off() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    for n in 0..16_u32 {
        let (invitation, forum) = (1 + 2 * u64::from(n), 10 + n);
        talk.feed(vec![assigned_to(invitation, forum, joining(1, invitation, JoinStage::Invited))]).await;
        assert!(talk.invitation().await.accepted);
        let seeding = joining(1, invitation, JoinStage::Seeding);
        talk.feed(vec![assigned_to(invitation + 1, forum, seeding)]).await;
    }
    talk.feed(vec![assigned_to(33, 7, joining(1, 33, JoinStage::Invited))]).await;
    assert_eq!(talk.invitation().await.reason(), RejectReason::Busy);
    // Two are fetched, the others wait for their turn.
    let _two = (hub.fetched().await, hub.fetched().await);
    hub.nothing_fetched_for(Duration::from_millis(200)).await;
    loop {
        match talk.next().await {
            Some(peer_to_hub::Kind::Status(status)) if status.seeding.len() == 16 => break,
            Some(peer_to_hub::Kind::Status(_)) => {}
            other => panic!("not a status: {other:?}"),
        }
    }
}

/// A peer that serves the forum with one line and has lost its place: it is invited again.
async fn invited_again(hub: &mut Hub) -> (Peer, Conversation) {
    let peer = Peer::start(&[hub]);
    let (mut talk, _) = hub.greet().await;
    let (task, line) = (asked(2, FORUM, "x"), line_of_another(3, FORUM, 2, 3, "old"));
    talk.feed(vec![assigned(1, FORUM, 3, 2), task, line]).await;
    talk.feed(vec![stage(5, 5, JoinStage::Invited)]).await;
    assert!(talk.invitation().await.accepted);
    talk.feed(vec![stage(6, 5, JoinStage::Seeding)]).await;
    (peer, talk)
}

#[tokio::test]
async fn a_copy_that_is_not_allowed_is_refused_and_the_rows_there_were_stay() {
    for bad in [lines(&["one", FORBIDDEN]), lines(&[FORBIDDEN])] {
        let mut hub = Hub::start(1).await;
        let (peer, mut talk) = invited_again(&mut hub).await;
        hub.fetched().await.send_all(&Copy::of_lines(FORUM, 6, &bad)).await;
        let reply = talk.invitation().await;
        assert_eq!((reply.accepted, reply.reason()), (false, RejectReason::BadCheckpoint));
        assert_eq!(peer.backend.lines(FORUM), ["old"]);
        talk.feed(vec![assigned_to(7, FORUM, without_this_peer(4))]).await;
        talk.cursor(7).await;
        assert_eq!(peer.backend.lines(FORUM), [""; 0]);
    }
}

#[tokio::test]
async fn bytes_that_are_not_those_that_were_promised_are_asked_for_once_more_and_then_refused() {
    let mut hub = Hub::start(1).await;
    let (peer, mut talk) = invited_again(&mut hub).await;
    let damaged = Copy { bytes: b"one\ntwo\nthrXe\n".to_vec(), ..copy() };
    hub.fetched().await.send_all(&damaged).await;
    let again = hub.fetched().await;
    assert_eq!(again.request.offset, 0);
    again.send_all(&damaged).await;
    assert_eq!(talk.invitation().await.reason(), RejectReason::BadCheckpoint);
    assert_eq!(peer.backend.lines(FORUM), ["old"]);
}

#[tokio::test]
async fn a_stream_of_pieces_that_cannot_be_is_left_and_asked_for_again() {
    let header = copy().header;
    let first = |header: v1::CheckpointHeader, offset| v1::CheckpointChunk {
        header: Some(header),
        offset,
        ..Default::default()
    };
    let data = |bytes: &[u8]| v1::CheckpointChunk { data: bytes.to_vec().into(), ..Default::default() };
    let begun = first(header.clone(), 0);
    let other_forum = v1::CheckpointHeader { forum_id: 8, ..header.clone() };
    let too_old = v1::CheckpointHeader { cursor: 4, ..header.clone() };
    let short_digest = v1::CheckpointHeader { sha256: vec![1].into(), ..header.clone() };
    let outrages = [
        vec![data(b"one")],
        vec![first(other_forum, 0)],
        vec![first(too_old, 0)],
        vec![first(short_digest, 0)],
        vec![first(header.clone(), 3)],
        vec![begun.clone(), data(b"")],
        vec![begun.clone(), data(&[b'x'; 15])],
        vec![begun.clone(), data(&vec![b'x'; (256 << 10) + 1])],
        vec![],
    ];
    // Three for each peer: its pauses grow.
    for outrages in outrages.chunks(3) {
        let mut hub = Hub::start(1).await;
        let (peer, mut talk, _) = accepted(&mut hub).await;
        for outrage in outrages {
            let fetched = hub.fetched().await;
            for piece in outrage {
                fetched.piece(piece.clone()).await;
            }
        }
        hub.fetched().await.send_all(&copy()).await;
        assert_eq!(talk.seeded().await.cursor, 6);
        assert_eq!(peer.backend.lines(FORUM), ["one", "two", "three"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_restarted_goes_on_at_every_stage() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![stage(5, 5, JoinStage::Invited)]).await;
    assert!(talk.invitation().await.accepted);
    talk.cursor(5).await;
    drop(talk);

    // Invited, and nobody knows whether its word was heard.
    let peer = peer.restarted(&[&hub]).await;
    let (mut talk, hello) = hub.greet().await;
    assert_eq!(hello.cursor, 5);
    talk.describe_as(FORUM, joining(4, 5, JoinStage::Invited), 5, vec![]).await;
    assert!(talk.invitation().await.accepted);
    talk.feed(vec![stage(6, 5, JoinStage::Seeding)]).await;
    let half = hub.fetched().await;
    half.send(&copy(), 4, 6).await;
    progress(&mut talk, 6).await;
    drop(talk);

    // Half a copy.
    let peer = peer.restarted(&[&hub]).await;
    peer.backend.holds_installs.store(true, Ordering::SeqCst);
    let (mut talk, _) = hub.greet().await;
    talk.describe_as(FORUM, joining(4, 5, JoinStage::Seeding), 6, vec![]).await;
    let rest = hub.fetched().await;
    assert_eq!(rest.request.offset, 6);
    rest.send_all(&copy()).await;
    while !progress(&mut talk, 14).await.installing {}
    drop(talk);

    // All of it, not installed.
    let peer = peer.restarted(&[&hub]).await;
    assert_eq!(peer.backend.lines(FORUM), [""; 0]);
    let (mut talk, _) = hub.greet().await;
    talk.describe_as(FORUM, joining(4, 5, JoinStage::Seeding), 6, vec![]).await;
    assert_eq!(talk.seeded().await.cursor, 6);
    drop(talk);

    // Installed, and nobody knows whether that was heard.
    let peer = peer.restarted(&[&hub]).await;
    let (mut talk, _) = hub.greet().await;
    talk.describe_as(FORUM, joining(4, 5, JoinStage::Seeding), 6, vec![]).await;
    assert_eq!(talk.seeded().await.cursor, 6);
    talk.feed(vec![stage(7, 5, JoinStage::CatchingUp)]).await;
    talk.cursor(7).await;
    drop(talk);

    let peer = peer.restarted(&[&hub]).await;
    let (mut talk, _) = hub.greet().await;
    talk.describe_as(FORUM, joining(4, 5, JoinStage::CatchingUp), 7, vec![asked(3, FORUM, "old")]).await;
    talk.feed(vec![assigned(8, FORUM, 5, 1)]).await;
    assert_eq!(line_of(&talk.answer().await), "3:old");
    hub.nothing_fetched_for(Duration::from_millis(50)).await;
    assert_eq!(peer.backend.lines(FORUM), ["one", "two", "three"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_that_is_given_up_stops_its_copy_wherever_it_is() {
    let mut hub = Hub::start(1).await;
    let (peer, mut talk, _) = accepted(&mut hub).await;
    let files = || std::fs::read_dir(peer.dir.path().join("checkpoints")).unwrap().count();
    let half = hub.fetched().await;
    half.send(&copy(), 4, 6).await;
    progress(&mut talk, 6).await;
    talk.feed(vec![assigned_to(7, FORUM, without_this_peer(4))]).await;
    until(|| files() == 0).await;

    // Invited again, and given up while the copy is being installed.
    peer.backend.holds_installs.store(true, Ordering::SeqCst);
    talk.feed(vec![stage(8, 8, JoinStage::Invited)]).await;
    assert_eq!(talk.invitation().await.invitation_id, 8);
    talk.feed(vec![stage(9, 8, JoinStage::Seeding)]).await;
    let later = Copy::of_lines(FORUM, 9, &lines(&["one"]));
    hub.fetched().await.send_all(&later).await;
    while !progress(&mut talk, 4).await.installing {}
    talk.feed(vec![assigned_to(10, FORUM, without_this_peer(4))]).await;
    until(|| files() == 0).await;
    assert_eq!(peer.backend.lines(FORUM), [""; 0]);
    talk.nothing_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_replica_that_is_retired_drains_and_then_drops_its_rows() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, FORUM, 1, 1), asked(2, FORUM, "x")]).await;
    talk.answer().await;
    let draining = v1::Assignment { draining: vec![1], ..without_this_peer(2) };
    talk.feed(vec![assigned_to(3, FORUM, draining), line_of_another(4, FORUM, 2, 2, "theirs")]).await;
    talk.say(newest(1, FORUM, 4)).await;
    assert!(talk.rows().await.refused, "it serves no more");
    assert_eq!(peer.backend.lines(FORUM), ["theirs"]);
    talk.feed(vec![assigned_to(5, FORUM, without_this_peer(2))]).await;
    talk.cursor(5).await;
    assert_eq!(peer.backend.lines(FORUM), [""; 0]);
}

#[tokio::test]
async fn what_was_taken_away_while_it_was_gone_is_dropped_but_not_on_the_word_of_a_hub_that_lags() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let line = line_of_another(3, FORUM, 2, 1, "kept");
    talk.feed(vec![assigned(1, FORUM, 1, 2), asked(2, FORUM, "x"), line]).await;
    talk.cursor(3).await;
    drop(talk);
    for (newest, kept) in [(2, true), (3, false)] {
        let (mut talk, _) = hub.accept().await;
        let welcome = v1::Welcome { newest, ..hub.welcome() };
        talk.say(v1::hub_to_peer::Kind::Welcome(welcome)).await;
        talk.feed_through(vec![], 3).await;
        talk.say(ask(1, 0, v1::rows_request::Kind::UserId(1))).await;
        talk.rows().await;
        assert_eq!(!peer.backend.lines(FORUM).is_empty(), kept, "newest {newest}");
    }
}

#[tokio::test]
async fn an_audit_is_answered_with_the_digest_at_exactly_its_place() {
    let mut hub = Hub::start(1).await;
    let _peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![
        assigned(1, FORUM, 1, 2),
        asked(2, FORUM, "x"),
        asked(3, FORUM, "y"),
        line_of_another(4, FORUM, 2, 1, "before"),
        audit(5, FORUM),
        line_of_another(6, FORUM, 3, 1, "after"),
    ])
    .await;
    let Some(peer_to_hub::Kind::Audit(report)) = talk.next_of_note().await else { panic!("no digest") };
    assert_eq!((report.forum_id, report.record_id, report.messages), (FORUM, 5, 1));
    assert_eq!(report.digest, digest(&lines(&["before"])));
}

#[tokio::test]
async fn parts_of_copies_nobody_wants_any_more_do_not_stay() {
    let mut hub = Hub::start(1).await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let folder: PathBuf = dir.path().join("checkpoints");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["f7-5.part", "f7-5.header", "give-f7-5.sql", "give-f7-5.new"] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    let _peer = Peer::start_with(&[&hub], dir, MemoryBackend::new(0), |_| {});
    hub.greet().await;
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}
