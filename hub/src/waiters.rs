//! Browsers that wait for their write: brings together the committed answer, which comes through the log, and its
//! body, which comes beside it from the peer that executed.
//!
//! Soft state of the hub that holds the connection. Never decides who wins: the log does.

use std::collections::{HashMap, VecDeque};

use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumEpoch, PeerId, RequestId, TaskId},
    v1,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Bodies kept that came before their task was applied here, or after their browser had gone.
const EARLY_BODIES_MAX: usize = 1024;
/// And their bytes.
const EARLY_BYTES_MAX: usize = 16 << 20;
/// Bodies one browser's wait may hold, one of each author: the forum's primary, and those it was taken from.
const BODIES_MAX: usize = 4;

/// Who executed, under which epoch. A body is only good for the answer it was made with.
pub type Author = (PeerId, ForumEpoch);

/// What a waiting browser can be told.
#[derive(Debug)]
pub enum Delivery {
    /// The answer is committed and this is its body.
    Body(v1::ResponseBody),
    /// The answer is committed; its body went elsewhere or was lost.
    Receipt(v1::Receipt),
}

#[derive(Default)]
struct Waiter {
    task: Option<TaskId>,
    committed: Option<(Author, v1::Receipt)>,
    bodies: Vec<(Author, v1::ResponseBody)>,
    tx: Option<oneshot::Sender<Delivery>>,
}

impl Waiter {
    /// Keeps an author's newest body only: an answer that is said again brings its body again.
    fn keep(&mut self, author: Author, body: v1::ResponseBody) {
        self.bodies.retain(|(by, _)| *by != author);
        if self.bodies.len() == BODIES_MAX {
            // Rendered again from the receipt, should it be the one that was committed.
            self.bodies.remove(0);
        }
        self.bodies.push((author, body));
    }
}

/// All waiting browsers of this hub.
#[derive(Default)]
pub struct Waiters(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    waiting: HashMap<RequestId, Vec<Waiter>>,
    by_task: HashMap<TaskId, RequestId>,
    early: VecDeque<(TaskId, Author, v1::ResponseBody)>,
    early_bytes: usize,
}

/// A place in the queue; leaving it frees what is kept for it.
pub struct Place<'a> {
    waiters: &'a Waiters,
    request: RequestId,
    /// Resolves when there is something to tell.
    pub delivery: oneshot::Receiver<Delivery>,
}

