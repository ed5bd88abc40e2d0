//! Writes a checkpoint: rows of a snapshot as SQL, one statement's worth in memory at a time.
//!
//! The same rows give the same bytes. Text is escaped so that each statement is one line per row, whatever is in it.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use loop_atomjump::dates;
use loop_proto::v1::{self, MessageStatus, fact::Kind};
use sha2::{Digest as _, Sha256};

use super::{
    super::store::{Snapshot, access_word},
    digest::Digester,
    format::{FORMAT, MARK, STATEMENT_BYTES, STATEMENT_ROWS, Table},
};
use crate::backend::{BackendError, Progress, Scope};

/// Progress is told after so many bytes.
const TELL_BYTES: u64 = 1 << 20;

/// What MariaDB must know to take every byte as it is, and to take all or nothing.
const PREAMBLE: &str = "\
-- AtomJump's own tables take this: mariadb DATABASE < FILE. All of it, or nothing.
-- Their columns hold no characters of four bytes. If there is one, loading stops with error 1366; then either, once,
--   ALTER TABLE tbl_ssshout CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- and likewise tbl_layer, tbl_user; or, to have ? for them, as AtomJump stores them itself,
--   sed s/STRICT_ALL_TABLES,// FILE | mariadb DATABASE
-- This file has users' emails and password hashes in it: keep it to yourself.
SET NAMES utf8mb4;
SET time_zone = '+00:00';
SET sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO';
START TRANSACTION;
";

