//! Browsers that wait for their write: tells them when the log holds its answer.
//!
//! Soft state of the hub that holds the connection. Never decides who wins: the log does.

use std::collections::HashMap;

use loop_proto::{
    ids::{RequestId, TaskId},
    v1,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// All waiting browsers of this hub.
#[derive(Default)]
pub struct Waiters(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    waiting: HashMap<RequestId, Waiting>,
    by_task: HashMap<TaskId, RequestId>,
}

/// Whoever waits for one request: several connections, if it was sent again.
#[derive(Default)]
struct Waiting {
    task: Option<TaskId>,
    told: Vec<oneshot::Sender<v1::Receipt>>,
}

/// A place in the queue; leaving it frees what is kept for it.
pub struct Place<'a> {
    waiters: &'a Waiters,
    request: RequestId,
    /// Resolves when the answer is committed.
    pub receipt: oneshot::Receiver<v1::Receipt>,
}

impl Waiters {
    /// Starts to wait for a request that is about to be proposed.
    pub fn enter(&self, request: RequestId) -> Place<'_> {
        let (tx, receipt) = oneshot::channel();
        self.0.lock().waiting.entry(request).or_default().told.push(tx);
        Place { waiters: self, request, receipt }
    }

    /// How many requests are waited for.
    pub fn len(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// How many browsers wait; `most` is how many may.
    pub fn held(&self, most: usize) -> (&'static str, (usize, usize)) {
        ("browsers", (self.len(), most))
    }

    /// The log gave this request a task.
    pub fn appended(&self, request: RequestId, task: TaskId) {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        let Some(waiting) = inner.waiting.get_mut(&request) else { return };
        waiting.task = Some(task);
        inner.by_task.insert(task, request);
    }

    /// The log holds the answer to this task.
    pub fn committed(&self, task: TaskId, receipt: &v1::Receipt) {
        let request = self.0.lock().by_task.get(&task).copied();
        if let Some(request) = request {
            self.answered_before(request, receipt);
        }
    }

    /// The log holds the answer to this request.
    pub fn answered_before(&self, request: RequestId, receipt: &v1::Receipt) {
        let mut inner = self.0.lock();
        for tx in inner.waiting.get_mut(&request).into_iter().flat_map(|waiting| waiting.told.drain(..)) {
            // A browser that has hung up in this moment is not there to be told.
            let _ = tx.send(receipt.clone());
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut inner = self.waiters.0.lock();
        self.receipt.close();
        let Some(waiting) = inner.waiting.get_mut(&self.request) else { return };
        waiting.told.retain(|tx| !tx.is_closed());
        if !waiting.told.is_empty() {
            return;
        }
        let task = waiting.task;
        inner.waiting.remove(&self.request);
        if let Some(task) = task {
            inner.by_task.remove(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: RequestId = RequestId([7; 16]);

    fn task() -> TaskId {
        TaskId::new(91).unwrap()
    }

    fn receipt() -> v1::Receipt {
        v1::Receipt { status: 200, ..Default::default() }
    }

    #[test]
    fn nothing_is_told_before_the_answer_is_committed() {
        let waiters = Waiters::default();
        let mut place = waiters.enter(REQUEST);
        waiters.appended(REQUEST, task());
        assert!(place.receipt.try_recv().is_err());
        waiters.committed(task(), &receipt());
        assert_eq!(place.receipt.try_recv(), Ok(receipt()));
    }

    #[test]
    fn connections_waiting_for_one_request_are_all_told_and_nothing_is_kept() {
        let waiters = Waiters::default();
        {
            let mut first = waiters.enter(REQUEST);
            let mut second = waiters.enter(REQUEST);
            let gone = waiters.enter(REQUEST);
            waiters.appended(REQUEST, task());
            drop(gone);
            waiters.committed(task(), &receipt());
            assert!(first.receipt.try_recv().is_ok() && second.receipt.try_recv().is_ok());
            // Sent again after its answer, while the others are still being told.
            let mut late = waiters.enter(REQUEST);
            waiters.answered_before(REQUEST, &receipt());
            assert!(late.receipt.try_recv().is_ok());
        }
        assert_eq!(waiters.len(), 0);
        assert!(waiters.0.lock().by_task.is_empty());
    }
}
