//! A group of three hubs' Raft, with real logs, snapshots and machine, in one process.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use loop_proto::v1::{self, command::Body, outcome::Kind};
use loop_raft_store::{
    adapter::{self, ApplySink, StateReader},
    log_store::{Engine, LogStore},
    machine::{Bounds, Event, HubState, snapshot},
    raft_node::{
        self, Appends, Call, HubRaftNode, Installed, Replies, RpcError, Transfer, Transferred, Transport,
        VoteRequest, VoteResponse,
    },
    raft_types::{HubNode, HubRaft, HubResponder, LogId, Proposal, Snapshot, Vote},
};
use openraft::{Config, ReadPolicy, SnapshotPolicy, errors::Unreachable};
use parking_lot::Mutex;
use prost::Message;

/// Calls the other nodes directly; those not listed cannot be reached.
#[derive(Clone, Default)]
struct Wires(Arc<Mutex<BTreeMap<u64, HubRaftNode>>>);

impl Wires {
    fn raft(&self, to: u64) -> Result<HubRaftNode, Unreachable<HubRaft>> {
        self.0.lock().get(&to).cloned().ok_or_else(|| Unreachable::from_string("stopped"))
    }
}

fn stopped(error: impl std::error::Error) -> RpcError {
    Unreachable::<HubRaft>::from_string(error.to_string()).into()
}

impl Transport for Wires {
    fn learn(&self, _hub: u64, _node: &HubNode) {}

    fn append(&self, hub: u64, requests: Appends, _within: Duration) -> Call<Replies> {
        let raft = self.raft(hub);
        Box::pin(async move { Ok(raft?.stream_append(requests).map(|reply| reply.map_err(stopped)).boxed()) })
    }

    fn vote(&self, hub: u64, request: VoteRequest, pre_vote: bool, _within: Duration) -> Call<VoteResponse> {
        let raft = self.raft(hub);
        Box::pin(async move {
            let raft = raft?;
            let reply = if pre_vote { raft.pre_vote(request).await } else { raft.vote(request).await };
            reply.map_err(stopped)
        })
    }

    fn install_snapshot(
        &self,
        hub: u64,
        vote: Vote,
        snapshot: Snapshot,
        _within: Duration,
    ) -> Call<Installed> {
        let raft = self.raft(hub);
        Box::pin(async move { raft?.install_full_snapshot(vote, snapshot).await.map_err(stopped) })
    }

    fn transfer_leader(&self, hub: u64, request: Transfer, _within: Duration) -> Call<Transferred> {
        let raft = self.raft(hub);
        Box::pin(async move { raft?.handle_transfer_leader(request).await.map_err(stopped) })
    }
}

/// What a hub's feed would hear.
#[derive(Default)]
struct Heard {
    applied: Mutex<Vec<u64>>,
    events: Mutex<usize>,
    replaced: Mutex<Vec<u64>>,
}

impl ApplySink for Heard {
    fn applied(&self, events: &[Event], applied_index: u64) {
        self.applied.lock().push(applied_index);
        *self.events.lock() += events.len();
    }

    fn replaced(&self, applied_index: u64) {
        self.replaced.lock().push(applied_index);
    }
}

struct Node {
    raft: HubRaftNode,
    reader: StateReader,
    heard: Arc<Heard>,
}

struct Group {
    dir: PathBuf,
    wires: Wires,
    nodes: BTreeMap<u64, Node>,
}

fn engine(id: u64) -> Engine {
    if id == 2 { Engine::Segment } else { Engine::Sled }
}

