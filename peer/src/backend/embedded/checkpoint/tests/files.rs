//! What is written reads back the same, whatever the rows are; what is damaged never panics.

use loop_proto::v1;
use proptest::{collection::vec, option, prelude::*};

use super::{
    super::{
        export,
        lexer::Stop,
        reader::{Content, Reader},
    },
    support::*,
};
use crate::backend::{
    Scope,
    embedded::{
        WriteMode,
        store::{Change, Scratch, Store},
    },
};

/// Rows of a checkpoint, each once.
#[derive(Clone, Debug)]
struct Rows {
    forum: Option<v1::ForumStored>,
    subscriptions: Vec<v1::SubscriptionStored>,
    users: Vec<v1::UserStored>,
    messages: Vec<v1::MessageStored>,
}

impl Rows {
    fn changes(&self) -> Vec<Change> {
        let mut changes: Vec<Change> = self.forum.iter().cloned().map(Change::Forum).collect();
        changes.extend(self.subscriptions.iter().copied().map(Change::Subscription));
        changes.extend(self.users.iter().cloned().map(Change::User));
        changes.extend(self.messages.iter().cloned().map(Change::Message));
        changes
    }
}

/// Text with everything SQL might stumble over.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,12}",
        vec(
            prop_oneof![
                Just('\''),
                Just('"'),
                Just('\\'),
                Just('\0'),
                Just('\n'),
                Just('\u{1a}'),
                any::<char>()
            ],
            0..12
        )
        .prop_map(String::from_iter),
        Just("'); DROP TABLE x; -- ".to_owned()),
        Just("NULL".to_owned()),
        Just(String::new()),
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), 0..4_000_000_000_u64, Just(0)]
}

/// What AtomJump keeps as a decimal number and we as text: none is both empty and NULL there.
fn decimal() -> impl Strategy<Value = String> {
    prop_oneof!["-?[0-9]{1,3}\\.[0-9]{7}", text()]
}

fn message_row(id: u32) -> impl Strategy<Value = v1::MessageStored> {
    let texts = (text(), text(), text(), text(), text());
    let numbers = (option::of(any::<u32>()), option::of(any::<u32>()), any::<[u32; 4]>());
    let rest = (time(), any::<(bool, bool)>(), decimal(), decimal(), option::of(any::<f32>()));
    (texts, numbers, rest).prop_map(move |(texts, (author_id, whisper_to_id, peano), rest)| {
        let (shouted_at_s, (active, typing), latitude, longitude, sentiment) = rest;
        let status = if typing { v1::MessageStatus::Typing } else { v1::MessageStatus::Final };
        v1::MessageStored {
            id,
            forum_id: FORUM,
            text: texts.0,
            html: texts.1,
            shouted_at_s,
            active,
            status: status.into(),
            author_address: texts.2,
            author_id,
            author_name: texts.3,
            whisper_to_address: texts.4,
            whisper_to_id,
            latitude,
            longitude,
            peano1: peano[0],
            peano2: peano[1],
            peano1inv: peano[2],
            peano2inv: peano[3],
            // No database keeps what is no number.
            sentiment: sentiment.filter(|number| !number.is_nan()),
        }
    })
}

fn forum_stored() -> impl Strategy<Value = v1::ForumStored> {
    let optional = (option::of(any::<u32>()), option::of(text()), option::of(text()), option::of(time()));
    (1..4_i32, text(), text(), time(), optional).prop_map(
        |(access, passcode, title, owner_since_s, optional)| {
            let (group_user_id, password_hash, subscribers_limit, decays_at_s) = optional;
            v1::ForumStored {
                id: FORUM,
                access,
                passcode,
                group_user_id,
                password_hash,
                owner_since_s,
                subscribers_limit,
                title,
                decays_at_s,
            }
        },
    )
}

