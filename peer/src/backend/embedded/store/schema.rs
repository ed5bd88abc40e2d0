//! The tables, with AtomJump's names and columns. Dates are whole seconds of Unix time; enums are AtomJump's words.

use rusqlite::Connection;

use super::error::failed;
use crate::backend::BackendError;

/// Version of the tables below. A newer one is refused, an older one would be brought up to date here.
const VERSION: i32 = 4;

/// What brings a database from each version to the next.
const STEPS: [&str; VERSION as usize] = [TABLES, JOINING, KEPT, NO_SESSIONS];

const TABLES: &str = "
CREATE TABLE tbl_ssshout (
    int_ssshout_id INTEGER PRIMARY KEY,
    var_shouted TEXT NOT NULL,
    dec_latitude TEXT NOT NULL,
    dec_longitude TEXT NOT NULL,
    date_when_shouted INTEGER NOT NULL,
    int_peano1 INTEGER NOT NULL,
    int_peano2 INTEGER NOT NULL,
    int_peano1inv INTEGER NOT NULL,
    int_peano2inv INTEGER NOT NULL,
    int_layer_id INTEGER NOT NULL,
    enm_active TEXT NOT NULL,
    var_whisper_to TEXT NOT NULL,
    var_ip TEXT NOT NULL,
    int_whisper_to_id INTEGER,
    int_author_id INTEGER,
    enm_status TEXT NOT NULL,
    var_shouted_processed TEXT NOT NULL,
    flt_sentiment REAL,
    var_username TEXT NOT NULL
) STRICT;
CREATE INDEX ssshout_of_forum ON tbl_ssshout (int_layer_id, date_when_shouted, int_ssshout_id);
CREATE TABLE tbl_layer (
    int_layer_id INTEGER PRIMARY KEY,
    enm_access TEXT NOT NULL,
    passcode TEXT NOT NULL,
    int_group_id INTEGER,
    var_public_code TEXT,
    date_owner_start INTEGER NOT NULL,
    var_subscribers_limit TEXT,
    var_title TEXT NOT NULL,
    date_to_decay INTEGER
) STRICT;
CREATE TABLE tbl_user (
    int_user_id INTEGER PRIMARY KEY,
    var_last_ip TEXT NOT NULL,
    var_email TEXT,
    enm_alerts TEXT NOT NULL,
    var_phone TEXT NOT NULL,
    dec_balance TEXT NOT NULL,
    var_confirmcode TEXT NOT NULL,
    date_created INTEGER NOT NULL,
    date_updated INTEGER NOT NULL,
    enm_confirmed TEXT NOT NULL,
    var_pass TEXT
) STRICT;
CREATE INDEX user_by_email ON tbl_user (var_email) WHERE var_email IS NOT NULL;
CREATE TABLE tbl_layer_subscription (
    int_layer_id INTEGER NOT NULL,
    int_user_id INTEGER NOT NULL,
    enm_active TEXT NOT NULL,
    enm_sms TEXT NOT NULL,
    PRIMARY KEY (int_layer_id, int_user_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('cursor', 0);
";

/// Forums on their way here: open invitations, facts kept aside for them, and what is still to be deleted.
const JOINING: &str = "
CREATE TABLE joining (
    forum INTEGER PRIMARY KEY,
    invitation INTEGER NOT NULL,
    installed INTEGER
) STRICT;
CREATE TABLE staged (
    forum INTEGER NOT NULL,
    invitation INTEGER NOT NULL,
    record INTEGER NOT NULL,
    facts BLOB NOT NULL,
    PRIMARY KEY (forum, invitation, record)
) STRICT, WITHOUT ROWID;
CREATE TABLE discard (
    forum INTEGER NOT NULL,
    invitation INTEGER NOT NULL,
    PRIMARY KEY (forum, invitation)
) STRICT, WITHOUT ROWID;
";

/// Forums the hubs have taken away although the log shows that the copy here may be the last: their rows stay.
const KEPT: &str = "
CREATE TABLE kept (
    forum INTEGER PRIMARY KEY
) STRICT;
";

/// Sessions are kept by the hubs alone. Whoever has a session's id has its user's rights, so what was here is overwritten,
/// not only forgotten.
const NO_SESSIONS: &str = "
PRAGMA secure_delete = ON;
DROP TABLE IF EXISTS php_session;
PRAGMA secure_delete = OFF;
";

/// Sets the connection up and makes the tables.
pub fn prepare(connection: &mut Connection) -> Result<(), BackendError> {
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    // FULL: a commit returns only when the log is on the disk. With NORMAL a power cut takes the newest ones.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    let version: i32 =
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    // The version and its tables come together: each step is one transaction.
    for (from, step) in (0..).zip(STEPS).skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(step).map_err(failed)?;
        transaction.pragma_update(None, "user_version", from + 1).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    if !(0..=VERSION).contains(&version) {
        return Err(BackendError::Fatal(format!(
            "the database has version {version}, this program knows {VERSION}: start the newer program again"
        )));
    }
    Ok(())
}

/// Makes AtomJump's tables in an empty database that nobody else uses and that need not survive anything.
pub fn prepare_scratch(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch(TABLES)
}
