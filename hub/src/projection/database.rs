//! One connection to the projection's database: making the tables, being the only writer, writing and reading rows.
//!
//! Owns the mark, the one row that says of which entry of Raft's log the tables are. It is announced before anything of a
//! batch is written and moved after all of it is: MEMORY has no transactions, so a batch that broke off shows as two different
//! numbers. Never decides what to write.

use std::{collections::BTreeMap, future::Future, time::Duration};

use mysql_async::{Conn, Opts, OptsBuilder, Row, Value, prelude::Queryable};
use tokio::time::timeout;

use super::{
    rows::{Cell, Key, TABLES, Table},
    schema::{self, MARK},
    trouble::Trouble,
    window::Net,
};
use crate::config::{ProjectionConfig, ProjectionEngine};

/// Longest wait for any statement. A table with a million rows is emptied in less.
const WITHIN: Duration = Duration::from_secs(15);
/// The database ends a connection, and with it the lock, that has said nothing for so long, seconds.
const SILENCE_S: u32 = 60;
/// Another hub that has written within this many seconds is at work.
const FRESH_S: u32 = 30;
/// Rows in one statement.
const ROWS_PER_STATEMENT: usize = 512;
/// Keys in one statement that removes rows.
const KEYS_PER_STATEMENT: usize = 128;

/// Where the log was when the tables were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The newest entry of Raft's log that is in the tables.
    pub applied: u64,
    /// The newest record then.
    pub newest: u64,
    /// Answered requests have rows if their ids are above this.
    pub after: u64,
}

/// What the tables are when a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This process wrote them, the last time through this entry; a batch may have broken off after it.
    Own(u64),
    /// Nothing of this process.
    Nothing,
}

/// The only writer of a database.
pub struct Database {
    conn: Conn,
    writer: [u8; 16],
    hub: u64,
    engine: ProjectionEngine,
}

async fn within<T>(query: impl Future<Output = mysql_async::Result<T>>) -> Result<T, Trouble> {
    match timeout(WITHIN, query).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Trouble::silent(WITHIN)),
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    let mut text = String::new();
    Cell::Bytes(*bytes).put(&mut text);
    text
}

impl Database {
    /// Connects as hub `hub` under the name `writer`, becomes the only writer, and makes what is missing.
    pub async fn open(
        config: &ProjectionConfig,
        hub: u64,
        writer: [u8; 16],
    ) -> Result<(Self, Found), Trouble> {
        let opts = Opts::from_url(config.url.expose()).map_err(mysql_async::Error::from)?;
        // A server on this machine would else be asked to go on over a socket, with another way to tell who asks.
        let opts = OptsBuilder::from_opts(opts).prefer_socket(false).stmt_cache_size(0);
        let conn = within(Conn::new(opts)).await?;
        let mut database = Self { conn, writer, hub, engine: config.engine };
        database
            .run(&format!("SET SESSION wait_timeout = {SILENCE_S}, SESSION time_zone = '+00:00'"))
            .await?;
        database
            .run("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION autocommit = 1")
            .await?;
        database.be_the_only_writer().await?;
        database.check_tables().await?;
        let found = database.own_mark().await?;
        Ok((database, found))
    }

    async fn run(&mut self, statement: &str) -> Result<u64, Trouble> {
        within(self.conn.query_drop(statement)).await?;
        Ok(self.conn.affected_rows())
    }

    async fn rows(&mut self, query: &str) -> Result<Vec<Row>, Trouble> {
        within(self.conn.query(query)).await
    }

    /// The lock belongs to this connection: while it lives nobody else writes, whoever has the password. It is the server's own,
    /// so where a cluster has several, the mark's age tells.
    async fn be_the_only_writer(&mut self) -> Result<(), Trouble> {
        let got: Option<Option<u8>> =
            within(self.conn.query_first("SELECT GET_LOCK(CONCAT('loop-projection/', MD5(DATABASE())), 0)"))
                .await?;
        let other = self.other_writer(got.flatten() == Some(1)).await?;
        if got.flatten() == Some(1) && other.is_none() {
            return Ok(());
        }
        Err(Trouble(match other {
            Some(hub) => format!(
                "hub h{hub} writes into this database: give each hub one of its own in --projection-url"
            ),
            None => "another connection writes into this database: if no other hub is given the same \
                     --projection-url, it is this hub's own from before, which ends within a minute"
                .to_owned(),
        }))
    }

