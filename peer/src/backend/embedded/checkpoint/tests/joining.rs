//! A forum comes to a peer, stays, or goes.

use loop_proto::v1::{self, fact::Kind};

use super::support::*;
use crate::backend::{Backend, BackendError, InstallError, Joining, Scope, embedded::WriteMode};

const MODES: [WriteMode; 2] = [WriteMode::Thread, WriteMode::WhenTold];

fn joining(peer: &Peer) -> Vec<Joining> {
    peer.backend.flush().unwrap();
    peer.backend.joining().unwrap()
}

#[test]
fn a_forum_comes_with_its_checkpoint_and_what_was_written_meanwhile_goes_on_top() {
    for mode in MODES {
        let source = Peer::new(mode);
        source.fill(60);
        let mut target = Peer::new(mode);
        target.apply(INVITATION, None, &[Kind::UserStored(user(414))], false);
        target.backend.begin_joining(forum_id(FORUM), task(INVITATION)).unwrap();
        assert_eq!(
            joining(&target),
            [Joining { forum: forum_id(FORUM), invitation: task(INVITATION), installed: None }]
        );
        // Some of these are in the copy already, the later ones are not.
        let later = |peer: &Peer, staged| {
            for record in 65..=90 {
                let id = u32::try_from(record).unwrap() - 10;
                peer.apply(record, Some(FORUM), &[message(id, &format!("m{id}"))], staged);
            }
            let removed = v1::MessageRemoved { id: 2, forum_id: FORUM };
            let hidden = v1::MessageHidden { id: 3, forum_id: FORUM, finished: true };
            let kinds = [Kind::MessageRemoved(removed), Kind::MessageHidden(hidden), message(70, "changed")];
            peer.apply(91, Some(FORUM), &kinds, staged);
        };
        later(&target, true);
        let copy = source.export(Scope::Forum(forum_id(FORUM)), 70);
        assert_eq!((copy.header.cursor, copy.header.messages, copy.header.forum_id), (70, 60, FORUM));
        later(&source, false);
        target = target.restarted();
        target.install(&copy).unwrap();
        assert_eq!(joining(&target)[0].installed, Some(70));
        assert_eq!(target.digest(), source.digest());
        // From here on records go to the rows, said to be staged or not.
        for (record, staged) in [(92, true), (93, false)] {
            for peer in [&source, &target] {
                let staged = staged && std::ptr::eq(peer, &target);
                peer.apply(
                    record,
                    Some(FORUM),
                    &[message(200 + u32::try_from(record).unwrap(), "n")],
                    staged,
                );
            }
        }
        target.backend.end_joining(forum_id(FORUM)).unwrap();
        assert_eq!(joining(&target), []);
        assert_eq!(target.digest(), source.digest());
        let target = target.restarted();
        assert_eq!(target.digest(), source.digest());
        assert_eq!(target.backend.durable_cursor(), 93);
    }
}

#[test]
fn records_that_the_checkpoint_has_do_not_come_back_over_newer_rows() {
    let source = Peer::new(WriteMode::Thread);
    source.fill(60);
    source.apply(71, Some(FORUM), &[message(1, "newest")], false);
    let target = Peer::new(WriteMode::Thread);
    target.backend.begin_joining(forum_id(FORUM), task(INVITATION)).unwrap();
    target.install(&source.export(Scope::Forum(forum_id(FORUM)), 71)).unwrap();
    target.apply(50, Some(FORUM), &[message(1, "older")], false);
    target.apply(51, Some(FORUM), &[message(1, "older")], true);
    assert_eq!(target.digest(), source.digest());
}

#[test]
fn users_come_with_the_forum_and_newer_ones_here_stay() {
    let source = Peer::new(WriteMode::Thread);
    source.fill(3);
    let target = Peer::new(WriteMode::Thread);
    let mine = v1::UserStored { last_ip: "newer".to_owned(), ..user(414) };
    target.apply(INVITATION, None, &[Kind::UserStored(mine.clone())], false);
    target.backend.begin_joining(forum_id(FORUM), task(INVITATION)).unwrap();
    source.apply(INVITATION, None, &[], false);
    target.install(&source.export(Scope::Forum(forum_id(FORUM)), INVITATION)).unwrap();
    let of = |peer: &Peer, id: u32| peer.backend.user(id).unwrap();
    assert_eq!(of(&target, 414), Some(mine));
    assert_eq!(of(&target, 420), of(&source, 420));
    assert_eq!(of(&target, 410), None, "nobody of this forum");
}

