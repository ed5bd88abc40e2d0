//! The one that writes: a thread; what was queued while it was on the disk goes into its next transaction together.
//!
//! Or nobody by itself, for a simulation: the same queue and the same transactions, made when the owner says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use loop_proto::breakage::{self, Breakage};
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::{change::Change, changes, error::failed, joining, rows};
use crate::backend::BackendError;

/// Who writes to the database, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// A thread, soon; a commit is on the disk. For everything that ships.
    #[default]
    Thread,
    /// The caller of `Store::commit_queued`, or of what cannot wait for it. A commit survives the end of the peer,
    /// not of the machine. For a simulation, where nothing may run beside it and the process outlives its peers.
    WhenTold,
}

/// Batches that wait for the disk at most; then whoever applies waits as well.
const QUEUE_BATCHES: usize = 256;
/// From one transaction's end to the next one's start. Nobody waits for a peer's disk before a browser is answered:
/// what is acknowledged is on the hubs' disks. So a busy peer makes some 50 fsyncs a second, not one for every batch.
const TRANSACTION_EVERY: Duration = Duration::from_millis(20);
/// Rows of one transaction, about: enough to make the fsync's share small.
const TRANSACTION_CHANGES: usize = 4096;

/// Something else to do with the connection, between two transactions, with everything queued before it on disk.
pub type Job = Box<dyn FnOnce(&mut Connection) -> Result<(), BackendError> + Send>;

/// Somebody who waits for a long job is told so often that it goes on.
const TICK_EVERY: Duration = Duration::from_millis(100);

enum Message {
    Batch { changes: Vec<Change>, through: u64 },
    Job(Job),
    Close,
}

/// The queue's near end.
pub struct Writer {
    queue: Mutex<Option<SyncSender<Message>>>,
    hand: Hand,
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
}

/// Whose hand writes.
enum Hand {
    Thread(Mutex<Option<JoinHandle<()>>>),
    /// Whoever calls [`Writer::commit_queued`] or has to wait.
    Caller(Box<Mutex<Disk>>),
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
    /// Starts. `cursor` is what the database holds.
    pub fn start(connection: Connection, cursor: u64, mode: WriteMode) -> Result<Self, BackendError> {
        let (queue, batches) = sync_channel(QUEUE_BATCHES);
        let (moved, durable) = watch::channel(cursor);
        let progress = Progress { durable: cursor, failure: None, is_stopped: false, is_hurried: false };
        let shared = Arc::new(Shared {
            progress: Mutex::new(progress),
            moved: Condvar::new(),
            hurried: Condvar::new(),
            is_abandoned: AtomicBool::new(false),
        });
        let has_discards = joining::has_discards(&connection).map_err(failed)?;
        let disk = Disk { connection, batches, held: None, has_discards, shared: Arc::clone(&shared), moved };
        let hand = match mode {
            WriteMode::WhenTold => Hand::Caller(Box::new(Mutex::new(disk))),
            WriteMode::Thread => {
                let thread = std::thread::Builder::new()
                    .name("store-writer".to_owned())
                    .spawn(move || disk.run())
                    .map_err(|error| {
                        BackendError::Fatal(format!("cannot start the store's writer: {error}"))
                    })?;
                Hand::Thread(Mutex::new(Some(thread)))
            }
        };
        Ok(Self { queue: Mutex::new(Some(queue)), hand, shared, durable })
    }

    /// Queues a batch.
    pub fn write(&self, mut changes: Vec<Change>, through: u64) -> Result<(), BackendError> {
        self.check()?;
        if breakage::is_on(Breakage::CursorBeforeData) {
            self.write_beside(&[], through)?;
        }
        if breakage::is_on(Breakage::FactsWithoutCursor) {
            self.write_beside(&std::mem::take(&mut changes), 0)?;
        }
        self.send(Message::Batch { changes, through })
    }

