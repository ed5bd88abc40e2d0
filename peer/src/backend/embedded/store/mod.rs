//! AtomJump's tables in SQLite: one writer, any number of readers, the cursor in the same transaction as the rows.
//!
//! Owns the files and what is durable. Never knows what a row means, nor which rows are in memory.

mod change;
mod changes;
mod error;
mod files;
mod joining;
mod rows;
mod schema;
mod snapshot;
mod writer;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use loop_proto::{
    breakage::{self, Breakage},
    ids::ForumId,
    v1,
};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use crate::backend::{BackendError, Joining};
use error::failed;
use writer::Writer;

pub use change::Change;
pub use joining::StagedFacts;
pub use rows::access_word;
pub use snapshot::{Scratch, Snapshot};
pub use writer::WriteMode;

const DATABASE: &str = "loop.sqlite3";
/// Reader connections kept open; more are opened when needed and closed after.
const READERS_KEPT: usize = 4;

/// The database of one peer.
pub struct Store {
    dir: PathBuf,
    writer: Writer,
    mode: WriteMode,
    readers: Mutex<Vec<Connection>>,
    /// Held while the folder is ours.
    _lock: File,
}

impl Store {
    /// Opens or creates the database in `dir`. Refuses a folder another process uses, and one from a newer version.
    pub fn open(dir: &Path, mode: WriteMode) -> Result<Self, BackendError> {
        let fatal =
            |error: std::io::Error| BackendError::Fatal(format!("data folder {}: {error}", dir.display()));
        files::make_folder(dir).map_err(fatal)?;
        let lock = files::open_private(&dir.join("lock")).map_err(fatal)?;
        lock.try_lock().map_err(|_| {
            BackendError::Fatal(format!("data folder {} is used by another process", dir.display()))
        })?;
        // SQLite gives the files it makes beside this one the same rights.
        files::open_private(&dir.join(DATABASE)).map_err(fatal)?;
        let mut connection = Connection::open(dir.join(DATABASE)).map_err(failed)?;
        schema::prepare(&mut connection)?;
        if mode == WriteMode::WhenTold {
            connection.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        }
        let cursor = rows::cursor(&connection).map_err(failed)?;
        let writer = Writer::start(connection, cursor, mode)?;
        snapshot::sweep(dir).map_err(fatal)?;
        Ok(Self { dir: dir.to_owned(), writer, mode, readers: Mutex::new(Vec::new()), _lock: lock })
    }

    /// Queues rows and the cursor, in order. Waits only while the queue is full.
    pub fn write(&self, changes: Vec<Change>, through: u64) -> Result<(), BackendError> {
        self.writer.write(changes, through)
    }

    /// Writes what is queued, where no thread does it.
    pub fn commit_queued(&self) -> Result<(), BackendError> {
        self.writer.commit_queued()
    }

    /// The last record on disk.
    pub fn durable(&self) -> u64 {
        *self.writer.durable().borrow()
    }

    /// Follows [`Self::durable`].
    pub fn durable_changed(&self) -> watch::Receiver<u64> {
        self.writer.durable()
    }

    /// Waits until the record is on disk. It must have been queued.
    pub fn wait_durable(&self, record: u64) -> Result<(), BackendError> {
        self.writer.wait(record)
    }

    /// Waits until everything queued so far is on disk.
    pub fn flush(&self) -> Result<(), BackendError> {
        self.writer.run(|_| Ok(()))
    }

    /// Fails once the writer has.
    pub fn check(&self) -> Result<(), BackendError> {
        self.writer.check()
    }

    /// A forum's row, subscriptions and newest messages.
    pub fn load_forum(&self, forum: u32, messages: usize) -> Result<loop_atomjump::Rows, BackendError> {
        self.read(|connection| rows::load_forum(connection, forum, messages))
    }

    /// One message of a forum.
    pub fn message(&self, forum: u32, id: u32) -> Result<Option<v1::MessageStored>, BackendError> {
        self.read(|connection| rows::message(connection, forum, id))
    }

    /// Shows active messages older than `before`, newest first, at most `limit`, while `visit` says so.
    pub fn older(
        &self,
        forum: u32,
        before: (u64, u32),
        limit: usize,
        visit: &mut dyn FnMut(v1::MessageStored) -> bool,
    ) -> Result<(), BackendError> {
        self.read(|connection| rows::older(connection, (forum, before), limit, visit))
    }

    /// Authors of a name in active messages older than `before`: name, author, first message.
    pub fn names_before(
        &self,
        forum: u32,
        before: (u64, u32),
    ) -> Result<Vec<(String, Option<u32>, u32)>, BackendError> {
        self.read(|connection| rows::names_before(connection, forum, before))
    }

    /// A user.
    pub fn user(&self, id: u32) -> Result<Option<v1::UserStored>, BackendError> {
        self.read(|connection| rows::user(connection, id))
    }

    /// Forums that are not held any more and whose rows stay.
    pub fn kept(&self) -> Result<Vec<ForumId>, BackendError> {
        self.read(joining::kept)
    }

    /// The forums on their way here, as of the cursor on disk.
    pub fn joining(&self) -> Result<Vec<Joining>, BackendError> {
        self.read(joining::list)
    }

    /// What was staged for an invitation after a record, oldest first, as much as one transaction should take.
    pub fn staged_after(
        &self,
        (forum, invitation): (u32, u64),
        record: u64,
    ) -> Result<Vec<StagedFacts>, BackendError> {
        self.read(|connection| joining::staged_after(connection, (forum, invitation), record))
    }

