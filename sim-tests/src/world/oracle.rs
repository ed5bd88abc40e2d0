//! What clients sent, were promised and were shown, kept outside the system.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{log::Logged, trace::Trace};
use crate::invariants::{Commit, Invariants, Shown};

/// The clients' side of a run. Clones share it.
#[derive(Clone)]
pub struct Oracle {
    inner: Arc<Mutex<Inner>>,
    invariants: Invariants,
    trace: Trace,
    logged: Arc<Mutex<Logged>>,
}

#[derive(Default)]
struct Inner {
    commits: Vec<Commit>,
    /// Counts everything clients do and are told, so that it has one order.
    order: u64,
    counts: Counts,
    failures: BTreeMap<String, u64>,
    is_closing: bool,
}

/// What clients did and got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commits acknowledged.
    pub acked: u64,
    /// Those of them that had been sent more than once.
    pub acked_after_resend: u64,
    /// Reads answered.
    pub shown: u64,
}

impl Oracle {
    /// Nothing happened yet.
    pub fn new(invariants: Invariants, trace: Trace, logged: Arc<Mutex<Logged>>) -> Self {
        Self { inner: Arc::default(), invariants, trace, logged }
    }

    /// The next place in the order of all that clients do and are told.
    pub fn now(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.order += 1;
        inner.order
    }

    /// Nobody begins anything new from here on; what was begun is brought to its end.
    pub fn close(&self) {
        self.inner.lock().is_closing = true;
    }

    /// Whether [`Self::close`] was called.
    pub fn is_closing(&self) -> bool {
        self.inner.lock().is_closing
    }

    /// Never to be logged by anybody.
    pub fn secret(&self, word: &str) {
        self.logged.lock().secrets.push(word.to_owned());
    }

    /// A commit is about to be sent for the first time; returns its number.
    pub fn sends(&self, forum: usize, text: &str) -> usize {
        let sent = self.now();
        let mut inner = self.inner.lock();
        inner.commits.push(Commit { forum, text: text.to_owned(), sent, sendings: 1, acked: None });
        inner.commits.len() - 1
    }

    /// It is about to be sent again.
    pub fn sends_again(&self, commit: usize) {
        self.inner.lock().commits[commit].sendings += 1;
    }

    /// It was acknowledged.
    pub fn acked(&self, who: &str, commit: usize, id: u64) {
        let now = self.now();
        let commit = {
            let mut inner = self.inner.lock();
            let commit = &mut inner.commits[commit];
            commit.acked = Some((id, now));
            let commit = commit.clone();
            inner.counts.acked += 1;
            inner.counts.acked_after_resend += u64::from(commit.sendings > 1);
            commit
        };
        self.trace.tell(who, &format!("{} is message {id}, sent {} times", commit.text, commit.sendings));
        self.invariants.each(|invariant| invariant.on_ack(&commit));
    }

    /// A read was answered.
    pub fn shown(&self, who: &str, shown: &Shown) {
        self.now();
        self.inner.lock().counts.shown += 1;
        let newest = shown.rows.first().map_or(0, |(id, _)| *id);
        self.trace.tell(who, &format!("is shown {} messages to {newest}", shown.rows.len()));
        self.invariants.each(|invariant| invariant.on_shown(shown));
    }

    /// A call had no usable answer, which can happen.
    pub fn failed(&self, who: &str, why: &str) {
        self.trace.tell(who, why);
        *self.inner.lock().failures.entry(why.to_owned()).or_insert(0) += 1;
    }

    /// A call was answered as none may be.
    pub fn wronged(&self, who: &str, what: String) {
        self.trace.tell(who, &what);
        self.invariants.broken("answers are what was asked for", format!("{who}: {what}"));
    }

    /// Whether a commit is on its way.
    pub fn is_writing(&self) -> bool {
        self.inner.lock().commits.iter().any(|commit| commit.acked.is_none())
    }

    /// All commits ever sent.
    pub fn commits(&self) -> Vec<Commit> {
        self.inner.lock().commits.clone()
    }

    /// Totals.
    pub fn counts(&self) -> Counts {
        self.inner.lock().counts
    }

    /// Failures by kind.
    pub fn failures(&self) -> BTreeMap<String, u64> {
        self.inner.lock().failures.clone()
    }
}
