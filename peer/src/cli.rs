//! The command line: what can be said, and what `status` prints. Never runs a peer.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use loop_peer::{config::Flags, identity::Identity};
use loop_proto::ids::PeerId;
use rusqlite::{Connection, OpenFlags};

/// Holds forums for a group of hubs and executes their requests.
#[derive(Parser)]
#[command(name = "loop-peer", version, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// Settings.
    #[command(flatten)]
    pub flags: Flags,
    /// Print the configuration as it would be used, secrets masked, and stop.
    #[arg(long)]
    pub print_config: bool,
    /// Check configuration and hubs, say what is wrong, and stop.
    #[arg(long)]
    pub check: bool,
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of running.
#[derive(Subcommand)]
pub enum Command {
    /// Show who the peer in the data folder is and how far it has come. Works beside a running peer.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a forum to a file that a stock MariaDB loads into AtomJump's tables, and `import` reads. The peer must not
    /// be running. The file has sessions in it: keep it as you keep a password.
    Export {
        /// Its id (178), or its name.
        forum: String,
        /// Where to [default: forum-ID.sql].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// What was written, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a forum of the data folder what is in a file: one that `export` wrote, or a dump of AtomJump's tables by
    /// mariadb-dump --no-create-info. Only this folder changes: other peers of the group do not hear of it. The peer
    /// must not be running.
    Import {
        /// The file.
        file: PathBuf,
        /// What was read, as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The machine's name, as far as it can be shown.
pub fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(64).collect();
    if name.is_empty() { "loop-peer".to_owned() } else { name }
}

/// What `status` prints.
pub fn status(dir: &Path, json: bool) -> anyhow::Result<String> {
    let identity = Identity::load(dir)?;
    let kept = kept(dir)?;
    anyhow::ensure!(
        identity.is_some() || kept.is_some(),
        "{} is not a peer's data folder; name it with --data-dir",
        dir.display()
    );
    let peer_id = identity.as_ref().and_then(|identity| identity.peer_id).map(PeerId::get);
    let joined = identity.as_ref().map_or(0, |identity| identity.joined_at_ms);
    if json {
        let status = serde_json::json!({
            "data_dir": dir.display().to_string(),
            "peer_id": peer_id,
            "joined_at_ms": (joined > 0).then_some(joined),
            "cursor": kept.as_ref().map(|kept| kept.cursor),
            "forums": kept.as_ref().map(|kept| kept.forums),
        });
        return Ok(format!("{status:#}\n"));
    }
    let peer = peer_id.map_or("has not joined yet".to_owned(), |id| format!("p{id}"));
    let (cursor, forums) = kept.map_or_else(
        || ("no database yet".to_owned(), "none".to_owned()),
        |kept| (kept.cursor.to_string(), kept.forums.to_string()),
    );
    let dir = dir.display();
    Ok(format!("data folder  {dir}\npeer         {peer}\ncursor       {cursor}\nforums       {forums}\n"))
}

/// What is on disk.
struct Kept {
    cursor: u64,
    forums: u64,
}

/// Read beside a peer that may be running; `None` before its first start.
fn kept(dir: &Path) -> anyhow::Result<Option<Kept>> {
    let path = dir.join("loop.sqlite3");
    if !path.exists() {
        return Ok(None);
    }
    let read = || -> rusqlite::Result<(i64, i64)> {
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(std::time::Duration::from_secs(1))?;
        let both = "SELECT value, (SELECT count(*) FROM tbl_layer) FROM meta WHERE name = 'cursor'";
        connection.query_row(both, [], |row| Ok((row.get(0)?, row.get(1)?)))
    };
    let (cursor, forums) = read().with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Some(Kept { cursor: u64::try_from(cursor).unwrap_or(0), forums: u64::try_from(forums).unwrap_or(0) }))
}
