//! A committed record, decoded: which of its facts belong to its stream, and which rows they become.

use bytes::Bytes;
use loop_proto::{
    ids::{ForumId, TaskId},
    v1::{self, fact::Kind},
};
use prost::Message;

use super::store::Change;
use crate::backend::{AppliedRecord, BackendError};

/// Where the rows of a record go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Among the others.
    Apply,
    /// Aside, for the forum's open invitation.
    Stage,
    /// Nowhere: the installed checkpoint has them.
    Skip,
}

/// A committed record, decoded.
pub struct Decoded {
    /// Its id.
    pub id: u64,
    /// Whose stream it is on; `None`: the directory's.
    pub forum: Option<u32>,
    /// The task it closes.
    pub closes: Option<u64>,
    /// Its facts, apart from those that do not belong to its stream.
    pub facts: Vec<v1::Fact>,
    /// The facts as they came.
    encoded: Bytes,
}

impl Decoded {
    /// Decodes; fails for what is no list of facts.
    pub fn of(record: AppliedRecord) -> Result<Self, BackendError> {
        let id = record.id.get();
        let forum = record.forum.map(ForumId::get);
        let facts = facts(id, forum, &record.facts)?;
        let closes = record.closes.map(TaskId::get);
        Ok(Self { id, forum, closes, facts, encoded: record.facts })
    }

    /// What it changes on disk.
    pub fn changes(&self, fate: Fate) -> Vec<Change> {
        match (fate, self.forum) {
            (Fate::Apply, _) | (Fate::Stage, None) => changes_of(&self.facts),
            (Fate::Stage, Some(forum)) => vec![Change::Staged {
                forum,
                record: self.id,
                facts: self.encoded.clone(),
                rows: changes_of(&self.facts),
            }],
            (Fate::Skip, _) => Vec::new(),
        }
    }
}

/// The rows of an encoded list of facts of a forum's stream.
pub fn staged_changes(record: u64, forum: u32, encoded: &Bytes) -> Result<Vec<Change>, BackendError> {
    Ok(changes_of(&facts(record, Some(forum), encoded)?))
}

fn facts(record: u64, stream: Option<u32>, encoded: &Bytes) -> Result<Vec<v1::Fact>, BackendError> {
    let facts = v1::Facts::decode(encoded.clone()).map_err(|error| {
        BackendError::Fatal(format!("the facts of record t{record} cannot be read: {error}"))
    })?;
    let mut facts = facts.facts;
    let count = facts.len();
    facts.retain(|fact| belongs(fact, stream));
    if facts.len() < count {
        tracing::warn!(record, "ignored facts of another stream");
    }
    Ok(facts)
}

fn changes_of(facts: &[v1::Fact]) -> Vec<Change> {
    let changes = facts.iter().filter_map(|fact| match fact.kind.clone()? {
        Kind::MessageStored(message) => Some(Change::Message(message)),
        Kind::MessageRemoved(removed) => Some(Change::MessageRemoved(removed.id, removed.forum_id)),
        Kind::MessageHidden(hidden) => Some(Change::MessageHidden(hidden)),
        Kind::UserStored(user) => Some(Change::User(user)),
        Kind::ForumStored(forum) => Some(Change::Forum(forum)),
        Kind::SubscriptionStored(subscription) => Some(Change::Subscription(subscription)),
    });
    changes.collect()
}

/// Whether a fact may stand on the stream it came by: a forum's rows on that forum's, users on the directory's.
fn belongs(fact: &v1::Fact, stream: Option<u32>) -> bool {
    match &fact.kind {
        Some(Kind::MessageStored(message)) => stream == Some(message.forum_id),
        Some(Kind::MessageRemoved(removed)) => stream == Some(removed.forum_id),
        Some(Kind::MessageHidden(hidden)) => stream == Some(hidden.forum_id),
        Some(Kind::ForumStored(forum)) => stream == Some(forum.id),
        Some(Kind::SubscriptionStored(subscription)) => stream == Some(subscription.forum_id),
        Some(Kind::UserStored(_)) => stream.is_none(),
        None => false,
    }
}
