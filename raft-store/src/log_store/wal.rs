//! Puts what Raft asks for on disk, in order, many requests to a sync.
//!
//! One thread owns the engine. It takes what has queued up, stages it, syncs once and only then answers everyone;
//! while it syncs, the next group gathers. In a simulation there is no thread: a task does the same, or each request
//! is a group of its own, done by the caller.

use std::{
    io,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::{
    disk::Dir,
    engine::{LogEngine, Meta, Record},
    error::LogError,
    mark::Mark,
    metrics::Counters,
    state::State,
};
use crate::{
    raft_codec::{encode_entry, log_id_to_proto, vote_to_proto},
    raft_types::{Entry, HubRaft, LogId, Vote},
};

/// A group is closed when it holds this many bytes, so that no one waits for an endless one.
const GROUP_BYTES: usize = 4 << 20;

/// Told when what it asked for is durable.
pub(crate) type Done = oneshot::Sender<Result<(), LogError>>;

/// One request.
pub(crate) enum Op {
    Append {
        entries: Vec<Entry>,
        /// Room taken in the queue; given back when the entries are on disk.
        room: u32,
        /// How many truncations came before.
        truncations: u64,
        done: IOFlushed<HubRaft>,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    /// Not worth a sync: it rides with the next one.
    Committed(Option<LogId>),
    Truncate {
        next: u64,
        truncations: u64,
        done: Done,
    },
    Purge(LogId),
}

enum Waiter {
    Append(IOFlushed<HubRaft>),
    Other(Done),
}

/// The owner of the engine.
pub(crate) struct Wal {
    engine: Box<dyn LogEngine>,
    mark: Mark,
    dir: std::path::PathBuf,
    meta: Meta,
    next: u64,
    /// The truncations that have been staged.
    truncations: u64,
    state: Arc<parking_lot::Mutex<State>>,
    room: Arc<tokio::sync::Semaphore>,
    counters: Arc<Counters>,
    failed: Option<LogError>,
}

/// What a group has gathered.
#[derive(Default)]
struct Group {
    waiters: Vec<Waiter>,
    bytes: usize,
    entries: u64,
    room: usize,
    /// Somebody waits for this to be durable.
    sync: bool,
    committed: bool,
    purged: bool,
}

impl Wal {
    /// Takes over an engine that holds `meta` and ends before `next`.
    pub fn new(
        engine: Box<dyn LogEngine>,
        mark: Mark,
        dir: std::path::PathBuf,
        (meta, next): (Meta, u64),
        (state, room): (Arc<parking_lot::Mutex<State>>, Arc<tokio::sync::Semaphore>),
        counters: Arc<Counters>,
    ) -> Self {
        Self { engine, mark, dir, meta, next, truncations: 0, state, room, counters, failed: None }
    }

    /// Serves requests until all senders are gone.
    pub fn run(mut self, requests: mpsc::Receiver<Op>) {
        while let Ok(op) = requests.recv() {
            self.group(op, || requests.try_recv().ok());
        }
    }

    /// As [`Self::run`], on the runtime. A sync takes as long as `disk` says; meanwhile what it is to make last has
    /// been handed to the disk, which may lose it, or a part of it.
    pub async fn run_as_task(mut self, mut requests: UnboundedReceiver<Op>, disk: Arc<dyn Dir>) {
        while let Some(op) = requests.recv().await {
            let group = self.gather(op, || requests.try_recv().ok());
            if self.failed.is_none() {
                let written = self.engine.flush();
                self.note(written);
            }
            tokio::time::sleep(disk.sync_takes()).await;
            self.complete(group);
        }
    }

    /// Does `first` and what `more` has, with one sync, and answers.
    pub fn group(&mut self, first: Op, more: impl FnMut() -> Option<Op>) {
        let group = self.gather(first, more);
        self.complete(group);
    }

    /// Stages `first` and what `more` has.
    fn gather(&mut self, first: Op, mut more: impl FnMut() -> Option<Op>) -> Group {
        let mut group = Group::default();
        let mut next = Some(first);
        while let Some(op) = next.take() {
            let staged = self.stage(op, &mut group);
            self.note(staged);
            if group.bytes < GROUP_BYTES {
                next = more();
            }
        }
        group
    }

    /// Makes a group durable and answers.
    fn complete(&mut self, group: Group) {
        let finished = self.finish(&group);
        self.note(finished);
        self.answer(group);
    }

    fn note(&mut self, result: Result<(), LogError>) {
        if let Err(error) = result {
            tracing::error!(%error, "the Raft log has failed");
            self.failed = Some(error);
        }
    }

    /// Stages one request and adds its waiter to the group. After a failure only the waiter is added.
    fn stage(&mut self, op: Op, group: &mut Group) -> Result<(), LogError> {
        let healthy = self.failed.is_none();
        match op {
            Op::Append { entries, room, truncations, done } => {
                group.waiters.push(Waiter::Append(done));
                group.room += room as usize;
                if healthy {
                    self.truncations = truncations;
                    self.stage_entries(entries, group)?;
                }
            }
            Op::Vote { vote, done } => {
                group.waiters.push(Waiter::Other(done));
                self.meta.vote = Some(vote_to_proto(&vote));
                if healthy {
                    self.save_meta(group)?;
                    group.sync = true;
                }
            }
            Op::Committed(id) => {
                self.meta.committed = id.as_ref().map(log_id_to_proto);
                group.committed = true;
            }
            Op::Truncate { next, truncations, done } => {
                group.waiters.push(Waiter::Other(done));
                if healthy {
                    self.truncations = truncations;
                    self.truncate(next)?;
                    group.sync = true;
                }
            }
            Op::Purge(id) => {
                self.next = self.next.max(id.index() + 1);
                self.meta.purged = Some(log_id_to_proto(&id));
                if healthy {
                    self.save_meta(group)?;
                    group.purged = true;
                    group.sync = true;
                }
            }
        }
        Ok(())
    }

    fn stage_entries(&mut self, entries: Vec<Entry>, group: &mut Group) -> Result<(), LogError> {
        let records: Vec<Record> = entries
            .iter()
            .map(|entry| Record { index: entry.log_id.index(), bytes: Bytes::from(encode_entry(entry)) })
            .collect();
        let Some(last) = records.last() else { return Ok(()) };
        self.engine.append(&records)?;
        self.next = last.index + 1;
        group.bytes += records.iter().map(|record| record.bytes.len()).sum::<usize>();
        group.entries += records.len() as u64;
        group.sync = true;
        Ok(())
    }

    fn save_meta(&mut self, group: &mut Group) -> Result<(), LogError> {
        // The whole meta is written, so what was committed rides along.
        group.committed = false;
        self.engine.save_meta(&self.meta)
    }

    fn truncate(&mut self, next: u64) -> Result<(), LogError> {
        self.mark.lower(next).map_err(LogError::io(&self.dir, "lower the acknowledgement mark"))?;
        self.engine.truncate(next)?;
        self.next = self.next.min(next);
        Ok(())
    }

    /// Makes the group durable as far as anybody waits for it.
    fn finish(&mut self, group: &Group) -> Result<(), LogError> {
        if self.failed.is_some() {
            return Ok(());
        }
        if group.committed {
            self.engine.save_meta(&self.meta)?;
        }
        if !group.sync {
            return self.engine.flush();
        }
        self.engine.sync()?;
        self.mark.raise(self.next).map_err(LogError::io(&self.dir, "raise the acknowledgement mark"))?;
        self.counters.synced(group.entries, group.bytes as u64);
        let mut state = self.state.lock();
        // A truncation that is queued but not done yet has already set the bound, and it is the lower one.
        if state.truncations == self.truncations {
            state.persisted_next = self.next;
            state.tail.evict(self.next);
        }
        drop(state);
        if group.purged { self.engine.release() } else { Ok(()) }
    }

    fn answer(&mut self, group: Group) {
        if let Some(error) = &self.failed {
            self.state.lock().failed = Some(error.clone());
        }
        // Room goes back after a failure too: whoever waits for it must get to see the failure.
        self.room.add_permits(group.room);
        for waiter in group.waiters {
            let result = match &self.failed {
                None => Ok(()),
                Some(error) => Err(error.clone()),
            };
            match waiter {
                Waiter::Append(done) => done.io_completed(result.map_err(io::Error::from)),
                // Whoever asked may have given up; what was asked for is done all the same.
                Waiter::Other(done) => drop(done.send(result)),
            }
        }
    }
}
