//! What the log's tests share: entries, and asking the store for things and waiting.

use std::{io, path::Path};

use bytes::Bytes;
use loop_raft_store::{
    log_store::{self, Engine, LogStore, LogStoreConfig, OpenError},
    raft_types::{Entry, HubRaft, LeaderId, LogId, Proposal, Vote},
};
use openraft::{
    EntryPayload, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    type_config::TypeConfigExt,
};

/// Both engines, for tests that hold for either.
pub const ENGINES: [Engine; 2] = [Engine::Sled, Engine::Segment];

/// Small files and cache, so that a test of some hundred entries rolls files and reads from disk.
pub fn config(dir: &Path, engine: Engine) -> LogStoreConfig {
    LogStoreConfig {
        cache_bytes: 16 << 10,
        segment_bytes: 64 << 10,
        sled_cache_bytes: 4 << 20,
        ..LogStoreConfig::new(dir, engine)
    }
}

pub fn open(dir: &Path, engine: Engine) -> Result<LogStore, OpenError> {
    log_store::open(config(dir, engine))
}

pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId { term, node_id: 1 }, index)
}

/// An entry whose bytes follow from term, index and size, so that a reader can tell whether they are right.
pub fn entry(term: u64, index: u64, size: usize) -> Entry {
    let pattern = format!("[t{term} i{index}] ");
    let bytes: Vec<u8> = pattern.bytes().cycle().take(size).collect();
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Proposal(Bytes::from(bytes))) }
}

/// A size that follows from the index: mostly small, some that fill a frame, few that must be split.
pub fn size_of(index: u64) -> usize {
    match index % 17 {
        3 => 3_900 + (index % 200) as usize,
        11 => 9_000,
        _ => 32 + (index * 37 % 600) as usize,
    }
}

/// What an append calls when it is durable, and what to wait on for it.
pub fn durable() -> (IOFlushed<HubRaft>, impl Future<Output = io::Result<()>>) {
    let (done, durable) = HubRaft::oneshot();
    (IOFlushed::signal(done), async { durable.await.map_err(io::Error::other)? })
}

/// Appends and returns when durable.
pub async fn append(store: &mut LogStore, entries: Vec<Entry>) -> io::Result<()> {
    let (callback, durable) = durable();
    store.append(entries, callback).await?;
    durable.await
}

pub async fn read(store: &LogStore, start: u64, end: u64) -> io::Result<Vec<Entry>> {
    store.clone().try_get_log_entries(start..end).await
}

/// What a log should hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub entries: Vec<Entry>,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
    /// The term of what is appended next.
    pub term: u64,
}

/// One thing to do to a log.
#[derive(Clone, Debug)]
pub enum Change {
    Append {
        sizes: Vec<usize>,
    },
    /// How many of the newest entries to forget.
    Truncate {
        back: u64,
    },
    /// How many of the oldest to give up; may pass the end, as after a snapshot.
    Purge {
        count: u64,
    },
    Vote,
}

impl Model {
    pub fn new() -> Self {
        Self { term: 1, ..Self::default() }
    }

    pub fn first(&self) -> u64 {
        self.purged.map_or(0, |id| id.index() + 1)
    }

    pub fn next(&self) -> u64 {
        self.first() + self.entries.len() as u64
    }

    pub fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }

    /// The entries that an append of these sizes adds.
    pub fn new_entries(&self, sizes: &[usize]) -> Vec<Entry> {
        (self.next()..).zip(sizes).map(|(index, size)| entry(self.term, index, *size)).collect()
    }

    /// The id up to which a purge of `count` goes.
    pub fn purge_id(&self, count: u64) -> LogId {
        match self.entries.get(count as usize - 1) {
            Some(entry) => entry.log_id,
            None => log_id(self.term, self.first() + count - 1),
        }
    }

    /// What is last once the newest `back` entries are forgotten.
    pub fn last_before(&self, back: u64) -> Option<LogId> {
        match self.entries.len().saturating_sub(back as usize) {
            0 => self.purged,
            keep => Some(self.entries[keep - 1].log_id),
        }
    }

    pub fn next_vote(&self) -> Vote {
        Vote { leader_id: LeaderId { term: self.term + 1, node_id: 2 }, committed: true }
    }

    pub fn take(&mut self, change: &Change) {
        match change {
            Change::Append { sizes } => self.entries.extend(self.new_entries(sizes)),
            Change::Truncate { back } => {
                self.entries.truncate(self.entries.len().saturating_sub(*back as usize));
                // A truncation comes with a new leader, whose entries differ from those that went.
                self.term += 1;
            }
            Change::Purge { count } => {
                let id = self.purge_id(*count);
                self.entries.drain(..self.entries.len().min(*count as usize));
                self.purged = Some(id);
            }
            Change::Vote => {
                self.vote = Some(self.next_vote());
                self.term += 1;
            }
        }
    }

    /// What a store holds, as far as a model knows it.
    pub async fn of(store: &LogStore, term: u64) -> io::Result<Self> {
        let mut store = store.clone();
        Ok(Self {
            entries: read(&store, 0, u64::MAX).await?,
            purged: store.get_log_state().await?.last_purged_log_id,
            vote: store.read_vote().await?,
            term,
        })
    }
}
