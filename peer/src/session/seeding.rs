//! Getting copies: fetched from another peer through the hub, checked, installed. Owns which copies are on their way,
//! how many at once, and where they go on after anything broke. Outlives connections.
//!
//! Each forum has one order at a time, for one invitation. Stopping an order takes effect at once for whoever asks it
//! to stop: nothing of it is installed after that.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use loop_proto::{
    ids::{ForumId, TaskId},
    v1,
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    download::{Courier, Failure},
    gauge::Gauge,
    parts::{CopyName, Part},
};
use crate::backend::{BackendError, InstallError, Progress};

/// Copies fetched or installed at once; each may fill the line and the disk.
const AT_ONCE: usize = 2;
/// Forums that may wait for their copies; more invitations are put off.
pub const ORDERS_MAX: usize = 16;
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Copies of one order that may turn out damaged on the way before it is refused.
const DAMAGED_MAX: u32 = 2;

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// The copy is the forum's rows, durably.
    Installed {
        /// Its position in the log.
        cursor: u64,
    },
    /// It cannot be taken.
    Refused(v1::RejectReason),
}

/// What came of which order.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The forum.
    pub forum: ForumId,
    /// The invitation.
    pub invitation: TaskId,
    /// What came of it.
    pub result: Result,
}

/// How far an order is, and how it is stopped.
#[derive(Debug)]
struct Order {
    invitation: TaskId,
    gauge: Arc<Gauge>,
    stop: CancellationToken,
    /// Nothing of it runs any more.
    over: CancellationToken,
    result: Arc<Mutex<Option<Result>>>,
}

/// All copies on their way to this peer.
pub struct Seeding {
    courier: Arc<Courier>,
    orders: Mutex<BTreeMap<ForumId, Order>>,
    turns: Arc<Semaphore>,
    reports: mpsc::Sender<Report>,
    broken: mpsc::Sender<String>,
}

impl Seeding {
    /// None yet. What comes of orders is told on `reports`; `broken` is told when the backend cannot go on.
    pub fn new(courier: Arc<Courier>, broken: mpsc::Sender<String>) -> (Arc<Self>, mpsc::Receiver<Report>) {
        let (reports, told) = mpsc::channel(4 * ORDERS_MAX);
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        (Arc::new(Self { courier, orders: Mutex::default(), turns, reports, broken }), told)
    }

    /// Gets a forum's copy, unless that is under way. If it is done already, that is told again.
    pub fn order(self: &Arc<Self>, forum: ForumId, invitation: TaskId) {
        let mut orders = self.orders.lock();
        let before = match orders.get(&forum) {
            Some(order) if order.invitation == invitation => {
                if let Some(result) = *order.result.lock() {
                    // A full queue of reports is as good: it is asked again.
                    let _ = self.reports.try_send(Report { forum, invitation, result });
                }
                return;
            }
            Some(order) => {
                order.stop.cancel();
                Some(order.over.clone())
            }
            None => None,
        };
        let order = Order {
            invitation,
            gauge: Arc::default(),
            stop: self.courier.ending.child_token(),
            over: CancellationToken::new(),
            result: Arc::default(),
        };
        let work = Work {
            forum,
            invitation,
            gauge: Arc::clone(&order.gauge),
            stop: order.stop.clone(),
            result: Arc::clone(&order.result),
            courier: Arc::clone(&self.courier),
            reports: self.reports.clone(),
            broken: self.broken.clone(),
        };
        let (over, turns) = (order.over.clone().drop_guard(), Arc::clone(&self.turns));
        orders.insert(forum, order);
        self.courier.jobs.spawn(async move {
            // Two installations of one forum must not meet.
            if let Some(before) = before {
                before.cancelled().await;
            }
            work.run(&turns).await;
            drop(over);
        });
    }

    /// Stops whatever order there is of the forum, unless it is for `but_for`.
    pub fn stop(&self, forum: ForumId, but_for: Option<TaskId>) {
        let mut orders = self.orders.lock();
        let stale = orders.get(&forum).is_some_and(|order| Some(order.invitation) != but_for);
        if stale && let Some(order) = orders.remove(&forum) {
            order.stop.cancel();
        }
    }

    /// Stops all of them.
    pub fn stop_all(&self) {
        for order in std::mem::take(&mut *self.orders.lock()).into_values() {
            order.stop.cancel();
        }
    }

    /// How far each unfinished order is.
    pub fn progress(&self) -> Vec<v1::SeedProgress> {
        let orders = self.orders.lock();
        let unfinished = orders.iter().filter(|(_, order)| order.result.lock().is_none());
        let progress = unfinished.map(|(forum, order)| v1::SeedProgress {
            forum_id: forum.get(),
            invitation_id: order.invitation.get(),
            bytes_done: order.gauge.done.load(Ordering::Relaxed),
            bytes_total: order.gauge.total.load(Ordering::Relaxed),
            installing: order.gauge.installing.load(Ordering::Relaxed),
        });
        progress.take(ORDERS_MAX).collect()
    }
}