    /// Another hub that has written lately, or whichever has if the lock is taken.
    async fn other_writer(&mut self, have_lock: bool) -> Result<Option<u64>, Trouble> {
        if !self.tables().await?.contains_key(MARK) {
            return Ok(None);
        }
        let lately = match have_lock {
            true => format!("date_written > UTC_TIMESTAMP(3) - INTERVAL {FRESH_S} SECOND"),
            false => "TRUE".to_owned(),
        };
        let nobody = hex(&[0; 16]);
        let query = format!(
            "SELECT int_hub_id FROM {MARK} WHERE int_hub_id <> {} AND bin_writer <> {nobody} AND {lately}",
            self.hub
        );
        within(self.conn.query_first(query)).await
    }

    /// Tables with our names, each with its engine and comment.
    async fn tables(&mut self) -> Result<BTreeMap<String, (String, String)>, Trouble> {
        let names: Vec<String> = schema::names().map(|name| format!("'{name}'")).collect();
        let query = format!(
            "SELECT TABLE_NAME, COALESCE(ENGINE, ''), COALESCE(TABLE_COMMENT, '') FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({})",
            names.join(", ")
        );
        let found: Vec<(String, String, String)> = within(self.conn.query(query)).await?;
        Ok(found.into_iter().map(|(name, engine, comment)| (name, (engine, comment))).collect())
    }

    /// Makes what is missing, and makes anew what is of another engine or version. What is not ours is left alone.
    async fn check_tables(&mut self) -> Result<(), Trouble> {
        let found = self.tables().await?;
        if let Some((name, _)) = found.iter().find(|(_, (_, comment))| !comment.starts_with(schema::COMMENT))
        {
            return Err(Trouble(format!(
                "the database has a table {name} that is not the projection's: give the projection a database of its own"
            )));
        }
        let wanted = schema::engine(self.engine);
        let is_as_wanted = |(engine, comment): &(String, String)| {
            engine.eq_ignore_ascii_case(wanted) && *comment == schema::comment()
        };
        if !found.values().all(is_as_wanted) {
            for name in found.keys() {
                self.run(&format!("DROP TABLE {name}")).await?;
            }
        }
        for statement in schema::tables(self.engine).iter().chain(&schema::views()) {
            self.run(statement).await?;
        }
        Ok(())
    }

    /// What this process has written last. Where a batch broke off, writing it again makes it whole.
    async fn own_mark(&mut self) -> Result<Found, Trouble> {
        let query =
            format!("SELECT int_applied_through FROM {MARK} WHERE bin_writer = {}", hex(&self.writer));
        let found: Option<u64> = within(self.conn.query_first(query)).await?;
        Ok(found.map_or(Found::Nothing, Found::Own))
    }

    /// Empties all tables. A full one takes up a larger limit by this.
    pub async fn clear(&mut self) -> Result<(), Trouble> {
        self.run(&format!("TRUNCATE TABLE {MARK}")).await?;
        for table in TABLES {
            self.run(&format!("TRUNCATE TABLE {}", table.name())).await?;
        }
        Ok(())
    }

    /// Says that all tables are of that moment, after [`Self::clear`] and all rows.
    pub async fn set_mark(&mut self, mark: Mark) -> Result<(), Trouble> {
        let Mark { applied, newest, after } = mark;
        let statement = format!(
            "REPLACE INTO {MARK} VALUES (1, {}, {}, {applied}, {applied}, {newest}, {after}, UTC_TIMESTAMP(3))",
            self.hub,
            hex(&self.writer),
        );
        self.run(&statement).await.map(drop)
    }

    /// Writes rows that change, and then that the tables are of that moment.
    pub async fn write(&mut self, net: &Net, mark: Mark) -> Result<(), Trouble> {
        let Mark { applied, newest, after } = mark;
        self.run("START TRANSACTION").await?;
        self.touch_mark(&format!("int_writing_through = {applied}")).await?;
        for table in TABLES {
            let gone: Vec<Key> =
                net.of(table).filter(|(_, cells)| cells.is_none()).map(|(key, _)| key).collect();
            self.remove(table, &gone).await?;
            self.replace(table, net.of(table).filter_map(|(key, cells)| Some((key, cells?)))).await?;
        }
        self.touch_mark(&format!(
            "int_writing_through = {applied}, int_applied_through = {applied}, int_newest_record_id = {newest}, \
             int_requests_after = {after}"
        ))
        .await?;
        self.run("COMMIT").await.map(drop)
    }

    /// Says that this writer is alive, and learns whether the tables are still there.
    pub async fn beat(&mut self) -> Result<(), Trouble> {
        self.touch_mark("int_row = 1").await
    }

