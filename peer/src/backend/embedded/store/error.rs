//! How a failure of the database is told.

use crate::backend::BackendError;

/// Any failure of SQLite is the disk's or ours: the process must not go on.
pub fn failed(error: rusqlite::Error) -> BackendError {
    BackendError::Fatal(format!("database: {error}"))
}