impl Drop for Seeding {
    fn drop(&mut self) {
        self.courier.ending.cancel();
    }
}

/// One order being carried out.
struct Work {
    forum: ForumId,
    invitation: TaskId,
    gauge: Arc<Gauge>,
    stop: CancellationToken,
    result: Arc<Mutex<Option<Result>>>,
    courier: Arc<Courier>,
    reports: mpsc::Sender<Report>,
    broken: mpsc::Sender<String>,
}

impl Work {
    fn name(&self) -> CopyName {
        CopyName { forum_id: self.forum.get(), invitation_id: self.invitation.get() }
    }

    async fn run(&self, turns: &Semaphore) {
        let turn = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            turn = turns.acquire() => turn.ok(),
        };
        let result = match turn {
            Some(_turn) => self.carry_out().await,
            None => None,
        };
        if self.courier.ending.is_cancelled() {
            // The next process goes on with what has come.
            return;
        }
        let part = self.courier.folder.part(self.name());
        let cleaned = self.courier.io.blocking.run(move || part.remove()).await;
        if let Some(Err(error)) = cleaned {
            tracing::warn!(forum = %self.forum, %error, "what came of a copy cannot be removed");
        }
        let Some(result) = result.filter(|_| !self.stop.is_cancelled()) else { return };
        *self.result.lock() = Some(result);
        tracing::info!(forum = %self.forum, invitation = %self.invitation, ?result, "a copy's way has ended");
        let report = Report { forum: self.forum, invitation: self.invitation, result };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            _ = self.reports.send(report) => {}
        }
    }

    /// `None`: stopped, or the process is ending.
    async fn carry_out(&self) -> Option<Result> {
        let (mut pause, mut damaged) = (RETRY_MIN, 0);
        loop {
            let fetched = tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                fetched = self.courier.fetch(self.name(), &self.gauge) => fetched,
            };
            let why = match fetched {
                Ok(header) => match self.install(header).await? {
                    Ok(result) => return Some(result),
                    Err(why) => why,
                },
                Err(Failure::Refused(reason)) => return Some(Result::Refused(reason)),
                Err(Failure::Damaged) => {
                    damaged += 1;
                    if damaged >= DAMAGED_MAX {
                        return Some(Result::Refused(v1::RejectReason::BadCheckpoint));
                    }
                    "what came is not what was promised".to_owned()
                }
                Err(Failure::Broken { why, progressed }) => {
                    pause = if progressed { RETRY_MIN } else { pause };
                    why
                }
            };
            tracing::info!(forum = %self.forum, invitation = %self.invitation, why, "a copy is tried again");
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Never dropped half-way: it ends by itself soon after a stop, and only then the next one may begin.
    async fn install(&self, header: v1::CheckpointHeader) -> Option<std::result::Result<Result, String>> {
        self.gauge.set(0, header.bytes);
        self.gauge.installing.store(true, Ordering::Relaxed);
        let part = self.courier.folder.part(self.name());
        let cursor = header.cursor;
        let installed = install(&self.courier, header, part, &self.gauge, &self.stop).await;
        self.gauge.installing.store(false, Ordering::Relaxed);
        match installed? {
            Ok(()) => Some(Ok(Result::Installed { cursor })),
            Err(InstallError::Refused { line, reason }) => {
                let forum = self.forum;
                tracing::warn!(%forum, line, reason, "a copy was refused; the rows there were are untouched");
                Some(Ok(Result::Refused(v1::RejectReason::BadCheckpoint)))
            }
            Err(InstallError::Cancelled) => None,
            Err(InstallError::Backend(BackendError::Unavailable(why))) => Some(Err(why.to_owned())),
            Err(InstallError::Backend(error @ BackendError::Fatal(_))) => {
                let _ = self.broken.try_send(error.to_string());
                None
            }
        }
    }
}

/// Installs a copy that has come whole. `None`: the process is ending.
pub async fn install(
    courier: &Courier,
    header: v1::CheckpointHeader,
    part: Part,
    gauge: &Arc<Gauge>,
    stop: &CancellationToken,
) -> Option<std::result::Result<(), InstallError>> {
    let (backend, gauge, stop) = (Arc::clone(&courier.backend), Arc::clone(gauge), stop.clone());
    let work = move || {
        let progress = |progress: Progress| gauge.set(progress.bytes_done, progress.bytes_total);
        backend.install(&header, &part.path(), &progress, &|| stop.is_cancelled())
    };
    courier.io.blocking.run_aside(work).await
}
