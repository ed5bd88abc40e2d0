//! What the log's users and its writer share.

use super::{error::LogError, tail::Tail};
use crate::raft_types::{LogId, Vote};

/// What is true as far as Raft is concerned: everything asked for, on disk or not.
#[derive(Debug)]
pub(super) struct State {
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<LogId>,
    /// The newest entry, or `purged` if there is none.
    pub last: Option<LogId>,
    /// The oldest entry still there; where the next goes if there is none.
    pub first: u64,
    pub tail: Tail,
    /// Entries before this are in the engine, under the present truncation count.
    pub persisted_next: u64,
    /// Truncations asked for so far; a read that saw one begin meanwhile is repeated.
    pub truncations: u64,
    pub failed: Option<LogError>,
}

impl State {
    /// Where the next entry goes.
    pub fn next(&self) -> u64 {
        self.last.as_ref().map_or(self.first, |id| (id.index() + 1).max(self.first))
    }

    /// Fails once the log has.
    pub fn healthy(&self) -> Result<(), LogError> {
        self.failed.as_ref().map_or(Ok(()), |error| Err(LogError::Stopped(error.to_string())))
    }
}