impl Group {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), wires: Wires::default(), nodes: BTreeMap::new() }
    }

    async fn start(&mut self, id: u64) {
        self.try_start(id).await.unwrap();
    }

    async fn try_start(&mut self, id: u64) -> io::Result<()> {
        let dir = self.dir.join(id.to_string());
        let log: LogStore = crate::support::open(&dir.join("log"), engine(id)).unwrap();
        let heard = Arc::new(Heard::default());
        let state = HubState::new(Bounds::STANDARD);
        let (machine, reader) = adapter::open(&dir.join("snapshots"), heard.clone(), state).unwrap();
        let config = Config {
            heartbeat_interval: 50,
            election_timeout_min: 200,
            election_timeout_max: 400,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: 10,
            ..Config::default()
        };
        let wires = Arc::new(self.wires.clone());
        let raft = raft_node::start(id, config, wires, log, machine).await?;
        self.wires.0.lock().insert(id, raft.clone());
        self.nodes.insert(id, Node { raft, reader, heard });
        Ok(())
    }

    /// Stops a node and waits until its files are free.
    async fn stop(&mut self, id: u64) {
        self.wires.0.lock().remove(&id);
        let node = self.nodes.remove(&id).unwrap();
        node.raft.shutdown().await.unwrap();
        drop(node);
        let lock = self.dir.join(id.to_string());
        for name in ["log", "snapshots"] {
            let file = std::fs::File::open(lock.join(name).join("lock")).unwrap();
            for _ in 0..100 {
                if file.try_lock().is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// A leader that takes proposals: just elected, it refuses them until a quorum has confirmed it.
    async fn leader(&self) -> u64 {
        for _ in 0..1000 {
            for (id, node) in &self.nodes {
                if node.raft.ensure_linearizable(ReadPolicy::ReadIndex).await.is_ok() {
                    return *id;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no leader within 20 s");
    }

    /// Writes through the leader; returns the index of the last one.
    async fn write(&self, names: std::ops::Range<u32>) -> u64 {
        let leader = &self.nodes[&self.leader().await].raft;
        let mut index = 0;
        for name in names {
            let written = leader.client_write(register(name)).await.unwrap();
            assert!(matches!(written.response().0.kind, Some(Kind::PeerRegistered(_))), "{written:?}");
            index = written.log_id().index();
        }
        index
    }

    /// All nodes hold the same state at `index`, which is returned as bytes.
    async fn same_state(&self, index: u64) -> Vec<u8> {
        let mut states = Vec::new();
        for node in self.nodes.values() {
            let wait = node.reader.wait_applied(index);
            tokio::time::timeout(Duration::from_secs(20), wait).await.expect("applied in time").unwrap();
            assert!(node.reader.applied_index() >= index);
            states.push(node.reader.read(snapshot::encode));
        }
        assert!(states.iter().all(|state| *state == states[0]));
        states.swap_remove(0)
    }
}

fn register(name: u32) -> Proposal {
    let body = Body::RegisterPeer(v1::RegisterPeer {
        name: format!("peer {name}"),
        secret_hash: Bytes::from([name.to_be_bytes(); 8].concat()),
        owner: "us".into(),
        network: "home".into(),
    });
    let request_id = Bytes::from([name.to_be_bytes(); 4].concat());
    Proposal(v1::Command { request_id, at_ms: 1_000_000, body: Some(body) }.encode_to_vec().into())
}

/// A command that is known, and says nothing that can be done.
fn refused() -> Proposal {
    let body = Some(Body::RegisterPeer(v1::RegisterPeer::default()));
    Proposal(v1::Command { at_ms: 1_000_000, body, ..v1::Command::default() }.encode_to_vec().into())
}

fn members() -> BTreeMap<u64, HubNode> {
    (1..=3).map(|id| (id, HubNode::default())).collect()
}

/// Goal: a node that missed what was purged gets it by snapshot, the rest by log, and all agree; and all agree again
/// after all have been restarted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hubs_agree_over_a_snapshot_and_restarts() {
    let temp = tempfile::tempdir().unwrap();
    let mut group = Group::new(temp.path());
    for id in 1..=3 {
        group.start(id).await;
    }
    group.nodes[&1].raft.initialize(members()).await.unwrap();
    let index = group.write(0..60).await;
    group.same_state(index).await;

    // 3 is away while the others write, make a snapshot and purge.
    group.stop(3).await;
    group.write(60..160).await;
    let leader = group.leader().await;
    let raft = &group.nodes[&leader].raft;
    raft.trigger().snapshot().await.unwrap();
    let purged =
        |metrics: &openraft::RaftMetrics<HubRaft>| metrics.purged.is_some_and(|id: LogId| id.index() > 100);
    raft.wait(Some(Duration::from_secs(20))).metrics(purged, "purged").await.unwrap();
    let index = group.write(160..170).await;

    group.start(3).await;
    let state = group.same_state(index).await;
    let heard = group.nodes[&3].heard.clone();
    assert_eq!(heard.replaced.lock().len(), 1, "one snapshot came");
    assert!(heard.applied.lock().is_sorted(), "{:?}", heard.applied.lock());
    assert_eq!(group.nodes[&3].reader.membership().voter_ids().count(), 3);

    for id in 1..=3 {
        group.stop(id).await;
    }
    for id in 1..=3 {
        group.start(id).await;
    }
    // Nothing was written since, and nothing is lost.
    group.leader().await;
    assert!(group.same_state(index).await == state);
    let index = group.write(170..180).await;
    assert!(group.same_state(index).await != state);
}

/// Goal: everyone who proposes is answered, in the feed's order; also what is refused, alike on every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_sent_without_waiting_are_all_answered() {
    let temp = tempfile::tempdir().unwrap();
    let mut group = Group::new(temp.path());
    for id in 1..=3 {
        group.start(id).await;
    }
    group.nodes[&1].raft.initialize(members()).await.unwrap();
    let leader = group.leader().await;
    let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
    for tag in 0..500u32 {
        let proposal = if tag == 250 { refused() } else { register(tag) };
        let responder = HubResponder::tagged(tag.into(), answers.clone());
        group.nodes[&leader].raft.client_write_ff(proposal, Some(responder)).await.unwrap();
    }
    drop(answers);
    let mut index = 0;
    for tag in 0..500 {
        let (answered, result) = answered.recv().await.unwrap();
        assert_eq!(answered, tag);
        let written = result.unwrap().unwrap();
        assert!(written.log_id().index() > index);
        index = written.log_id().index();
        match written.response().0.kind.as_ref().unwrap() {
            Kind::Rejection(rejection) => {
                assert_eq!((tag, rejection.code()), (250, v1::RejectionCode::Malformed));
            }
            kind => assert!(matches!(kind, Kind::PeerRegistered(_))),
        }
        // Whoever is answered finds it applied.
        assert!(group.nodes[&leader].reader.applied_index() >= index);
    }
    assert!(answered.recv().await.is_none());
    group.same_state(index).await;
    assert_eq!(*group.nodes[&leader].heard.events.lock(), 499);
    assert!(group.nodes[&leader].reader.wait_applied(index).await.is_ok());
    let reader = group.nodes[&leader].reader.clone();
    group.stop(leader).await;
    assert!(reader.wait_applied(index + 1_000_000).await.is_err(), "nobody waits for a stopped node");
}

/// Goal: a command of a newer version stops a node with a sentence, before it; whatever was before it is applied, and a
/// start does not pass over it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_not_known_stops_a_hub_with_a_sentence() {
    let temp = tempfile::tempdir().unwrap();
    let mut group = Group::new(temp.path());
    group.start(1).await;
    let alone: BTreeMap<u64, HubNode> = [(1, HubNode::default())].into();
    group.nodes[&1].raft.initialize(alone).await.unwrap();
    let index = group.write(0..10).await;
    // A field of a later version's.
    let of_the_future = Proposal(Bytes::from_static(b"\xfa\x7f\x03new"));
    group.nodes[&1].raft.client_write(of_the_future).await.unwrap_err();
    let node = &group.nodes[&1];
    let stopped = |metrics: &openraft::RaftMetrics<HubRaft>| metrics.running_state.is_err();
    let seen = node.raft.wait(Some(Duration::from_secs(20))).metrics(stopped, "stopped").await.unwrap();
    let why = seen.running_state.unwrap_err().to_string();
    assert!(why.contains("install the version that the other hubs run"), "{why}");
    assert_eq!(node.reader.applied_index(), index);
    group.stop(1).await;
    let why = group.try_start(1).await.unwrap_err().to_string();
    assert!(why.contains("install the version that the other hubs run"), "{why}");
}