fn user_stored(id: u32) -> impl Strategy<Value = v1::UserStored> {
    let texts = (text(), text(), text(), decimal(), option::of(text()), option::of(text()));
    (texts, any::<(bool, bool)>(), time(), time()).prop_map(
        move |(texts, flags, created_at_s, updated_at_s)| v1::UserStored {
            id,
            last_ip: texts.0,
            email: texts.4,
            phone: texts.1,
            alerts: flags.0,
            balance: texts.3,
            confirm_code: texts.2,
            created_at_s,
            updated_at_s,
            confirmed: flags.1,
            password_hash: texts.5,
        },
    )
}

fn rows() -> impl Strategy<Value = Rows> {
    let messages = vec(any::<bool>(), 0..12).prop_flat_map(|ids| {
        let ids = (0..ids.len()).map(|at| message_row(u32::MAX - 20 + u32::try_from(at).unwrap()));
        ids.collect::<Vec<_>>()
    });
    let users = (1_u32..6).prop_flat_map(|count| (1..count).map(user_stored).collect::<Vec<_>>());
    (option::of(forum_stored()), users, messages).prop_map(|(forum, users, messages)| {
        // Subscribers, so that every user belongs to the forum.
        let subscribed = |user: &v1::UserStored| v1::SubscriptionStored {
            forum_id: FORUM,
            user_id: user.id,
            active: user.alerts,
            sms: user.confirmed,
        };
        let subscriptions = users.iter().map(subscribed).collect();
        Rows { forum, subscriptions, users, messages }
    })
}

fn scratch(store: &Store, rows: &[Change]) -> Scratch {
    let scratch = store.scratch("rows").unwrap();
    for row in rows {
        assert!(scratch.add(row).unwrap());
    }
    scratch
}

fn read(bytes: &[u8]) -> Result<Vec<Change>, Stop> {
    let mut reader = Reader::new(bytes, Content::Forum(Some(FORUM)));
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        rows.push(row);
    }
    Ok(rows)
}

fn a_file() -> Vec<u8> {
    let peer = Peer::new(WriteMode::Thread);
    peer.fill(12);
    std::fs::read(peer.export(Scope::Forum(forum_id(FORUM)), 12).file).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_rows_come_back_as_they_were(rows in rows()) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), WriteMode::WhenTold).unwrap();
        let changes = rows.changes();
        let file = dir.path().join("rows.sql");
        let source = scratch(&store, &changes);
        // What SQLite made of them is what counts: it knows no negative nought.
        export::export(&source, Scope::Forum(forum_id(FORUM)), 7, &file, &|_| {}).unwrap();
        let back = read(&std::fs::read(&file).unwrap()).unwrap();
        prop_assert_eq!(format!("{back:?}").replace("-0.0", "0.0"), format!("{changes:?}").replace("-0.0", "0.0"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_file_with_bytes_changed_cut_or_put_in_is_read_or_refused_but_never_panics(
        changes in vec((any::<prop::sample::Index>(), 0..6_u8, any::<u8>()), 1..12),
    ) {
        static FILE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut file = FILE.get_or_init(a_file).clone();
        for (at, how, byte) in changes {
            let at = at.index(file.len());
            const SPECIAL: &[u8] = b"'\"\\`();,-/*!#0x\n\0N_";
            match how {
                0 => file[at] = byte,
                1 => file[at] = SPECIAL[usize::from(byte) % SPECIAL.len()],
                // Never the last one: what follows needs a place to go to.
                2 if file.len() > 1 => drop(file.remove(at)),
                2 => {}
                3 => file.insert(at, SPECIAL[usize::from(byte) % SPECIAL.len()]),
                4 => file.truncate(at.max(1)),
                _ => file.extend_from_within(at..),
            }
        }
        let lines = file.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        if let Err(Stop::Refused { line, reason }) = read(&file) {
            prop_assert!((1..=lines).contains(&line), "line {} of {}: {}", line, lines, reason);
        }
    }

    #[test]
    fn no_bytes_at_all_make_the_reader_panic(bytes: Vec<u8>, text in "(insert into tbl_user|values|\\(|\\)|,|;|'|0x|--|/\\*| |[a-z0-9]){0,40}") {
        let _ = read(&bytes);
        let _ = read(text.as_bytes());
    }
}
