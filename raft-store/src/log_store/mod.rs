//! The Raft log: entries, vote and positions of one node, durable before they are acknowledged.
//!
//! Owns order (one queue for everything that is written), grouping (one sync for all that has queued up), the
//! cache of the newest entries, and the refusal to go on after damage. Where the bytes go is an engine's matter.
//! Never knows what a command means.

pub mod disk;
mod engine;
mod error;
mod mark;
mod metrics;
mod segment;
mod sled_engine;
mod state;
mod storage;
mod tail;
mod wal;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedSender, unbounded_channel},
    oneshot,
};

use self::{
    disk::{Dir, RealDir},
    engine::{EngineReader, LogEngine, Recovered},
    mark::Mark,
    metrics::Counters,
    state::State,
    tail::Tail,
    wal::{Op, Wal},
};
pub use self::{
    error::{Corruption, LogError, OpenError, REPLACE},
    metrics::LogMetrics,
};
use crate::{
    raft_codec::{decode_entry, log_id_from_proto, vote_from_proto},
    raft_types::{Entry, HubRaft},
};

/// Where the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// An embedded database, sled.
    #[default]
    Sled,
    /// Append-only files of our own. Faster; the only one that runs on a simulated disk.
    Segment,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sink {
    /// A thread of its own: for production.
    #[default]
    Thread,
    /// The caller, at once: for a simulation, where nothing may run beside it.
    Inline,
    /// A task of the runtime, which waits for each sync as long as the directory says: for a simulation in which
    /// crashes fall between a write and its sync.
    Task,
}

/// How to open a log.
#[derive(Debug, Clone)]
pub struct LogStoreConfig {
    /// The directory; made if missing. Used by one process at a time.
    pub dir: PathBuf,
    /// Where the bytes go.
    pub engine: Engine,
    /// How much memory the newest entries may take. Entries not yet on disk come on top, up to `queue_bytes`.
    pub cache_bytes: usize,
    /// How much may wait to be written; an append beyond it waits first. At least 1 MiB.
    pub queue_bytes: usize,
    /// Segment engine: size of a file. From 4 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// sled engine: its page cache. Its memory is a multiple of it.
    pub sled_cache_bytes: u64,
}

impl LogStoreConfig {
    /// The measured defaults.
    pub fn new(dir: impl Into<PathBuf>, engine: Engine) -> Self {
        Self {
            dir: dir.into(),
            engine,
            cache_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            segment_bytes: 64 << 20,
            sled_cache_bytes: 64 << 20,
        }
    }
}

/// The queue's room is counted in these, so that any size fits a semaphore.
const ROOM_UNIT: usize = 1024;
const ROOM_MIN: usize = 1024;

/// The open log. Clones share it; it is closed, and its last bytes written, when the last one is dropped.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    sink: SinkState,
    state: Arc<Mutex<State>>,
    reader: Arc<dyn EngineReader>,
    room: Arc<Semaphore>,
    room_total: usize,
    counters: Arc<Counters>,
    /// Last, for its lock: the next user must find everything closed.
    _disk: Arc<dyn Dir>,
}

enum SinkState {
    Thread { requests: Option<mpsc::Sender<Op>>, thread: Option<thread::JoinHandle<()>> },
    Inline(Box<Mutex<Wal>>),
    Task(UnboundedSender<Op>),
}

/// Opens a log, checking every entry. What was acknowledged is there, or this is an error.
pub fn open(config: LogStoreConfig) -> Result<LogStore, OpenError> {
    let disk = RealDir::open(&config.dir).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => LogError::InUse { dir: config.dir.clone() },
        _ => LogError::io(&config.dir, "open the directory")(error),
    })?;
    open_on(config, Arc::new(disk), Sink::Thread)
}

/// Opens a log on the given disk. The sled engine uses the real one at `config.dir` all the same. With
/// [`Sink::Task`], to be called on a runtime.
pub fn open_on(config: LogStoreConfig, disk: Arc<dyn Dir>, sink: Sink) -> Result<LogStore, OpenError> {
    refuse_other_engine(&config, &*disk)?;
    let (engine, recovered): (Box<dyn LogEngine>, Recovered) = match config.engine {
        Engine::Sled => {
            let (engine, recovered) = sled_engine::SledEngine::open(&config.dir, config.sled_cache_bytes)?;
            (Box::new(engine), recovered)
        }
        Engine::Segment => {
            let (engine, recovered) = segment::SegmentEngine::open(disk.clone(), config.segment_bytes)?;
            (Box::new(engine), recovered)
        }
    };
    let mark = Mark::open(&*disk, recovered.next)?;
    LogStore::start(config, disk, sink, engine, recovered, mark)
}

/// Two logs in one directory would be two truths.
fn refuse_other_engine(config: &LogStoreConfig, disk: &dyn Dir) -> Result<(), OpenError> {
    let names = disk.list().map_err(LogError::io(&config.dir, "list the directory"))?;
    let found = match config.engine {
        Engine::Sled if names.iter().any(|name| segment::is_segment_name(name)) => "segment",
        Engine::Segment if sled_engine::exists(&config.dir) => "sled",
        _ => return Ok(()),
    };
    Err(LogError::OtherEngine { dir: config.dir.clone(), found })
}

