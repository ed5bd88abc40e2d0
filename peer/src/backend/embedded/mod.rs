//! The backend that needs nothing installed: AtomJump's endpoints in Rust over AtomJump's tables in SQLite.
//!
//! Owns which rows are in memory and in what order memory, queue and disk learn of a record. The endpoints are pure
//! functions over a view of this; they never write. Never knows hubs, epochs or cursors of others.

mod checkpoint;
mod directory;
mod forums;
mod joining;
mod page;
mod recent;
mod record;
mod store;

use std::path::{Path, PathBuf};

use loop_atomjump::{Call, Session, WriteView, execute, execute_refused};
use loop_proto::{
    ids::{ForumId, TaskId},
    v1::{self, fact::Kind},
};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{
    AppliedRecord, Backend, BackendError, Digest, Executed, ForumPage, InstallError, Joining, Progress,
    Scope, Work,
};
pub use checkpoint::Imported;
use directory::Directory;
use forums::{ForumView, Forums};
use joining::JoiningForums;
use record::{Decoded, Fate};
pub use store::WriteMode;
use store::{Change, Store};

/// How an [`EmbeddedBackend`] works.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// Folder of the database; made if missing.
    pub dir: PathBuf,
    /// Newest messages of a forum kept in memory; at least 1.
    pub window_messages: usize,
    /// Forums kept in memory; at least 1. Those with executions under way come on top.
    pub resident_forums_max: usize,
    /// Who writes to the database; anything but a thread is for simulations.
    pub writes: WriteMode,
}

impl EmbeddedConfig {
    /// The usual sizes: about 3 MB for each forum whose window is full.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), window_messages: 1000, resident_forums_max: 128, writes: WriteMode::Thread }
    }
}

/// AtomJump over SQLite.
pub struct EmbeddedBackend {
    store: Store,
    forums: Forums,
    directory: Directory,
    /// Held while records are applied, so that queue and memory take them in the same order.
    applying: Mutex<JoiningForums>,
}

impl EmbeddedBackend {
    /// Opens or creates the data folder. Fails if it is in use, unreadable or from a newer version.
    pub fn open(config: EmbeddedConfig) -> Result<Self, BackendError> {
        let store = Store::open(&config.dir, config.writes)?;
        let joining = JoiningForums::new(&store.joining()?);
        Ok(Self {
            store,
            forums: Forums::new(config.window_messages.max(1), config.resident_forums_max.max(1)),
            directory: Directory::new(),
            applying: Mutex::new(joining),
        })
    }

    /// Puts everything applied so far on disk, where no thread does it: see [`WriteMode::WhenTold`].
    pub fn commit_queued(&self) -> Result<(), BackendError> {
        self.store.commit_queued()
    }

    /// Waits until everything asked for so far is on disk: records, and the beginnings and ends of invitations.
    pub fn flush(&self) -> Result<(), BackendError> {
        self.store.flush()
    }
}

impl Backend for EmbeddedBackend {
    fn durable_cursor(&self) -> u64 {
        self.store.durable()
    }

    fn durable_changed(&self) -> watch::Receiver<u64> {
        self.store.durable_changed()
    }

    fn apply(&self, records: Vec<AppliedRecord>, through: u64) -> Result<(), BackendError> {
        let joining = self.applying.lock();
        // Everything is read before anything is changed: a record that cannot be read leaves no trace.
        let decode = |record: AppliedRecord| {
            let staged = record.staged;
            let record = Decoded::of(record)?;
            let fate = joining.fate(&record, staged)?;
            Ok((record, fate))
        };
        let records = records.into_iter().map(decode).collect::<Result<Vec<_>, BackendError>>()?;
        let changes = records.iter().flat_map(|(record, fate)| record.changes(*fate)).collect();
        self.store.write(changes, through)?;
        let durable = self.store.durable();
        for (record, fate) in records {
            if let Some(forum) = record.forum.filter(|_| fate == Fate::Apply) {
                self.forums.apply(forum, record.id, record.closes, &record.facts);
            }
            for fact in record.facts {
                if let Some(Kind::UserStored(user)) = fact.kind {
                    self.directory.apply_user(user, record.id, durable);
                }
            }
        }
        self.forums.set_applied_through(through);
        Ok(())
    }

