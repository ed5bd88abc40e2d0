//! What this peer must do next: the pure core. Owns, per forum, epoch, open tasks and unconfirmed answers, and
//! over all of them how far the feed has been applied.
//!
//! Never waits, reads a clock, draws lots or touches a socket or a disk: [`Replica::step`] takes what happened and
//! returns what to do, in order. The shell must do that in order, and report an [`Output::Execute`] before it does
//! anything else about the same forum.

mod entry;
mod forum;
mod messages;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, TaskId},
    v1,
};

pub use entry::{Assignment, Entry, EntryBody, Facts, ForumSnapshot, OpenTask, Refusal};
pub use forum::UNCONFIRMED_PER_FORUM_MAX;
pub use messages::{Input, Output, Violation};

use crate::backend::AppliedRecord;
use forum::{Closed, Forum};

/// Answers of all forums that may be on their way at once; with bodies of some 8 KB, tens of megabytes.
pub const UNCONFIRMED_MAX: usize = 4096;
/// Open tasks a hub may have described to this peer.
pub const OPEN_TASKS_MAX: usize = 65_536;
/// The same, in bytes on the wire.
pub const OPEN_TASK_BYTES_MAX: usize = 256 << 20;

/// Forums a hub may give to this peer.
pub const FORUMS_MAX: usize = 1 << 18;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Polling,
    Up,
}

/// An execution the shell has been asked for and has not reported.
#[derive(Debug)]
struct Running {
    task: TaskId,
    /// What it builds on is gone: its result must be dropped from the backend.
    void: bool,
}

/// All forums of this peer.
#[derive(Debug)]
pub struct Replica {
    me: PeerId,
    link: Link,
    /// Applied through here, over all connections; never falls.
    applied: u64,
    /// Fed through here on this connection; starts at the cursor the hub was told and may trail `applied`.
    fed: u64,
    forums: BTreeMap<ForumId, Forum>,
    running: BTreeMap<ForumId, Running>,
    unconfirmed: usize,
    open_bytes: usize,
    open_count: usize,
    /// Forums kept from executing by [`UNCONFIRMED_MAX`] alone.
    starved: BTreeSet<ForumId>,
    /// Forums the feed has not brought up to their `as_of` yet, by that position.
    behind: BTreeSet<(u64, ForumId)>,
    /// Answers that were on their way when the connection broke, with their epoch. They may yet be committed: under
    /// the same epoch they must be said again, not made anew, or a later answer could build on what lost.
    kept: BTreeMap<ForumId, (ForumEpoch, BTreeMap<TaskId, v1::Answer>)>,
}

impl Replica {
    /// A peer whose backend has applied everything through `applied`.
    pub fn new(me: PeerId, applied: u64) -> Self {
        Self {
            me,
            link: Link::Down,
            applied,
            fed: 0,
            forums: BTreeMap::new(),
            running: BTreeMap::new(),
            unconfirmed: 0,
            open_bytes: 0,
            open_count: 0,
            starved: BTreeSet::new(),
            behind: BTreeSet::new(),
            kept: BTreeMap::new(),
        }
    }

    /// Everything up to this log position is visible to reads.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The epoch under which this peer holds a forum; `None` if it does not.
    pub fn epoch_of(&self, forum: ForumId) -> Option<ForumEpoch> {
        self.forums.get(&forum).map(|forum| forum.epoch)
    }

    /// How many forums this peer holds.
    pub fn forum_count(&self) -> usize {
        self.forums.len()
    }

    /// Tasks this peer should execute and has not.
    pub fn unexecuted(&self) -> usize {
        self.forums.values().map(Forum::unexecuted).sum()
    }

    /// Takes what happened, returns what to do, in order.
    pub fn step(&mut self, input: Input) -> Result<Vec<Output>, Violation> {
        let mut out = Vec::new();
        match input {
            Input::Connected { cursor } => self.begin(Link::Up, cursor, &mut out),
            Input::Polling { cursor } => self.begin(Link::Polling, cursor, &mut out),
            Input::Disconnected => self.begin(Link::Down, 0, &mut out),
            Input::Forum(snapshot) => self.describe(snapshot, &mut out)?,
            Input::Records { entries, through } => self.feed(entries, through, &mut out)?,
            Input::Executed(answer) => self.executed(answer, &mut out),
            Input::NotExecuted { forum } => self.not_executed(forum, &mut out),
            Input::RetryDue(forum) => self.retry(forum, &mut out),
            Input::Refused { forum, task, refusal } => self.refused(forum, task, refusal, &mut out),
            Input::ResendDue(forum) => self.resend(forum, &mut out),
            Input::Tick => self.tick(&mut out),
        }
        Ok(out)
    }

