//! Which forums' rows this peer has, counting everything the backend has been told. Owns the rule by which a record
//! begins, ends or drops a copy. Never knows connections: a copy outlives them.

use std::collections::BTreeMap;

use loop_proto::ids::{ForumId, TaskId};

use super::{entry::Role, limits::FORUMS_MAX};

/// What there is of a forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// All of it, as of the cursor.
    Whole,
    /// All of it as of when the hubs took it away; nothing has followed since.
    Kept,
    /// It is on its way.
    Joining {
        /// The record that invited.
        invitation: TaskId,
        /// The installed checkpoint's position; `None`: facts are still kept aside.
        installed: Option<u64>,
    },
}

impl Copied {
    /// Its checkpoint is still to come: facts are kept aside.
    pub(super) fn is_unseeded(self) -> bool {
        matches!(self, Self::Joining { installed: None, .. })
    }
}

/// What an assignment record means for the copy of its forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Begin(TaskId),
    End,
    Drop,
    Keep,
}

#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<ForumId, Copied>);

impl Copies {
    pub fn new(known: impl IntoIterator<Item = (ForumId, Copied)>) -> Self {
        Self(known.into_iter().collect())
    }

    pub fn get(&self, forum: ForumId) -> Option<Copied> {
        self.0.get(&forum).copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many wait for their checkpoint, this one apart.
    pub fn unseeded_beside(&self, forum: ForumId) -> usize {
        self.0.iter().filter(|(known, copied)| **known != forum && copied.is_unseeded()).count()
    }

    pub fn is_whole(&self, forum: ForumId) -> bool {
        self.get(forum) == Some(Copied::Whole)
    }

    /// Forums for which `held` is false; they are gone from here.
    pub fn drop_unless(&mut self, held: impl Fn(ForumId) -> bool) -> Vec<ForumId> {
        let goes = |forum: &ForumId, copied: &mut Copied| *copied != Copied::Kept && !held(*forum);
        self.0.extract_if(.., goes).map(|(forum, _)| forum).collect()
    }

    /// There is no more of it than what follows: it is empty now, or was when this peer stopped.
    pub fn note_empty(&mut self, forum: ForumId) {
        if self.0.len() < FORUMS_MAX {
            self.0.entry(forum).or_insert(Copied::Whole);
        }
    }

    /// Takes this peer's role as the record at `at` gives it, met for the first time. `others_whole`: the record shows somebody
    /// else whose copy counts.
    pub fn follow(
        &mut self,
        forum: ForumId,
        role: Option<Role>,
        at: TaskId,
        others_whole: bool,
    ) -> Option<Change> {
        match (role, self.get(forum)) {
            (None, None | Some(Copied::Kept)) => None,
            (None, Some(Copied::Whole)) if !others_whole => {
                self.0.insert(forum, Copied::Kept);
                Some(Change::Keep)
            }
            (None, Some(_)) => {
                self.0.remove(&forum);
                Some(Change::Drop)
            }
            (Some(Role::Joining(joining)), known) => {
                // Only at its very beginning: a copy begun later would miss what came between.
                if joining.invitation != at || (known.is_none() && self.0.len() >= FORUMS_MAX) {
                    return None;
                }
                let begun = Copied::Joining { invitation: at, installed: None };
                (self.0.insert(forum, begun) != Some(begun)).then_some(Change::Begin(at))
            }
            (Some(_), Some(Copied::Joining { installed: Some(_), .. })) => {
                self.0.insert(forum, Copied::Whole);
                Some(Change::End)
            }
            (Some(_), None) => {
                self.note_empty(forum);
                None
            }
            // A copy that is not there cannot serve, whatever the hubs believe.
            (Some(_), Some(_)) => None,
        }
    }

    /// The forum is gone, for everybody. Whether there is anything of it here.
    pub fn close(&mut self, forum: ForumId) -> bool {
        self.0.remove(&forum).is_some()
    }

    /// A checkpoint is installed. False if the copy is not waiting for it.
    pub fn installed(&mut self, forum: ForumId, invitation: TaskId, cursor: u64) -> bool {
        match self.0.get_mut(&forum) {
            Some(Copied::Joining { invitation: waits, installed: installed @ None })
                if *waits == invitation =>
            {
                *installed = Some(cursor);
                true
            }
            _ => false,
        }
    }
}
