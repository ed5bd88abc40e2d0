//! When this hub last knew for certain what the group has agreed.
//!
//! Noted by every read that waits for it, and by the probe when there are none. Never asks anybody itself.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The newest questions that were answered, by when they were asked: an answer that comes late, because this process or
/// the leader stood still meanwhile, proves nothing about now.
#[derive(Debug)]
pub struct Freshness {
    began_at: Instant,
    patience: Duration,
    led: Newest,
    current: Newest,
}

/// Microseconds from the beginning to the newest question, and one: 0 is none.
#[derive(Debug, Default)]
struct Newest(AtomicU64);

impl Newest {
    fn note(&self, since_begin: Duration) {
        let micros = u64::try_from(since_begin.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_max(micros.saturating_add(1), Ordering::Relaxed);
    }

    fn at(&self) -> Option<Duration> {
        self.0.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros)
    }
}

impl Freshness {
    /// Nothing is known yet. What is known counts for as long as `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { began_at: Instant::now(), patience, led: Newest::default(), current: Newest::default() }
    }

    /// A leader that reached a majority has answered a question asked at `asked_at`.
    pub fn led(&self, asked_at: Instant) {
        self.led.note(asked_at.duration_since(self.began_at));
    }

    /// Everything agreed before `asked_at` is applied here.
    pub fn current(&self, asked_at: Instant) {
        self.current.note(asked_at.duration_since(self.began_at));
    }

    /// Whether a majority of hubs stood behind a leader that answers this hub, a moment ago.
    pub fn has_quorum(&self) -> bool {
        self.led_ago().is_some_and(|ago| ago <= self.patience)
    }

    /// Whether this hub has what the group has agreed, but for the last moment: what it applies happens now. Before that
    /// it catches up with what happened earlier.
    pub fn is_current(&self) -> bool {
        self.current_ago().is_some_and(|ago| ago <= self.patience)
    }

    /// How long ago the newest answered question to the leader was asked; `None`: none was ever answered.
    pub fn led_ago(&self) -> Option<Duration> {
        self.ago(&self.led)
    }

    /// How long ago this hub was last known to be current; `None`: never.
    pub fn current_ago(&self) -> Option<Duration> {
        self.ago(&self.current)
    }

    fn ago(&self, newest: &Newest) -> Option<Duration> {
        newest.at().map(|at| self.began_at.elapsed().saturating_sub(at))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(800);

    #[tokio::test(start_paused = true)]
    async fn a_quorum_is_believed_in_for_as_long_as_was_said_from_the_question_and_not_from_the_answer() {
        let freshness = Freshness::new(PATIENCE);
        assert!(
            !freshness.has_quorum() && !freshness.is_current(),
            "nothing is known before the first answer"
        );
        let asked_at = Instant::now();
        advance(Duration::from_millis(500)).await;
        freshness.led(asked_at);
        assert!(freshness.has_quorum() && !freshness.is_current());
        advance(Duration::from_millis(300)).await;
        assert!(freshness.has_quorum());
        advance(Duration::from_millis(1)).await;
        assert!(!freshness.has_quorum());
        freshness.current(Instant::now());
        assert!(freshness.is_current());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_an_older_question_takes_nothing_back_and_one_that_was_held_up_proves_nothing() {
        let freshness = Freshness::new(PATIENCE);
        let held_up = Instant::now();
        advance(Duration::from_secs(60)).await;
        freshness.led(held_up);
        assert!(!freshness.has_quorum(), "the process stood still for a minute");
        freshness.led(Instant::now());
        freshness.led(held_up);
        assert!(freshness.has_quorum());
        assert_eq!(freshness.led_ago(), Some(Duration::ZERO));
    }
}