    /// Whatever was known of forums came from the connection before; only the next one can say what holds now.
    fn begin(&mut self, link: Link, cursor: u64, out: &mut Vec<Output>) {
        for (id, forum) in std::mem::take(&mut self.forums) {
            let runs = self.running.get(&id).is_some_and(|running| !running.void);
            if runs || !forum.sent.is_empty() {
                self.kept.insert(id, (forum.epoch, forum.sent));
            }
        }
        if link == Link::Polling {
            self.forget_kept(out);
        }
        self.unconfirmed = 0;
        self.open_bytes = 0;
        self.open_count = 0;
        self.starved.clear();
        self.behind.clear();
        self.link = link;
        self.fed = cursor;
    }

    fn forget_kept(&mut self, out: &mut Vec<Output>) {
        for id in std::mem::take(&mut self.kept).into_keys() {
            self.void(id, true, out);
        }
    }

    /// What was executed for the forum no longer counts. A running execution is dropped when it is reported.
    fn void(&mut self, forum: ForumId, executed: bool, out: &mut Vec<Output>) {
        match self.running.get_mut(&forum) {
            Some(running) => running.void = true,
            None if executed => out.push(Output::Forget(forum)),
            None => {}
        }
    }

    fn describe(&mut self, snapshot: ForumSnapshot, out: &mut Vec<Output>) -> Result<(), Violation> {
        if self.link != Link::Up {
            return Err(Violation::NotConnected);
        }
        if self.forums.len() >= FORUMS_MAX {
            return Err(Violation::TooManyForums);
        }
        let size = snapshot.open.iter().map(|(_, task)| task.size).sum();
        self.check_room(snapshot.open.len(), size)?;
        let id = snapshot.forum;
        if let Some(old) = self.remove_forum(id) {
            self.void(id, !old.sent.is_empty(), out);
        }
        let kept = self.kept.remove(&id);
        if !snapshot.assignment.replicas.contains(&self.me) {
            self.void(id, kept.is_some(), out);
            return Ok(());
        }
        let mut forum = Forum::described(snapshot, self.me);
        match kept {
            Some((epoch, sent)) if forum.primary && epoch == forum.epoch => forum.sent = sent,
            kept => self.void(id, kept.is_some(), out),
        }
        self.unconfirmed += forum.sent.len();
        self.open_count += forum.open.len();
        self.open_bytes += size;
        // Even one that is not behind: whether what we hold is whole is known once the description is complete.
        self.behind.insert((forum.as_of, id));
        self.forums.insert(id, forum);
        self.begin_reached(out);
        Ok(())
    }

    fn check_room(&self, tasks: usize, bytes: usize) -> Result<(), Violation> {
        let fits = self.open_count + tasks <= OPEN_TASKS_MAX
            && self.open_bytes.saturating_add(bytes) <= OPEN_TASK_BYTES_MAX;
        if fits { Ok(()) } else { Err(Violation::TooManyTasks) }
    }

    fn feed(&mut self, entries: Vec<Entry>, through: u64, out: &mut Vec<Output>) -> Result<(), Violation> {
        self.check_feed(&entries, through)?;
        self.forget_kept(out);
        let mut records = Vec::new();
        let mut changed = BTreeSet::new();
        let mut lost = BTreeSet::new();
        for entry in entries {
            let (id, forum) = (entry.id, entry.forum);
            let held = forum.filter(|_| self.link == Link::Up);
            match entry.body {
                EntryBody::Task(task) => {
                    if let Some(forum) = held {
                        self.open_task(forum, id, task);
                        changed.insert(forum);
                    }
                }
                EntryBody::Facts(facts) => {
                    let closes = facts.closes.filter(|_| forum.is_some());
                    if let (Some(forum), Some(task)) = (held, closes) {
                        let fresh = id.get() > self.applied;
                        if self.close_task(forum, task, &facts, fresh) == Closed::Lost {
                            lost.insert(forum);
                        }
                        changed.insert(forum);
                    }
                    if id.get() > self.applied {
                        let Facts { rows, sessions, .. } = facts;
                        records.push(AppliedRecord {
                            id,
                            forum,
                            closes,
                            facts: rows,
                            sessions,
                            staged: false,
                        });
                    }
                }
                EntryBody::Assignment(assignment) => {
                    if let Some(forum) = held {
                        if self.assign(forum, id, &assignment) {
                            lost.insert(forum);
                        }
                        changed.insert(forum);
                    }
                }
            }
        }
        self.fed = through;
        if through > self.applied {
            self.applied = through;
            out.push(Output::Apply { records, through });
        }
        for forum in lost {
            self.void(forum, true, out);
        }
        self.schedule_after_feed(changed, out);
        Ok(())
    }