/// Writes `file` anew, readable by its owner only, from rows that are those of `cursor`. On failure it is removed.
pub fn export(
    rows: &Snapshot,
    scope: Scope,
    cursor: u64,
    file: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<v1::CheckpointHeader, BackendError> {
    let written = open(file).map_err(|error| failed(file, &error)).and_then(|out| {
        let mut sql = Sql::new(file, out, progress);
        write_all(&mut sql, rows, scope, cursor)
    });
    if written.is_err() {
        let _ = fs::remove_file(file);
    }
    written
}

fn open(file: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(file)
}

fn failed(file: &Path, error: &io::Error) -> BackendError {
    if error.kind() == io::ErrorKind::StorageFull {
        return BackendError::Unavailable("the disk has no room for a checkpoint");
    }
    BackendError::Fatal(format!("cannot write {}: {error}", file.display()))
}

fn write_all(
    sql: &mut Sql<'_>,
    rows: &Snapshot,
    scope: Scope,
    cursor: u64,
) -> Result<v1::CheckpointHeader, BackendError> {
    let forum_id = match scope {
        Scope::Forum(forum) => forum.get(),
        Scope::Directory => 0,
    };
    sql.raw(format!("{MARK}format={FORMAT} forum={forum_id} cursor={cursor}\n{PREAMBLE}").as_bytes())?;
    match scope {
        Scope::Forum(forum) => write_forum(sql, rows, forum.get())?,
        Scope::Directory => {
            for id in rows.user_ids()? {
                if let Some(user) = rows.user(id)? {
                    sql.user(&user)?;
                    sql.digester.add(Kind::UserStored(user));
                }
            }
        }
    }
    sql.end_statement()?;
    let digest = std::mem::take(&mut sql.digester).finish();
    let hex = hex(&digest.sha256);
    sql.raw(format!("COMMIT;\n{MARK}end messages={} digest={hex}\n", digest.messages).as_bytes())?;
    let (bytes, sha256) = sql.finish()?;
    Ok(v1::CheckpointHeader {
        forum_id,
        cursor,
        bytes,
        sha256: sha256.to_vec().into(),
        digest: digest.sha256.to_vec().into(),
        messages: digest.messages,
    })
}

fn write_forum(sql: &mut Sql<'_>, rows: &Snapshot, forum: u32) -> Result<(), BackendError> {
    if let Some(row) = rows.forum(forum)? {
        sql.forum(&row)?;
        sql.digester.add(Kind::ForumStored(row));
    }
    for row in rows.subscriptions(forum)? {
        sql.subscription(&row)?;
        sql.digester.add(Kind::SubscriptionStored(row));
    }
    let users = rows.users_of(forum)?;
    for id in &users {
        if let Some(user) = rows.user(*id)? {
            sql.user(&user)?;
        }
    }
    rows.each_message(forum, |message| {
        sql.message(&message)?;
        sql.digester.add(Kind::MessageStored(message));
        Ok(())
    })
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    String::from_utf8(text).expect("hex digits are ASCII")
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// The file in the making.
struct Sql<'a> {
    path: &'a Path,
    out: BufWriter<File>,
    sha: Sha256,
    bytes: u64,
    told: u64,
    progress: &'a (dyn Fn(Progress) + Sync),
    digester: Digester,
    table: Table,
    /// Rows of the statement being filled, each after a comma or the statement's head.
    statement: Vec<u8>,
    rows: usize,
}

impl<'a> Sql<'a> {
    fn new(path: &'a Path, out: File, progress: &'a (dyn Fn(Progress) + Sync)) -> Self {
        Self {
            path,
            out: BufWriter::with_capacity(STATEMENT_BYTES, out),
            sha: Sha256::new(),
            bytes: 0,
            told: 0,
            progress,
            digester: Digester::default(),
            table: Table::Forum,
            statement: Vec::new(),
            rows: 0,
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), BackendError> {
        self.out.write_all(bytes).map_err(|error| failed(self.path, &error))?;
        self.sha.update(bytes);
        self.bytes += bytes.len() as u64;
        if self.bytes - self.told >= TELL_BYTES {
            self.told = self.bytes;
            (self.progress)(Progress { bytes_done: self.bytes, bytes_total: 0 });
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(u64, [u8; 32]), BackendError> {
        self.out.flush().map_err(|error| failed(self.path, &error))?;
        (self.progress)(Progress { bytes_done: self.bytes, bytes_total: self.bytes });
        Ok((self.bytes, std::mem::take(&mut self.sha).finalize().into()))
    }

    /// Begins a row; its values follow.
    fn row(&mut self, table: Table) -> Result<Row<'_>, BackendError> {
        if self.table != table || self.statement.len() >= STATEMENT_BYTES || self.rows >= STATEMENT_ROWS {
            self.end_statement()?;
            self.table = table;
        }
        if self.rows > 0 {
            self.statement.extend_from_slice(b",\n");
        }
        self.rows += 1;
        Ok(Row { out: &mut self.statement, opened: false })
    }

    fn end_statement(&mut self) -> Result<(), BackendError> {
        if self.rows == 0 {
            return Ok(());
        }
        // Users may be known where this is loaded; a forum may not.
        let verb = if self.table == Table::User { "REPLACE" } else { "INSERT" };
        // The local number of a subscription is given by whoever loads it.
        let columns: Vec<&str> =
            self.table.columns().iter().copied().filter(|name| *name != "int_layer_sub_id").collect();
        let (name, columns) = (self.table.name(), columns.join("`, `"));
        self.raw(format!("{verb} INTO `{name}` (`{columns}`) VALUES\n").as_bytes())?;
        let mut statement = std::mem::take(&mut self.statement);
        statement.extend_from_slice(b";\n");
        self.raw(&statement)?;
        statement.clear();
        self.statement = statement;
        self.rows = 0;
        Ok(())
    }

    fn forum(&mut self, forum: &v1::ForumStored) -> Result<(), BackendError> {
        let mut row = self.row(Table::Forum)?;
        row.number(Some(forum.id))
            .text(access_word(forum.access()))
            .text(&forum.passcode)
            .number(forum.group_user_id);
        row.optional(forum.password_hash.as_deref()).date(Some(forum.owner_since_s));
        row.optional(forum.subscribers_limit.as_deref()).text(&forum.title).date(forum.decays_at_s);
        row.end();
        Ok(())
    }

    fn subscription(&mut self, subscription: &v1::SubscriptionStored) -> Result<(), BackendError> {
        let mut row = self.row(Table::Subscription)?;
        row.number(Some(subscription.forum_id)).number(Some(subscription.user_id));
        row.text(if subscription.active { "active" } else { "inactive" });
        row.text(if subscription.sms { "send" } else { "none" });
        row.end();
        Ok(())
    }

    fn user(&mut self, user: &v1::UserStored) -> Result<(), BackendError> {
        let mut row = self.row(Table::User)?;
        row.number(Some(user.id)).text(&user.last_ip).optional(user.email.as_deref());
        row.text(if user.alerts { "on" } else { "off" }).text(&user.phone).decimal(&user.balance);
        row.text(&user.confirm_code).date(Some(user.created_at_s)).date(Some(user.updated_at_s));
        row.text(if user.confirmed { "confirmed" } else { "unconfirmed" });
        row.optional(user.password_hash.as_deref());
        row.end();
        Ok(())
    }

    fn message(&mut self, message: &v1::MessageStored) -> Result<(), BackendError> {
        let mut row = self.row(Table::Message)?;
        row.number(Some(message.id)).text(&message.text).decimal(&message.latitude);
        row.decimal(&message.longitude).date(Some(message.shouted_at_s));
        row.number(Some(message.peano1)).number(Some(message.peano2));
        row.number(Some(message.peano1inv)).number(Some(message.peano2inv)).number(Some(message.forum_id));
        row.text(if message.active { "true" } else { "false" }).text(&message.whisper_to_address);
        row.text(&message.author_address).number(message.whisper_to_id).number(message.author_id);
        row.text(if message.status() == MessageStatus::Typing { "typing" } else { "final" });
        row.text(&message.html).float(message.sentiment).text(&message.author_name);
        row.end();
        Ok(())
    }
}

/// One row's values.
struct Row<'a> {
    out: &'a mut Vec<u8>,
    opened: bool,
}

impl Row<'_> {
    fn value(&mut self) -> &mut Vec<u8> {
        self.out.push(if self.opened { b',' } else { b'(' });
        self.opened = true;
        self.out
    }

    fn end(&mut self) {
        self.out.push(b')');
    }

    fn number(&mut self, number: Option<u32>) -> &mut Self {
        match number {
            Some(number) => self.value().extend_from_slice(number.to_string().as_bytes()),
            None => self.value().extend_from_slice(b"NULL"),
        }
        self
    }

    fn float(&mut self, number: Option<f32>) -> &mut Self {
        let text = match number {
            None => "NULL".to_owned(),
            // Larger than any number of that kind, and so read as this again.
            Some(number) if number.is_infinite() => format!("{}1e39", if number < 0.0 { "-" } else { "" }),
            Some(number) => number.to_string(),
        };
        self.value().extend_from_slice(text.as_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let out = self.value();
        out.push(b'\'');
        for byte in text.bytes() {
            let escaped = match byte {
                0 => b'0',
                b'\n' => b'n',
                b'\r' => b'r',
                0x1a => b'Z',
                b'\'' | b'"' | b'\\' => byte,
                _ => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', escaped]);
        }
        out.push(b'\'');
        self
    }

    fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => {
                self.value().extend_from_slice(b"NULL");
                self
            }
        }
    }

    /// A decimal number kept as text.
    fn decimal(&mut self, text: &str) -> &mut Self {
        self.optional(Some(text).filter(|text| !text.is_empty()))
    }

    fn date(&mut self, unix_s: Option<u64>) -> &mut Self {
        self.optional(unix_s.map(dates::sql).as_deref())
    }
}
