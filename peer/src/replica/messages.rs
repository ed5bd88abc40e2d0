//! What goes into the core and what comes out of it. Owns the words only.

use std::sync::Arc;

use loop_proto::{
    ids::{ForumEpoch, ForumId, TaskId},
    v1,
};

use super::{
    entry::{Entry, ForumSnapshot, Refusal},
    limits::{FORUMS_MAX, OPEN_TASK_BYTES_MAX, OPEN_TASKS_MAX},
};
use crate::backend::{AppliedRecord, Work};

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A work stream begins; the hub was told this durable cursor.
    Connected {
        /// The cursor it was told; records after it will come.
        cursor: u64,
        /// The newest record the hub knew then. What it describes before the first records is as of then or later.
        newest: u64,
    },
    /// Records are going to be polled after this durable cursor, without a work stream.
    Polling {
        /// The cursor it was told.
        cursor: u64,
    },
    /// The stream is gone.
    Disconnected,
    /// The hub described a forum this peer holds.
    Forum(ForumSnapshot),
    /// Records came.
    Records {
        /// Ascending, after everything that came before on this connection.
        entries: Vec<Entry>,
        /// Nothing else for this peer up to this id.
        through: u64,
    },
    /// The backend has executed what [`Output::Execute`] asked.
    Executed(Box<v1::Answer>),
    /// The backend could not execute it now; nothing was changed.
    NotExecuted {
        /// The forum.
        forum: ForumId,
    },
    /// The time set by [`Output::RetryLater`] has come.
    RetryDue(ForumId),
    /// A hub did not take an answer.
    Refused {
        /// The forum.
        forum: ForumId,
        /// The task that was answered.
        task: TaskId,
        /// What to do about it.
        refusal: Refusal,
    },
    /// The time set by [`Output::ResendLater`] has come.
    ResendDue(ForumId),
    /// The checkpoint asked for by [`Output::Seed`] has become the forum's rows, durably.
    Installed {
        /// The forum.
        forum: ForumId,
        /// The invitation it was got for.
        invitation: TaskId,
        /// The checkpoint's position.
        cursor: u64,
    },
    /// Half a second has passed.
    Tick,
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Apply rows, then move the cursor.
    Apply {
        /// In log order; may be empty.
        records: Vec<AppliedRecord>,
        /// Where the cursor stands then.
        through: u64,
    },
    /// Drop the forum's pending executions.
    Forget(ForumId),
    /// Keep the forum's facts aside from here on, until a checkpoint is installed. A seeding for another invitation
    /// must not be installed any more.
    BeginJoining {
        /// The forum.
        forum: ForumId,
        /// The record that invites.
        invitation: TaskId,
    },
    /// The forum serves: what [`Output::BeginJoining`] began is over.
    EndJoining(ForumId),
    /// The forum is not held any more: a seeding must not be installed, its rows go.
    Drop(ForumId),
    /// The forum is gone, and by the log there is no message in it: as with [`Output::Drop`], but if there are messages here, they
    /// stay.
    DropEmpty(ForumId),
    /// The forum is not held any more, and the log does not show that anybody else has all of it: its rows stay.
    Keep(ForumId),
    /// Answer the invitation: accept it, or reject it with a reason. Repeated until the hubs have heard.
    Invited {
        /// The forum.
        forum: ForumId,
        /// The invitation.
        invitation: TaskId,
    },
    /// Reject the invitation: this copy missed its beginning. Repeated until the hubs have heard.
    Refuse {
        /// The forum.
        forum: ForumId,
        /// The invitation.
        invitation: TaskId,
    },
    /// Get a checkpoint, install it, report it with [`Input::Installed`]. Repeated; what is under way goes on.
    Seed {
        /// The forum.
        forum: ForumId,
        /// The invitation.
        invitation: TaskId,
    },
    /// Tell the hub that the checkpoint is installed. Repeated until the hubs have heard.
    Seeded {
        /// The forum.
        forum: ForumId,
        /// The invitation.
        invitation: TaskId,
        /// The checkpoint's position.
        cursor: u64,
    },
    /// The hubs count on a copy that is not here. They must be told that this peer starts over.
    Lost(ForumId),
    /// Compute the forum's digest as of what has been applied, and tell the hub.
    Audit {
        /// The forum.
        forum: ForumId,
        /// The record that asks.
        record: TaskId,
    },
    /// Execute a task and report it with [`Input::Executed`] or [`Input::NotExecuted`].
    Execute {
        /// The forum.
        forum: ForumId,
        /// The task.
        task: TaskId,
        /// The epoch to answer under.
        epoch: ForumEpoch,
        /// What to execute.
        work: Arc<Work>,
    },
    /// Send an answer to the hub.
    Send(Box<v1::Answer>),
    /// Come back with [`Input::RetryDue`] after a pause that grows with `attempt`.
    RetryLater {
        /// The forum.
        forum: ForumId,
        /// How often this has failed in a row, from 1.
        attempt: u32,
    },
    /// Come back with [`Input::ResendDue`] after a short pause that grows with `attempt`.
    ResendLater {
        /// The forum.
        forum: ForumId,
        /// How often this has been asked in a row, from 1.
        attempt: u32,
    },
}

/// A feed that breaks its contract. Nothing of the input was taken; the connection must be dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Records must ascend, above all that came before and not above `through`.
    #[error("record {id} came where only records in {after}..={through} may")]
    Order {
        /// The record that came.
        id: u64,
        /// Everything up to here had come before.
        after: u64,
        /// What the batch said it goes through to.
        through: u64,
    },
    /// `through` fell.
    #[error("the feed went back from {fed} to {through}")]
    Backwards {
        /// How far it had come.
        fed: u64,
        /// What it said then.
        through: u64,
    },
    /// Something that needs a connection came without one.
    #[error("the hub spoke of forums before the connection began")]
    NotConnected,
    /// The hub knows less than this peer, whose answers are on their way under an epoch it has not heard of. Another
    /// hub, or this one a little later, takes them.
    #[error("the hub lags: it describes a forum at {described}, answers are on their way under {answered}")]
    Lags {
        /// What it described.
        described: ForumEpoch,
        /// What was answered under.
        answered: ForumEpoch,
    },
    /// More open tasks than this peer takes.
    #[error("more than {OPEN_TASKS_MAX} open tasks or {OPEN_TASK_BYTES_MAX} bytes of them")]
    TooManyTasks,
    /// More forums than this peer takes.
    #[error("more than {FORUMS_MAX} forums")]
    TooManyForums,
}
