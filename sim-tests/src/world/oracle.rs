//! What clients sent, were promised and were shown, kept outside the system.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::{log::Logged, trace::Trace};
use crate::invariants::{Call, Commit, Hide, Invariants, Shown, Typing, Unanswered};

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
    /// When each forum last answered a call of each kind, simulated.
    answered: BTreeMap<(usize, Call), Duration>,
    /// When the first call of each kind began that no answered one has followed, simulated.
    waiting: BTreeMap<(usize, Call), Duration>,
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
    /// Hides of somebody's own message answered.
    pub hidden: u64,
    /// Hides of somebody else's message answered; nothing may come of them.
    pub meddled: u64,
    /// Typing rows told.
    pub typed: u64,
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
    pub fn sends(&self, by: usize, forum: usize, text: &str, typed: Option<(u64, u64)>) -> usize {
        let sent = self.now();
        let commit =
            Commit { by, forum, text: text.to_owned(), typed, sent, sendings: 1, ..Commit::default() };
        self.invariants.each(|invariant| invariant.on_sent(&commit));
        let mut inner = self.inner.lock();
        inner.commits.push(commit);
        inner.commits.len() - 1
    }

    /// It is about to be sent again.
    pub fn sends_again(&self, commit: usize) {
        self.inner.lock().commits[commit].sendings += 1;
    }

    /// It was acknowledged. Returns it as it is known then.
    pub fn acked(&self, who: &str, commit: usize, id: u64) -> Commit {
        let now = self.now();
        let commit = {
            let mut inner = self.inner.lock();
            let commit = &mut inner.commits[commit];
            commit.acked = Some((id, now));
            let commit = commit.clone();
            inner.counts.acked += 1;
            inner.counts.acked_after_resend += u64::from(commit.sendings > 1);
            inner.answer(commit.forum, Call::Write, self.trace.now());
            commit
        };
        self.trace.tell(who, &format!("{} is message {id}, sent {} times", commit.text, commit.sendings));
        self.invariants.each(|invariant| invariant.on_ack(&commit));
        commit
    }

    /// When a forum last acknowledged a commit, simulated.
    pub fn served(&self, forum: usize) -> Duration {
        self.inner.lock().answered.get(&(forum, Call::Write)).copied().unwrap_or_default()
    }

    /// Somebody begins to type.
    pub fn types(&self, forum: usize) -> Typing {
        let typing = Typing { forum, asked: self.now(), told: None };
        self.invariants.each(|invariant| invariant.on_typing(&typing));
        typing
    }

    /// The typing row's id was told.
    pub fn typed(&self, who: &str, typing: &mut Typing, id: u64) {
        typing.told = Some((id, self.now()));
        self.inner.lock().counts.typed += 1;
        self.trace.tell(who, &format!("types message {id}"));
        self.invariants.each(|invariant| invariant.on_typing(typing));
    }

    /// A message is to be hidden.
    pub fn hides(&self, who: &str, forum: usize, id: u64, own: bool) -> Hide {
        let hide = Hide { forum, id, own, asked: self.now(), answered: None };
        self.trace.tell(who, &format!("hides {} message {id}", if own { "its" } else { "another's" }));
        self.invariants.each(|invariant| invariant.on_hide(&hide));
        hide
    }

    /// That was answered.
    pub fn hidden(&self, who: &str, mut hide: Hide) {
        hide.answered = Some(self.now());
        {
            let counts = &mut self.inner.lock().counts;
            let count = if hide.own { &mut counts.hidden } else { &mut counts.meddled };
            *count += 1;
        }
        self.trace.tell(who, &format!("is answered about message {}", hide.id));
        self.invariants.each(|invariant| invariant.on_hide(&hide));
    }

    /// A read was answered.
    pub fn shown(&self, who: &str, mut shown: Shown) {
        shown.answered = self.now();
        {
            let mut inner = self.inner.lock();
            inner.counts.shown += 1;
            inner.answer(shown.forum, Call::Read, self.trace.now());
        }
        let newest = shown.rows.first().map_or(0, |(id, _)| *id);
        self.trace.tell(who, &format!("is shown {} messages to {newest}", shown.rows.len()));
        self.invariants.each(|invariant| invariant.on_shown(&shown));
    }

    /// A call had no usable answer, which can happen.
    pub fn failed(&self, who: &str, why: &str) {
        self.trace.tell(who, why);
        *self.inner.lock().failures.entry(why.to_owned()).or_insert(0) += 1;
    }

    /// A call that began at `began`, simulated, had no usable answer.
    pub fn unanswered(&self, forum: usize, what: Call, began: Duration) {
        let now = self.trace.now();
        let since = {
            let mut inner = self.inner.lock();
            let answered = inner.answered.get(&(forum, what)).copied().unwrap_or_default();
            *inner.waiting.entry((forum, what)).or_insert(began.max(answered))
        };
        let unanswered = Unanswered { forum, what, since, now };
        self.invariants.each(|invariant| invariant.on_unanswered(&unanswered));
    }

    /// Simulated time.
    pub fn elapsed(&self) -> Duration {
        self.trace.now()
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

impl Inner {
    fn answer(&mut self, forum: usize, what: Call, now: Duration) {
        self.answered.insert((forum, what), now);
        self.waiting.remove(&(forum, what));
    }
}
