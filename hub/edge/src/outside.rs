//! What the edge takes from outside beside connections: chance and the wall clock.

use loop_net::io::Io;

/// Chance and time of day.
pub trait Outside: Send + Sync + 'static {
    /// Fills `bytes` with what nobody can guess: session ids are made of it.
    fn fill_random(&self, bytes: &mut [u8]);

    /// Seconds of Unix time, for `Date`, `Last-Modified` and cookies.
    fn unix_seconds(&self) -> u64;
}

impl Outside for Io {
    fn fill_random(&self, bytes: &mut [u8]) {
        Self::fill_random(self, bytes);
    }

    fn unix_seconds(&self) -> u64 {
        self.now_ms() / 1000
    }
}
