use super::*;

fn message(id: u32, at_s: u64) -> Change {
    Change::Message(v1::MessageStored {
        id,
        forum_id: 178,
        text: "x".into(),
        html: "y".into(),
        shouted_at_s: at_s,
        active: true,
        status: v1::MessageStatus::Typing.into(),
        author_id: Some(414),
        author_name: "Jane".into(),
        sentiment: Some(0.5),
        ..Default::default()
    })
}

fn stored(change: &Change) -> v1::MessageStored {
    match change {
        Change::Message(message) => message.clone(),
        _ => unreachable!("only called with messages"),
    }
}

#[test]
fn rows_and_cursor_are_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let user = v1::UserStored {
        id: 414,
        last_ip: "192.1.1.1".into(),
        email: Some("a@b.c".into()),
        alerts: true,
        balance: "0.000".into(),
        created_at_s: 5,
        confirmed: true,
        ..Default::default()
    };
    let forum = v1::ForumStored {
        id: 178,
        access: v1::ForumAccess::PublicAdminWriteOnly.into(),
        passcode: "k".into(),
        title: "t".into(),
        decays_at_s: Some(9),
        ..Default::default()
    };
    let subscription = v1::SubscriptionStored { forum_id: 178, user_id: 414, active: true, sms: false };
    let first = message(2867, 100);
    {
        let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
        let changes = vec![
            Change::User(user.clone()),
            Change::Forum(forum.clone()),
            Change::Subscription(subscription),
            first.clone(),
            message(2868, 100),
        ];
        store.write(changes, 7).unwrap();
        store.write(vec![Change::MessageRemoved(2868, 178), Change::MessageRemoved(2867, 99)], 8).unwrap();
        store.close();
        assert_eq!(store.durable(), 8);
        assert!(matches!(store.write(Vec::new(), 9), Err(BackendError::Unavailable(_))));
    }
    let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
    assert_eq!(store.durable(), 8);
    assert_eq!(store.user(414).unwrap(), Some(user));
    assert_eq!(store.message(178, 2867).unwrap(), Some(stored(&first)));
    assert_eq!(store.message(179, 2867).unwrap(), None);
    let loaded = store.load_forum(178, 10).unwrap();
    assert_eq!((loaded.forum, loaded.subscriptions), (Some(forum), vec![subscription]));
    assert_eq!((loaded.messages, loaded.is_complete), (vec![stored(&first)], true));
    assert!(store.disk_bytes() > 0);
}

#[test]
fn the_cursor_never_falls_and_waiting_ends_when_it_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
    for through in [5, 4, 6] {
        store.write(vec![message(1, through)], through).unwrap();
    }
    store.wait_durable(6).unwrap();
    assert_eq!(store.durable(), 6);
    store.close();
    drop(store);
    assert_eq!(Store::open(dir.path(), WriteMode::Thread).unwrap().durable(), 6);
}

#[test]
fn a_folder_in_use_and_a_newer_database_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
    let error = Store::open(dir.path(), WriteMode::Thread).err().unwrap().to_string();
    assert!(error.contains("used by another process"), "{error}");
    drop(store);
    let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Store::open(dir.path(), WriteMode::Thread).err().unwrap().to_string();
    assert!(error.contains("version 99"), "{error}");
}

#[test]
fn what_is_dropped_without_close_is_whole_up_to_its_cursor() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5_u32 {
        let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
        let held = store.durable();
        let count = store.load_forum(178, 100_000).unwrap().messages.len();
        // Every record up to the cursor brought two messages, and no other one did.
        assert_eq!(count as u64, 2 * held, "round {round}");
        for record in held + 1..held + 200 {
            let id = u32::try_from(record).unwrap() * 2;
            store.write(vec![message(id, record), message(id + 1, record)], record).unwrap();
        }
        drop(store);
    }
}

