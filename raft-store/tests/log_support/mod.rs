//! What the log's tests share: entries, and asking the store for things and waiting.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::{io, path::Path};

use bytes::Bytes;
use loop_raft_store::{
    log_store::{self, Engine, LogStore, LogStoreConfig, OpenError},
    raft_types::{Entry, HubRaft, LeaderId, LogId, Proposal},
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
