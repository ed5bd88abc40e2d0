//! What executes AtomJump requests and keeps a peer's rows.
//!
//! Owns the boundary: everything above (`session`, `replica`) knows tasks, cursors and epochs but no row;
//! everything below knows rows but neither hubs nor epochs.

pub mod embedded;

use bytes::Bytes;
use loop_proto::{
    ids::{ForumId, HubTime, MessageId, TaskId},
    v1,
};

/// One request to execute or to answer.
#[derive(Clone, Debug)]
pub struct Work {
    /// The forum it is routed by; `None` when it names none, or one that is not open.
    pub forum: Option<ForumId>,
    /// What the client sent, decoded once.
    pub request: v1::ClientRequest,
    /// The session's newest committed record; `None` before the first.
    pub session: Option<v1::SessionRecord>,
    /// The id to give to the message this request creates, if it creates one.
    pub message_id: Option<MessageId>,
    /// The log's time for a task, the hub's time for a read. The only clock an execution sees.
    pub now: HubTime,
}

/// What a request changed and what its sender is told.
#[derive(Clone, Debug, Default)]
pub struct Execution {
    /// Rows of the forum's stream.
    pub forum_facts: Vec<v1::Fact>,
    /// Rows every peer keeps: users.
    pub directory_facts: Vec<v1::Fact>,
    /// The session's new record, if it changed; `version` is the one it was made from.
    pub session: Option<v1::SessionRecord>,
    /// For writes: what a re-send will be told.
    pub receipt: v1::Receipt,
    /// The response, JSONP not yet wrapped.
    pub body: v1::ResponseBody,
}

/// Hands out user ids from the blocks leased to this peer.
pub trait UserIds {
    /// The next unused id; `None` when the lease is used up, and a new one is on its way.
    fn take(&mut self) -> Option<u32>;
}

/// Facts of one record, to be applied.
#[derive(Clone, Debug)]
pub struct AppliedRecord {
    /// The record's place in the log.
    pub id: TaskId,
    /// The forum whose stream it is on; `None`: the directory.
    pub forum: Option<ForumId>,
    /// The task these facts close, whose pending execution they confirm.
    pub closes: Option<TaskId>,
    /// An encoded [`v1::Facts`].
    pub facts: Bytes,
    /// Sessions stored with them.
    pub sessions: Vec<v1::SessionRecord>,
}

/// Why a backend could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Nothing was changed; the same call can succeed later, or on another peer.
    #[error("not now: {0}")]
    Unavailable(&'static str),
    /// Disk or database: the process must stop, loudly.
    #[error("backend failed: {0}")]
    Fatal(String),
}

/// A peer's backend. Calls about one forum come from one caller at a time, in log order; reads may come beside them.
pub trait Backend: Send + Sync + 'static {
    /// The last record whose facts are on disk, as of the last completed flush. 0: none.
    fn durable_cursor(&self) -> u64;

    /// Resolves when [`Self::durable_cursor`] may have moved.
    fn durable_changed(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Applies facts, in log order, and moves the cursor to `through`. Visible to reads on return; durable, facts and
    /// cursor in one transaction, when the cursor says so. Never blocks on the disk unless its queue is full.
    fn apply(&self, records: Vec<AppliedRecord>, through: u64) -> Result<(), BackendError>;

    /// Executes a task on top of what is applied and of what was executed for this forum and is still pending.
    /// The result stays pending until [`Self::apply`] brings facts that close `task`.
    fn execute(&self, task: TaskId, work: &Work, ids: &mut dyn UserIds) -> Result<Execution, BackendError>;

    /// Drops the forum's pending executions: another peer's answers won.
    fn forget_pending(&self, forum: ForumId);

    /// Answers a read from what is applied. May change users, forum row and session; those facts are the caller's to
    /// get committed. With `receipt`, renders a write's answer again.
    fn read(
        &self,
        work: &Work,
        receipt: Option<&v1::Receipt>,
        ids: &mut dyn UserIds,
    ) -> Result<Execution, BackendError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;

    /// Flushes and closes. Nothing may be called after it.
    fn close(&self);
}
