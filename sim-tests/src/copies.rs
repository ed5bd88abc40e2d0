//! Everything one peer's database holds, in one look: which forums, whole or on their way, and their messages.
//!
//! Owns what counts as a copy on a disk. Never knows what the hubs say of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};

use crate::replica::database;

/// How long another's transaction may keep a look waiting.
const BUSY_WITHIN: Duration = Duration::from_secs(10);

/// Forums with a row, apart from those whose copy has not arrived yet and those that are being deleted; each with its
/// visible messages.
const WHOLE: &str = "SELECT f.int_layer_id, m.int_ssshout_id FROM tbl_layer f \
     LEFT JOIN tbl_ssshout m ON m.int_layer_id = f.int_layer_id \
          AND CAST(m.enm_status AS TEXT) IN ('final', '2') AND CAST(m.enm_active AS TEXT) IN ('true', '1') \
     WHERE f.int_layer_id NOT IN (SELECT forum FROM joining WHERE installed IS NULL) \
       AND f.int_layer_id NOT IN (SELECT forum FROM discard WHERE invitation = 0)";

/// What one peer had on its disk at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// The last record it has.
    pub cursor: u64,
    /// Forums it has the rows of, with the ids of their visible messages.
    pub forums: BTreeMap<u32, BTreeSet<u64>>,
    /// Forums on their way to it whose copy has not arrived yet.
    pub arriving: BTreeSet<u32>,
    /// Forums it is deleting.
    pub leaving: BTreeSet<u32>,
}

impl Copies {
    /// Looks into the database under `folder`, all in one transaction. The peer may run or not.
    pub fn look(folder: &Path) -> Result<Self> {
        let path = database(folder)?;
        // Not read-only: after a kill somebody has to replay the write-ahead log.
        let mut db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        db.busy_timeout(BUSY_WITHIN)?;
        let moment = db.transaction()?;
        read(&moment).with_context(|| format!("reading {}", path.display()))
    }

    /// Whether it has the forum with all of these messages.
    pub fn has(&self, forum: u32, messages: &BTreeSet<u64>) -> bool {
        self.forums.get(&forum).is_some_and(|held| messages.is_subset(held))
    }
}

fn read(db: &Connection) -> Result<Copies> {
    let cursor: i64 = db.query_row("SELECT value FROM meta WHERE name = 'cursor'", [], |row| row.get(0))?;
    let mut copies = Copies {
        cursor: cursor.cast_unsigned(),
        arriving: forums(db, "SELECT forum FROM joining WHERE installed IS NULL")?,
        leaving: forums(db, "SELECT forum FROM discard WHERE invitation = 0")?,
        ..Copies::default()
    };
    let mut whole = db.prepare(WHOLE)?;
    let mut rows = whole.query([])?;
    while let Some(row) = rows.next()? {
        let messages = copies.forums.entry(row.get(0)?).or_default();
        messages.extend(row.get::<_, Option<u32>>(1)?.map(u64::from));
    }
    Ok(copies)
}

fn forums(db: &Connection, sql: &str) -> rusqlite::Result<BTreeSet<u32>> {
    db.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole_neither_before_it_has_arrived_nor_while_it_is_being_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let db = Connection::open(folder.path().join("rows.db")).unwrap();
        db.execute_batch(
            "CREATE TABLE meta(name, value); INSERT INTO meta VALUES ('cursor', 77);
             CREATE TABLE tbl_layer(int_layer_id);
             INSERT INTO tbl_layer VALUES (1), (2), (3), (4), (5);
             CREATE TABLE joining(forum, invitation, installed);
             INSERT INTO joining VALUES (2, 9, NULL), (3, 9, 50);
             CREATE TABLE discard(forum, invitation); INSERT INTO discard VALUES (4, 0), (1, 9);
             CREATE TABLE tbl_ssshout(int_ssshout_id, int_layer_id, enm_active, enm_status);
             INSERT INTO tbl_ssshout VALUES (10, 1, 'true', 'final'), (11, 1, 'true', 'typing'),
                (12, 1, 'false', 'final'), (13, 3, '1', '2'), (14, 4, 'true', 'final');",
        )
        .unwrap();
        let copies = Copies::look(folder.path()).unwrap();
        let forums = [(1, vec![10]), (3, vec![13]), (5, vec![])];
        let forums = forums.map(|(forum, messages)| (forum, messages.into_iter().collect::<BTreeSet<u64>>()));
        assert_eq!(copies.cursor, 77);
        assert_eq!(copies.forums, forums.into());
        assert_eq!((copies.arriving.clone(), copies.leaving.clone()), ([2].into(), [4].into()));
        assert!(
            copies.has(1, &[10].into()) && !copies.has(1, &[10, 12].into()) && !copies.has(2, &[].into())
        );
    }
}
