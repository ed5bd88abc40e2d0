//! What happened, in the past tense: what a hub's feed, projection and metrics follow.

use std::sync::Arc;

use loop_proto::ids::{ForumId, PeerId, TaskId};

use super::record::Record;

/// One thing that happened. Details are in the state, or in the record.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The log grew by one record. Records come in the order of their ids, without gaps.
    RecordAppended(Arc<Record>),
    /// A forum was opened; its assignment follows as a record.
    ForumOpened(ForumId),
    /// A forum is gone, with its replicas; the record that says so came before.
    ForumClosed(ForumId),
    /// A peer was made known, or its labels changed.
    PeerRegistered(PeerId),
    /// Who holds a forum, or how far somebody is on the way to it, changed; the record that says so came before.
    ReplicasChanged {
        /// The forum.
        forum: ForumId,
        /// Who is a replica in no role any more.
        left: Vec<PeerId>,
    },
    /// An invitation was made, has come further, or is remembered no more.
    InvitationChanged(TaskId),
    /// An operator changed what a peer may hold.
    PeerStateChanged(PeerId),
    /// Records up to and including `through` are gone from the log.
    Trimmed {
        /// The newest record that is gone.
        through: u64,
    },
}
