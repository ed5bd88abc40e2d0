//! A peer's copy of a forum, read from its database: the last word on what was kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use loop_proto::ids::ForumKey;
use rusqlite::{Connection, OpenFlags};

/// One row of `tbl_ssshout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `int_ssshout_id`.
    pub id: u64,
    /// `var_shouted`: `name: text`.
    pub text: String,
    /// `enm_active`.
    pub active: bool,
    /// `enm_status`.
    pub is_final: bool,
}

/// All messages of a forum in the database under `folder`, by id. The peer may run or not.
pub fn messages(folder: &Path, forum: ForumKey) -> Result<Vec<Row>> {
    let path = database(folder)?;
    // Not read-only: after a kill somebody has to replay the write-ahead log.
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    let mut rows = db.prepare(
        "SELECT m.int_ssshout_id, m.var_shouted, CAST(m.enm_active AS TEXT), CAST(m.enm_status AS TEXT) \
         FROM tbl_ssshout m JOIN tbl_layer f ON f.int_layer_id = m.int_layer_id \
         WHERE f.passcode = ?1 ORDER BY m.int_ssshout_id",
    )?;
    let rows = rows.query_map([forum.to_hex()], |row| {
        Ok(Row {
            // SQLite's integers are signed; message ids fit in 32 bits.
            id: row.get::<_, u32>(0)?.into(),
            text: row.get(1)?,
            active: matches!(row.get::<_, String>(2)?.as_str(), "true" | "1"),
            is_final: matches!(row.get::<_, String>(3)?.as_str(), "final" | "2"),
        })
    })?;
    rows.collect::<Result<_, _>>().with_context(|| format!("reading {}", path.display()))
}

/// The one SQLite file under `folder`.
pub fn database(folder: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    find(folder, &mut found)?;
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("no database under {}", folder.display()),
        more => bail!("several databases: {more:?}"),
    }
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if is_database(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_database(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && &start == b"SQLite format 3\0"
}

/// All users in the database under `folder`, by id: number, address and whether confirmed.
pub fn users(folder: &Path) -> Result<Vec<(u32, String, String)>> {
    let db = Connection::open_with_flags(database(folder)?, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    let mut rows =
        db.prepare("SELECT int_user_id, var_last_ip, enm_confirmed FROM tbl_user ORDER BY int_user_id")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Fails unless SQLite finds the database under `folder` whole.
pub fn check_integrity(folder: &Path) -> Result<()> {
    let path = database(folder)?;
    let db = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    let said: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    ensure!(said == "ok", "{}: {said}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forums_rows_are_found_by_the_hash_of_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("backend");
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(deep.join("identity"), "not a database").unwrap();
        let db = Connection::open(deep.join("rows.db")).unwrap();
        let key = ForumKey::of_name(b"garden");
        db.execute_batch(&format!(
            "CREATE TABLE tbl_layer(int_layer_id, passcode); INSERT INTO tbl_layer VALUES (178, '{}'), (179, 'x');
             CREATE TABLE tbl_ssshout(int_ssshout_id, int_layer_id, var_shouted, enm_active, enm_status);
             INSERT INTO tbl_ssshout VALUES (2868, 178, 'Anon: b', 'true', 'final'), (2867, 178, 'Anon: a', 0, 1),
                (2869, 179, 'Anon: c', 'true', 'final');",
            key.to_hex()
        ))
        .unwrap();
        let rows = messages(folder.path(), key).unwrap();
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [2867, 2868]);
        assert!(!rows[0].active && !rows[0].is_final && rows[1].active && rows[1].is_final);
        check_integrity(folder.path()).unwrap();
    }
}
