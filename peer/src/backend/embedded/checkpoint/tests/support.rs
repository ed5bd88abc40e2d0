//! A peer fed with records of our making, and files on their way.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use loop_proto::{
    ids::{ForumId, TaskId},
    v1::{self, fact::Kind},
};
use prost::Message;
use tempfile::TempDir;

use super::super::super::{EmbeddedBackend, EmbeddedConfig, WriteMode};
use crate::backend::{AppliedRecord, Backend, Digest, InstallError, Scope};

pub const FORUM: u32 = 178;
pub const INVITATION: u64 = 40;

pub fn forum_id(forum: u32) -> ForumId {
    ForumId::new(forum).unwrap()
}

pub fn task(record: u64) -> TaskId {
    TaskId::new(record).unwrap()
}

pub fn message(id: u32, text: &str) -> Kind {
    Kind::MessageStored(v1::MessageStored {
        id,
        forum_id: FORUM,
        text: text.to_owned(),
        html: format!("<b>{text}</b>"),
        shouted_at_s: 1_795_232_963 + u64::from(id),
        active: true,
        status: v1::MessageStatus::Final.into(),
        author_address: "192.101.57.107".to_owned(),
        author_id: Some(414 + id % 3),
        author_name: "Jane".to_owned(),
        latitude: "51.0000000".to_owned(),
        longitude: "0.0000000".to_owned(),
        peano1: 2_641_720_671,
        ..Default::default()
    })
}

pub fn in_forum(forum: u32, kind: Kind) -> Kind {
    match kind {
        Kind::MessageStored(message) => Kind::MessageStored(v1::MessageStored { forum_id: forum, ..message }),
        other => other,
    }
}

pub fn forum_row(forum: u32) -> Kind {
    Kind::ForumStored(v1::ForumStored {
        id: forum,
        access: v1::ForumAccess::Public.into(),
        passcode: "0123456789abcdef0123456789abcdef".to_owned(),
        group_user_id: Some(431),
        owner_since_s: 5,
        title: "Jane's \"room\"".to_owned(),
        ..Default::default()
    })
}

pub fn user(id: u32) -> v1::UserStored {
    v1::UserStored {
        id,
        last_ip: "192.1.1.1".to_owned(),
        email: id.is_multiple_of(2).then(|| format!("{id}@b.c")),
        alerts: true,
        balance: "0.000".to_owned(),
        created_at_s: 7,
        updated_at_s: 8,
        ..Default::default()
    }
}

/// A backend and where it lives.
pub struct Peer {
    pub backend: EmbeddedBackend,
    pub mode: WriteMode,
    pub dir: TempDir,
}

impl Peer {
    pub fn new(mode: WriteMode) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { backend: open(dir.path(), mode), mode, dir }
    }

    /// Closed and opened again.
    pub fn restarted(self) -> Self {
        self.backend.close();
        let Self { dir, mode, backend } = self;
        drop(backend);
        Self { backend: open(dir.path(), mode), mode, dir }
    }

    pub fn apply(&self, record: u64, forum: Option<u32>, kinds: &[Kind], staged: bool) {
        let facts = kinds.iter().map(|kind| v1::Fact { kind: Some(kind.clone()) }).collect();
        let applied = AppliedRecord {
            id: task(record),
            forum: forum.map(forum_id),
            closes: None,
            facts: v1::Facts { facts }.encode_to_vec().into(),
            staged,
        };
        self.backend.apply(vec![applied], record).unwrap();
    }

    /// A forum of a row, subscriptions, users and `messages` messages, through record `messages` + 10.
    pub fn fill(&self, messages: u32) {
        let users: Vec<Kind> = (410..435).map(|id| Kind::UserStored(user(id))).collect();
        self.apply(1, None, &users, false);
        self.apply(2, Some(FORUM), &[forum_row(FORUM)], false);
        let subscribed = v1::SubscriptionStored { forum_id: FORUM, user_id: 420, active: true, sms: false };
        self.apply(3, Some(FORUM), &[Kind::SubscriptionStored(subscribed)], false);
        for id in 1..=messages {
            self.apply(u64::from(id) + 10, Some(FORUM), &[message(id, &format!("m{id}"))], false);
        }
    }

    pub fn digest(&self) -> Digest {
        self.digest_of(FORUM)
    }

    pub fn digest_of(&self, forum: u32) -> Digest {
        let audited = self.backend.audit(forum_id(forum)).unwrap();
        self.backend.flush().unwrap();
        audited.blocking_recv().unwrap()
    }

    pub fn export(&self, scope: Scope, at_least: u64) -> Copied {
        let file = self.dir.path().join("copy.sql");
        let header = self.backend.export(scope, at_least, &file, &|_| {}).unwrap();
        Copied { header, file }
    }

    pub fn install(&self, copy: &Copied) -> Result<(), InstallError> {
        self.backend.install(&copy.header, &copy.file, &|_| {}, &|| false)
    }

    /// Installs until `rows` of the second half were told, as if it were told to stop there.
    pub fn install_half(&self, copy: &Copied) -> Result<(), InstallError> {
        let stop = AtomicBool::new(false);
        let progress = |progress: crate::backend::Progress| {
            stop.store(progress.bytes_done > progress.bytes_total / 2, Ordering::Relaxed);
        };
        self.backend.install(&copy.header, &copy.file, &progress, &|| stop.load(Ordering::Relaxed))
    }
}

fn open(dir: &Path, mode: WriteMode) -> EmbeddedBackend {
    EmbeddedBackend::open(EmbeddedConfig { writes: mode, ..EmbeddedConfig::new(dir) }).unwrap()
}

/// A file with its header.
#[derive(Clone)]
pub struct Copied {
    pub header: v1::CheckpointHeader,
    pub file: PathBuf,
}
