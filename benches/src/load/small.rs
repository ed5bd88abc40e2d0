//! Small machines: each process runs for a share of the time only, so that peers on one machine do not take each
//! other's place. Owns the pausing, and that everybody runs again at the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// A process runs once in this time, for its share of it.
const ROUND: Duration = Duration::from_millis(20);

/// Processes that are being held back. Dropping it lets them run.
pub struct Small {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Small {
    /// Gives each process `share` of one processor at most; at least 0.01, below 1.
    pub fn make(pids: &[u32], share: f64) -> Result<Self> {
        ensure!((0.01..1.0).contains(&share), "the share must be at least 0.01 and below 1");
        let mut small = Self { stop: Arc::default(), threads: Vec::new() };
        let runs = ROUND.mul_f64(share);
        for (at, pid) in (0_u32..).zip(pids) {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).context("no process has this id")?;
            let stop = small.stop.clone();
            // Not all at once: they would be in each other's way.
            let first = ROUND * at / u32::try_from(pids.len())?;
            small.threads.push(thread::spawn(move || hold_back(pid, first, runs, &stop)));
        }
        Ok(small)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has left its process running or stopped; the cluster is ended by force in the end.
            let _ = thread.join();
        }
    }
}

fn hold_back(pid: Pid, first: Duration, runs: Duration, stop: &AtomicBool) {
    let mut round = Instant::now() + first;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(round.saturating_duration_since(Instant::now()));
        // A process that is gone needs no holding back.
        if kill_process(pid, Signal::CONT).is_err() {
            return;
        }
        thread::sleep(runs);
        let _ = kill_process(pid, Signal::STOP);
        // Rounds that were missed are not made up for.
        round = (round + ROUND).max(Instant::now());
    }
    let _ = kill_process(pid, Signal::CONT);
}
