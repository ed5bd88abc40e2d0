//! What may be written.

use bytes::Bytes;
use loop_proto::v1;

/// One row to write.
#[derive(Clone, Debug)]
pub enum Change {
    /// Insert or replace; nothing if another forum has a message of this id.
    Message(v1::MessageStored),
    /// Delete: id and forum.
    MessageRemoved(u32, u32),
    /// Show no more, if it is there.
    MessageHidden(v1::MessageHidden),
    /// Insert or replace.
    User(v1::UserStored),
    /// Insert or replace.
    Forum(v1::ForumStored),
    /// Insert or replace.
    Subscription(v1::SubscriptionStored),
    /// Insert, unless there is one of that id.
    NewUser(v1::UserStored),
    /// Keep a record's facts aside for the forum's open invitation; with the checkpoint in place, write them.
    Staged {
        /// Whose stream the record is on.
        forum: u32,
        /// The record.
        record: u64,
        /// Its facts, encoded.
        facts: Bytes,
        /// The same as rows.
        rows: Vec<Change>,
    },
    /// Open an invitation.
    BeginJoining {
        /// To this forum.
        forum: u32,
        /// By this record.
        invitation: u64,
    },
    /// Close the forum's invitation.
    EndJoining(u32),
    /// Close every invitation.
    EndAllJoining,
    /// Close the forum's invitation and delete its rows, a few at a time.
    DropForum(u32),
    /// The same if there is no message of it, else [`Self::KeepForum`].
    DropEmptyForum(u32),
    /// Note that the forum is not held any more and its rows stay.
    KeepForum(u32),
}

impl Change {
    /// Whether rows may be left after it that are to be deleted later.
    pub fn leaves_rows(&self) -> bool {
        matches!(
            self,
            Self::BeginJoining { .. }
                | Self::EndJoining(_)
                | Self::EndAllJoining
                | Self::DropForum(_)
                | Self::DropEmptyForum(_)
        )
    }
}