impl LogStore {
    fn start(
        config: LogStoreConfig,
        disk: Arc<dyn Dir>,
        sink: Sink,
        engine: Box<dyn LogEngine>,
        recovered: Recovered,
        mark: Mark,
    ) -> Result<Self, OpenError> {
        let Recovered { meta, first, next } = recovered;
        let reader = engine.reader();
        let purged = meta.purged.as_ref().map(log_id_from_proto);
        let last = if next > first {
            Some(read_engine(&*reader, &config.dir, next - 1, next, usize::MAX)?[0].log_id)
        } else {
            purged
        };
        let state = Arc::new(Mutex::new(State {
            vote: meta.vote.as_ref().map(vote_from_proto),
            committed: meta.committed.as_ref().map(log_id_from_proto),
            purged,
            last,
            first,
            tail: Tail::new(next, config.cache_bytes),
            persisted_next: next,
            truncations: 0,
            failed: None,
        }));
        let room_total = (config.queue_bytes / ROOM_UNIT).clamp(ROOM_MIN, Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(room_total));
        let counters = Arc::new(Counters::default());
        let shared = (state.clone(), room.clone());
        let wal = Wal::new(engine, mark, config.dir.clone(), (meta, next), shared, counters.clone());
        let sink = match sink {
            Sink::Inline => SinkState::Inline(Box::new(Mutex::new(wal))),
            Sink::Task => {
                let (requests, queue) = unbounded_channel();
                tokio::spawn(wal.run_as_task(queue, disk.clone()));
                SinkState::Task(requests)
            }
            Sink::Thread => {
                let (requests, queue) = mpsc::channel();
                let thread = thread::Builder::new()
                    .name("raft-log".into())
                    .spawn(move || wal.run(queue))
                    .map_err(LogError::io(&config.dir, "start the log's thread"))?;
                SinkState::Thread { requests: Some(requests), thread: Some(thread) }
            }
        };
        let inner = Inner { dir: config.dir, sink, state, reader, room, room_total, counters, _disk: disk };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Totals since the log was opened.
    pub fn metrics(&self) -> LogMetrics {
        self.inner.counters.read()
    }

    /// The directory it lives in.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Changes the state and queues the request that makes the change durable, as one step.
    fn submit(&self, change: impl FnOnce(&mut State) -> Result<Op, LogError>) -> Result<(), LogError> {
        let change = |state: &mut State| state.healthy().and_then(|()| change(state));
        match &self.inner.sink {
            SinkState::Thread { requests, .. } => {
                let mut state = self.inner.state.lock();
                let op = change(&mut state)?;
                let requests = requests.as_ref().ok_or_else(|| LogError::Stopped("closed".into()))?;
                // Sent under the lock: the queue's order must be the order of the changes.
                requests.send(op).map_err(|_| LogError::Stopped("the log's thread has ended".into()))
            }
            SinkState::Task(requests) => {
                let mut state = self.inner.state.lock();
                let op = change(&mut state)?;
                requests.send(op).map_err(|_| LogError::Stopped("the log's task has ended".into()))
            }
            SinkState::Inline(wal) => {
                let mut wal = wal.lock();
                let op = change(&mut self.inner.state.lock())?;
                wal.group(op, || None);
                Ok(())
            }
        }
    }

    /// As [`Self::submit`], and waits until it is durable.
    async fn submit_and_wait(
        &self,
        change: impl FnOnce(&mut State, wal::Done) -> Result<Op, LogError>,
    ) -> Result<(), LogError> {
        let (done, durable) = oneshot::channel();
        self.submit(|state| change(state, done))?;
        durable.await.map_err(|_| LogError::Stopped("the log's thread has ended".into()))?
    }

    /// Waits for room in the queue and takes it; returns how much. The log's thread gives it back.
    async fn take_room(&self, bytes: usize) -> Result<u32, LogError> {
        if matches!(self.inner.sink, SinkState::Inline(_)) {
            return Ok(0);
        }
        // An append larger than the whole queue waits until it is alone.
        let units = bytes.div_ceil(ROOM_UNIT).min(self.inner.room_total);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = self.inner.room.acquire_many(units).await;
        permit.map_err(|_| LogError::Stopped("closed".into()))?.forget();
        Ok(units)
    }

    fn append_op(
        state: &mut State,
        entries: Vec<Entry>,
        room: u32,
        done: IOFlushed<HubRaft>,
    ) -> Result<Op, LogError> {
        for entry in &entries {
            let index = entry.log_id.index();
            if state.next() == state.first && index >= state.first {
                // The first entry of an empty log may lie anywhere: after a snapshot it does.
                state.first = index;
            } else if index != state.next() {
                let next = state.next();
                return Err(LogError::Stopped(format!("append of entry {index} where {next} is due")));
            }
            state.last = Some(entry.log_id);
            state.tail.push(entry.clone());
        }
        Ok(Op::Append { entries, room, truncations: state.truncations, done })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let SinkState::Thread { requests, thread } = &mut self.sink {
            drop(requests.take());
            // Joined, so that whoever opens the directory next finds it free and whole.
            if let Some(thread) = thread.take()
                && thread.join().is_err()
            {
                tracing::error!("the log's thread panicked");
            }
        }
    }
}

/// Entries from the engine, decoded and checked against their place.
fn read_engine(
    reader: &dyn EngineReader,
    dir: &Path,
    start: u64,
    end: u64,
    max_bytes: usize,
) -> Result<Vec<Entry>, LogError> {
    let corrupt = |index, what: String| Corruption {
        dir: dir.to_owned(),
        index: Some(index),
        place: "stored entry".into(),
        what,
    };
    let mut entries = Vec::new();
    for record in reader.read(start..end, max_bytes)? {
        let entry = decode_entry(record.bytes).map_err(|error| corrupt(record.index, error.to_string()))?;
        if entry.log_id.index() != record.index {
            let what = format!("it says that it is entry {}", entry.log_id.index());
            return Err(corrupt(record.index, what).into());
        }
        entries.push(entry);
    }
    match entries.is_empty() && start < end {
        true => Err(corrupt(start, "it is missing".into()).into()),
        false => Ok(entries),
    }
}
