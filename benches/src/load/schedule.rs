//! When requests are due. Owns the two models of load and the border between warming up and measuring.
//!
//! *Open*: requests are due at fixed times, whether or not earlier ones were answered, and latency counts from the due
//! time. A system that stalls is charged for everybody who would have come meanwhile. *Closed*: a request is due when
//! the one before it was answered, so that a fixed number is in flight; that finds the highest rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

/// How long after its end an open run still works on what has become due.
const OVERTIME: Duration = Duration::from_secs(5);

/// More permits than there can be clients: lets every client that waits at the end see that it is the end.
const RELEASE_ALL: usize = 1 << 20;

/// Shortest sleep of the pacer; requests due closer together are released together.
const TICK: Duration = Duration::from_micros(100);

/// The model of load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As many in flight as there are clients.
    Closed,
    /// This many requests become due each second.
    Open(f64),
}

/// How long is warmed up, and how long measured.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Not counted.
    pub warmup: Duration,
    /// Counted.
    pub measured: Duration,
}

/// One run's due times, shared by its clients.
pub struct Schedule {
    pace: Pace,
    begin: Instant,
    span: Span,
    total: u64,
    taken: AtomicU64,
    permits: Semaphore,
}

impl Schedule {
    /// Begins now. An open pace is kept by a thread of its own, since the runtime's timer is too coarse.
    pub fn start(pace: Pace, span: Span) -> Arc<Self> {
        let length = span.warmup + span.measured;
        let total = match pace {
            Pace::Closed => u64::MAX,
            Pace::Open(per_second) => (length.as_secs_f64() * per_second) as u64,
        };
        let (begin, taken, permits) = (Instant::now(), AtomicU64::new(0), Semaphore::new(0));
        let schedule = Arc::new(Self { pace, begin, span, total, taken, permits });
        if let Pace::Open(per_second) = pace {
            let schedule = schedule.clone();
            thread::spawn(move || schedule.release(per_second));
        }
        schedule
    }

    fn release(&self, per_second: f64) {
        let mut released = 0;
        while released < self.total {
            let due = (self.begin.elapsed().as_secs_f64() * per_second) as u64;
            let due = due.min(self.total);
            self.permits.add_permits((due - released) as usize);
            released = due;
            thread::sleep(TICK.max(self.due_time(released, per_second) - Instant::now()));
        }
        self.permits.add_permits(RELEASE_ALL);
    }

    fn due_time(&self, number: u64, per_second: f64) -> Instant {
        self.begin + Duration::from_secs_f64((number + 1) as f64 / per_second)
    }

    /// Waits until the next request is due and says since when it is; `None` when the run is over.
    pub async fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        match self.pace {
            Pace::Closed => (now < self.end()).then_some(now),
            Pace::Open(per_second) => {
                self.permits.acquire().await.ok()?.forget();
                if Instant::now() >= self.end() + OVERTIME {
                    return None;
                }
                let number = self.taken.fetch_add(1, Ordering::Relaxed);
                (number < self.total).then(|| self.due_time(number, per_second))
            }
        }
    }

    /// The end of the measured time.
    pub fn end(&self) -> Instant {
        self.begin + self.span.warmup + self.span.measured
    }

    /// The beginning of the measured time.
    pub fn measured_from(&self) -> Instant {
        self.begin + self.span.warmup
    }

    /// Whether a request due then is counted.
    pub fn counts(&self, due: Instant) -> bool {
        (self.measured_from()..self.end()).contains(&due)
    }

    /// Requests that became due and that nobody had time to make.
    pub fn unserved(&self) -> u64 {
        match self.pace {
            Pace::Closed => 0,
            Pace::Open(_) => self.total.saturating_sub(self.taken.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { warmup: Duration::from_millis(20), measured: Duration::from_millis(60) };

    #[tokio::test]
    async fn a_slow_client_is_charged_from_the_due_time() {
        let schedule = Schedule::start(Pace::Open(100.0), SPAN);
        let first = schedule.due().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let second = schedule.due().await.unwrap();
        assert_eq!(second - first, Duration::from_millis(10));
        assert!(second.elapsed() >= Duration::from_millis(35));
    }

    #[tokio::test]
    async fn a_run_ends_with_all_that_was_due_taken() {
        for pace in [Pace::Open(500.0), Pace::Closed] {
            let schedule = Schedule::start(pace, SPAN);
            let (mut all, mut counted) = (0, 0);
            while let Some(due) = schedule.due().await {
                all += 1;
                counted += u64::from(schedule.counts(due));
                tokio::task::yield_now().await;
            }
            assert_eq!(schedule.unserved(), 0);
            assert!(counted > 0 && counted < all, "{counted} of {all}");
            if pace != Pace::Closed {
                assert_eq!(all, 40);
            }
        }
    }
}
