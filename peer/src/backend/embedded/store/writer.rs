//! The one thread that writes. What was queued while it was on the disk goes into its next transaction together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::{Change, rows};
use crate::backend::BackendError;

/// Batches that wait for the disk at most; then whoever applies waits as well.
const QUEUE_BATCHES: usize = 256;
/// From one transaction's end to the next one's start. Nobody waits for a peer's disk before a browser is answered:
/// what is acknowledged is on the hubs' disks. So a busy peer makes some 50 fsyncs a second, not one for every batch.
const TRANSACTION_EVERY: Duration = Duration::from_millis(20);
/// Rows of one transaction, about: enough to make the fsync's share small.
const TRANSACTION_CHANGES: usize = 4096;

enum Message {
    Batch { changes: Vec<Change>, through: u64 },
    Close,
}

/// The queue's near end.
pub struct Writer {
    queue: Mutex<Option<SyncSender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
}

/// What the thread tells.
struct Shared {
    progress: Mutex<Progress>,
    moved: Condvar,
    /// Told when the pause between two transactions must end.
    hurried: Condvar,
    /// Set by a drop without close: queued batches are not written any more.
    is_abandoned: AtomicBool,
}

struct Progress {
    durable: u64,
    failure: Option<String>,
    is_stopped: bool,
    /// Somebody waits for the disk, or the store is closing.
    is_hurried: bool,
}

impl Writer {
    /// Starts the thread. `cursor` is what the database holds.
    pub fn start(connection: Connection, cursor: u64) -> Result<Self, BackendError> {
        let (queue, batches) = sync_channel(QUEUE_BATCHES);
        let (moved, durable) = watch::channel(cursor);
        let progress = Progress { durable: cursor, failure: None, is_stopped: false, is_hurried: false };
        let shared = Arc::new(Shared {
            progress: Mutex::new(progress),
            moved: Condvar::new(),
            hurried: Condvar::new(),
            is_abandoned: AtomicBool::new(false),
        });
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(connection, &batches, &shared, &moved)
            })
            .map_err(|error| BackendError::Fatal(format!("cannot start the store's writer: {error}")))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)), shared, durable })
    }

    /// Queues a batch.
    pub fn write(&self, changes: Vec<Change>, through: u64) -> Result<(), BackendError> {
        self.check()?;
        let queue = self.queue.lock().clone();
        let sent = queue.is_some_and(|queue| queue.send(Message::Batch { changes, through }).is_ok());
        if sent {
            return Ok(());
        }
        self.check()?;
        Err(BackendError::Unavailable("the store is closed"))
    }

    /// Follows the cursor on disk.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// Waits until `record` is on disk.
    pub fn wait(&self, record: u64) -> Result<(), BackendError> {
        let mut progress = self.shared.progress.lock();
        while progress.durable < record && progress.failure.is_none() && !progress.is_stopped {
            progress.is_hurried = true;
            self.shared.hurried.notify_one();
            self.shared.moved.wait(&mut progress);
        }
        match &progress.failure {
            Some(failure) => Err(BackendError::Fatal(failure.clone())),
            None if progress.durable < record => Err(BackendError::Unavailable("the store is closed")),
            None => Ok(()),
        }
    }

    /// Fails once the thread has.
    pub fn check(&self) -> Result<(), BackendError> {
        match &self.shared.progress.lock().failure {
            Some(failure) => Err(BackendError::Fatal(failure.clone())),
            None => Ok(()),
        }
    }

    /// Writes what is queued, then stops.
    pub fn close(&self) {
        self.shared.progress.lock().is_hurried = true;
        self.shared.hurried.notify_one();
        if let Some(queue) = self.queue.lock().take() {
            // A thread that is gone has said why already.
            let _ = queue.send(Message::Close);
        }
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.is_abandoned.store(true, Ordering::Relaxed);
        self.close();
    }
}

fn run(mut connection: Connection, batches: &Receiver<Message>, shared: &Shared, moved: &watch::Sender<u64>) {
    while let Some((changes, through)) = next_group(batches) {
        if shared.is_abandoned.load(Ordering::Relaxed) {
            break;
        }
        let written = write_group(&mut connection, &changes, through);
        let mut progress = shared.progress.lock();
        match written {
            Ok(()) => progress.durable = progress.durable.max(through),
            Err(error) => {
                progress.failure = Some(format!("database: {error}"));
                shared.moved.notify_all();
                break;
            }
        }
        // Both tell the same before anybody who waited can look.
        moved.send_replace(progress.durable);
        shared.moved.notify_all();
        if !std::mem::take(&mut progress.is_hurried) {
            shared.hurried.wait_for(&mut progress, TRANSACTION_EVERY);
        }
    }
    shared.progress.lock().is_stopped = true;
    shared.moved.notify_all();
}

/// Waits for a batch and takes what else is there; `None` when the store is closed.
fn next_group(batches: &Receiver<Message>) -> Option<(Vec<Change>, u64)> {
    let Ok(Message::Batch { mut changes, mut through }) = batches.recv() else { return None };
    while changes.len() < TRANSACTION_CHANGES {
        match batches.try_recv() {
            Ok(Message::Batch { changes: more, through: later }) => {
                changes.extend(more);
                through = through.max(later);
            }
            // The end of the queue was asked for behind these: the next turn finds the sender gone.
            Ok(Message::Close) | Err(_) => break,
        }
    }
    Some((changes, through))
}

fn write_group(connection: &mut Connection, changes: &[Change], through: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        rows::write(&transaction, change)?;
    }
    // The cursor never falls, so that a repeated record cannot move it back.
    let held = rows::cursor(&transaction)?;
    rows::set_cursor(&transaction, held.max(through))?;
    transaction.commit()
}
