//! AtomJump's tables in SQLite: one writer, any number of readers, the cursor in the same transaction as the rows.
//!
//! Owns the files and what is durable. Never knows what a row means, nor which rows are in memory.

mod rows;
mod schema;
mod writer;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use loop_proto::v1;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use crate::backend::BackendError;
use writer::Writer;

pub use rows::{DeepQuery, Loaded};

const DATABASE: &str = "loop.sqlite3";
/// Reader connections kept open; more are opened when needed and closed after.
const READERS_KEPT: usize = 4;

/// One row to write.
#[derive(Clone, Debug)]
pub enum Change {
    /// Insert or replace.
    Message(v1::MessageStored),
    /// Delete: id and forum.
    MessageRemoved(u32, u32),
    /// Insert or replace.
    User(v1::UserStored),
    /// Insert or replace.
    Forum(v1::ForumStored),
    /// Insert or replace.
    Subscription(v1::SubscriptionStored),
    /// Insert or replace.
    Session(v1::SessionRecord),
}

/// Who writes to the database, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// A thread, soon; a commit is on the disk. For everything that ships.
    #[default]
    Thread,
    /// The caller of [`Store::commit_queued`], or of what cannot wait for it. A commit survives the end of the peer,
    /// not of the machine. For a simulation, where nothing may run beside it and the process outlives its peers.
    WhenTold,
}

/// The database of one peer.
pub struct Store {
    dir: PathBuf,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    /// Held while the folder is ours.
    _lock: File,
}

impl Store {
    /// Opens or creates the database in `dir`. Refuses a folder another process uses, and one from a newer version.
    pub fn open(dir: &Path, mode: WriteMode) -> Result<Self, BackendError> {
        let fatal =
            |error: std::io::Error| BackendError::Fatal(format!("data folder {}: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(fatal)?;
        let lock = File::create(dir.join("lock")).map_err(fatal)?;
        lock.try_lock().map_err(|_| {
            BackendError::Fatal(format!("data folder {} is used by another process", dir.display()))
        })?;
        let mut connection = Connection::open(dir.join(DATABASE)).map_err(failed)?;
        schema::prepare(&mut connection)?;
        if mode == WriteMode::WhenTold {
            connection.pragma_update(None, "synchronous", "OFF").map_err(failed)?;
        }
        let cursor = rows::cursor(&connection).map_err(failed)?;
        let writer = Writer::start(connection, cursor, mode)?;
        Ok(Self { dir: dir.to_owned(), writer, readers: Mutex::new(Vec::new()), _lock: lock })
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

    /// Fails once the writer has.
    pub fn check(&self) -> Result<(), BackendError> {
        self.writer.check()
    }

    /// A forum's row, subscriptions and newest messages.
    pub fn load_forum(&self, forum: u32, messages: usize) -> Result<Loaded, BackendError> {
        self.read(|connection| rows::load_forum(connection, forum, messages))
    }

    /// One message of a forum.
    pub fn message(&self, forum: u32, id: u32) -> Result<Option<v1::MessageStored>, BackendError> {
        self.read(|connection| rows::message(connection, forum, id))
    }

    /// Messages older than those in memory.
    pub fn older(&self, query: &DeepQuery<'_>) -> Result<Vec<v1::MessageStored>, BackendError> {
        self.read(|connection| rows::older(connection, query))
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

    /// A session's record.
    pub fn session(&self, id: &str) -> Result<Option<v1::SessionRecord>, BackendError> {
        self.read(|connection| rows::session(connection, id))
    }

    /// Bytes of the database's files.
    pub fn disk_bytes(&self) -> u64 {
        let size = |name: &str| fs::metadata(self.dir.join(name)).map_or(0, |meta| meta.len());
        [DATABASE, "loop.sqlite3-wal", "loop.sqlite3-shm"].into_iter().map(size).sum()
    }

    /// Writes what is queued and stops the writer. Dropping without this loses what is queued, never a part of it.
    pub fn close(&self) {
        self.writer.close();
        self.readers.lock().clear();
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, BackendError> {
        let kept = self.readers.lock().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.open_reader()?,
        };
        let result = query(&connection).map_err(failed);
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        result
    }

    fn open_reader(&self) -> Result<Connection, BackendError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.dir.join(DATABASE), flags).map_err(failed)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    }
}

/// Any failure of SQLite is the disk's or ours: the process must not go on.
fn failed(error: rusqlite::Error) -> BackendError {
    BackendError::Fatal(format!("database: {error}"))
}

#[cfg(test)]
mod tests;