#[test]
fn an_install_that_stops_halfway_is_made_again_with_an_older_copy_and_nothing_is_missing() {
    let source = Peer::new(WriteMode::Thread);
    source.fill(3000);
    let older = source.export(Scope::Forum(forum_id(FORUM)), 3010);
    let older = Copied { file: source.dir.path().join("older.sql"), ..older };
    std::fs::rename(source.dir.path().join("copy.sql"), &older.file).unwrap();
    let mut target = Peer::new(WriteMode::Thread);
    target.backend.begin_joining(forum_id(FORUM), task(INVITATION)).unwrap();
    for record in 3011..=3500 {
        let kinds = [message(u32::try_from(record).unwrap(), "later")];
        source.apply(record, Some(FORUM), &kinds, false);
        target.apply(record, Some(FORUM), &kinds, true);
    }
    let newer = source.export(Scope::Forum(forum_id(FORUM)), 3400);
    assert!(matches!(target.install_half(&newer), Err(InstallError::Cancelled)));
    target = target.restarted();
    assert_eq!(joining(&target)[0].installed, None);
    target.install(&older).unwrap();
    assert_eq!(target.digest(), source.digest());
}

#[test]
fn a_new_invitation_forgets_what_was_staged_for_the_last_one_and_keeps_the_rows() {
    for mode in MODES {
        let peer = Peer::new(mode);
        peer.fill(5);
        let before = peer.digest();
        peer.backend.begin_joining(forum_id(FORUM), task(INVITATION)).unwrap();
        peer.apply(41, Some(FORUM), &[message(99, "staged")], true);
        peer.backend.begin_joining(forum_id(FORUM), task(INVITATION)).unwrap();
        let staged = |invitation| {
            peer.backend.flush().unwrap();
            peer.backend.store.staged_after((FORUM, invitation), 0).unwrap().len()
        };
        assert_eq!(staged(INVITATION), 1, "the same invitation again changes nothing");
        peer.backend.begin_joining(forum_id(FORUM), task(50)).unwrap();
        peer.apply(51, Some(FORUM), &[message(100, "staged")], true);
        let peer = peer.restarted();
        assert_eq!(peer.digest(), before);
        assert_eq!(joining(&peer)[0].invitation, task(50));
        for record in 60..200 {
            peer.apply(record, None, &[], false);
            peer.backend.flush().unwrap();
            if peer.backend.store.staged_after((FORUM, INVITATION), 0).unwrap().is_empty() {
                break;
            }
        }
        assert_eq!(peer.backend.store.staged_after((FORUM, INVITATION), 0).unwrap().len(), 0);
        assert_eq!(peer.backend.store.staged_after((FORUM, 50), 0).unwrap().len(), 1);
    }
}

#[test]
fn a_dropped_forum_goes_whole_and_no_other_one_loses_a_row() {
    for mode in MODES {
        let peer = Peer::new(mode);
        peer.fill(2500);
        peer.apply(
            3000,
            Some(FORUM + 1),
            &[forum_row(FORUM + 1), in_forum(FORUM + 1, message(9000, "x"))],
            false,
        );
        let other = peer.digest_of(FORUM + 1);
        peer.backend.begin_joining(forum_id(FORUM), task(3001)).unwrap();
        peer.apply(3002, Some(FORUM), &[message(9001, "staged")], true);
        assert_eq!(peer.backend.forums_on_disk().unwrap(), [forum_id(FORUM), forum_id(FORUM + 1)]);
        peer.backend.drop_forum(forum_id(FORUM)).unwrap();
        // Stopped at once: it goes on after the restart.
        let peer = peer.restarted();
        assert_eq!(peer.backend.forums_on_disk().unwrap(), [forum_id(FORUM + 1)]);
        assert_eq!(joining(&peer), []);
        let empty = Peer::new(mode).digest();
        for record in 3003..4000 {
            peer.apply(record, None, &[], false);
            peer.backend.flush().unwrap();
            // Messages go first, the forum's own row last.
            if peer.digest() == empty {
                break;
            }
        }
        assert_eq!((peer.digest(), peer.digest_of(FORUM + 1)), (empty, other));
    }
}

