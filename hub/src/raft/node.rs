//! This hub's Raft node: its configuration, and the log and snapshots it opens.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use loop_proto::{
    breakage::{self, Breakage},
    hub_folder::LOG_FOLDER,
};
use loop_raft_store::{
    adapter::{self, ApplySink, StateReader},
    log_store::{self, Engine, LogStoreConfig, disk::Dir},
    machine::{Event, HubState, bounds::Bounds},
    raft_node::{self, HubRaftNode},
};
use openraft::{Config, SnapshotPolicy, async_runtime::watch::WatchReceiver};

use super::client::HubTransport;
use crate::{
    config::{HubConfig, LogEngineKind},
    group::Group,
    outside::Outside,
};

/// Whether this hub follows a leader or is it. It may have fallen a moment ago: see `health` for what is certain.
pub fn has_leader(raft: &HubRaftNode) -> bool {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.current_leader.is_some()
}

/// Opens the folder of the log, for this process alone.
pub fn open_log_dir(config: &HubConfig, outside: &Outside) -> io::Result<Arc<dyn Dir>> {
    open_dir(outside, &log_path(config), "the log")
}

fn log_path(config: &HubConfig) -> PathBuf {
    config.data_dir.join(LOG_FOLDER)
}

/// Opens the log and the newest snapshot and starts Raft on them.
pub async fn start(
    config: &HubConfig,
    outside: &Outside,
    log_dir: Arc<dyn Dir>,
    group: Arc<Group>,
    sink: Arc<dyn ApplySink>,
) -> io::Result<(HubRaftNode, StateReader)> {
    let initial = HubState::new(Bounds {
        records_max: config.retained_records,
        suspension_ms: config.suspension_ms,
        open_message_age_ms: config.open_message_age_ms,
        empty_forum_age_ms: config.empty_forum_age_ms,
        ..Bounds::default()
    });
    let sink = match outside.witness() {
        Some(witness) => Arc::new(Witnessed { witness, sink }) as Arc<dyn ApplySink>,
        None => sink,
    };
    let dir = config.data_dir.join("snapshots");
    let (machine, reader) =
        adapter::open_on(open_dir(outside, &dir, "the snapshots")?, outside.sink(), sink, initial)?;
    let engine = match config.log_engine {
        LogEngineKind::Sled => Engine::Sled,
        LogEngineKind::Segment => Engine::Segment,
    };
    let log = log_store::open_on(LogStoreConfig::new(log_path(config), engine), log_dir, outside.sink())
        .map_err(io::Error::other)?;
    let raft_config = Config {
        cluster_name: "loop-hubs".into(),
        heartbeat_interval: millis(config.heartbeat),
        election_timeout_min: millis(config.election.0),
        election_timeout_max: millis(config.election.1),
        enable_pre_vote: Some(true),
        // A leader replicates entries before they are on its own disk, and two others make a majority. If it then loses
        // power it must not lead on in its old term: it would give the places of committed entries to others.
        enable_leader_restore: Some(breakage::is_on(Breakage::LeadRestored)),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        // Entries kept behind a snapshot let a follower that was away for a moment catch up without one.
        max_in_snapshot_log_to_keep: config.snapshot_entries / 5,
        replication_lag_threshold: config.snapshot_entries * 2,
        install_snapshot_timeout: 30_000,
        ..Config::default()
    };
    let transport = Arc::new(HubTransport { group });
    let raft = raft_node::start(config.hub_id.get(), raft_config, transport, log, machine).await?;
    Ok((raft, reader))
}

/// Tells two.
struct Witnessed {
    witness: Arc<dyn ApplySink>,
    sink: Arc<dyn ApplySink>,
}

impl ApplySink for Witnessed {
    fn applied(&self, events: &[Event], applied_index: u64) {
        self.witness.applied(events, applied_index);
        self.sink.applied(events, applied_index);
    }

    fn stepped(&self, state: &HubState, applied_index: u64) {
        self.witness.stepped(state, applied_index);
    }

    fn replaced(&self, applied_index: u64) {
        self.witness.replaced(applied_index);
        self.sink.replaced(applied_index);
    }
}

fn open_dir(outside: &Outside, dir: &Path, what: &str) -> io::Result<Arc<dyn Dir>> {
    outside.open_dir(dir).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::ResourceBusy => "another process uses it".to_owned(),
            _ => error.to_string(),
        };
        io::Error::new(error.kind(), format!("cannot open {what} in {}: {why}", dir.display()))
    })
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
