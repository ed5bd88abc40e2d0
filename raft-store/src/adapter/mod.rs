//! The machine as openraft sees it: entries in, replies out, snapshots both ways.
//!
//! Owns the one copy of the agreed state and who may look at it when. Never holds a business rule: what a command
//! means is the machine's matter.

mod snapshot_file;

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use parking_lot::RwLock;
use tokio::sync::watch;

use self::snapshot_file::SnapshotFile;
use crate::{
    log_store::{
        Sink,
        disk::{Dir, RealDir},
    },
    machine::{self, Event, HubState, UnknownCommand, snapshot},
    raft_types::{Entry, HubRaft, LogId, Reply, Snapshot, SnapshotMeta, StoredMembership},
};

/// Most entries applied under one lock: readers wait no longer than these take.
const BATCH_MAX: usize = 256;

/// Told what was applied, in order, without the state's lock being held. Must not block: it is in the way of every
/// commit.
pub trait ApplySink: Send + Sync {
    /// These events happened; the state now includes everything up to `applied_index`. Before whoever proposed it
    /// is answered. Also called without events, for entries that are no commands or changed nothing.
    fn applied(&self, events: &[Event], applied_index: u64);
    /// What the state is after each entry, before anybody else sees it; nobody listens but a simulation. The state's
    /// lock is held.
    fn stepped(&self, _state: &HubState, _applied_index: u64) {}
    /// The state was replaced by a snapshot up to `applied_index`: what was derived from it must be read again.
    fn replaced(&self, applied_index: u64);
}

/// What openraft drives. One for each node.
pub struct StateMachine {
    shared: Arc<RwLock<Held>>,
    applied: watch::Sender<u64>,
    sink: Arc<dyn ApplySink>,
    snapshots: Arc<SnapshotFile>,
    work: Sink,
}

/// The state with the position it is at.
#[derive(Clone)]
struct Held {
    hub: HubState,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

impl Held {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last_applied, last_membership: self.membership.clone() }
    }

    fn index(&self) -> u64 {
        self.last_applied.map_or(0, |id| id.index())
    }
}

/// Looks at the state. Clones look at the same one.
#[derive(Clone)]
pub struct StateReader {
    shared: Arc<RwLock<Held>>,
    applied: watch::Receiver<u64>,
}

/// The state machine is gone: the node has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this hub's state machine has stopped")]
pub struct Stopped;

impl StateReader {
    /// Runs `look` on the state. Applying waits meanwhile, so it should be short; it must not call this again.
    pub fn read<R>(&self, look: impl FnOnce(&HubState) -> R) -> R {
        look(&self.shared.read().hub)
    }

    /// A copy of the state, which shares with the original what can be shared, and the newest Raft entry it includes.
    pub fn copy(&self) -> (HubState, u64) {
        let held = self.shared.read();
        (held.hub.clone(), held.index())
    }

    /// The newest Raft entry the state includes; 0 if none, or only the first.
    pub fn applied_index(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Returns when the state includes entry `index`.
    pub async fn wait_applied(&self, index: u64) -> Result<(), Stopped> {
        let mut applied = self.applied.clone();
        applied.wait_for(|applied| *applied >= index).await.map(drop).map_err(|_| Stopped)
    }

    /// The newest applied membership of the hub group.
    pub fn membership(&self) -> StoredMembership {
        self.shared.read().membership.clone()
    }
}

/// Opens the state as of the newest snapshot in `snapshot_dir`, or `initial` if there is none. The log after it is
/// applied again by Raft.
pub fn open(
    snapshot_dir: &Path,
    sink: Arc<dyn ApplySink>,
    initial: HubState,
) -> io::Result<(StateMachine, StateReader)> {
    let dir = RealDir::open(snapshot_dir).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot open the snapshots in {}: {error}", snapshot_dir.display()),
        )
    })?;
    open_on(Arc::new(dir), Sink::Thread, sink, initial)
}

/// As [`open`], on the given disk. With [`Sink::Thread`], encoding and writing snapshots happens on a thread for such
/// work; else on the calling task, as a simulation needs it.
pub fn open_on(
    dir: Arc<dyn Dir>,
    work: Sink,
    sink: Arc<dyn ApplySink>,
    initial: HubState,
) -> io::Result<(StateMachine, StateReader)> {
    let snapshots = Arc::new(SnapshotFile::open(dir)?);
    let held = match snapshots.load()? {
        None => Held { hub: initial, last_applied: None, membership: StoredMembership::default() },
        Some((meta, data)) => {
            let hub = snapshot::decode(&data).map_err(|error| snapshots.unusable(error))?;
            Held { hub, last_applied: meta.last_log_id, membership: meta.last_membership }
        }
    };
    let (applied, watching) = watch::channel(held.index());
    let shared = Arc::new(RwLock::new(held));
    let reader = StateReader { shared: shared.clone(), applied: watching };
    Ok((StateMachine { shared, applied, sink, snapshots, work }, reader))
}

