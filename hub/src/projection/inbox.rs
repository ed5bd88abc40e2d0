//! What was applied and is not written yet. Bounded: what does not fit is let go, and then the tables are made anew from the
//! state. Whoever applies never waits for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use loop_raft_store::{
    adapter::{ApplySink, StateReader},
    machine::{Event, HubState},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::portion::Portion;

/// Most rows that wait: ten megabytes or so.
const ROWS_MAX: usize = 32_768;

/// Between the machine and the writer.
#[derive(Default)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    /// Whether anybody wants to know; looked at without the lock.
    is_open: AtomicBool,
    came: Notify,
    state: OnceLock<StateReader>,
}

#[derive(Default)]
struct Waiting {
    portions: VecDeque<Portion>,
    rows: usize,
}

/// Something was let go: the tables cannot follow any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed;

impl Inbox {
    /// Gives it the state to read rows from; once.
    pub fn attach(&self, state: StateReader) {
        // A second reader would be of the same state.
        let _ = self.state.set(state);
    }

    /// The state it reads from; none before the hub has opened its data.
    pub fn state(&self) -> Option<&StateReader> {
        self.state.get()
    }

    /// From now on everything is kept; nothing of before.
    pub fn open(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting::default();
        self.is_open.store(true, Ordering::Release);
    }

    fn close(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting::default();
        self.is_open.store(false, Ordering::Release);
        self.came.notify_one();
    }

    fn push(&self, portion: Portion) {
        let mut waiting = self.waiting.lock();
        if waiting.rows + portion.len() > ROWS_MAX {
            drop(waiting);
            return self.close();
        }
        waiting.rows += portion.len();
        waiting.portions.push_back(portion);
        self.came.notify_one();
    }

    /// What has come, in order: up to entry `through` of Raft's log, and no more than about `rows_max` rows.
    pub fn take(&self, through: u64, rows_max: usize) -> Result<Vec<Portion>, Missed> {
        if !self.is_open.load(Ordering::Acquire) {
            return Err(Missed);
        }
        let mut waiting = self.waiting.lock();
        let (mut taken, mut rows) = (Vec::new(), 0);
        while rows < rows_max
            && let Some(first) = waiting.portions.front().filter(|first| first.applied <= through)
        {
            rows += first.len();
            taken.extend(waiting.portions.pop_front());
        }
        waiting.rows -= rows;
        Ok(taken)
    }

    /// Returns when something may have come.
    pub async fn came(&self) {
        self.came.notified().await;
    }

    /// Whether nothing waits, and nothing was let go.
    pub fn is_level(&self) -> bool {
        self.is_open.load(Ordering::Acquire) && self.waiting.lock().portions.is_empty()
    }

    /// How many rows wait, and how many may.
    pub fn held(&self) -> (usize, usize) {
        (self.waiting.lock().rows, ROWS_MAX)
    }
}

/// Hears what is applied after somebody else has.
pub struct Followed {
    /// Who goes first: browsers wait for that.
    pub first: Arc<dyn ApplySink>,
    /// Where it is kept for the writer.
    pub inbox: Arc<Inbox>,
}

impl ApplySink for Followed {
    fn applied(&self, events: &[Event], applied_index: u64) {
        self.first.applied(events, applied_index);
        if !self.inbox.is_open.load(Ordering::Acquire) {
            return;
        }
        if let Some(state) = self.inbox.state() {
            // Nothing else is applied meanwhile: it is the state of this very entry.
            let portion = state.read(|state| Portion::of(state, events, applied_index));
            self.inbox.push(portion);
        }
    }

    fn stepped(&self, state: &HubState, applied_index: u64) {
        self.first.stepped(state, applied_index);
    }

    fn replaced(&self, applied_index: u64) {
        self.first.replaced(applied_index);
        self.inbox.close();
    }
}
