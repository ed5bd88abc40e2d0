//! The log store as openraft sees it.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
};

use futures::{Stream, TryStreamExt, stream};
use loop_proto::breakage::{self, Breakage};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};

use super::{LogError, LogStore, SinkState, read_engine, state::State, tail::weight, wal::Op};
use crate::raft_types::{Entry, HubRaft, LogId, Vote};

/// Most of a range that replication gets at once. Larger messages would hold up what is behind them.
const READ_BYTES: usize = 1 << 20;

impl LogStore {
    /// Entries of `start..end` that are there, from the first on, until their weight passes `max_bytes`; at least
    /// one if there is one.
    async fn read(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        loop {
            let (start, end, truncations) = {
                let state = self.inner.state.lock();
                state.healthy()?;
                let (start, end) = (start.max(state.first), end.min(state.next()));
                if start >= end {
                    return Ok(Vec::new());
                }
                if start >= state.tail.first() {
                    return Ok(state.tail.read(start, end, max_bytes));
                }
                (start, end.min(state.tail.first()), state.truncations)
            };
            self.inner.counters.cold_read();
            let found = self.read_cold(start, end, max_bytes).await;
            let mut state = self.inner.state.lock();
            // What was purged or truncated meanwhile may be gone from the engine: look again.
            if state.truncations != truncations || state.first > start {
                continue;
            }
            if let Err(error @ LogError::Corrupt(_)) = &found {
                // Nothing more is served from, or added to, a log known to be damaged.
                state.failed = Some(error.clone());
            }
            return found;
        }
    }

    /// Reads from the engine, off the async threads where there are such.
    async fn read_cold(&self, start: u64, end: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        if let SinkState::Inline(_) | SinkState::Task(_) = self.inner.sink {
            return read_engine(&*self.inner.reader, &self.inner.dir, start, end, max_bytes);
        }
        let (reader, dir) = (self.inner.reader.clone(), self.inner.dir.clone());
        let read = move || read_engine(&*reader, &dir, start, end, max_bytes);
        match tokio::task::spawn_blocking(read).await {
            Ok(result) => result,
            Err(error) => Err(LogError::Stopped(format!("reading failed: {error}"))),
        }
    }

    /// All entries of a range that are there, atomically: no truncation falls between any two of them.
    async fn read_all(&self, start: u64, end: u64) -> Result<Vec<Entry>, LogError> {
        'again: loop {
            let truncations = self.inner.state.lock().truncations;
            let mut entries: Vec<Entry> = Vec::new();
            let mut next = start;
            while next < end {
                let more = self.read(next, end, READ_BYTES).await?;
                let Some(last) = more.last() else { break };
                let follows = more[0].log_id.index() == next || entries.is_empty();
                next = last.log_id.index() + 1;
                if !follows || self.inner.state.lock().truncations != truncations {
                    continue 'again;
                }
                entries.extend(more);
            }
            return Ok(entries);
        }
    }
}

fn bounds(range: impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<HubRaft> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(range);
        Ok(self.read_all(start, end).await?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.inner.state.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read(start, end, READ_BYTES).await?)
    }

    /// In pieces: after a restart this may be the whole retained log.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(range);
        let pieces = stream::try_unfold((self.clone(), start), move |(store, next)| async move {
            let entries = store.read(next, end, READ_BYTES).await?;
            let Some(last) = entries.last() else { return Ok::<_, io::Error>(None) };
            let next = last.log_id.index() + 1;
            Ok(Some((stream::iter(entries.into_iter().map(Ok)), (store, next))))
        });
        Box::pin(pieces.try_flatten())
    }
}

impl RaftLogStorage<HubRaft> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<HubRaft>, io::Error> {
        let state = self.inner.state.lock();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        if breakage::is_on(Breakage::VoteNotDurable) {
            self.inner.state.lock().vote = Some(vote);
            return Ok(());
        }
        let change = |state: &mut State, done| {
            state.vote = Some(vote);
            Ok(Op::Vote { vote, done })
        };
        Ok(self.submit_and_wait(change).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let change = |state: &mut State| {
            state.committed = committed;
            Ok(Op::Committed(committed))
        };
        Ok(self.submit(change)?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.inner.state.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<HubRaft>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let room = self.take_room(entries.iter().map(weight).sum()).await?;
        self.submit(|state| Self::append_op(state, entries, room, callback)).map_err(|error| {
            self.inner.room.add_permits(room as usize);
            error.into()
        })
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let next = last_log_id.map_or(0, |id| id.index() + 1);
        if next >= self.inner.state.lock().next() {
            return Ok(());
        }
        let change = |state: &mut State, done| {
            let next = next.max(state.first);
            state.truncations += 1;
            state.persisted_next = state.persisted_next.min(next);
            state.tail.truncate(next);
            // With nothing left, the end of the log is where the purge left it.
            if next > state.first {
                state.last = last_log_id;
            } else {
                state.last = state.purged;
                state.first = state.purged.map_or(0, |id| id.index() + 1);
            }
            Ok(Op::Truncate { next, truncations: state.truncations, done })
        };
        Ok(self.submit_and_wait(change).await?)
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        if self.inner.state.lock().purged >= Some(log_id) {
            return Ok(());
        }
        let change = |state: &mut State| {
            let first = log_id.index() + 1;
            state.purged = Some(log_id);
            state.first = state.first.max(first);
            state.tail.purge(state.first);
            if state.last.is_none_or(|last| last.index() < first) {
                state.last = Some(log_id);
            }
            Ok(Op::Purge(log_id))
        };
        Ok(self.submit(change)?)
    }
}
