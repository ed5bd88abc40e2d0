//! Rows for who goes through many of them: a snapshot of the database, and a scratch database beside it.
//!
//! Holds one row at a time, and at most the ids of a forum's messages (4 bytes each).

use std::{
    fs, io,
    ops::Deref,
    path::{Path, PathBuf},
};

use loop_proto::v1;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{change::Change, error::failed, files, rows, schema};
use crate::backend::BackendError;

/// Ending of scratch databases' names; whatever has it was left by a process that is gone.
const SCRATCH: &str = ".scratch";

const NO_ROOM: BackendError = BackendError::Unavailable("the disk has no room for a checkpoint");

/// One state of the database, for as long as it lives.
pub struct Snapshot {
    connection: Connection,
}

impl Snapshot {
    /// Pins the newest state.
    pub(super) fn begin(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute_batch("BEGIN")?;
        // The first read decides which state it is.
        rows::cursor(&connection)?;
        Ok(Self { connection })
    }

    /// The last record in it.
    pub fn cursor(&self) -> Result<u64, BackendError> {
        rows::cursor(&self.connection).map_err(failed)
    }

    /// A forum's row.
    pub fn forum(&self, forum: u32) -> Result<Option<v1::ForumStored>, BackendError> {
        rows::forum(&self.connection, forum).map_err(failed)
    }

    /// The forum of this key, the MD5 of its name.
    pub fn forum_of_key(&self, passcode: &str) -> Result<Option<u32>, BackendError> {
        let sql = "SELECT MIN(int_layer_id) FROM tbl_layer WHERE passcode = ?1";
        self.connection.query_row(sql, [passcode], |row| row.get(0)).map_err(failed)
    }

    /// A forum's subscriptions, by user.
    pub fn subscriptions(&self, forum: u32) -> Result<Vec<v1::SubscriptionStored>, BackendError> {
        rows::subscriptions(&self.connection, forum).map_err(failed)
    }

    /// A forum's messages, by id.
    pub fn each_message<E: From<BackendError>>(
        &self,
        forum: u32,
        mut visit: impl FnMut(v1::MessageStored) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT int_ssshout_id FROM tbl_ssshout WHERE int_layer_id = ?1";
        for id in self.ids(sql, [forum])? {
            if let Some(message) = rows::message(&self.connection, forum, id).map_err(failed)? {
                visit(message)?;
            }
        }
        Ok(())
    }

    /// The users a forum concerns: authors, whom is whispered to, subscribers, the group. Ascending.
    pub fn users_of(&self, forum: u32) -> Result<Vec<u32>, BackendError> {
        let sql = "SELECT int_author_id FROM tbl_ssshout WHERE int_layer_id = ?1 AND int_author_id IS NOT NULL \
             UNION SELECT int_whisper_to_id FROM tbl_ssshout \
             WHERE int_layer_id = ?1 AND int_whisper_to_id IS NOT NULL \
             UNION SELECT int_user_id FROM tbl_layer_subscription WHERE int_layer_id = ?1 \
             UNION SELECT int_group_id FROM tbl_layer WHERE int_layer_id = ?1 AND int_group_id IS NOT NULL";
        self.ids(sql, [forum])
    }

    /// All users' ids, ascending.
    pub fn user_ids(&self) -> Result<Vec<u32>, BackendError> {
        self.ids("SELECT int_user_id FROM tbl_user", [])
    }

    /// A user.
    pub fn user(&self, id: u32) -> Result<Option<v1::UserStored>, BackendError> {
        rows::user(&self.connection, id).map_err(failed)
    }

    fn ids<P: rusqlite::Params>(&self, sql: &str, values: P) -> Result<Vec<u32>, BackendError> {
        let read = || -> rusqlite::Result<Vec<u32>> {
            self.connection.prepare(sql)?.query_map(values, |row| row.get(0))?.collect()
        };
        let mut ids = read().map_err(failed)?;
        ids.sort_unstable();
        Ok(ids)
    }
}

/// A database nobody else sees, gone when it is dropped.
pub struct Scratch {
    rows: Option<Snapshot>,
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty one in `dir`.
    pub(super) fn create(dir: &Path, name: &str) -> Result<Self, BackendError> {
        let path = dir.join(format!("{name}{SCRATCH}"));
        // One of the same name was left by an attempt that is over.
        let _ = fs::remove_file(&path);
        files::open_private(&path).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => NO_ROOM,
            _ => BackendError::Fatal(format!("cannot make {}: {error}", path.display())),
        })?;
        Self::prepare(path).map_err(failed)
    }

    fn prepare(path: PathBuf) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        let scratch = Self { rows: Some(Snapshot { connection }), path };
        schema::prepare_scratch(&scratch.connection)?;
        // One transaction for all: it is never committed, and read by its own connection only.
        scratch.connection.execute_batch("BEGIN")?;
        Ok(scratch)
    }

    /// Adds a row. False: there is one of its key.
    pub fn add(&self, row: &Change) -> Result<bool, BackendError> {
        rows::add(&self.connection, row).map_err(|error| match error.sqlite_error_code() {
            // It goes away with the attempt; the peer's own database has what it needs.
            Some(ErrorCode::DiskFull) => NO_ROOM,
            _ => failed(error),
        })
    }
}

impl Deref for Scratch {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        self.rows.as_ref().expect("only drop takes it")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.rows = None;
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what earlier processes left.
pub(super) fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.to_str().is_some_and(|path| path.ends_with(SCRATCH)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
