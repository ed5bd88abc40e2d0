//! How far the projection is, for operators and metrics. Written by the writer alone; whoever asks never waits for it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::database::Mark;

/// What has come is written within this time, or the projection is behind.
const BEHIND_AFTER: Duration = Duration::from_secs(2);
/// Being behind, or being made anew, for longer is told as a problem.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// What the writer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not tried to connect yet.
    Starting,
    /// It cannot write; why, and what to do.
    Down(String),
    /// It makes the tables anew from the state.
    Rebuilding,
    /// It writes what is applied.
    Following,
}

/// What the tables are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Of this moment, but for what was applied within two seconds.
    CaughtUp,
    /// Whole, and of an earlier moment.
    Behind,
    /// Not whole yet.
    Rebuilding,
    /// Nobody knows.
    Down,
}

impl Standing {
    /// All, with the names metrics and operators know them by.
    pub const ALL: [(Self, &str); 4] = [
        (Self::CaughtUp, "caught-up"),
        (Self::Behind, "behind"),
        (Self::Rebuilding, "rebuilding"),
        (Self::Down, "down"),
    ];
}

/// What there is to say at one moment.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the tables are worth.
    pub standing: Standing,
    /// For how long they have been that.
    pub since: Duration,
    /// Why, if they are down.
    pub trouble: Option<String>,
    /// Of which moment the tables are.
    pub mark: Mark,
    /// How often they were made anew since this hub was started.
    pub rebuilds: u64,
    /// How many batches of changes were written.
    pub batches: u64,
    /// How many rows, those of rebuilding included.
    pub rows: u64,
}

impl Report {
    /// What an operator must be told, if anything.
    pub fn problem(&self, place: &str) -> Option<String> {
        let long = self.since >= TOLD_AFTER;
        let what = match (self.standing, &self.trouble) {
            (Standing::CaughtUp, _) => return None,
            (Standing::Down, Some(trouble)) => format!("is down: {trouble}"),
            (Standing::Down, None) if long => "has not begun".to_owned(),
            (Standing::Behind, _) if long => {
                "is behind: the database takes rows slower than they come; it is made anew if it falls further back".to_owned()
            }
            (Standing::Rebuilding, _) if long => "is being made anew".to_owned(),
            _ => return None,
        };
        Some(format!(
            "the projection in {place} {what} (browsers are served without it; `hubctl projection status`)"
        ))
    }
}

/// See the module.
pub struct Status(Mutex<Inner>);

struct Inner {
    phase: Phase,
    since: Instant,
    /// When everything that had come was written last.
    level_at: Instant,
    mark: Mark,
    rebuilds: u64,
    batches: u64,
    rows: u64,
}

impl Default for Status {
    fn default() -> Self {
        let now = Instant::now();
        Self(Mutex::new(Inner {
            phase: Phase::Starting,
            since: now,
            level_at: now,
            mark: Mark::default(),
            rebuilds: 0,
            batches: 0,
            rows: 0,
        }))
    }
}

impl Status {
    /// The writer does something else now. Whether it did not before.
    pub fn enter(&self, phase: Phase) -> bool {
        let mut inner = self.0.lock();
        if inner.phase == phase {
            return false;
        }
        let now = Instant::now();
        // Another reason to be down is no new beginning of it.
        if std::mem::discriminant(&inner.phase) != std::mem::discriminant(&phase) {
            inner.since = now;
        }
        inner.level_at = now;
        inner.phase = phase;
        true
    }

    /// The tables were made anew, with so many rows.
    pub fn rebuilt(&self, mark: Mark, rows: usize) {
        let mut inner = self.0.lock();
        inner.mark = mark;
        inner.rebuilds += 1;
        inner.rows += rows as u64;
    }

    /// A batch was written, of so many rows.
    pub fn wrote(&self, mark: Mark, rows: usize) {
        let mut inner = self.0.lock();
        inner.mark = mark;
        inner.batches += 1;
        inner.rows += rows as u64;
    }

    /// Everything that has come is written.
    pub fn level(&self) {
        self.0.lock().level_at = Instant::now();
    }

    /// Where it is. `waiting`: whether something has come that is not written, or was let go.
    pub fn report(&self, waiting: bool) -> Report {
        let inner = self.0.lock();
        let level_for = inner.level_at.elapsed();
        let standing = match &inner.phase {
            Phase::Starting | Phase::Down(_) => Standing::Down,
            Phase::Rebuilding => Standing::Rebuilding,
            Phase::Following if waiting && level_for >= BEHIND_AFTER => Standing::Behind,
            Phase::Following => Standing::CaughtUp,
        };
        let trouble = match &inner.phase {
            Phase::Down(trouble) => Some(trouble.clone()),
            _ => None,
        };
        let since = if standing == Standing::Behind { level_for } else { inner.since.elapsed() };
        let Inner { mark, rebuilds, batches, rows, .. } = *inner;
        Report { standing, since, trouble, mark, rebuilds, batches, rows }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PLACE: &str = "loop_h1 at 127.0.0.1:3306";

    #[tokio::test(start_paused = true)]
    async fn what_is_wrong_is_told_with_its_reason_and_what_mends_itself_only_if_it_takes_long() {
        let status = Status::default();
        assert_eq!(status.report(false).problem(PLACE), None, "it has just begun");
        assert!(status.enter(Phase::Down("wrong password".into())));
        assert!(!status.enter(Phase::Down("wrong password".into())));
        let told = status.report(false).problem(PLACE).unwrap();
        assert!(told.contains(PLACE) && told.contains("wrong password"), "{told}");
        status.enter(Phase::Rebuilding);
        assert_eq!(status.report(false).problem(PLACE), None);
        advance(TOLD_AFTER).await;
        assert!(status.report(false).problem(PLACE).unwrap().contains("made anew"));
        status.enter(Phase::Following);
        assert_eq!(status.report(true).standing, Standing::CaughtUp);
        advance(BEHIND_AFTER).await;
        assert_eq!(status.report(true).standing, Standing::Behind);
        assert_eq!(status.report(false).standing, Standing::CaughtUp, "there is nothing to write");
        assert_eq!(status.report(true).problem(PLACE), None);
        advance(TOLD_AFTER).await;
        assert!(status.report(true).problem(PLACE).unwrap().contains("is behind"));
        status.level();
        assert_eq!(status.report(true).standing, Standing::CaughtUp);
    }
}
