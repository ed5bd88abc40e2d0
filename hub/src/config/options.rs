//! What an operator may say, flag by flag. Owns names, help texts and which source beats which; never what is valid.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// What may be given on the command line, in the environment (`LOOP_HUB_…`) or in the file.
#[derive(Args, Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// This hub's number, 1 or more, different for every hub and the same for ever
    #[arg(long, env = "LOOP_HUB_NODE_ID")]
    pub node_id: Option<u64>,
    /// Folder for the log, snapshots and the vote [default: ./loop-hub-data]
    #[arg(long, env = "LOOP_HUB_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address browsers connect to [default: 127.0.0.1:8080]
    #[arg(long, env = "LOOP_HUB_HTTP_LISTEN")]
    pub http_listen: Option<SocketAddr>,
    /// Address hubs, peers and hubctl connect to [default: 127.0.0.1:9080]
    #[arg(long, env = "LOOP_HUB_GRPC_LISTEN")]
    pub grpc_listen: Option<SocketAddr>,
    /// The first members of the group, this hub included: "1=grpc-host:port/http-host:port,2=…"
    #[arg(long, env = "LOOP_HUB_CLUSTER")]
    pub cluster: Option<String>,
    /// Form the group from --cluster if this hub has no data yet; harmless on later starts
    #[arg(long, env = "LOOP_HUB_BOOTSTRAP", num_args = 0..=1, default_missing_value = "true")]
    pub bootstrap: Option<bool>,
    /// gRPC address of any member of a running group, to be added to it
    #[arg(long, env = "LOOP_HUB_JOIN")]
    pub join: Option<String>,
    /// Token volunteers' peers must present to join
    #[arg(long, env = "LOOP_HUB_JOIN_TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// Token operators (hubctl) and hubs that join must present, the same on all hubs; 16 to 256 visible characters.
    /// Without it they are served from loopback addresses only. Set it if a proxy stands in front of the gRPC port
    #[arg(long, env = "LOOP_HUB_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// Secret hubs show one another, the same on all hubs; 16 to 256 visible characters. Without it hubs are served
    /// from loopback addresses only, so it is needed as soon as --grpc-listen is another one
    #[arg(long, env = "LOOP_HUB_GROUP_SECRET", hide_env_values = true)]
    pub group_secret: Option<String>,
    /// How the Raft log is kept [default: sled]
    #[arg(long, env = "LOOP_HUB_LOG_ENGINE")]
    pub log_engine: Option<LogEngineKind>,
    /// Folder of files to serve besides the built-in ones
    #[arg(long, env = "LOOP_HUB_STATIC_DIR")]
    pub static_dir: Option<PathBuf>,
    /// On how many peers each forum is kept, 1 to 4 [default: 3]
    #[arg(long, env = "LOOP_HUB_REPLICAS")]
    pub replicas: Option<u32>,
    /// On how many peers a busy forum may be kept, --replicas to 4 [default: 4]
    #[arg(long, env = "LOOP_HUB_REPLICAS_MAX")]
    pub replicas_max: Option<u32>,
    /// Have forums find their peers by themselves; `--balance false` leaves it to the operator [default: true]
    #[arg(long, env = "LOOP_HUB_BALANCE", num_args = 0..=1, default_missing_value = "true")]
    pub balance: Option<bool>,
    /// How long a peer may be away before its forums are given to others, seconds; one that is known to come back from
    /// longer absences is waited for twice as long as those are [default: 600]
    #[arg(long, env = "LOOP_HUB_PEER_GRACE_S")]
    pub peer_grace_s: Option<u64>,
    /// How long a new peer must have been there, in all and for most of the time, before its copies count, seconds; in a
    /// younger group half of the group's age [default: 43200]
    #[arg(long, env = "LOOP_HUB_PEER_PROBATION_S")]
    pub peer_probation_s: Option<u64>,
    /// How long a new copy must have been live before it is compared with another and counts, and how long the one it
    /// replaces is kept after that, seconds [default: 600]
    #[arg(long, env = "LOOP_HUB_COPY_GRACE_S")]
    pub copy_grace_s: Option<u64>,
    /// How long an invited peer may stay silent, seconds; twice that once it has accepted [default: 30]
    #[arg(long, env = "LOOP_HUB_INVITATION_TIMEOUT_S")]
    pub invitation_timeout_s: Option<u64>,
    /// Heartbeat of the leading hub, milliseconds [default: 50]
    #[arg(long, env = "LOOP_HUB_HEARTBEAT_MS")]
    pub heartbeat_ms: Option<u64>,
    /// Shortest wait before a hub tries to take the lead, milliseconds [default: 200]
    #[arg(long, env = "LOOP_HUB_ELECTION_MIN_MS")]
    pub election_min_ms: Option<u64>,
    /// Longest wait before a hub tries to take the lead, milliseconds [default: 400]
    #[arg(long, env = "LOOP_HUB_ELECTION_MAX_MS")]
    pub election_max_ms: Option<u64>,
    /// After how long an unanswered task goes to another peer, milliseconds [default: 1000]
    #[arg(long, env = "LOOP_HUB_TAKEOVER_MS")]
    pub takeover_ms: Option<u64>,
    /// Heartbeat between hub and peers, milliseconds [default: 250]
    #[arg(long, env = "LOOP_HUB_PEER_HEARTBEAT_MS")]
    pub peer_heartbeat_ms: Option<u64>,
    /// Most records of the task log kept for peers that are away [default: 1000000]
    #[arg(long, env = "LOOP_HUB_RETAINED_RECORDS")]
    pub retained_records: Option<u64>,
    /// Take a snapshot after this many log entries [default: 100000]
    #[arg(long, env = "LOOP_HUB_SNAPSHOT_ENTRIES")]
    pub snapshot_entries: Option<u64>,
    /// Memory for the newest messages of the forums that are looked at, MiB [default: 256]
    #[arg(long, env = "LOOP_HUB_WINDOW_MIB")]
    pub window_mib: Option<u64>,
    /// Database that this hub, and no other, keeps its tasks, forums and peers in as rows, for questions in SQL:
    /// mysql://user:password@127.0.0.1:3306/loop_h1, MariaDB or MySQL; better in the environment or the file, out of sight
    /// of `ps` [default: none]
    #[arg(long, env = "LOOP_HUB_PROJECTION_URL", hide_env_values = true)]
    pub projection_url: Option<String>,
    /// What keeps these tables [default: memory]
    #[arg(long, env = "LOOP_HUB_PROJECTION_ENGINE")]
    pub projection_engine: Option<ProjectionEngine>,
    /// How many of the log's newest records have rows there; unanswered requests always have [default: 65536]
    #[arg(long, env = "LOOP_HUB_PROJECTION_RECORDS")]
    pub projection_records: Option<u64>,
    /// Most client connections at once [default: 16000]
    #[arg(long, env = "LOOP_HUB_CONNECTIONS_MAX")]
    pub connections_max: Option<usize>,
    /// Serve Socket.IO clients at /socket.io/ of the HTTP port: who is there, and messages between them [default: true]
    #[arg(long, env = "LOOP_HUB_REALTIME", num_args = 0..=1, default_missing_value = "true")]
    pub realtime: Option<bool>,
    /// More ports for browsers, at the address of --http-listen: pages of Socket.IO clients may have some built in, as
    /// "3001,3002"
    #[arg(long, env = "LOOP_HUB_REALTIME_PORTS")]
    pub realtime_ports: Option<String>,
    /// Allow listening on other than loopback addresses although nothing is encrypted yet
    #[arg(long, env = "LOOP_HUB_INSECURE_PLAINTEXT", num_args = 0..=1, default_missing_value = "true")]
    pub insecure_plaintext: Option<bool>,
    /// What to log, e.g. "info,loop_hub=debug" [default: info,openraft=warn]
    #[arg(long, env = "LOOP_HUB_LOG")]
    pub log: Option<String>,
}