    fn check_feed(&self, entries: &[Entry], through: u64) -> Result<(), Violation> {
        if self.link == Link::Down {
            return Err(Violation::NotConnected);
        }
        if through < self.fed {
            return Err(Violation::Backwards { fed: self.fed, through });
        }
        let mut after = self.fed;
        let (mut tasks, mut bytes) = (0, 0);
        for entry in entries {
            let id = entry.id.get();
            if id <= after || id > through {
                return Err(Violation::Order { id, after, through });
            }
            after = id;
            if let EntryBody::Task(task) = &entry.body {
                tasks += 1;
                bytes += task.size;
            }
        }
        self.check_room(tasks, bytes)
    }

    fn schedule_after_feed(&mut self, changed: BTreeSet<ForumId>, out: &mut Vec<Output>) {
        self.begin_reached(out);
        for forum in changed {
            self.schedule(forum, out);
        }
        self.feed_starved(out);
    }

    /// Forums whose `as_of` the feed has reached begin: with the answers kept from before, then with new ones.
    fn begin_reached(&mut self, out: &mut Vec<Output>) {
        while let Some((as_of, id)) = self.behind.first().copied().filter(|(as_of, _)| *as_of <= self.fed) {
            self.behind.remove(&(as_of, id));
            let Some(forum) = self.forums.get_mut(&id) else { continue };
            if forum.sent.keys().eq(forum.open.keys().take(forum.sent.len())) {
                out.extend(forum.repeat());
            } else {
                self.unconfirmed -= forum.forget_sent();
                self.void(id, true, out);
            }
            self.schedule(id, out);
        }
    }

    fn open_task(&mut self, forum: ForumId, id: TaskId, task: OpenTask) {
        let Some(forum) = self.forums.get_mut(&forum) else { return };
        let size = task.size;
        self.open_bytes += size;
        self.open_count += 1;
        if let Some(known) = forum.open.insert(id, task) {
            self.open_bytes -= known.size;
            self.open_count -= 1;
        }
    }

    /// `fresh` is false for a record fed again after a reconnect: what it said of our answers is known.
    fn close_task(&mut self, id: ForumId, task: TaskId, facts: &Facts, fresh: bool) -> Closed {
        let Some(forum) = self.forums.get_mut(&id) else { return Closed::NotOurs };
        if let Some(open) = forum.open.get(&task) {
            self.open_bytes -= open.size;
            self.open_count -= 1;
        }
        if !fresh {
            forum.open.remove(&task);
            return Closed::NotOurs;
        }
        let mut closed = forum.close(task, facts, self.me);
        match closed {
            Closed::Confirmed => self.unconfirmed -= 1,
            Closed::Lost => self.unconfirmed -= forum.forget_sent(),
            // It may be the very task that is being executed.
            Closed::NotOurs if self.running.contains_key(&id) => closed = Closed::Lost,
            Closed::NotOurs => {}
        }
        closed
    }

    /// Takes an assignment record; true if executions are void now.
    fn assign(&mut self, id: ForumId, at: TaskId, assignment: &Assignment) -> bool {
        let holds = assignment.replicas.contains(&self.me);
        let Some(forum) = self.forums.get_mut(&id) else {
            if holds && self.forums.len() < FORUMS_MAX {
                self.forums.insert(id, Forum::opened(assignment, self.me, at.get()));
            }
            return false;
        };
        if assignment.epoch <= forum.epoch {
            return false;
        }
        forum.epoch = assignment.epoch;
        forum.primary = assignment.primary == self.me;
        forum.retries = 0;
        let forgotten = forum.forget_sent();
        self.unconfirmed -= forgotten;
        if !holds {
            self.remove_forum(id);
        }
        forgotten > 0 || self.running.contains_key(&id)
    }