/// Runs `job` where it does not hold up others.
async fn run_job<T: Send + 'static>(
    work: Sink,
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match work {
        Sink::Inline | Sink::Task => job(),
        Sink::Thread => tokio::task::spawn_blocking(job).await.map_err(io::Error::other)?,
    }
}

type Answer = (ApplyResponder<HubRaft>, Reply);

impl StateMachine {
    /// Applies entries under one lock, then tells everyone. Stops before a command that is not known.
    fn apply_batch(&self, batch: Vec<EntryResponder<HubRaft>>) -> io::Result<()> {
        let mut stopped = Ok(());
        let mut events = Vec::new();
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        let mut held = self.shared.write();
        for (entry, responder) in batch {
            let reply = match apply_entry(&mut held, entry, &mut events) {
                Ok(reply) => reply,
                Err(unknown) => {
                    stopped = Err(io::Error::new(io::ErrorKind::Unsupported, unknown));
                    break;
                }
            };
            self.sink.stepped(&held.hub, held.index());
            answers.extend(responder.map(|responder| (responder, reply)));
        }
        let applied = held.index();
        drop(held);
        // In this order, so that whoever is answered finds it in the feed and in every read.
        self.sink.applied(&events, applied);
        self.applied.send_replace(applied);
        answers.into_iter().for_each(|(responder, reply)| responder.send(reply));
        stopped
    }
}

fn apply_entry(held: &mut Held, entry: Entry, events: &mut Vec<Event>) -> Result<Reply, UnknownCommand> {
    let reply = match entry.payload {
        EntryPayload::Blank => Reply::default(),
        EntryPayload::Membership(membership) => {
            held.membership = StoredMembership::new(Some(entry.log_id), membership);
            Reply::default()
        }
        EntryPayload::Normal(proposal) => {
            let applied = machine::apply_bytes(&mut held.hub, proposal.0)?;
            events.extend(applied.events);
            Reply(applied.outcome)
        }
    };
    held.last_applied = Some(entry.log_id);
    Ok(reply)
}

impl RaftStateMachine<HubRaft> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let held = self.shared.read();
        Ok((held.last_applied, held.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<HubRaft>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(first) = entries.next().await {
            let mut batch = vec![first?];
            let mut failed = None;
            while batch.len() < BATCH_MAX
                && let Some(Some(item)) = entries.next().now_or_never()
            {
                match item {
                    Ok(item) => batch.push(item),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            self.apply_batch(batch)?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let held = self.shared.read().clone();
        SnapshotBuilder { held: Some(held), snapshots: self.snapshots.clone(), work: self.work }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Bytes) -> Result<(), io::Error> {
        let (snapshots, meta) = (self.snapshots.clone(), meta.clone());
        let job = move || {
            // Decoded before it is saved: a bad one must not replace a good one.
            let hub = snapshot::decode(&data).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("cannot use the leader's snapshot: {error}"),
                )
            })?;
            snapshots.save(&meta, &data)?;
            Ok(Held { hub, last_applied: meta.last_log_id, membership: meta.last_membership })
        };
        let held = run_job(self.work, job).await?;
        let applied = held.index();
        let old = std::mem::replace(&mut *self.shared.write(), held);
        self.sink.replaced(applied);
        self.applied.send_replace(applied);
        // A large state takes long to take apart; nobody waits for it.
        let discard = move || {
            drop(old);
            Ok(())
        };
        run_job(self.work, discard).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let snapshots = self.snapshots.clone();
        let found = run_job(self.work, move || snapshots.load()).await?;
        Ok(found.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Makes a snapshot of the state as it was when this was made.
pub struct SnapshotBuilder {
    held: Option<Held>,
    snapshots: Arc<SnapshotFile>,
    work: Sink,
}

impl RaftSnapshotBuilder<HubRaft> for SnapshotBuilder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let held = self.held.take().ok_or_else(|| io::Error::other("a builder builds one snapshot"))?;
        let snapshots = self.snapshots.clone();
        let job = move || {
            let meta = held.meta();
            let data = Bytes::from(snapshot::encode(&held.hub));
            snapshots.save(&meta, &data)?;
            Ok(Snapshot { meta, snapshot: data })
        };
        run_job(self.work, job).await
    }
}