/// Which engine keeps the Raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogEngineKind {
    /// sled, framed, with an fdatasync of our own.
    Sled,
    /// Append-only segment files: about twice as fast.
    Segment,
}

/// Which engine of the database keeps the projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectionEngine {
    /// In the database's memory: gone when it restarts, and made anew.
    Memory,
    /// On its disk: batches are seen whole or not at all.
    Innodb,
    /// In an NDB cluster.
    Ndbcluster,
}

impl Options {
    /// Reads a TOML file of options.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        toml::from_str(&text)
            .map_err(|error| ConfigError::Syntax { path: path.to_owned(), error: Box::new(error) })
    }

    /// These options, with `other` where these say nothing.
    pub fn or(self, other: Self) -> Self {
        Self {
            node_id: self.node_id.or(other.node_id),
            data_dir: self.data_dir.or(other.data_dir),
            http_listen: self.http_listen.or(other.http_listen),
            grpc_listen: self.grpc_listen.or(other.grpc_listen),
            cluster: self.cluster.or(other.cluster),
            bootstrap: self.bootstrap.or(other.bootstrap),
            join: self.join.or(other.join),
            join_token: self.join_token.or(other.join_token),
            admin_token: self.admin_token.or(other.admin_token),
            group_secret: self.group_secret.or(other.group_secret),
            log_engine: self.log_engine.or(other.log_engine),
            static_dir: self.static_dir.or(other.static_dir),
            replicas: self.replicas.or(other.replicas),
            replicas_max: self.replicas_max.or(other.replicas_max),
            balance: self.balance.or(other.balance),
            peer_grace_s: self.peer_grace_s.or(other.peer_grace_s),
            peer_probation_s: self.peer_probation_s.or(other.peer_probation_s),
            copy_grace_s: self.copy_grace_s.or(other.copy_grace_s),
            invitation_timeout_s: self.invitation_timeout_s.or(other.invitation_timeout_s),
            heartbeat_ms: self.heartbeat_ms.or(other.heartbeat_ms),
            election_min_ms: self.election_min_ms.or(other.election_min_ms),
            election_max_ms: self.election_max_ms.or(other.election_max_ms),
            takeover_ms: self.takeover_ms.or(other.takeover_ms),
            peer_heartbeat_ms: self.peer_heartbeat_ms.or(other.peer_heartbeat_ms),
            retained_records: self.retained_records.or(other.retained_records),
            snapshot_entries: self.snapshot_entries.or(other.snapshot_entries),
            window_mib: self.window_mib.or(other.window_mib),
            projection_url: self.projection_url.or(other.projection_url),
            projection_engine: self.projection_engine.or(other.projection_engine),
            projection_records: self.projection_records.or(other.projection_records),
            connections_max: self.connections_max.or(other.connections_max),
            realtime: self.realtime.or(other.realtime),
            realtime_ports: self.realtime_ports.or(other.realtime_ports),
            insecure_plaintext: self.insecure_plaintext.or(other.insecure_plaintext),
            log: self.log.or(other.log),
        }
    }
}