    /// The forum a message of this id is in.
    pub fn forum_of_message(&self, id: u32) -> Result<Option<u32>, BackendError> {
        self.read(|connection| rows::forum_of_message(connection, id))
    }

    /// Every forum with rows or an open invitation, apart from those whose rows are going.
    pub fn forums(&self) -> Result<Vec<ForumId>, BackendError> {
        self.read(joining::forums)
    }

    /// Everything that is on disk now, unchanged for as long as it is looked at.
    pub fn snapshot(&self) -> Result<Snapshot, BackendError> {
        Snapshot::begin(open_reader(&self.dir.join(DATABASE)).map_err(failed)?).map_err(failed)
    }

    /// Hands `look` what is on disk once everything queued so far is there, and nothing later. Not waited for; `look`
    /// does not hold up the writing, unless nothing may run beside it.
    pub fn look_after_queued(
        &self,
        look: impl FnOnce(Snapshot) + Send + 'static,
    ) -> Result<(), BackendError> {
        let path = self.dir.join(DATABASE);
        let mode = self.mode;
        self.writer.queue_job(Box::new(move |_| {
            // The snapshot is of this moment; what is written from here on is not in it.
            let snapshot = open_reader(&path).and_then(Snapshot::begin).map_err(failed)?;
            match mode {
                WriteMode::WhenTold => look(snapshot),
                WriteMode::Thread => {
                    let thread = std::thread::Builder::new().name("store-look".to_owned());
                    // Whoever waits for what `look` finds learns of it by its absence.
                    if let Err(error) = thread.spawn(move || look(snapshot)) {
                        tracing::warn!(%error, "no thread to read the database with");
                    }
                }
            }
            Ok(())
        }))
    }

    /// Deletes some of the rows a checkpoint replaces; false once there are none. `None`: not for this invitation.
    pub fn make_room(&self, forum: u32, invitation: u64) -> Result<Option<bool>, BackendError> {
        self.writer.run(move |connection| {
            if !awaits(connection, forum, invitation).map_err(failed)? {
                return Ok(None);
            }
            let deleted = joining::delete_some(connection, forum).map_err(failed)?;
            Ok(Some(deleted > 0))
        })
    }

    /// Writes rows of a checkpoint: users that are not there, the forum's own rows.
    /// False: not for this invitation, nothing was written.
    pub fn install_rows(&self, forum: u32, invitation: u64, rows: Vec<Change>) -> Result<bool, BackendError> {
        self.writer.run(move |connection| {
            let awaited = awaits(connection, forum, invitation).map_err(failed)?;
            for row in rows.iter().filter(|_| awaited) {
                rows::add(connection, row).map_err(failed)?;
            }
            Ok(awaited)
        })
    }

    /// Writes what was staged through a record on top of the checkpoint. If nothing later is staged, the checkpoint of
    /// `cursor` is in place with it. Whether it is; `None`: not for this invitation, nothing was written.
    pub fn install_staged(
        &self,
        (forum, invitation): (u32, u64),
        cursor: u64,
        (through, changes): (u64, Vec<Change>),
    ) -> Result<Option<bool>, BackendError> {
        let write = move |connection: &Connection| {
            if !awaits(connection, forum, invitation)? {
                return Ok(None);
            }
            let drops = breakage::is_on(Breakage::StagedFactsDropped);
            let staged = changes.iter().filter(|_| !drops);
            staged.into_iter().try_for_each(|change| rows::write(connection, change))?;
            let more = joining::has_staged_after(connection, (forum, invitation), through)?;
            if !more {
                joining::set_installed(connection, forum, cursor)?;
            }
            Ok(Some(!more))
        };
        self.writer.run(move |connection| write(connection).map_err(failed))
    }

    /// Makes the rows `walk` comes by the forum's, all in one transaction. `tick` is called now and then meanwhile.
    pub fn replace_forum(
        &self,
        forum: u32,
        walk: impl FnOnce(&mut dyn FnMut(Change) -> Result<(), BackendError>) -> Result<(), BackendError>
        + Send
        + 'static,
        tick: &dyn Fn(),
    ) -> Result<(), BackendError> {
        let work = move |connection: &Connection| {
            joining::keep_rows(connection, forum).map_err(failed)?;
            while joining::delete_some(connection, forum).map_err(failed)? > 0 {}
            walk(&mut |row| rows::add(connection, &row).map(drop).map_err(failed))
        };
        self.writer.run_watched(work, tick)
    }

    /// A database of its own beside this one, with the same tables, gone when it is dropped.
    pub fn scratch(&self, name: &str) -> Result<Scratch, BackendError> {
        Scratch::create(&self.dir, name)
    }

    /// Bytes of the database's files.
    pub fn disk_bytes(&self) -> u64 {
        let size = |name: &str| fs::metadata(self.dir.join(name)).map_or(0, |meta| meta.len());
        [DATABASE, "loop.sqlite3-wal", "loop.sqlite3-shm"].into_iter().map(size).sum()
    }

    /// Writes what is queued and stops the writer. Dropping without this loses what is queued, never a part of it.
    pub fn close(&self) {
        // The last connection folds the log into the database, which a reader cannot.
        self.readers.lock().clear();
        self.writer.close();
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, BackendError> {
        let kept = self.readers.lock().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => open_reader(&self.dir.join(DATABASE)).map_err(failed)?,
        };
        let result = query(&connection).map_err(failed);
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        result
    }
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Whether the forum still waits for a checkpoint, and for one of this invitation.
fn awaits(connection: &Connection, forum: u32, invitation: u64) -> rusqlite::Result<bool> {
    let open = joining::open(connection, forum)?;
    Ok(open == Some((invitation, None)))
}

#[cfg(test)]
mod tests;
