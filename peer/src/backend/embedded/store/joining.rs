//! Forums on their way to this peer, and what is left of those that went: the invitation's row, facts kept aside, and
//! the list of what is to be deleted a few rows at a time.
//!
//! A list entry names a forum and an invitation whose staged facts go, or, with invitation 0, the forum's own rows.
//! Being in the database it goes on after a restart.

use bytes::Bytes;
use loop_proto::ids::{ForumId, TaskId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{change::Change, rows};
use crate::backend::Joining;

/// Rows deleted in one transaction: some milliseconds.
const SLICE_ROWS: u32 = 1000;
/// Staged records, and about so many bytes of them, that go on top of a checkpoint in one transaction.
const SLICE_RECORDS: u32 = 200;
const SLICE_BYTES: usize = 1 << 20;
/// Stands for the forum's own rows in the list of what goes.
const ROWS: u64 = 0;

/// One record's facts, kept aside.
pub struct StagedFacts {
    /// The record.
    pub record: u64,
    /// Its encoded facts.
    pub facts: Bytes,
}

/// Opens an invitation. What an earlier one staged goes; the forum's rows stay.
pub fn begin(connection: &Connection, forum: u32, invitation: u64) -> rusqlite::Result<()> {
    if open(connection, forum)?.is_some_and(|(held, _)| held == invitation) {
        return Ok(());
    }
    end(connection, forum)?;
    let key = params![forum, rows::signed(invitation)];
    // The same invitation again, after the forum was dropped: what is left of the first time must be gone before.
    let was_dropped =
        connection.execute("DELETE FROM discard WHERE forum = ?1 AND invitation = ?2", key)? > 0;
    if was_dropped {
        connection.execute("DELETE FROM staged WHERE forum = ?1 AND invitation = ?2", key)?;
    }
    keep_rows(connection, forum)?;
    connection.execute("DELETE FROM kept WHERE forum = ?1", [forum])?;
    connection.execute("INSERT INTO joining (forum, invitation, installed) VALUES (?1, ?2, NULL)", key)?;
    Ok(())
}

/// What is left of a forum that went is deleted no further: something is about to replace it.
pub fn keep_rows(connection: &Connection, forum: u32) -> rusqlite::Result<()> {
    let key = [forum.into(), rows::signed(ROWS)];
    connection.execute("DELETE FROM discard WHERE forum = ?1 AND invitation = ?2", key).map(drop)
}

/// Closes the forum's invitation, if one is open. What was staged for it goes.
pub fn end(connection: &Connection, forum: u32) -> rusqlite::Result<()> {
    let Some((invitation, _)) = open(connection, forum)? else { return Ok(()) };
    connection.execute("DELETE FROM joining WHERE forum = ?1", [forum])?;
    discard(connection, forum, invitation)
}

/// The forum is not this peer's any more.
pub fn drop_forum(connection: &Connection, forum: u32) -> rusqlite::Result<()> {
    end(connection, forum)?;
    connection.execute("DELETE FROM kept WHERE forum = ?1", [forum])?;
    discard(connection, forum, ROWS)
}

/// The forum is gone, and there should be no message of it. One that is here all the same is nobody else's: it is kept.
pub fn drop_empty_forum(connection: &Connection, forum: u32) -> rusqlite::Result<()> {
    let sql = "SELECT EXISTS (SELECT 1 FROM tbl_ssshout WHERE int_layer_id = ?1)";
    let has_messages: bool = connection.prepare_cached(sql)?.query_row([forum], |row| row.get(0))?;
    if !has_messages {
        return drop_forum(connection, forum);
    }
    tracing::error!(
        forum,
        "the hubs have closed this forum as empty, and there are messages of it here: they stay, `loop-peer export` writes \
         them to a file while the peer is stopped"
    );
    end(connection, forum)?;
    keep_forum(connection, forum)
}

/// The forum is not this peer's any more, and its rows stay.
pub fn keep_forum(connection: &Connection, forum: u32) -> rusqlite::Result<()> {
    connection.execute("INSERT OR IGNORE INTO kept (forum) VALUES (?1)", [forum]).map(drop)
}

/// Forums that are not this peer's any more and whose rows stay.
pub fn kept(connection: &Connection) -> rusqlite::Result<Vec<ForumId>> {
    let mut statement = connection.prepare_cached("SELECT forum FROM kept ORDER BY forum")?;
    let found = statement.query_map([], |row| row.get::<_, u32>(0))?;
    Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().filter_map(ForumId::new).collect())
}