#[test]
fn a_forum_dropped_and_invited_again_in_one_breath_is_whole() {
    for mode in MODES {
        let source = Peer::new(mode);
        source.fill(1500);
        let target = Peer::new(mode);
        target.fill(1400);
        target.backend.begin_joining(forum_id(FORUM), task(1411)).unwrap();
        target.apply(1412, Some(FORUM), &[message(8000, "of a forum that went")], true);
        target.backend.drop_forum(forum_id(FORUM)).unwrap();
        target.backend.begin_joining(forum_id(FORUM), task(1411)).unwrap();
        target.install(&source.export(Scope::Forum(forum_id(FORUM)), 1500)).unwrap();
        assert_eq!(target.digest(), source.digest());
    }
}

#[test]
fn a_digest_is_of_exactly_the_records_before_it() {
    for mode in MODES {
        let peer = Peer::new(mode);
        peer.fill(20);
        let then = peer.digest();
        let audited = peer.backend.audit(forum_id(FORUM)).unwrap();
        for id in 21..300 {
            peer.apply(u64::from(id) + 10, Some(FORUM), &[message(id, "later")], false);
        }
        peer.backend.flush().unwrap();
        assert_eq!(audited.blocking_recv().unwrap(), then);
        assert_ne!(peer.digest(), then);
    }
}

#[test]
fn calls_that_make_no_sense_are_refused_and_change_nothing() {
    let peer = Peer::new(WriteMode::Thread);
    peer.fill(5);
    let before = peer.digest();
    let copy = peer.export(Scope::Forum(forum_id(FORUM)), 15);
    let unavailable = |error| matches!(error, InstallError::Backend(BackendError::Unavailable(_)));
    assert!(unavailable(peer.install(&copy).unwrap_err()), "no invitation");
    peer.backend.begin_joining(forum_id(FORUM), task(16)).unwrap();
    assert!(matches!(peer.install(&copy).unwrap_err(), InstallError::Refused { line: 0, .. }), "too old");
    let error = peer.backend.end_joining(forum_id(FORUM)).unwrap_err();
    assert!(matches!(error, BackendError::Unavailable(_)), "no checkpoint yet");
    peer.apply(16, None, &[], false);
    let copy = peer.export(Scope::Forum(forum_id(FORUM)), 16);
    peer.install(&copy).unwrap();
    assert!(unavailable(peer.install(&copy).unwrap_err()), "a second time");
    peer.backend.end_joining(forum_id(FORUM)).unwrap();
    peer.backend.end_joining(forum_id(FORUM)).unwrap();
    assert_eq!(peer.digest(), before);
}

#[test]
fn a_peer_that_fell_behind_takes_the_directory_and_its_cursor() {
    let source = Peer::new(WriteMode::Thread);
    source.fill(50);
    let newer = v1::UserStored { last_ip: "newer".to_owned(), ..user(414) };
    source.apply(70, None, &[Kind::UserStored(newer.clone())], false);
    let copy = source.export(Scope::Directory, 70);
    assert_eq!((copy.header.forum_id, copy.header.cursor, copy.header.messages), (0, 70, 0));

    let target = Peer::new(WriteMode::Thread);
    target.fill(5);
    target.backend.begin_joining(forum_id(FORUM), task(15)).unwrap();
    target.apply(16, Some(FORUM), &[message(99, "staged")], true);
    target.install(&copy).unwrap();
    assert_eq!(target.backend.durable_cursor(), 70);
    assert_eq!(target.backend.user(414).unwrap(), Some(newer));
    // Its records have a gap now: the forum must be invited anew.
    assert_eq!(joining(&target), []);
    // One that is not behind takes nothing older over what it has.
    let ahead = Peer::new(WriteMode::Thread);
    let newest = v1::UserStored { last_ip: "newest".to_owned(), ..user(414) };
    ahead.apply(71, None, &[Kind::UserStored(newest.clone())], false);
    ahead.install(&copy).unwrap();
    assert_eq!(ahead.backend.durable_cursor(), 71);
    assert_eq!(ahead.backend.user(414).unwrap(), Some(newest));
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let (one, two) = (Peer::new(WriteMode::Thread), Peer::new(WriteMode::WhenTold));
    one.fill(30);
    two.fill(30);
    let scope = Scope::Forum(forum_id(FORUM));
    let (first, second) = (one.export(scope, 40), two.export(scope, 40));
    assert_eq!(first.header, second.header);
    assert_eq!(std::fs::read(first.file).unwrap(), std::fs::read(second.file).unwrap());
}