    async fn touch_mark(&mut self, set: &str) -> Result<(), Trouble> {
        // Ever another date, so that the row always counts as changed.
        let statement = format!(
            "UPDATE {MARK} SET {set}, date_written = GREATEST(UTC_TIMESTAMP(3), date_written + INTERVAL 1000 MICROSECOND) \
             WHERE bin_writer = {}",
            hex(&self.writer)
        );
        match self.run(&statement).await? {
            1 => Ok(()),
            _ => Err(Trouble(
                "the tables were emptied, or somebody else writes them: they are made anew".to_owned(),
            )),
        }
    }

    /// Writes rows, whether they are there or not.
    pub async fn replace<C: AsRef<[Cell]>>(
        &mut self,
        table: Table,
        rows: impl Iterator<Item = (Key, C)>,
    ) -> Result<usize, Trouble> {
        let (mut statement, mut many, mut all) = (String::new(), 0, 0);
        for (key, cells) in rows {
            statement.push_str(if many == 0 { "REPLACE INTO " } else { ", (" });
            if many == 0 {
                statement.push_str(table.name());
                statement.push_str(" VALUES (");
            }
            put_row(&mut statement, table, key, cells.as_ref());
            (many, all) = (many + 1, all + 1);
            if many == ROWS_PER_STATEMENT {
                self.run(&statement).await?;
                statement.clear();
                many = 0;
            }
        }
        if many > 0 {
            self.run(&statement).await?;
        }
        Ok(all)
    }

    async fn remove(&mut self, table: Table, keys: &[Key]) -> Result<(), Trouble> {
        let (columns, _) = table.columns();
        for keys in keys.chunks(KEYS_PER_STATEMENT) {
            let rows: Vec<String> = keys
                .iter()
                .map(|key| {
                    let equal =
                        columns.iter().zip(key).map(|((name, ..), number)| format!("{name} = {number}"));
                    format!("({})", equal.collect::<Vec<_>>().join(" AND "))
                })
                .collect();
            self.run(&format!("DELETE FROM {} WHERE {}", table.name(), rows.join(" OR "))).await?;
        }
        Ok(())
    }

    /// Up to `limit` rows with keys above `after`, by key, each column as the database tells it.
    pub async fn page(
        &mut self,
        table: Table,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Told>, Trouble> {
        let (key, rest) = table.columns();
        let all: Vec<&str> = key.iter().chain(rest).map(|(name, ..)| *name).collect();
        let keys: Vec<&str> = all[..key.len()].to_vec();
        let above = match (after, &keys[..]) {
            (None, _) => "TRUE".to_owned(),
            (Some([a, b]), [first, second]) => format!("{first} > {a} OR ({first} = {a} AND {second} > {b})"),
            (Some([a, _]), _) => format!("{} > {a}", keys[0]),
        };
        let query = format!(
            "SELECT {} FROM {} WHERE {above} ORDER BY {} LIMIT {limit}",
            all.join(", "),
            table.name(),
            keys.join(", ")
        );
        let rows = self.rows(&query).await?;
        rows.into_iter().map(|row| told(row, keys.len())).collect()
    }

    /// Gives the database up, so that another hub may have it at once.
    pub async fn close(mut self) {
        let nobody = hex(&[0; 16]);
        // Whether that works or not, the connection ends and the lock with it.
        let _ = self
            .run(&format!("UPDATE {MARK} SET bin_writer = {nobody} WHERE bin_writer = {}", hex(&self.writer)))
            .await;
        let _ = timeout(WITHIN, self.conn.disconnect()).await;
    }
}

/// A row as it was read: its key, and its other columns' texts.
pub type Told = (Key, Vec<Option<Vec<u8>>>);

fn told(row: Row, keys: usize) -> Result<Told, Trouble> {
    let strange = || Trouble("the database answers a key that is no number".to_owned());
    let texts: Vec<Option<Vec<u8>>> = row
        .unwrap()
        .into_iter()
        .map(|value| match value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        })
        .collect();
    let mut key = [0; 2];
    for (number, text) in key.iter_mut().zip(&texts[..keys.min(texts.len())]) {
        let text = text.as_deref().and_then(|text| std::str::from_utf8(text).ok());
        *number = text.and_then(|text| text.parse().ok()).ok_or_else(strange)?;
    }
    Ok((key, texts.into_iter().skip(keys).collect()))
}

fn put_row(statement: &mut String, table: Table, key: Key, cells: &[Cell]) {
    let (columns, _) = table.columns();
    for (at, number) in key.iter().take(columns.len()).enumerate() {
        if at > 0 {
            statement.push_str(", ");
        }
        Cell::Number(*number).put(statement);
    }
    for cell in cells {
        statement.push_str(", ");
        cell.put(statement);
    }
    statement.push(')');
}
