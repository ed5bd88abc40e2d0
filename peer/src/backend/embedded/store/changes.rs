//! Makes changes: of rows, and of which forums are on their way here or go.

use rusqlite::Connection;

use super::{change::Change, joining, rows};

/// Makes one change.
pub fn write(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    match change {
        Change::Staged { forum, record, facts, rows } => {
            joining::stage(connection, (*forum, *record), facts, rows)
        }
        Change::BeginJoining { forum, invitation } => joining::begin(connection, *forum, *invitation),
        Change::EndJoining(forum) => joining::end(connection, *forum),
        Change::EndAllJoining => joining::end_all(connection),
        Change::DropForum(forum) => joining::drop_forum(connection, *forum),
        Change::DropEmptyForum(forum) => joining::drop_empty_forum(connection, *forum),
        Change::KeepForum(forum) => joining::keep_forum(connection, *forum),
        Change::Message(_)
        | Change::MessageRemoved(..)
        | Change::MessageHidden(_)
        | Change::User(_)
        | Change::Forum(_)
        | Change::Subscription(_)
        | Change::NewUser(_) => rows::write(connection, change),
    }
}
