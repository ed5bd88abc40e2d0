//! Copies of a forum, or of the directory, as files: written from a snapshot, read by an allow-list, installed whole.
//!
//! Owns the file's format and what may be in one. Never knows how a file comes from one peer to another.

mod digest;
mod export;
mod format;
mod install;
mod lexer;
mod reader;
mod values;

use std::{fs, path::Path};

use loop_proto::{ids::ForumId, v1};
use tokio::sync::oneshot;

use super::{EmbeddedBackend, joining::Invited, store::Change};
use crate::backend::{BackendError, Digest, InstallError, Progress, Scope};
use install::{Watcher, check_bytes, refused};
use reader::Content;

/// What [`EmbeddedBackend::import`] found in a file and wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The forum whose rows these are.
    pub forum: ForumId,
    /// The digest of its rows, and how many messages there are.
    pub digest: Digest,
    /// Users it concerns.
    pub users: u64,
}

impl EmbeddedBackend {
    /// The forum of this id that has rows here, or the one whose name hashes to this key.
    pub fn forum_of_key(&self, passcode: &str) -> Result<Option<ForumId>, BackendError> {
        Ok(self.store.snapshot()?.forum_of_key(passcode)?.and_then(ForumId::new))
    }

    /// Makes a forum's rows of a file that comes from outside the group: a checkpoint, or a dump by MariaDB's own
    /// tool, whose sessions are left out. Users that are known stay as they are. All or nothing, also if the process
    /// ends meanwhile. Only for a peer that is not running.
    pub fn import(
        &self,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Imported, InstallError> {
        let watcher = Watcher { progress, is_cancelled, bytes: length(file)? };
        let proven = self.prove(file, Content::Forum(None), u64::MAX, &watcher)?;
        let Scope::Forum(forum) = proven.scope else { return Err(refused("this is no forum's checkpoint")) };
        if proven.marks.begin.is_some_and(|(named, _)| named != forum.get()) {
            return Err(refused("the file is of another forum than its first line says"));
        }
        if self.applying.lock().get(forum.get()).is_some() {
            return Err(BackendError::Unavailable("the group is sending this forum to this peer").into());
        }
        let imported = Imported { forum, digest: proven.digest, users: proven.users.len() as u64 };
        self.exchange_at_once(proven, forum.get(), &watcher)?;
        self.forget(Some(forum.get()));
        Ok(imported)
    }

    pub(super) fn export_checkpoint(
        &self,
        scope: Scope,
        at_least: u64,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<v1::CheckpointHeader, BackendError> {
        self.store.wait_durable(at_least)?;
        let rows = self.store.snapshot()?;
        export::export(&rows, scope, rows.cursor()?, file, progress)
    }

    pub(super) fn install_checkpoint(
        &self,
        header: &v1::CheckpointHeader,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), InstallError> {
        let watcher = Watcher { progress, is_cancelled, bytes: length(file)? };
        let forum = (header.forum_id > 0).then_some(header.forum_id);
        let invited = forum.map(|forum| self.invited(forum, header.cursor)).transpose()?;
        check_bytes(file, header, &watcher)?;
        let content = forum.map_or(Content::Directory, |forum| Content::Forum(Some(forum)));
        let proven = self.prove(file, content, header.messages, &watcher)?;
        if proven.marks.begin != Some((header.forum_id, header.cursor)) {
            return Err(refused("the file's first line does not say what was announced"));
        }
        if proven.digest.messages != header.messages || proven.digest.sha256[..] != header.digest[..] {
            return Err(refused("the rows are not those that were announced: count or digest differ"));
        }
        let Some((forum, invited)) = forum.zip(invited) else {
            return self.install_directory(&proven, header.cursor, &watcher);
        };
        self.exchange(&proven, forum, invited.invitation, &watcher)?;
        self.exchange_staged(forum, invited.invitation, header.cursor, &watcher)?;
        self.applying.lock().installed(forum, invited.invitation, header.cursor);
        self.forget(Some(forum));
        progress(Progress { bytes_done: watcher.bytes, bytes_total: watcher.bytes });
        Ok(())
    }

    /// The forum's open invitation, if a checkpoint of `cursor` can be installed for it.
    fn invited(&self, forum: u32, cursor: u64) -> Result<Invited, InstallError> {
        match self.applying.lock().get(forum) {
            None => Err(BackendError::Unavailable("the forum has no open invitation").into()),
            Some(Invited { installed: Some(_), .. }) => {
                Err(BackendError::Unavailable("the forum has its checkpoint already").into())
            }
            Some(invited) if cursor < invited.invitation => Err(refused(
                "the checkpoint is older than the invitation: records in between would be missing",
            )),
            Some(invited) => Ok(invited),
        }
    }

    fn install_directory(
        &self,
        proven: &install::Proven,
        cursor: u64,
        watcher: &Watcher<'_>,
    ) -> Result<(), InstallError> {
        let is_ahead = cursor > self.store.durable().max(self.forums.applied_through());
        self.add_users(proven, is_ahead, watcher)?;
        let mut joining = self.applying.lock();
        // Records of forums on their way here are skipped with the rest. The hubs invite anew.
        let changes = if is_ahead { vec![Change::EndAllJoining] } else { Vec::new() };
        self.store.write(changes, cursor)?;
        if is_ahead {
            joining.clear();
        }
        self.forums.set_applied_through(cursor);
        drop(joining);
        self.store.wait_durable(cursor)?;
        self.forget(None);
        Ok(())
    }

    pub(super) fn audit_forum(&self, forum: ForumId) -> Result<oneshot::Receiver<Digest>, BackendError> {
        let (done, receiver) = oneshot::channel();
        self.store.look_after_queued(move |rows| {
            match digest::digest::<BackendError>(&rows, Scope::Forum(forum), || Ok(())) {
                // Whoever asked may have gone.
                Ok(digest) => drop(done.send(digest)),
                Err(error) => tracing::error!(%error, "no digest"),
            }
        })?;
        Ok(receiver)
    }

    /// Rows were written past memory.
    fn forget(&self, forum: Option<u32>) {
        if let Some(forum) = forum {
            self.forums.forget(forum);
        }
        self.directory.forget_durable(self.store.durable());
    }
}

fn length(file: &Path) -> Result<u64, InstallError> {
    let meta = fs::metadata(file).map_err(|error| {
        BackendError::Fatal(format!("cannot read the checkpoint {}: {error}", file.display()))
    })?;
    Ok(meta.len())
}

#[cfg(test)]
mod tests;
