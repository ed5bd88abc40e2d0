//! What the log has done so far, as plain numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by the log, read by whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    fsyncs: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    cold_reads: AtomicU64,
}

/// Totals since the log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogMetrics {
    /// Groups made durable, each with one sync.
    pub fsyncs: u64,
    /// Entries made durable.
    pub entries: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// Reads that the cache could not serve whole.
    pub cold_reads: u64,
}

impl Counters {
    pub fn synced(&self, entries: u64, bytes: u64) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.entries.fetch_add(entries, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn cold_read(&self) {
        self.cold_reads.fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> LogMetrics {
        LogMetrics {
            fsyncs: self.fsyncs.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            cold_reads: self.cold_reads.load(Ordering::Relaxed),
        }
    }
}
