//! How far a copy on its way is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How far a copy is; written by whoever works on it, read by whoever asks.
#[derive(Debug, Default)]
pub struct Gauge {
    pub(super) done: AtomicU64,
    pub(super) total: AtomicU64,
    pub(super) installing: AtomicBool,
}

impl Gauge {
    /// So many bytes of so many are here.
    pub fn set(&self, done: u64, total: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
}
