//! The forums on their way to this peer, in memory: what becomes of their records. The disk has the same, as of its
//! cursor; this is ahead of it by what is queued.

use std::collections::BTreeMap;

use super::record::{Decoded, Fate};
use crate::backend::{BackendError, Joining};

/// Open invitations by forum.
#[derive(Default)]
pub struct JoiningForums {
    open: BTreeMap<u32, Invited>,
}

/// One open invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invited {
    /// The record that invited.
    pub invitation: u64,
    /// The installed checkpoint's position, once there is one.
    pub installed: Option<u64>,
}

impl JoiningForums {
    /// What the disk has.
    pub fn new(found: &[Joining]) -> Self {
        let open = found.iter().map(|joining| {
            let invited = Invited { invitation: joining.invitation.get(), installed: joining.installed };
            (joining.forum.get(), invited)
        });
        Self { open: open.collect() }
    }

    /// The forum's open invitation.
    pub fn get(&self, forum: u32) -> Option<Invited> {
        self.open.get(&forum).copied()
    }

    /// Opens an invitation, in the place of another one.
    pub fn begin(&mut self, forum: u32, invitation: u64) {
        self.open.insert(forum, Invited { invitation, installed: None });
    }

    /// Notes that the checkpoint of `cursor` is in place.
    pub fn installed(&mut self, forum: u32, invitation: u64, cursor: u64) {
        if let Some(open) = self.open.get_mut(&forum).filter(|open| open.invitation == invitation) {
            open.installed = Some(cursor);
        }
    }

    /// Closes the forum's invitation.
    pub fn end(&mut self, forum: u32) {
        self.open.remove(&forum);
    }

    /// Closes all: their records have a gap that no checkpoint of theirs fills.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// What becomes of a record's rows. One to be staged for a forum that joins nowhere would be lost: it is refused.
    pub fn fate(&self, record: &Decoded, staged: bool) -> Result<Fate, BackendError> {
        let open = record.forum.and_then(|forum| self.get(forum));
        match (open.map(|open| open.installed), staged) {
            (Some(Some(installed)), _) if record.id <= installed => Ok(Fate::Skip),
            (Some(None), true) => Ok(Fate::Stage),
            (None, true) => Err(BackendError::Fatal(format!(
                "record t{} is to be staged, but its forum has no open invitation",
                record.id
            ))),
            (Some(_), _) | (None, false) => Ok(Fate::Apply),
        }
    }
}