/// Closes every invitation.
pub fn end_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("INSERT OR IGNORE INTO discard SELECT forum, invitation FROM joining", [])?;
    connection.execute("DELETE FROM joining", []).map(drop)
}

/// Keeps a record's facts aside; with the checkpoint in place, writes their rows if they are newer than it.
pub fn stage(
    connection: &Connection,
    (forum, record): (u32, u64),
    facts: &[u8],
    changes: &[Change],
) -> rusqlite::Result<()> {
    match open(connection, forum)? {
        Some((_, Some(installed))) if record > installed => {
            changes.iter().try_for_each(|change| rows::write(connection, change))
        }
        Some((invitation, None)) => {
            let sql =
                "INSERT OR REPLACE INTO staged (forum, invitation, record, facts) VALUES (?1, ?2, ?3, ?4)";
            let values = params![forum, rows::signed(invitation), rows::signed(record), facts];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        }
        Some((_, Some(_))) | None => Ok(()),
    }
}

/// The forum's open invitation, and the position of its checkpoint if that is in place.
pub fn open(connection: &Connection, forum: u32) -> rusqlite::Result<Option<(u64, Option<u64>)>> {
    let sql = "SELECT invitation, installed FROM joining WHERE forum = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .query_row([forum], |row| {
            let installed: Option<i64> = row.get(1)?;
            Ok((rows::unsigned(row, 0)?, installed.map(i64::cast_unsigned)))
        })
        .optional()
}

/// Notes the checkpoint's position: from here on the forum's records are written, not staged.
pub fn set_installed(connection: &Connection, forum: u32, cursor: u64) -> rusqlite::Result<()> {
    let Some((invitation, _)) = open(connection, forum)? else { return Ok(()) };
    let sql = "UPDATE joining SET installed = ?2 WHERE forum = ?1";
    connection.execute(sql, params![forum, rows::signed(cursor)])?;
    discard(connection, forum, invitation)
}

/// All open invitations.
pub fn list(connection: &Connection) -> rusqlite::Result<Vec<Joining>> {
    let mut statement =
        connection.prepare_cached("SELECT forum, invitation, installed FROM joining ORDER BY forum")?;
    let found = statement.query_map([], |row| {
        let installed: Option<i64> = row.get(2)?;
        Ok((row.get::<_, u32>(0)?, rows::unsigned(row, 1)?, installed.map(i64::cast_unsigned)))
    })?;
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let joining = found.into_iter().filter_map(|(forum, invitation, installed)| {
        Some(Joining { forum: ForumId::new(forum)?, invitation: TaskId::new(invitation)?, installed })
    });
    Ok(joining.collect())
}

/// What was staged for an invitation after a record, oldest first, as much as one transaction should take; empty only
/// if there is nothing.
pub fn staged_after(
    connection: &Connection,
    (forum, invitation): (u32, u64),
    record: u64,
) -> rusqlite::Result<Vec<StagedFacts>> {
    let mut statement = connection.prepare_cached(
        "SELECT record, facts FROM staged WHERE forum = ?1 AND invitation = ?2 AND record > ?3 \
         ORDER BY record LIMIT ?4",
    )?;
    let mut found =
        statement.query(params![forum, rows::signed(invitation), rows::signed(record), SLICE_RECORDS])?;
    let (mut staged, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()?.filter(|_| bytes < SLICE_BYTES) {
        let facts = StagedFacts { record: rows::unsigned(row, 0)?, facts: row.get::<_, Vec<u8>>(1)?.into() };
        bytes += facts.facts.len();
        staged.push(facts);
    }
    Ok(staged)
}

/// Whether anything was staged for an invitation after a record.
pub fn has_staged_after(
    connection: &Connection,
    (forum, invitation): (u32, u64),
    record: u64,
) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM staged WHERE forum = ?1 AND invitation = ?2 AND record > ?3)";
    let values = params![forum, rows::signed(invitation), rows::signed(record)];
    connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

