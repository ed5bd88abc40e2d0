//! Why a local system could not be started or steered. Each message says what to do next.

use std::{io, path::PathBuf, process::ExitStatus, time::Duration};

/// A failure of the launcher, in words for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Not a size Raft is for.
    #[error("{0} hubs were asked for; a group has 1, 3 or 5 (--hubs)")]
    Hubs(u16),
    /// More than one machine should run.
    #[error("{asked} peers were asked for; at most {max} run on one machine (--peers)")]
    Peers {
        /// What was asked for.
        asked: u16,
        /// The limit.
        max: u16,
    },
    /// A port range that leaves 1 to 65535.
    #[error("{count} ports from {first} on do not fit below 65536 ({flag})")]
    PortRange {
        /// The first port.
        first: u16,
        /// How many are needed.
        count: u16,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// HTTP and gRPC would share a port.
    #[error("port {0} would serve both HTTP and gRPC; move --http-port or --grpc-port")]
    PortTwice(u16),
    /// Somebody else listens there.
    #[error(
        "port {port} ({what}) is in use; stop what listens there (an earlier run?) or choose other ports with {flag}"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// Whose it was to be.
        what: String,
        /// The flag that moves it.
        flag: &'static str,
    },
    /// No free port was found.
    #[error("no free port was found after {0} attempts")]
    NoFreePort(u32),
    /// The folder belongs to a system of another shape.
    #[error(
        "the data in {} was made with {saved}, now {asked} was asked for; use the same again, or another --data-dir",
        folder.display()
    )]
    OtherLayout {
        /// The data folder.
        folder: PathBuf,
        /// What it was made with.
        saved: String,
        /// What was asked for.
        asked: String,
    },
    /// Data of hubs, and no word of where they listen.
    #[error(
        "{} is missing, which says on which ports the hubs of this folder listen, though they have data: give the ports \
         they had with --http-port and --grpc-port (8080 and 9080 unless you chose others), or another --data-dir",
        .0.display()
    )]
    LayoutLost(PathBuf),
    /// None of the hubs can be started.
    #[error("none of the hubs can be started, so nothing was:\n{0}")]
    NoHub(String),
    /// A hub that cannot be replaced.
    #[error("hub-{id} was not replaced: {why}")]
    Replace {
        /// Its number.
        id: u64,
        /// What stands against it, and what to do.
        why: String,
    },
    /// Another launcher holds the folder.
    #[error("{} is in use by another loop-local; stop that one or choose another --data-dir", .0.display())]
    FolderInUse(PathBuf),
    /// A file or folder that cannot be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was being done, as an infinitive.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of ours that says something else than we wrote.
    #[error("{} is damaged ({why}); remove it if you know which ports this system used", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A binary that is not there.
    #[error(
        "no binary {name} in {}; build it with `cargo build --bins`, or name its folder with --bin-dir or LOOP_BIN_DIR",
        looked_in.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" or ")
    )]
    NoBinary {
        /// The binary.
        name: String,
        /// The folders it was looked for in.
        looked_in: Vec<PathBuf>,
    },
    /// A process that could not be started at all.
    #[error("cannot start {name} ({}): {source}", program.display())]
    Spawn {
        /// The process.
        name: String,
        /// Its binary.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A process that ended before it was ready.
    #[error("{name} stopped while starting ({status}). The end of {}:\n{tail}", log.display())]
    Exited {
        /// The process.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A process that is alive but not ready in time.
    #[error("{name} was not ready within {within:?} ({last}). The end of {}:\n{tail}", log.display())]
    NotReady {
        /// The process.
        name: String,
        /// The time it had.
        within: Duration,
        /// What it answered last.
        last: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A signal for a process that is not running.
    #[error("{0} is not running")]
    NotRunning(String),
    /// A signal the system refused.
    #[error("cannot signal {name}: {source}")]
    Signal {
        /// The process.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}
