//! The model's backend: live rows, staged ones, and how far a copy on its way has come.

use super::*;

/// What a backend keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) cursor: u64,
    pub(super) rows: Vec<Bytes>,
    pub(super) staged: Vec<(u64, Bytes)>,
    pub(super) joining: Option<(TaskId, Option<u64>)>,
}

impl Disk {
    /// As a backend lists what it has on starting.
    pub(super) fn copies(&self) -> Option<(ForumId, Copied)> {
        match self.joining {
            Some((invitation, installed)) => Some((forum(), Copied::Joining { invitation, installed })),
            None => (!self.rows.is_empty()).then_some((forum(), Copied::Whole)),
        }
    }

    pub(super) fn apply(&mut self, record: AppliedRecord) {
        match self.joining {
            Some((_, None)) => {
                assert!(record.staged, "{} was not kept aside", record.id);
                self.staged.push((record.id.get(), record.facts));
            }
            // The report of an installation may still be on its way to the core.
            Some((_, Some(installed))) if record.id.get() > installed => self.rows.push(record.facts),
            Some(_) => {}
            None => {
                assert!(!record.staged);
                self.rows.push(record.facts);
            }
        }
    }
}
