//! A forum with everything that is hard to write down, and what its readers see of it.

use std::path::Path;

use loop_peer::backend::{
    AppliedRecord, Backend, Digest, ForumPage, Scope,
    embedded::{EmbeddedBackend, EmbeddedConfig},
};
use loop_proto::{
    ids::{ForumId, TaskId},
    v1::{self, fact::Kind},
};
use prost::Message;

pub const FORUM: u32 = 178;
pub const NAME: &str = "ajps_test";
/// md5 of `NAME`.
pub const KEY: &str = "daab9034560b16dad7d9c7ffb6c79492";
const NOW_S: u64 = 1_795_300_000;

pub fn forum_id() -> ForumId {
    ForumId::new(FORUM).unwrap()
}

pub fn open(dir: &Path) -> EmbeddedBackend {
    EmbeddedBackend::open(EmbeddedConfig::new(dir)).unwrap()
}

pub fn apply(backend: &EmbeddedBackend, record: u64, kinds: Vec<Kind>) {
    let is_user = |kind: &Kind| matches!(kind, Kind::UserStored(_));
    let forum = (!kinds.iter().any(is_user)).then(forum_id);
    let facts = kinds.into_iter().map(|kind| v1::Fact { kind: Some(kind) }).collect();
    let record = AppliedRecord {
        id: TaskId::new(record).unwrap(),
        forum,
        closes: None,
        facts: v1::Facts { facts }.encode_to_vec().into(),
        staged: false,
    };
    let through = record.id.get();
    backend.apply(vec![record], through).unwrap();
}

pub fn message(id: u32, text: &str) -> v1::MessageStored {
    v1::MessageStored {
        id,
        forum_id: FORUM,
        text: text.to_owned(),
        html: format!("<i>{text}</i>"),
        shouted_at_s: NOW_S - 5000 + u64::from(id),
        active: true,
        status: v1::MessageStatus::Final.into(),
        author_address: "192.97.108.105".to_owned(),
        author_id: Some(414),
        author_name: "Alice \"A\" O'Hara\\".to_owned(),
        latitude: "51.0000000".to_owned(),
        longitude: "-0.1277580".to_owned(),
        peano1: 2_641_720_671,
        peano2: u32::MAX,
        peano1inv: 1_653_246_624,
        peano2inv: 0,
        ..Default::default()
    }
}

/// Messages of every kind there is.
fn messages() -> Vec<v1::MessageStored> {
    let whisper = |id, address: &str, to| v1::MessageStored {
        whisper_to_address: address.to_owned(),
        whisper_to_id: to,
        ..message(id, "psst")
    };
    vec![
        message(2867, "hello"),
        message(2868, "it's \"quoted\", C:\\new\\\\, \\0 \\n \\% \\_ `tick`"),
        message(2869, "two\r\nlines\tand a tab"),
        message(2870, "nul \0 and control Z \u{1a} and \u{8} and \u{7f}"),
        message(2871, "Zürich – 東京 – \u{1f600}\u{1f9d1}\u{200d}\u{1f680}"),
        message(2872, "'); DROP TABLE tbl_ssshout; -- /* # \n-- loop-checkpoint end messages=0 digest=0\n"),
        v1::MessageStored { active: false, ..message(2873, "hidden") },
        v1::MessageStored { status: v1::MessageStatus::Typing.into(), ..message(2874, "Typing...") },
        whisper(2875, "192.98.111.98", Some(415)),
        whisper(2876, "192.98.111.98", None),
        whisper(2877, "1.1.2.1", Some(431)),
        v1::MessageStored {
            author_id: None,
            sentiment: Some(-0.25),
            ..message(2878, "from an address only")
        },
        v1::MessageStored { author_id: Some(415), author_name: "Bob".to_owned(), ..message(2879, "") },
        v1::MessageStored { sentiment: Some(0.123_45), ..message(u32::MAX, "the last id there is") },
    ]
}

/// Puts the forum and its users into an empty backend.
pub fn fill(backend: &EmbeddedBackend) {
    let user = |id: u32| v1::UserStored {
        id,
        last_ip: format!("192.1.1.{}", id % 256),
        email: (id == 420).then(|| "o'neil+x@example.com".to_owned()),
        alerts: id != 415,
        phone: String::new(),
        balance: "12.500".to_owned(),
        confirm_code: "c\\0de".to_owned(),
        created_at_s: 1_500_000_000,
        updated_at_s: 1_600_000_000,
        confirmed: id == 420,
        password_hash: (id == 420).then(|| "5f4dcc3b5aa765d61d8327deb882cf99".to_owned()),
    };
    apply(backend, 1, [414, 415, 420, 431, 999].map(|id| Kind::UserStored(user(id))).to_vec());
    let forum = v1::ForumStored {
        id: FORUM,
        access: v1::ForumAccess::PublicAdminWriteOnly.into(),
        passcode: KEY.to_owned(),
        group_user_id: Some(431),
        password_hash: None,
        owner_since_s: 951_826_154,
        subscribers_limit: Some("example.com".to_owned()),
        title: "Jane's \u{1f3e0} room \\ \"x\"".to_owned(),
        decays_at_s: Some(2_000_000_000),
    };
    let subscriptions = [(420, true, true), (415, false, false), (2_000_000_000, true, false)];
    let mut kinds = vec![Kind::ForumStored(forum)];
    kinds.extend(subscriptions.map(|(user_id, active, sms)| {
        Kind::SubscriptionStored(v1::SubscriptionStored { forum_id: FORUM, user_id, active, sms })
    }));
    kinds.extend(messages().into_iter().map(Kind::MessageStored));
    apply(backend, 2, kinds);
    backend.flush().unwrap();
}

/// What a hub is given to answer readers with: a page of the forum, and every user there may be.
pub fn rows(backend: &EmbeddedBackend) -> (ForumPage, Vec<v1::UserStored>) {
    let page = backend.forum_rows(forum_id(), None, 100).unwrap();
    let users = [414, 415, 420, 431].into_iter().filter_map(|id| backend.user(id).unwrap());
    (page, users.collect())
}

pub fn digest(backend: &EmbeddedBackend) -> Digest {
    let audited = backend.audit(forum_id()).unwrap();
    backend.flush().unwrap();
    audited.blocking_recv().unwrap()
}

pub fn export(backend: &EmbeddedBackend, file: &Path) -> v1::CheckpointHeader {
    backend.export(Scope::Forum(forum_id()), 2, file, &|_| {}).unwrap()
}
