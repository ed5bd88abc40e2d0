//! Reads of forums that nobody has written in, without a cookie, from one address: what they leave behind.
//!
//! Owns what could grow and where it is looked at; never knows how much of it would be too much.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use loop_local::Who;
use rusqlite::{Connection, OpenFlags};
use tokio::task::JoinSet;

use crate::{
    client::client,
    expect::{ensure as holds, eventually, unique},
    replica::database,
    system::System,
};

/// Connections at a time.
const AT_ONCE: usize = 32;
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long peers may take to have on disk what is in the log.
const ON_DISK_WITHIN: Duration = Duration::from_secs(20);
/// What is asked for, in turn.
const SCRIPTS: [&str; 3] = ["search-chat.php?records=25&", "search-secure.php?", "logged-status.php?"];

/// What the hubs agree on, and what peers have on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Forums that are open.
    pub forums: u64,
    /// Sessions that are known.
    pub sessions: u64,
    /// The newest record of the task log.
    pub newest_task: u64,
    /// The number the next user gets.
    pub next_user: u64,
    /// The number the next message gets.
    pub next_message: u64,
    /// Rows of each table, over all peers.
    pub rows: BTreeMap<String, u64>,
}

/// All that could grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What no read may change.
    pub agreed: Agreed,
    /// Entries of the hubs' own log. Time alone makes some: the leader notes who is connected, and that time goes on.
    pub entries: u64,
    /// Bytes of everything that hubs keep, snapshots included.
    pub hub_bytes: u64,
}

impl Seen {
    /// Looks at the hubs and at the peers' databases, once peers have on disk what the hubs know.
    pub async fn now(system: &System) -> Result<Self> {
        let admin = system.admin()?;
        let newest = admin.status().await?.newest_task;
        eventually("on every peer's disk", ON_DISK_WITHIN, || async {
            let peers = admin.peers().await.map_err(|error| error.to_string())?;
            holds(peers.iter().all(|peer| peer.cursor >= newest), || format!("t{newest}: {peers:?}"))
        })
        .await;
        let (status, ids) = (admin.status().await?, admin.ids().await?);
        let (mut rows, mut hub_bytes) = (BTreeMap::new(), 0);
        for member in system.cluster.members() {
            let folder = system.cluster.data_dir(member.who);
            match member.who {
                Who::Hub(_) => hub_bytes += bytes_under(&folder)?,
                Who::Peer(_) => count_rows(&folder, &mut rows)?,
            }
        }
        let agreed = Agreed {
            forums: status.forums,
            sessions: status.sessions,
            newest_task: status.newest_task,
            next_user: ids.next_user_id,
            next_message: ids.next_message_id,
            rows,
        };
        Ok(Self { agreed, entries: status.applied_index, hub_bytes })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Agreed { forums, sessions, newest_task, next_user, next_message, rows } = &self.agreed;
        writeln!(
            f,
            "  forums {forums}, sessions {sessions}, newest record t{newest_task}, next user {next_user}, next message {next_message}"
        )?;
        writeln!(f, "  hubs' own log: {} entries; hubs' disks: {} bytes", self.entries, self.hub_bytes)?;
        let rows: Vec<String> = rows.iter().map(|(table, rows)| format!("{table} {rows}")).collect();
        write!(f, "  rows on all peers: {}", rows.join(", "))
    }
}

/// Reads `count` forums of names that nobody has used, each without a cookie. How long it took.
pub async fn read_unknown_forums(system: &System, count: usize) -> Result<Duration> {
    let begun = Instant::now();
    let mut readers: JoinSet<Result<()>> = JoinSet::new();
    for reader in 0..AT_ONCE {
        let hub = system.hub(reader % system.cluster.hub_count());
        readers.spawn(async move {
            let http = client(ANSWER_WITHIN);
            for at in (reader..count).step_by(AT_ONCE) {
                let (script, name) = (SCRIPTS[at % SCRIPTS.len()], unique("ajps_random_"));
                let url = format!("{hub}/{script}callback=a&passcode={name}&uniqueFeedbackId={name}");
                let answer = http.get(&url).send().await?;
                let status = answer.status();
                let body = answer.text().await?;
                ensure!(status == 200 && !body.is_empty(), "{url}: {status} {body}");
            }
            Ok(())
        });
    }
    while let Some(reader) = readers.join_next().await {
        reader??;
    }
    Ok(begun.elapsed())
}

fn bytes_under(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += bytes_under(&path)?;
        } else {
            // A file that was replaced in this moment has no size.
            bytes += path.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(bytes)
}

fn count_rows(folder: &Path, rows: &mut BTreeMap<String, u64>) -> Result<()> {
    // Not read-only: after a kill somebody has to replay the write-ahead log.
    let db = Connection::open_with_flags(database(folder)?, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(Duration::from_secs(10))?;
    let mut tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables {
        let count: i64 = db.query_row(&format!("SELECT COUNT(*) FROM \"{table}\""), [], |row| row.get(0))?;
        *rows.entry(table).or_default() += count.cast_unsigned();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_a_folder_count_and_rows_of_every_table() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("log");
        std::fs::create_dir(&deep).unwrap();
        std::fs::write(deep.join("a"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("b"), [0; 5]).unwrap();
        assert_eq!(bytes_under(folder.path()).unwrap(), 15);
        let db = Connection::open(folder.path().join("rows.db")).unwrap();
        db.execute_batch("CREATE TABLE x(a); CREATE TABLE y(a); INSERT INTO x VALUES (1), (2);").unwrap();
        let mut rows = BTreeMap::new();
        count_rows(folder.path(), &mut rows).unwrap();
        assert_eq!(rows, [("x".to_owned(), 2), ("y".to_owned(), 0)].into());
    }
}