#[test]
fn other_forums_are_written_while_a_large_one_is_installed_and_one_dropped() {
    let source = Peer::new(WriteMode::WhenTold);
    source.fill(20_000);
    let copy = source.export(Scope::Forum(forum_id(FORUM)), 20_010);
    let target = Peer::new(WriteMode::Thread);
    let gone = FORUM + 1;
    for id in 1..=20_000_u32 {
        target.apply(id.into(), Some(gone), &[in_forum(gone, message(100_000 + id, "goes"))], false);
    }
    target.backend.begin_joining(forum_id(FORUM), task(20_000)).unwrap();
    target.backend.drop_forum(forum_id(gone)).unwrap();
    let other = FORUM + 2;
    let (mut record, mut worst) = (20_001, std::time::Duration::ZERO);
    std::thread::scope(|scope| {
        let install = scope.spawn(|| target.install(&copy));
        while !install.is_finished() {
            let since = tokio::time::Instant::now();
            let id = u32::try_from(record).unwrap() + 200_000;
            target.apply(record, Some(other), &[in_forum(other, message(id, "meanwhile"))], false);
            target.backend.flush().unwrap();
            worst = worst.max(since.elapsed());
            record += 1;
        }
        install.join().unwrap().unwrap();
    });
    let written = record - 20_001;
    println!("{written} batches meanwhile, the slowest in {worst:?}");
    assert!(written >= 20, "only {written} batches came through, the slowest in {worst:?}");
    assert_eq!(target.digest(), source.digest());
    assert_eq!(target.digest_of(other).messages, written);
}

#[test]
fn a_large_staged_record_is_not_taken_with_many_others() {
    let source = Peer::new(WriteMode::Thread);
    source.fill(1);
    let target = Peer::new(WriteMode::Thread);
    target.backend.begin_joining(forum_id(FORUM), task(2)).unwrap();
    let copy = source.export(Scope::Forum(forum_id(FORUM)), 11);
    let large = "x".repeat(700_000);
    for record in 20..30 {
        for (peer, staged) in [(&source, false), (&target, true)] {
            peer.apply(record, Some(FORUM), &[message(u32::try_from(record).unwrap(), &large)], staged);
        }
    }
    target.backend.flush().unwrap();
    assert_eq!(target.backend.store.staged_after((FORUM, 2), 20).unwrap().len(), 1);
    target.install(&copy).unwrap();
    assert_eq!(target.digest(), source.digest());
}

#[test]
fn a_forum_closed_as_empty_goes_with_the_cursor_and_one_with_messages_is_kept() {
    let peer = Peer::new(WriteMode::WhenTold);
    let (empty, full) = (FORUM, FORUM + 1);
    let row = |id| Kind::ForumStored(v1::ForumStored { id, ..Default::default() });
    for (record, kind) in
        [(1, row(empty)), (2, row(full)), (3, in_forum(full, message(7, "imported by hand")))]
    {
        let forum = if record == 1 { empty } else { full };
        peer.apply(record, Some(forum), &[kind], false);
    }
    peer.backend.flush().unwrap();
    for forum in [empty, full] {
        peer.backend.drop_empty_forum(forum_id(forum)).unwrap();
    }
    peer.apply(4, None, &[], false);
    assert_eq!(peer.backend.forums_on_disk().unwrap().len(), 2, "not before the cursor is on disk, too");
    assert_eq!(peer.backend.durable_cursor(), 3);
    peer.backend.flush().unwrap();
    assert_eq!(peer.backend.durable_cursor(), 4);
    assert_eq!(peer.backend.forums_on_disk().unwrap(), [forum_id(full)]);
    assert_eq!(peer.backend.forums_kept().unwrap(), [forum_id(full)]);
    assert_eq!(peer.digest_of(full).messages, 1);
}