/// Whether anything is to be deleted.
pub fn has_discards(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM discard)", [], |row| row.get(0))
}

/// Deletes some rows of what is to go. False: nothing is left.
pub fn discard_some(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT forum, invitation FROM discard ORDER BY forum, invitation LIMIT 1";
    let first = connection
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get::<_, u32>(0)?, rows::unsigned(row, 1)?)))
        .optional()?;
    let Some((forum, invitation)) = first else { return Ok(false) };
    let deleted = match invitation {
        ROWS => delete_some(connection, forum)?,
        _ => {
            let sql = "DELETE FROM staged WHERE forum = ?1 AND invitation = ?2 AND record IN \
                       (SELECT record FROM staged WHERE forum = ?1 AND invitation = ?2 LIMIT ?3)";
            let values = params![forum, rows::signed(invitation), SLICE_ROWS];
            connection.prepare_cached(sql)?.execute(values)?
        }
    };
    if deleted == 0 {
        let sql = "DELETE FROM discard WHERE forum = ?1 AND invitation = ?2";
        connection.execute(sql, params![forum, rows::signed(invitation)])?;
    }
    Ok(true)
}

/// Deletes some of a forum's own rows; 0: none is left.
pub fn delete_some(connection: &Connection, forum: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM tbl_ssshout WHERE int_layer_id = ?1 AND int_ssshout_id IN \
               (SELECT int_ssshout_id FROM tbl_ssshout WHERE int_layer_id = ?1 LIMIT ?2)";
    let deleted = connection.prepare_cached(sql)?.execute([forum, SLICE_ROWS])?;
    if deleted > 0 {
        return Ok(deleted);
    }
    let sql = "DELETE FROM tbl_layer_subscription WHERE int_layer_id = ?1 AND int_user_id IN \
               (SELECT int_user_id FROM tbl_layer_subscription WHERE int_layer_id = ?1 LIMIT ?2)";
    let deleted = connection.prepare_cached(sql)?.execute([forum, SLICE_ROWS])?;
    if deleted > 0 {
        return Ok(deleted);
    }
    connection.prepare_cached("DELETE FROM tbl_layer WHERE int_layer_id = ?1")?.execute([forum])
}

/// Every forum with rows or staged facts, apart from those whose rows are going.
pub fn forums(connection: &Connection) -> rusqlite::Result<Vec<ForumId>> {
    // The messages' index is walked from forum to forum, not from message to message.
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE with_messages (id) AS ( \
             SELECT MIN(int_layer_id) FROM tbl_ssshout \
             UNION ALL SELECT (SELECT MIN(int_layer_id) FROM tbl_ssshout WHERE int_layer_id > id) \
             FROM with_messages WHERE id IS NOT NULL) \
         SELECT id FROM ( \
             SELECT id FROM with_messages WHERE id IS NOT NULL \
             UNION SELECT int_layer_id FROM tbl_layer \
             UNION SELECT int_layer_id FROM tbl_layer_subscription) \
         WHERE id NOT IN (SELECT forum FROM discard WHERE invitation = 0) \
         UNION SELECT forum FROM joining ORDER BY 1",
    )?;
    let found = statement.query_map([], |row| row.get::<_, u32>(0))?;
    let found = found.collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().filter_map(ForumId::new).collect())
}

fn discard(connection: &Connection, forum: u32, invitation: u64) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO discard (forum, invitation) VALUES (?1, ?2)";
    connection.execute(sql, params![forum, rows::signed(invitation)]).map(drop)
}
