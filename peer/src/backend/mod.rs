//! What executes AtomJump requests and keeps a peer's rows.
//!
//! Owns the boundary: everything above (`session`, `replica`) knows tasks, cursors and epochs but no row's meaning;
//! everything below knows rows but neither hubs nor epochs.

pub mod embedded;

use std::path::Path;

use bytes::Bytes;
pub use loop_atomjump::{Executed, Given};
use loop_proto::{
    ids::{ForumId, HubTime, TaskId},
    v1,
};
use tokio::sync::oneshot;

/// Encoded messages of one [`ForumPage`], bytes; a single larger one makes a page by itself.
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// One request to execute.
#[derive(Clone, Debug)]
pub struct Work {
    /// The forum whose task it is.
    pub forum: ForumId,
    /// What the client sent, decoded once; `None`: it cannot be read, and is refused.
    pub request: Option<v1::ClientRequest>,
    /// The session as committed at the task's place in the log; `None`: the request has none.
    pub session: Option<v1::SessionRecord>,
    /// What the log gave to it with its place.
    pub given: Given,
    /// The log's time. The only clock an execution sees.
    pub now: HubTime,
}

/// Some of a forum's messages, for whoever renders them. It is not looked at who may see which.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForumPage {
    /// The forum's own row; only in a page that begins with the newest message.
    pub forum: Option<v1::ForumStored>,
    /// Its subscriptions, inactive ones too; likewise.
    pub subscriptions: Vec<v1::SubscriptionStored>,
    /// Active messages, newest first.
    pub messages: Vec<v1::MessageStored>,
    /// There are no older ones. A page that is full may be the last without saying so.
    pub complete: bool,
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
    /// The forum's copy is still on its way: its rows are kept aside, in the same transaction, and go on top of the
    /// checkpoint when that is installed.
    pub staged: bool,
}

/// A forum this peer is getting, as the backend has it on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Which forum.
    pub forum: ForumId,
    /// The record that invited this peer.
    pub invitation: TaskId,
    /// The installed checkpoint's position; `None`: none yet.
    pub installed: Option<u64>,
}

/// What a checkpoint is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One forum: its row, messages, subscriptions, the users concerned.
    Forum(ForumId),
    /// All users.
    Directory,
}

/// How far an export or install is, for whoever watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the file that are done.
    pub bytes_done: u64,
    /// All of them; 0: not known.
    pub bytes_total: u64,
}

/// A forum's digest at one position of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// As [`v1::CheckpointHeader::digest`] describes it.
    pub sha256: [u8; 32],
    /// How many messages went into it.
    pub messages: u64,
}

/// Why a checkpoint was not installed. Refused, it has changed nothing. Otherwise the forum's rows may be half
/// exchanged: it counts as joining without a checkpoint still, and the next install makes it whole.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Damaged, or it contains what no checkpoint may: where, and what.
    #[error("line {line}: {reason}")]
    Refused {
        /// Line of the file, from 1; 0: the file as a whole.
        line: u64,
        /// What is wrong with it; never its content.
        reason: String,
    },
    /// Told to stop.
    #[error("cancelled")]
    Cancelled,
    /// Disk or database.
    #[error(transparent)]
    Backend(#[from] BackendError),
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
    fn execute(&self, task: TaskId, work: &Work) -> Result<Executed, BackendError>;

    /// Drops the forum's pending executions: another peer's answers won.
    fn forget_pending(&self, forum: ForumId);

    /// Active messages of a forum from what is applied, newest first, at most `limit` and no more than
    /// [`PAGE_BYTES_MAX`] of them, but at least one. Only those strictly older than `before`, a time and an id; without it
    /// from the newest on, with the forum's own row and subscriptions. A forum of which there is nothing is an empty page,
    /// complete.
    fn forum_rows(
        &self,
        forum: ForumId,
        before: Option<(u64, u32)>,
        limit: usize,
    ) -> Result<ForumPage, BackendError>;

    /// A user's row from what is applied.
    fn user(&self, id: u32) -> Result<Option<v1::UserStored>, BackendError>;

    /// Bytes on disk.
    fn disk_bytes(&self) -> u64;

    /// The forums on their way to this peer, as of the durable cursor.
    fn joining(&self) -> Result<Vec<Joining>, BackendError>;

    /// From here on the forum's records come staged. Queued like [`Self::apply`], in order with it. Forgets what was
    /// staged for another invitation; the forum's rows stay until a checkpoint replaces them.
    fn begin_joining(&self, forum: ForumId, invitation: TaskId) -> Result<(), BackendError>;

    /// The forum serves from here on: what [`Self::begin_joining`] noted is over. Queued like [`Self::apply`].
    /// `Unavailable` before its checkpoint is installed: what is staged would be lost.
    fn end_joining(&self, forum: ForumId) -> Result<(), BackendError>;

    /// This peer does not hold the forum any more: its rows, staged ones too, go, a few at a time. Queued likewise.
    fn drop_forum(&self, forum: ForumId) -> Result<(), BackendError>;

    /// The forum is gone, and there is no message in it by what the hubs know: as [`Self::drop_forum`]. But messages that are here
    /// all the same, imported by hand perhaps, stay as with [`Self::keep_forum`]. Queued likewise.
    fn drop_empty_forum(&self, forum: ForumId) -> Result<(), BackendError>;

    /// This peer does not hold the forum any more, and its rows stay: the log shows that nobody else may have them all. Queued
    /// likewise.
    fn keep_forum(&self, forum: ForumId) -> Result<(), BackendError>;

    /// Forums of which that is so, as of the durable cursor.
    fn forums_kept(&self) -> Result<Vec<ForumId>, BackendError>;

    /// Writes a copy that has everything through some position not below `at_least` and nothing after it, and says
    /// which. Blocks for as long as it takes, beside everything else; `at_least` must have been applied.
    fn export(
        &self,
        scope: Scope,
        at_least: u64,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<v1::CheckpointHeader, BackendError>;

    /// Reads a copy, checks it against `header`, makes it the forum's rows and puts what was staged after the copy's
    /// position on top. For the directory: adds the users, moves the cursor to the copy's position and, as the records
    /// in between are missing, closes every open invitation; the hubs invite anew. Blocks for as long as it takes,
    /// beside everything else; stops soon after `is_cancelled` says so. `Unavailable` without an open invitation, or
    /// with a checkpoint in place.
    fn install(
        &self,
        header: &v1::CheckpointHeader,
        file: &Path,
        progress: &(dyn Fn(Progress) + Sync),
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), InstallError>;

    /// The forum's digest with everything queued so far applied and nothing later. Queued like [`Self::apply`].
    fn audit(&self, forum: ForumId) -> Result<oneshot::Receiver<Digest>, BackendError>;

    /// Every forum of which there are rows or staged records.
    fn forums_on_disk(&self) -> Result<Vec<ForumId>, BackendError>;

    /// Flushes and closes. Nothing may be called after it.
    fn close(&self);
}
