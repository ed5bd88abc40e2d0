//! Everything one connection does by the clock. Owns when; never what.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::ids::ForumId;
use tokio::time::Instant;

/// Shortest time between two statuses sent because the cursor moved.
const STATUS_EVERY: Duration = Duration::from_millis(20);
const TICK_EVERY: Duration = Duration::from_millis(500);
/// Silent heartbeats after which a connection is broken.
const SILENT_HEARTBEATS: u32 = 4;
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(2);
const RESEND_MIN: Duration = Duration::from_millis(5);
const RESEND_MAX: Duration = Duration::from_millis(500);

/// Something to come back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Later {
    /// Executing a forum's next task.
    Retry(ForumId),
    /// Sending a forum's answers.
    Resend(ForumId),
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// The hub has been silent for too long.
    Silence,
    /// A status, with fresh figures.
    Heartbeat,
    /// A status, because the cursor moved.
    Status,
    /// Half a second has passed.
    Tick,
    /// What was put off.
    Later(Later),
}

/// The clocks of one connection.
pub struct Timers {
    heartbeat: Duration,
    heartbeat_at: Instant,
    status_at: Option<Instant>,
    status_sent: Instant,
    silence_at: Instant,
    tick_at: Instant,
    later: BTreeMap<(Instant, Later), ()>,
}

impl Timers {
    /// Starts all clocks; the first heartbeat is due at once.
    pub fn new(heartbeat: Duration, now: Instant) -> Self {
        Self {
            heartbeat,
            heartbeat_at: now,
            status_at: None,
            status_sent: now,
            silence_at: now + heartbeat * SILENT_HEARTBEATS,
            tick_at: now + TICK_EVERY,
            later: BTreeMap::new(),
        }
    }

    /// How long the other side may be silent, and how long a message may wait to leave.
    pub fn patience(&self) -> Duration {
        self.heartbeat * SILENT_HEARTBEATS
    }

    /// The hub said something.
    pub fn heard(&mut self, now: Instant) {
        self.silence_at = now + self.patience();
    }

    /// The durable cursor moved.
    pub fn cursor_moved(&mut self, now: Instant) {
        let earliest = (self.status_sent + STATUS_EVERY).max(now);
        self.status_at.get_or_insert(earliest);
    }

    /// Whether a status is due anyway, so that a moving cursor need not be watched.
    pub fn status_pending(&self) -> bool {
        self.status_at.is_some()
    }

    /// Puts something off, longer with each attempt.
    pub fn put_off(&mut self, what: Later, attempt: u32, now: Instant) {
        let (least, most) = match what {
            Later::Retry(_) => (RETRY_MIN, RETRY_MAX),
            Later::Resend(_) => (RESEND_MIN, RESEND_MAX),
        };
        let pause = least.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(most);
        self.later.insert((now + pause, what), ());
    }

    /// When to look again.
    pub fn next(&self) -> Instant {
        let later = self.later.first_key_value().map(|((at, _), ())| *at);
        let fixed = self.heartbeat_at.min(self.silence_at).min(self.tick_at);
        [self.status_at, later].into_iter().flatten().fold(fixed, Instant::min)
    }

    /// The next thing that is due, if any.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if self.silence_at <= now {
            return Some(Due::Silence);
        }
        if self.heartbeat_at <= now {
            self.heartbeat_at = now + self.heartbeat;
            self.status_at = None;
            self.status_sent = now;
            return Some(Due::Heartbeat);
        }
        if self.status_at.is_some_and(|at| at <= now) {
            self.status_at = None;
            self.status_sent = now;
            return Some(Due::Status);
        }
        if self.tick_at <= now {
            self.tick_at = now + TICK_EVERY;
            return Some(Due::Tick);
        }
        let ((at, what), ()) = self.later.first_key_value()?;
        let (at, what) = (*at, *what);
        if at > now {
            return None;
        }
        self.later.remove(&(at, what));
        Some(Due::Later(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forum(id: u32) -> ForumId {
        ForumId::new(id).unwrap()
    }

    #[test]
    fn four_silent_heartbeats_are_a_broken_connection() {
        let now = Instant::now();
        let mut timers = Timers::new(Duration::from_millis(100), now);
        assert_eq!(timers.due(now), Some(Due::Heartbeat));
        timers.heard(now + Duration::from_millis(50));
        assert_ne!(timers.due(now + Duration::from_millis(449)), Some(Due::Silence));
        assert_eq!(timers.due(now + Duration::from_millis(450)), Some(Due::Silence));
    }

    #[test]
    fn a_moving_cursor_is_told_at_most_every_twenty_milliseconds() {
        let now = Instant::now();
        let mut timers = Timers::new(Duration::from_secs(1), now);
        assert_eq!(timers.due(now), Some(Due::Heartbeat));
        timers.cursor_moved(now + Duration::from_millis(1));
        timers.cursor_moved(now + Duration::from_millis(5));
        assert_eq!(timers.due(now + Duration::from_millis(19)), None);
        assert_eq!(timers.due(now + Duration::from_millis(20)), Some(Due::Status));
        assert_eq!(timers.due(now + Duration::from_millis(21)), None);
    }

    #[test]
    fn what_is_put_off_comes_back_later_each_time() {
        let now = Instant::now();
        let mut timers = Timers::new(Duration::from_secs(60), now);
        assert_eq!(timers.due(now), Some(Due::Heartbeat));
        timers.put_off(Later::Resend(forum(1)), 1, now);
        timers.put_off(Later::Resend(forum(2)), 40, now);
        let soon = now + RESEND_MIN;
        assert_eq!(timers.due(soon), Some(Due::Later(Later::Resend(forum(1)))));
        assert_eq!(timers.due(soon), None);
        assert_eq!(timers.next(), now + RESEND_MAX);
    }
}