    /// Writes a part of a batch at once and by itself: for breakages, which take apart what belongs together.
    fn write_beside(&self, changes: &[Change], through: u64) -> Result<(), BackendError> {
        match &self.hand {
            Hand::Caller(disk) => write_group(&mut disk.lock().connection, changes, through).map_err(failed),
            Hand::Thread(_) => Ok(()),
        }
    }

    /// Queues a job. It is not waited for.
    pub fn queue_job(&self, job: Job) -> Result<(), BackendError> {
        self.check()?;
        self.send(Message::Job(job))
    }

    /// Does `work` in a transaction of its own, after what is queued, and waits for it.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        self.run_watched(work, &|| {})
    }

    /// The same; `tick` is called now and then meanwhile.
    pub fn run_watched<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, BackendError> + Send + 'static,
        tick: &dyn Fn(),
    ) -> Result<T, BackendError> {
        let (done, result) = sync_channel(1);
        self.queue_job(Box::new(move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
            let value = work(&transaction)?;
            transaction.commit().map_err(failed)?;
            // Whoever waited may have gone.
            let _ = done.send(value);
            Ok(())
        }))?;
        self.hurry();
        self.commit_queued()?;
        loop {
            match result.recv_timeout(TICK_EVERY) {
                Ok(value) => return Ok(value),
                Err(RecvTimeoutError::Timeout) => tick(),
                Err(RecvTimeoutError::Disconnected) => {
                    self.check()?;
                    return Err(BackendError::Unavailable("the store is closed"));
                }
            }
        }
    }

    /// Ends the pause between two transactions, or leaves out the next one.
    fn hurry(&self) {
        self.shared.progress.lock().is_hurried = true;
        self.shared.hurried.notify_one();
    }

    fn send(&self, message: Message) -> Result<(), BackendError> {
        let Some(queue) = self.queue.lock().clone() else {
            return Err(BackendError::Unavailable("the store is closed"));
        };
        let sent = match (&self.hand, queue.try_send(message)) {
            (_, Ok(())) => return Ok(()),
            (Hand::Thread(_), Err(TrySendError::Full(message))) => queue.send(message).is_ok(),
            (Hand::Caller(disk), Err(TrySendError::Full(message))) => {
                disk.lock().write_queued();
                queue.try_send(message).is_ok()
            }
            (_, Err(TrySendError::Disconnected(_))) => false,
        };
        self.check()?;
        if sent { Ok(()) } else { Err(BackendError::Unavailable("the store is closed")) }
    }

    /// Writes what is queued, if nobody does so by itself.
    pub fn commit_queued(&self) -> Result<(), BackendError> {
        if let Hand::Caller(disk) = &self.hand {
            disk.lock().write_queued();
        }
        self.check()
    }

    /// Follows the cursor on disk.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// Waits until `record` is on disk.
    pub fn wait(&self, record: u64) -> Result<(), BackendError> {
        self.commit_queued()?;
        if let Hand::Caller(_) = self.hand {
            return match self.shared.progress.lock().durable < record {
                true => Err(BackendError::Unavailable("the record was never queued")),
                false => Ok(()),
            };
        }
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
        self.hurry();
        let queue = self.queue.lock().take();
        match &self.hand {
            Hand::Thread(thread) => {
                // A thread that is gone has said why already.
                let _ = queue.map(|queue| queue.send(Message::Close));
                if let Some(thread) = thread.lock().take() {
                    let _ = thread.join();
                }
            }
            Hand::Caller(disk) => disk.lock().write_queued(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.is_abandoned.store(true, Ordering::Relaxed);
        self.close();
    }
}

/// The queue's far end.
struct Disk {
    connection: Connection,
    batches: Receiver<Message>,
    /// Taken from the queue, but not for the transaction that was being filled.
    held: Option<Message>,
    /// Whether rows are left to be deleted; they go a few at a time, between transactions.
    has_discards: bool,
    shared: Arc<Shared>,
    moved: watch::Sender<u64>,
}

impl Disk {
    /// The thread's life.
    fn run(mut self) {
        loop {
            let next = match self.held.take() {
                Some(message) => Ok(message),
                None if self.has_discards => self.batches.try_recv(),
                None => self.batches.recv().map_err(|_| TryRecvError::Disconnected),
            };
            let goes_on = match next {
                Ok(message) => self.write_from(message) && self.discard_some(),
                Err(TryRecvError::Empty) => self.discard_some(),
                Err(TryRecvError::Disconnected) => false,
            };
            if !goes_on {
                break;
            }
            let mut progress = self.shared.progress.lock();
            if !std::mem::take(&mut progress.is_hurried) {
                self.shared.hurried.wait_for(&mut progress, TRANSACTION_EVERY);
            }
        }
        self.shared.progress.lock().is_stopped = true;
        self.shared.moved.notify_all();
    }

    /// Writes what there is, without waiting for more.
    fn write_queued(&mut self) {
        while let Some(first) = self.held.take().or_else(|| self.batches.try_recv().ok()) {
            if !self.write_from(first) {
                return;
            }
        }
        while self.has_discards && self.discard_some() {}
    }

    /// Writes `first` and what else is there in one transaction, or does a job. False: no more may be written.
    fn write_from(&mut self, first: Message) -> bool {
        if self.shared.is_abandoned.load(Ordering::Relaxed) {
            return false;
        }
        let (written, through) = match first {
            Message::Close => return false,
            Message::Job(job) => (job(&mut self.connection), 0),
            Message::Batch { changes, through } => {
                let (changes, through) = self.group(changes, through);
                self.has_discards |= changes.iter().any(Change::leaves_rows);
                (write_group(&mut self.connection, &changes, through).map_err(failed), through)
            }
        };
        self.tell(written, through)
    }

    /// Takes what else there is for one transaction.
    fn group(&mut self, mut changes: Vec<Change>, mut through: u64) -> (Vec<Change>, u64) {
        while changes.len() < TRANSACTION_CHANGES {
            match self.batches.try_recv() {
                Ok(Message::Batch { changes: more, through: later }) => {
                    changes.extend(more);
                    through = through.max(later);
                }
                Ok(other) => {
                    self.held = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        (changes, through)
    }

    /// Deletes some of the rows that are to go. False: no more may be written.
    fn discard_some(&mut self) -> bool {
        if !self.has_discards || self.shared.is_abandoned.load(Ordering::Relaxed) {
            return !self.shared.is_abandoned.load(Ordering::Relaxed);
        }
        let deleted = discard_some(&mut self.connection).map_err(failed);
        self.has_discards = *deleted.as_ref().unwrap_or(&false);
        self.tell(deleted.map(drop), 0)
    }

    /// Tells what came of a transaction. False: no more may be written.
    fn tell(&self, written: Result<(), BackendError>, through: u64) -> bool {
        let mut progress = self.shared.progress.lock();
        match written {
            Ok(()) => progress.durable = progress.durable.max(through),
            Err(BackendError::Fatal(why)) => progress.failure = Some(why),
            Err(BackendError::Unavailable(why)) => progress.failure = Some(why.to_owned()),
        }
        // Both tell the same before anybody who waited can look.
        self.moved.send_if_modified(|durable| {
            let has_moved = *durable != progress.durable;
            *durable = progress.durable;
            has_moved
        });
        self.shared.moved.notify_all();
        progress.failure.is_none()
    }
}

fn discard_some(connection: &mut Connection) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let more = joining::discard_some(&transaction)?;
    transaction.commit()?;
    Ok(more)
}

fn write_group(connection: &mut Connection, changes: &[Change], through: u64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        changes::write(&transaction, change)?;
    }
    // The cursor never falls, so that a repeated record cannot move it back.
    let held = rows::cursor(&transaction)?;
    rows::set_cursor(&transaction, held.max(through))?;
    transaction.commit()
}
