//! How many times rows have left. Held together: a read that began before some forum's rows went, and ends after,
//! may have looked into an empty forum, and is not answered here.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts forums' rows that go. Any forum's: they go rarely, reads take microseconds, and another peer answers.
#[derive(Debug, Default)]
pub struct Departures(AtomicU64);

impl Departures {
    /// Called before the rows go.
    pub fn announce(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// To compare with what it is later.
    pub fn so_far(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