impl Waiters {
    /// Starts to wait for a request that is about to be proposed.
    pub fn enter(&self, request: RequestId) -> Place<'_> {
        let (tx, delivery) = oneshot::channel();
        let waiter = Waiter { tx: Some(tx), ..Waiter::default() };
        self.0.lock().waiting.entry(request).or_default().push(waiter);
        Place { waiters: self, request, delivery }
    }

    /// How many browsers wait.
    pub fn len(&self) -> usize {
        self.0.lock().waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is kept for browsers, and what may be; `most` is how many of them may wait.
    pub fn held(&self, most: usize) -> [(&'static str, (usize, usize)); 4] {
        let inner = self.0.lock();
        let bodies = inner.waiting.values().flatten().map(|waiter| waiter.bodies.len()).max();
        [
            ("browsers", (inner.waiting.len(), most)),
            ("browser_bodies", (bodies.unwrap_or(0), BODIES_MAX)),
            ("early_bodies", (inner.early.len(), EARLY_BODIES_MAX)),
            ("early_bytes", (inner.early_bytes, EARLY_BYTES_MAX)),
        ]
    }

    /// The log gave this request a task.
    pub fn appended(&self, request: RequestId, task: TaskId) {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        let Some(waiters) = inner.waiting.get_mut(&request) else { return };
        for waiter in waiters.iter_mut() {
            waiter.task = Some(task);
        }
        if inner.by_task.insert(task, request).is_none() {
            while let Some(at) = inner.early.iter().position(|(early, ..)| *early == task) {
                let Some((_, author, body)) = inner.early.remove(at) else { break };
                inner.early_bytes -= body.body.len();
                waiters.iter_mut().for_each(|waiter| waiter.keep(author, body.clone()));
            }
        }
        inner.deliver(request);
    }

    /// The log holds the answer to this task.
    pub fn committed(&self, task: TaskId, author: Author, receipt: &v1::Receipt) {
        let mut inner = self.0.lock();
        let Some(request) = inner.by_task.get(&task).copied() else { return };
        for waiter in inner.waiting.get_mut(&request).into_iter().flatten() {
            waiter.committed = Some((author, receipt.clone()));
        }
        inner.deliver(request);
    }

    /// A peer's body for this task has come.
    pub fn body(&self, task: TaskId, author: Author, body: v1::ResponseBody) {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        let Some(request) = inner.by_task.get(&task).copied() else {
            inner.keep_early(task, author, body);
            return;
        };
        for waiter in inner.waiting.get_mut(&request).into_iter().flatten() {
            waiter.keep(author, body.clone());
        }
        inner.deliver(request);
    }

    /// The task of a re-sent request had been answered: there will be no body, the receipt is all there is.
    pub fn answered_before(&self, request: RequestId, receipt: &v1::Receipt) {
        let mut inner = self.0.lock();
        for waiter in inner.waiting.get_mut(&request).into_iter().flatten() {
            if let Some(tx) = waiter.tx.take() {
                let _ = tx.send(Delivery::Receipt(receipt.clone()));
            }
        }
    }

    /// The answers of a request that wait in vain for a body: tells them the receipt.
    pub fn give_up_on_body(&self, request: RequestId) {
        let mut inner = self.0.lock();
        for waiter in inner.waiting.get_mut(&request).into_iter().flatten() {
            if let Some((_, receipt)) = &waiter.committed
                && let Some(tx) = waiter.tx.take()
            {
                let _ = tx.send(Delivery::Receipt(receipt.clone()));
            }
        }
    }

    /// Whether the answer is committed and only its body is missing.
    pub fn lacks_only_body(&self, request: RequestId) -> bool {
        let inner = self.0.lock();
        inner.waiting.get(&request).is_some_and(|waiters| waiters.iter().any(|w| w.committed.is_some()))
    }
}

impl Inner {
    fn keep_early(&mut self, task: TaskId, author: Author, body: v1::ResponseBody) {
        self.early_bytes += body.body.len();
        self.early.push_back((task, author, body));
        while self.early.len() > EARLY_BODIES_MAX || self.early_bytes > EARLY_BYTES_MAX {
            let Some((.., oldest)) = self.early.pop_front() else { break };
            self.early_bytes -= oldest.body.len();
        }
    }

    fn deliver(&mut self, request: RequestId) {
        for waiter in self.waiting.get_mut(&request).into_iter().flatten() {
            let author = waiter.committed.as_ref().map(|(author, _)| *author);
            let fits = |by: &Author| author == Some(*by) || breakage::is_on(Breakage::AckBeforeCommit);
            let Some(at) = waiter.bodies.iter().position(|(by, _)| fits(by)) else { continue };
            if let Some(tx) = waiter.tx.take() {
                // A browser that has hung up in this moment is not there to be told.
                let _ = tx.send(Delivery::Body(waiter.bodies.swap_remove(at).1));
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut inner = self.waiters.0.lock();
        self.delivery.close();
        let Some(waiters) = inner.waiting.get_mut(&self.request) else { return };
        let task = waiters.iter().find_map(|waiter| waiter.task);
        // Several connections may wait for one re-sent request; ours is one whose receiver is closed or was served.
        waiters.retain(|waiter| waiter.tx.as_ref().is_some_and(|tx| !tx.is_closed()));
        if waiters.is_empty() {
            inner.waiting.remove(&self.request);
            if let Some(task) = task {
                inner.by_task.remove(&task);
            }
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

    fn author(peer: u32) -> Author {
        (PeerId::new(peer).unwrap(), ForumEpoch(1))
    }

    fn body(status: u32) -> v1::ResponseBody {
        v1::ResponseBody { status, ..Default::default() }
    }

    #[test]
    fn only_the_winners_body_is_delivered_and_only_once_committed() {
        let waiters = Waiters::default();
        let mut place = waiters.enter(REQUEST);
        waiters.appended(REQUEST, task());
        waiters.body(task(), author(2), body(500));
        waiters.body(task(), author(1), body(200));
        assert!(place.delivery.try_recv().is_err(), "nothing is committed yet");
        waiters.committed(task(), author(1), &v1::Receipt::default());
        match place.delivery.try_recv().unwrap() {
            Delivery::Body(body) => assert_eq!(body.status, 200),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_may_come_before_its_task() {
        let waiters = Waiters::default();
        let mut place = waiters.enter(REQUEST);
        waiters.body(task(), author(1), body(200));
        waiters.appended(REQUEST, task());
        waiters.committed(task(), author(1), &v1::Receipt::default());
        assert!(matches!(place.delivery.try_recv(), Ok(Delivery::Body(_))));
    }

    #[test]
    fn bodies_nobody_waits_for_are_bounded() {
        let waiters = Waiters::default();
        for id in 1..=2000 {
            let content = vec![0; 64 << 10].into();
            let body = v1::ResponseBody { body: content, ..Default::default() };
            waiters.body(TaskId::new(id).unwrap(), author(1), body);
        }
        let inner = waiters.0.lock();
        assert_eq!(inner.early_bytes, inner.early.len() * (64 << 10));
        assert!(inner.early_bytes <= EARLY_BYTES_MAX);
    }

    #[test]
    fn an_answer_that_is_said_again_and_again_holds_one_body_and_authors_are_bounded() {
        let waiters = Waiters::default();
        let mut place = waiters.enter(REQUEST);
        waiters.appended(REQUEST, task());
        for status in 200..300 {
            waiters.body(task(), author(1), body(status));
        }
        assert_eq!(waiters.held(9)[1], ("browser_bodies", (1, BODIES_MAX)));
        for peer in 2..20 {
            waiters.body(task(), author(peer), body(500));
        }
        assert_eq!(waiters.held(9)[1], ("browser_bodies", (BODIES_MAX, BODIES_MAX)));
        waiters.body(task(), author(1), body(299));
        waiters.committed(task(), author(1), &v1::Receipt::default());
        assert!(matches!(place.delivery.try_recv(), Ok(Delivery::Body(body)) if body.status == 299));
    }

    #[test]
    fn without_a_body_the_receipt_is_told_and_nothing_is_kept() {
        let waiters = Waiters::default();
        {
            let mut place = waiters.enter(REQUEST);
            waiters.appended(REQUEST, task());
            waiters.committed(task(), author(1), &v1::Receipt { status: 200, ..Default::default() });
            assert!(waiters.lacks_only_body(REQUEST));
            waiters.give_up_on_body(REQUEST);
            assert!(matches!(place.delivery.try_recv(), Ok(Delivery::Receipt(_))));
        }
        assert!(waiters.is_empty());
        assert!(waiters.0.lock().by_task.is_empty());
    }

    #[test]
    fn two_connections_waiting_for_one_request_are_both_told() {
        let waiters = Waiters::default();
        let mut first = waiters.enter(REQUEST);
        let mut second = waiters.enter(REQUEST);
        waiters.appended(REQUEST, task());
        waiters.committed(task(), author(1), &v1::Receipt::default());
        waiters.body(task(), author(1), body(200));
        assert!(first.delivery.try_recv().is_ok() && second.delivery.try_recv().is_ok());
    }
}