#[test]
fn without_a_thread_nothing_is_on_disk_until_it_is_told_or_somebody_must_wait() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), WriteMode::WhenTold).unwrap();
    let store = open();
    let watched = store.durable_changed();
    store.write(vec![message(1, 1)], 1).unwrap();
    assert_eq!((store.durable(), watched.has_changed().unwrap()), (0, false));
    store.commit_queued().unwrap();
    assert_eq!((store.durable(), watched.has_changed().unwrap()), (1, true));
    store.write(vec![message(2, 2)], 2).unwrap();
    store.wait_durable(2).unwrap();
    assert_eq!(store.durable(), 2);
    assert!(store.wait_durable(3).is_err(), "a wait for what nobody will write must end");
    store.write(vec![message(3, 3)], 3).unwrap();
    drop(store);
    let store = open();
    assert_eq!(store.durable(), 2, "what was queued is lost with the peer");
    assert_eq!(store.load_forum(178, 10).unwrap().messages.len(), 2);
    for record in 3..2000 {
        store.write(vec![message(record, 1)], u64::from(record)).unwrap();
    }
    assert!(store.durable() > 2, "the queue is bounded");
    store.close();
    assert_eq!(store.durable(), 1999);
}

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date_with_all_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
    store.write(vec![message(1, 5)], 5).unwrap();
    store.close();
    drop(store);
    // What later versions added, and took away.
    let connection = Connection::open(dir.path().join(DATABASE)).unwrap();
    connection
        .execute_batch(
            "DROP TABLE joining; DROP TABLE staged; DROP TABLE discard; DROP TABLE kept; \
             CREATE TABLE php_session (session_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID; \
             INSERT INTO php_session VALUES ('of-a-session-that-was')",
        )
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    for _ in 0..2 {
        let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
        assert_eq!((store.durable(), store.joining().unwrap()), (5, Vec::new()));
        assert_eq!(store.load_forum(178, 10).unwrap().messages.len(), 1);
        assert_eq!(store.forums().unwrap(), [ForumId::new(178).unwrap()]);
        store.close();
    }
    let secret = b"of-a-session-that-was";
    let database = std::fs::read(dir.path().join(DATABASE)).unwrap();
    assert!(!database.windows(secret.len()).any(|bytes| bytes == secret), "its sessions are still there");
}

#[test]
fn a_message_takes_no_place_of_another_forums_and_removes_or_hides_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), WriteMode::WhenTold).unwrap();
    let held = message(1, 5);
    let hostile = v1::MessageStored { forum_id: 179, text: "in its place".into(), ..stored(&held) };
    let hidden = v1::MessageHidden { id: 1, forum_id: 179, finished: true };
    store.write(vec![held.clone()], 1).unwrap();
    for change in [Change::Message(hostile), Change::MessageRemoved(1, 179), Change::MessageHidden(hidden)] {
        store.write(vec![change], 2).unwrap();
        store.flush().unwrap();
        assert_eq!(store.message(178, 1).unwrap(), Some(stored(&held)));
        assert_eq!(store.message(179, 1).unwrap(), None);
    }
    // Its own forum's facts replace and remove it.
    store.write(vec![message(1, 9)], 3).unwrap();
    store.flush().unwrap();
    assert_eq!(store.message(178, 1).unwrap().unwrap().shouted_at_s, 9);
    store.write(vec![Change::MessageRemoved(1, 178)], 4).unwrap();
    store.flush().unwrap();
    assert_eq!(store.message(178, 1).unwrap(), None);
}

#[test]
fn a_message_is_hidden_in_its_turn_and_one_that_is_not_there_stays_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), WriteMode::WhenTold).unwrap();
    let hide = |id, finished| Change::MessageHidden(v1::MessageHidden { id, forum_id: 178, finished });
    let status = |id| store.message(178, id).unwrap().map(|row| (row.active, row.status()));
    // The last one is hidden before it is there, which is no matter.
    store.write(vec![message(1, 5), hide(1, false), message(2, 5), hide(2, true), hide(3, true)], 1).unwrap();
    store.write(vec![message(3, 5)], 2).unwrap();
    store.flush().unwrap();
    assert_eq!(status(1), Some((false, v1::MessageStatus::Typing)));
    assert_eq!(status(2), Some((false, v1::MessageStatus::Final)));
    assert_eq!(status(3), Some((true, v1::MessageStatus::Typing)));
    assert_eq!(store.load_forum(178, 10).unwrap().messages.len(), 3);
}

#[test]
fn what_is_made_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("data");
    let store = Store::open(&dir, WriteMode::Thread).unwrap();
    store.write(vec![message(1, 5)], 1).unwrap();
    store.flush().unwrap();
    let _scratch = store.scratch("checkpoint-0").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    let files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The database, its log and its index, the lock, the scratch database.
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_a_process_that_is_gone_left_of_a_checkpoint_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), WriteMode::Thread).unwrap();
    let scratch = store.scratch("checkpoint-0").unwrap();
    assert!(scratch.add(&message(1, 5)).unwrap());
    assert!(!scratch.add(&message(1, 6)).unwrap(), "its id is there");
    let file = dir.path().join("checkpoint-0.scratch");
    assert!(file.exists());
    std::mem::forget(scratch);
    drop(store);
    drop(Store::open(dir.path(), WriteMode::Thread).unwrap());
    assert!(!file.exists());
}
