//! How fast copies may travel: one rate for giving and getting together. Owns the rate; never knows what travels.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How far the line may run ahead of the rate; so that many small pieces need not each be slept for.
const AHEAD: Duration = Duration::from_millis(200);

/// A line of limited width.
#[derive(Debug)]
pub struct Throttle {
    /// 0: not limited.
    bytes_per_second: u64,
    /// When all that was taken so far will have passed.
    passed_at: Mutex<Option<Instant>>,
}

impl Throttle {
    /// A line of this width; 0: not limited.
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, passed_at: Mutex::new(None) }
    }

    /// Returns when `bytes` may pass. Those that come together pass one after another.
    pub async fn pass(&self, bytes: usize) {
        if self.bytes_per_second == 0 {
            return;
        }
        let now = Instant::now();
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let begins = {
            let mut passed_at = self.passed_at.lock();
            let begins = passed_at.unwrap_or(now).max(now);
            *passed_at = Some(begins + takes);
            begins
        };
        if begins > now + AHEAD {
            tokio::time::sleep_until(begins).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ways_together_stay_within_the_rate() {
        let throttle = Throttle::new(4 << 20);
        let since = Instant::now();
        let travel = async || {
            for _ in 0..4 {
                throttle.pass(256 << 10).await;
            }
        };
        tokio::join!(travel(), travel());
        let took = since.elapsed();
        assert!(took > Duration::from_millis(200) && took < Duration::from_secs(3), "{took:?}");
    }

    #[tokio::test]
    async fn without_a_limit_nothing_waits() {
        let throttle = Throttle::new(0);
        let since = Instant::now();
        throttle.pass(usize::MAX).await;
        assert!(since.elapsed() < Duration::from_millis(100));
    }
}