    fn remove_forum(&mut self, id: ForumId) -> Option<Forum> {
        let forum = self.forums.remove(&id)?;
        self.unconfirmed -= forum.sent.len();
        self.open_count -= forum.open.len();
        self.open_bytes -= forum.open.values().map(|task| task.size).sum::<usize>();
        self.starved.remove(&id);
        self.behind.remove(&(forum.as_of, id));
        Some(forum)
    }

    /// Asks for the forum's next execution, unless one is running or a bound is reached.
    fn schedule(&mut self, id: ForumId, out: &mut Vec<Output>) {
        if self.link != Link::Up || self.running.contains_key(&id) {
            return;
        }
        let Some(forum) = self.forums.get(&id) else { return };
        let Some(task) = forum.next_task(self.fed) else { return };
        if self.unconfirmed + self.running.len() >= UNCONFIRMED_MAX {
            self.starved.insert(id);
            return;
        }
        let epoch = forum.epoch;
        let open = &forum.open[&task];
        let origin_hub = open.origin.map_or(0, |hub| hub.get());
        out.push(Output::Execute { forum: id, task, epoch, work: Arc::clone(&open.work), origin_hub });
        self.running.insert(id, Running { task, void: false });
    }

    fn feed_starved(&mut self, out: &mut Vec<Output>) {
        while self.unconfirmed + self.running.len() < UNCONFIRMED_MAX {
            let Some(forum) = self.starved.pop_first() else { return };
            self.schedule(forum, out);
        }
    }

    fn executed(&mut self, answer: Box<v1::Answer>, out: &mut Vec<Output>) {
        let Some(id) = ForumId::new(answer.forum_id) else { return };
        let Some(running) = self.running.remove(&id) else { return };
        let valid = !running.void && answer.task_id == running.task.get();
        if let Some((_, sent)) = self.kept.get_mut(&id).filter(|_| valid) {
            sent.insert(running.task, *answer);
            return;
        }
        let Some(forum) = self.forums.get_mut(&id).filter(|_| valid) else {
            out.push(Output::Forget(id));
            return self.schedule(id, out);
        };
        forum.retries = 0;
        if !forum.waiting_to_resend && self.fed >= forum.as_of {
            out.push(Output::Send(answer.clone()));
        }
        forum.sent.insert(running.task, *answer);
        self.unconfirmed += 1;
        self.schedule(id, out);
    }

    fn not_executed(&mut self, id: ForumId, out: &mut Vec<Output>) {
        let Some(running) = self.running.remove(&id) else { return };
        if running.void {
            out.push(Output::Forget(id));
            return self.schedule(id, out);
        }
        let Some(forum) = self.forums.get_mut(&id) else { return };
        forum.waiting_to_retry = true;
        forum.retries = forum.retries.saturating_add(1);
        out.push(Output::RetryLater { forum: id, attempt: forum.retries });
    }

    fn retry(&mut self, id: ForumId, out: &mut Vec<Output>) {
        if let Some(forum) = self.forums.get_mut(&id) {
            forum.waiting_to_retry = false;
            self.schedule(id, out);
        }
    }

    fn refused(&mut self, id: ForumId, task: TaskId, refusal: Refusal, out: &mut Vec<Output>) {
        let Some(forum) = self.forums.get_mut(&id) else { return };
        let again = refusal == Refusal::SendAgain && forum.sent.contains_key(&task);
        if again && !forum.waiting_to_resend {
            forum.waiting_to_resend = true;
            forum.resends = forum.resends.saturating_add(1);
            out.push(Output::ResendLater { forum: id, attempt: forum.resends });
        }
    }

    fn resend(&mut self, id: ForumId, out: &mut Vec<Output>) {
        let Some(forum) = self.forums.get_mut(&id) else { return };
        if std::mem::take(&mut forum.waiting_to_resend) {
            out.extend(forum.repeat());
        }
    }

    /// A verdict can be lost like anything else; answers nobody speaks of are repeated.
    fn tick(&mut self, out: &mut Vec<Output>) {
        for forum in self.forums.values_mut() {
            if forum.as_of <= self.fed && forum.tick() {
                out.extend(forum.repeat());
            }
        }
    }

    /// What the answers on their way carry as facts, oldest first; for tests and digests.
    pub fn unconfirmed(&self, forum: ForumId) -> Vec<(TaskId, Bytes)> {
        let answers = self.forums.get(&forum).map(|forum| &forum.sent);
        answers.into_iter().flatten().map(|(task, answer)| (*task, answer.forum_facts.clone())).collect()
    }
}