    fn execute(&self, task: TaskId, work: &Work) -> Result<Executed, BackendError> {
        self.store.check()?;
        let forum = work.forum.get();
        let call = work.request.as_ref();
        let call = call.and_then(|request| Call::read(request, Some(work.forum), work.given, work.now).ok());
        self.forums.write(&self.store, forum, |window| {
            window.drop_pending_from(task.get());
            let executed = match call {
                Some(call) => {
                    let view = ForumView { window, forum, store: &self.store };
                    execute(&call, Session::of(work.session.as_ref()), &view)?
                }
                None => execute_refused(),
            };
            window.push_pending(task.get(), &executed.facts);
            Ok(executed)
        })
    }

    fn forget_pending(&self, forum: ForumId) {
        self.forums.forget_pending(forum.get());
    }

    fn forum_rows(
        &self,
        forum: ForumId,
        before: Option<(u64, u32)>,
        limit: usize,
    ) -> Result<ForumPage, BackendError> {
        self.store.check()?;
        let forum = forum.get();
        self.forums.read(&self.store, forum, |window| page::of(window, forum, &self.store, before, limit))
    }

    fn user(&self, id: u32) -> Result<Option<v1::UserStored>, BackendError> {
        self.store.check()?;
        self.directory.user(&self.store, id)
    }

    fn joining(&self) -> Result<Vec<Joining>, BackendError> {
        self.store.joining()
    }

    fn begin_joining(&self, forum: ForumId, invitation: TaskId) -> Result<(), BackendError> {
        let mut joining = self.applying.lock();
        let (forum, invitation) = (forum.get(), invitation.get());
        if joining.get(forum).is_none_or(|open| open.invitation != invitation) {
            self.store.write(vec![Change::BeginJoining { forum, invitation }], 0)?;
            joining.begin(forum, invitation);
            self.forums.forget(forum);
        }
        Ok(())
    }

    fn end_joining(&self, forum: ForumId) -> Result<(), BackendError> {
        let mut joining = self.applying.lock();
        match joining.get(forum.get()) {
            None => return Ok(()),
            Some(open) if open.installed.is_none() => {
                return Err(BackendError::Unavailable("the forum's checkpoint is not in place"));
            }
            Some(_) => {}
        }
        self.store.write(vec![Change::EndJoining(forum.get())], 0)?;
        joining.end(forum.get());
        Ok(())
    }

    fn drop_forum(&self, forum: ForumId) -> Result<(), BackendError> {
        let mut joining = self.applying.lock();
        self.store.write(vec![Change::DropForum(forum.get())], 0)?;
        joining.end(forum.get());
        self.forums.forget(forum.get());
        Ok(())
    }

    fn drop_empty_forum(&self, forum: ForumId) -> Result<(), BackendError> {
        let mut joining = self.applying.lock();
        self.store.write(vec![Change::DropEmptyForum(forum.get())], 0)?;
        joining.end(forum.get());
        self.forums.forget(forum.get());
        Ok(())
    }

    fn keep_forum(&self, forum: ForumId) -> Result<(), BackendError> {
        self.store.write(vec![Change::KeepForum(forum.get())], 0)?;
        self.forums.forget(forum.get());
        Ok(())
    }

    fn forums_kept(&self) -> Result<Vec<ForumId>, BackendError> {
        self.store.kept()
    }

    fn export(
        &self,
        scope: Scope,
        at_least: u64,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<v1::CheckpointHeader, BackendError> {
        self.export_checkpoint(scope, at_least, file, progress)
    }

    fn install(
        &self,
        header: &v1::CheckpointHeader,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), InstallError> {
        self.install_checkpoint(header, file, progress, is_cancelled)?;
        // What the forum's first writer would otherwise wait for at the cut-over: its newest messages, and the names
        // used in all older ones.
        if let Some(forum) = ForumId::new(header.forum_id) {
            let forum = forum.get();
            self.forums.read(&self.store, forum, |window| {
                ForumView { window, forum, store: &self.store }.authors_named("").map(drop)
            })?;
        }
        Ok(())
    }

    fn audit(&self, forum: ForumId) -> Result<oneshot::Receiver<Digest>, BackendError> {
        self.audit_forum(forum)
    }

    fn forums_on_disk(&self) -> Result<Vec<ForumId>, BackendError> {
        self.store.forums()
    }

    fn disk_bytes(&self) -> u64 {
        self.store.disk_bytes()
    }

    fn close(&self) {
        self.store.close();
    }
}

#[cfg(test)]
mod tests;
