//! A hub's machine with a projection on it, fed with a history.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use loop_proto::{ids::HubId, v1};
use loop_raft_store::{
    adapter::{self, ApplySink, StateMachine, StateReader},
    machine::{Event, HubState, apply_command},
    raft_types::{Entry, LeaderId, LogId, Proposal},
};
use openraft::{EntryPayload, storage::RaftStateMachine};
use prost::Message;
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Projection, Standing, Verified},
    history::{History, tight},
};
use crate::config::{HubConfig, Options, ProjectionEngine};

/// More than anything here takes, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(60);
/// Commands applied in one go.
const BATCH: usize = 16;

/// A hub as far as the projection knows one.
pub struct Stage {
    pub projection: Arc<Projection>,
    history: History,
    /// The same state, one batch ahead: commands follow from it.
    ahead: HubState,
    machine: StateMachine,
    state: StateReader,
    index: u64,
    shutdown: CancellationToken,
    run: JoinHandle<()>,
    _snapshots: TempDir,
}

struct Nobody;

impl ApplySink for Nobody {
    fn applied(&self, _events: &[Event], _applied_index: u64) {}
    fn replaced(&self, _applied_index: u64) {}
}

impl Stage {
    pub fn new(hub: u64, url: &str, seed: u64) -> Self {
        Self::with(hub, url, seed, ProjectionEngine::Memory)
    }

    pub fn with(hub: u64, url: &str, seed: u64, engine: ProjectionEngine) -> Self {
        let options = Options {
            node_id: Some(hub),
            cluster: Some(format!("{hub}=127.0.0.1:9080/127.0.0.1:8080")),
            join_token: Some("volunteers".into()),
            projection_url: Some(url.into()),
            projection_engine: Some(engine),
            projection_records: Some(1_000),
            ..Options::default()
        };
        let config = HubConfig::try_from(options).unwrap().projection.unwrap();
        let projection = Projection::new(config, HubId::new(hub).unwrap());
        let (snapshots, initial) = (tempfile::tempdir().unwrap(), HubState::new(tight()));
        let sink = projection.follow(Arc::new(Nobody));
        let (machine, state) = adapter::open(snapshots.path(), sink, initial.clone()).unwrap();
        projection.attach(state.clone());
        let shutdown = CancellationToken::new();
        let name = [hub as u8, seed as u8, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let run = tokio::spawn(projection.clone().run(name, shutdown.clone()));
        let history = History::from(seed);
        Self {
            projection,
            history,
            ahead: initial,
            machine,
            state,
            index: 0,
            shutdown,
            run,
            _snapshots: snapshots,
        }
    }

    /// Commits and applies as many commands.
    pub async fn go_on(&mut self, commands: usize) {
        for _ in 0..commands.div_ceil(BATCH) {
            let entries: Vec<Entry> = (0..BATCH).map(|_| self.entry()).collect();
            self.apply(entries).await;
        }
    }

    fn entry(&mut self) -> Entry {
        let command = self.history.next(&self.ahead);
        self.entry_of(command)
    }

    fn entry_of(&mut self, command: v1::Command) -> Entry {
        let payload = EntryPayload::Normal(Proposal(Bytes::from(command.encode_to_vec())));
        apply_command(&mut self.ahead, command);
        self.index += 1;
        Entry { log_id: LogId::new(LeaderId { term: 1, node_id: 1 }, self.index), payload }
    }

    async fn apply(&mut self, entries: Vec<Entry>) {
        let entries = entries.into_iter().map(|entry| Ok((entry, None)));
        self.machine.apply(stream::iter(entries)).await.unwrap();
        assert_eq!(self.state.applied_index(), self.index, "applying waits for nobody");
    }

    pub fn open_tasks(&self) -> u64 {
        self.state.read(|state| state.counts().open_tasks as u64)
    }

    pub fn forums(&self) -> u64 {
        self.state.read(|state| state.counts().forums as u64)
    }

    /// Waits until all that was applied is written.
    pub async fn caught_up(&self) {
        self.until("caught up", |stage| {
            let report = stage.projection.report();
            report.standing == Standing::CaughtUp && report.mark.applied == stage.index
        })
        .await;
    }

    /// Waits until it is down, and says why.
    pub async fn down(&self) -> String {
        self.until("down", |stage| stage.projection.report().trouble.is_some()).await;
        self.projection.report().trouble.unwrap_or_default()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !is_so(self) {
            assert!(
                Instant::now() < deadline,
                "not {what} at {}: {:?}",
                self.index,
                self.projection.report()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// All rows are there and as they should be; how many.
    pub async fn is_equal(&self) -> u64 {
        let verified = self.projection.verify().await.unwrap();
        let Verified { rows, differing, ref differences, mark } = verified;
        assert_eq!(differing, 0, "{differences:?}");
        assert_eq!(mark.applied, self.index);
        rows
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.run.await.unwrap();
    }
}
