//! What can go wrong with the log, told to the operator who must act.

use std::{fmt, io, path::PathBuf};

/// How an operator replaces a hub that has lost what it had promised to keep.
///
/// Under its old number it would be believed: it could elect a leader that lacks what it had helped to commit.
pub const REPLACE: &str = "take it out of the group (`hubctl hub remove N` with its number, at another hub), and start a \
    new one with --join, an empty data folder and a number no hub has had; it gets everything from the others";

/// Why the log store cannot be opened. The same reasons as at work.
pub type OpenError = LogError;

/// Why the log store cannot go on. Each of them ends the hub: a log that failed once is not trusted again until
/// it has been opened anew.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// What is stored is not what was written.
    #[error(transparent)]
    Corrupt(#[from] Corruption),
    /// The disk or the file system said no.
    #[error("the Raft log in {dir}: cannot {what}: {why}", dir = dir.display())]
    Io {
        /// The directory of the log.
        dir: PathBuf,
        /// What was tried.
        what: &'static str,
        /// The system's words.
        why: String,
        /// The system's kind of error.
        kind: io::ErrorKind,
    },
    /// Another process, or this one, has it open.
    #[error("{dir} is in use by another process", dir = dir.display())]
    InUse {
        /// The directory of the log.
        dir: PathBuf,
    },
    /// The directory holds a log of the other engine.
    #[error(
        "{dir} holds a log of the {found} engine; configure that engine, or replace this hub: {REPLACE}",
        dir = dir.display()
    )]
    OtherEngine {
        /// The directory of the log.
        dir: PathBuf,
        /// The engine that wrote it.
        found: &'static str,
    },
    /// An entry cannot be stored, whatever the disk says.
    #[error("entry {index} of {bytes} bytes is larger than the log takes")]
    TooLarge {
        /// Its index.
        index: u64,
        /// Its encoded size.
        bytes: usize,
    },
    /// An earlier operation failed, so nothing more is taken.
    #[error("the Raft log has stopped after an error: {0}")]
    Stopped(String),
}

/// Where and how a log is damaged, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corruption {
    /// The directory that cannot be used any more.
    pub dir: PathBuf,
    /// The entry that is damaged or missing, as far as it can be told.
    pub index: Option<u64>,
    /// Where in the directory, such as a file and offset.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        write!(f, "the Raft log in {dir} is corrupt")?;
        if let Some(index) = self.index {
            write!(f, " at entry {index}")?;
        }
        write!(
            f,
            " ({}): {}. This hub must not serve from it. Keep {dir} aside if you want to know why, and replace this \
             hub: {REPLACE}",
            self.place, self.what
        )
    }
}

impl std::error::Error for Corruption {}

impl LogError {
    /// For `map_err`: what was tried, where.
    pub(crate) fn io(dir: &std::path::Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let dir = dir.to_owned();
        move |error| Self::Io { dir, what, why: error.to_string(), kind: error.kind() }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Corrupt(_) => io::ErrorKind::InvalidData,
            LogError::Io { kind, .. } => *kind,
            LogError::InUse { .. } => io::ErrorKind::ResourceBusy,
            LogError::OtherEngine { .. } | LogError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            LogError::Stopped(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
