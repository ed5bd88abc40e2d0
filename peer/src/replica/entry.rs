//! What the feed brings, typed: records, forum states, verdicts. Owns their shape only.
//! Never knows wire bytes; those are validated once, in `session::decode`.

use std::sync::Arc;

use bytes::Bytes;
use loop_proto::ids::{ForumEpoch, ForumId, PeerId, TaskId};

use crate::backend::Work;

/// One record of the task log, as far as a replica needs it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the log.
    pub id: TaskId,
    /// The forum whose stream it is on; `None`: the directory, which carries facts only.
    pub forum: Option<ForumId>,
    /// What happened there.
    pub body: EntryBody,
}

/// What one record says.
#[derive(Clone, Debug)]
pub enum EntryBody {
    /// A request to execute.
    Task(OpenTask),
    /// Rows to apply.
    Facts(Facts),
    /// Who holds the forum from here on.
    Assignment(Assignment),
    /// Where every serving replica computes its digest.
    Audit,
    /// A forum is gone.
    Closed {
        /// Which.
        forum: ForumId,
        /// With whatever is in it; else there is nothing in it.
        forced: bool,
    },
}

/// A request nobody has answered yet.
#[derive(Clone, Debug)]
pub struct OpenTask {
    /// What to execute. Shared, because an execution may be repeated under a later epoch.
    pub work: Arc<Work>,
    /// Its size on the wire, bytes; held against the bound on open tasks.
    pub size: usize,
}

/// Rows to apply, and who made them.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The task they close.
    pub closes: Option<TaskId>,
    /// Whose execution they are; `None`: the hubs' own, a new forum's or user's row.
    pub peer: Option<PeerId>,
    /// The epoch it was answered under.
    pub epoch: ForumEpoch,
    /// An encoded list of facts, verbatim as it was answered.
    pub rows: Bytes,
}

/// Who holds a forum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The fencing token everything said about the forum carries.
    pub epoch: ForumEpoch,
    /// The one replica that executes.
    pub primary: PeerId,
    /// All replicas that serve, the primary among them.
    pub replicas: Vec<PeerId>,
    /// Those invited that do not serve yet.
    pub joining: Vec<(PeerId, Joining)>,
    /// Those that serve no more and still follow.
    pub draining: Vec<PeerId>,
    /// Of those that serve, whose copies have not been found equal to another's yet.
    pub unconfirmed: Vec<PeerId>,
}

impl Assignment {
    /// Whether somebody else than `peer` serves with a copy that counts.
    pub fn is_whole_beside(&self, peer: PeerId) -> bool {
        self.replicas.iter().any(|other| *other != peer && !self.unconfirmed.contains(other))
    }

    /// What this peer is to the forum; `None`: nothing.
    pub fn role_of(&self, me: PeerId) -> Option<Role> {
        if self.replicas.contains(&me) {
            return Some(if self.primary == me { Role::Primary } else { Role::Serving });
        }
        let joining = self.joining.iter().find(|(peer, _)| *peer == me);
        let joining = joining.map(|(_, joining)| Role::Joining(*joining));
        joining.or_else(|| self.draining.contains(&me).then_some(Role::Draining))
    }
}

/// What a peer is to a forum. All of them follow its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Executes its tasks and answers its reads.
    Primary,
    /// Answers its reads.
    Serving,
    /// Is on its way to do so.
    Joining(Joining),
    /// Does so no more; its copy is kept until somebody else's is known to be whole.
    Draining,
}

impl Role {
    /// Whether it answers for the forum.
    pub fn serves(self) -> bool {
        matches!(self, Self::Primary | Self::Serving)
    }
}

/// An invitation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The record that invited.
    pub invitation: TaskId,
    /// What the hubs wait for.
    pub stage: Stage,
}

/// What the hubs wait for from a joining replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its word.
    Invited,
    /// That it has a checkpoint.
    Seeding,
    /// That it has come close to the log's end.
    CatchingUp,
}

/// A forum this peer holds, as the hub described it on connecting.
#[derive(Clone, Debug)]
pub struct ForumSnapshot {
    /// Which forum.
    pub forum: ForumId,
    /// Who holds it.
    pub assignment: Assignment,
    /// The log position this describes. Nothing may be executed before everything up to it has been fed.
    pub as_of: u64,
    /// Open tasks at or below the cursor the connection started from.
    pub open: Vec<(TaskId, OpenTask)>,
}

/// What a hub said of an answer it did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It never reached the log, or came before an older one: send again from the oldest.
    SendAgain,
    /// The log has moved on; the feed brings what counts.
    FeedKnows,
}
