//! What this peer must do next: the pure core. Owns, per forum, epoch, open tasks and unconfirmed answers, and
//! over all of them how far the feed has been applied.
//!
//! Never waits, reads a clock, draws lots or touches a socket or a disk: [`Replica::step`] takes what happened and
//! returns what to do, in order. The shell must do that in order, and report an [`Output::Execute`] before it does
//! anything else about the same forum.

mod copies;
mod entry;
mod feed;
mod forum;
mod limits;
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

pub use copies::Copied;
pub use entry::{
    Assignment, Entry, EntryBody, Facts, ForumSnapshot, Joining, OpenTask, Refusal, Role, Stage,
};
pub use forum::UNCONFIRMED_PER_FORUM_MAX;
pub use limits::{FORUMS_MAX, OPEN_TASK_BYTES_MAX, OPEN_TASKS_MAX, UNCONFIRMED_MAX};
pub use messages::{Input, Output, Violation};

use copies::Copies;
use forum::Forum;

/// Ticks after which hubs are told again what they wait for.
const URGE_TICKS: u32 = 10;

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
    /// The newest record the hub knew when this connection began.
    newest: u64,
    /// The description of this connection is over.
    described: bool,
    /// All forums of which there may be rows are in `copies`.
    copies_complete: bool,
    copies: Copies,
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
    ticks: u32,
}

impl Replica {
    /// A peer whose backend has applied everything through `applied`, and has these copies then.
    pub fn new(me: PeerId, applied: u64, copies: impl IntoIterator<Item = (ForumId, Copied)>) -> Self {
        Self {
            me,
            link: Link::Down,
            applied,
            fed: 0,
            newest: 0,
            described: false,
            copies_complete: false,
            copies: Copies::new(copies),
            forums: BTreeMap::new(),
            running: BTreeMap::new(),
            unconfirmed: 0,
            open_bytes: 0,
            open_count: 0,
            starved: BTreeSet::new(),
            behind: BTreeSet::new(),
            kept: BTreeMap::new(),
            ticks: 0,
        }
    }

    /// Everything up to this log position is visible to reads.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The epoch under which this peer serves a forum; `None` if it does not, or not yet, or no more.
    pub fn epoch_of(&self, forum: ForumId) -> Option<ForumEpoch> {
        let serves = |known: &&Forum| known.role.serves() && self.copies.is_whole(forum);
        self.forums.get(&forum).filter(serves).map(|forum| forum.epoch)
    }

    /// How many forums this peer holds, or is getting, or has not got rid of.
    pub fn forum_count(&self) -> usize {
        self.copies.len()
    }

    /// How many forums there are here beside this one.
    pub fn forums_beside(&self, forum: ForumId) -> usize {
        self.copies.len() - usize::from(self.copies.get(forum).is_some())
    }

    /// How many forums wait for their checkpoint beside this one.
    pub fn unseeded_beside(&self, forum: ForumId) -> usize {
        self.copies.unseeded_beside(forum)
    }

    /// What is kept in memory, and the most that may be.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 5] {
        let kept = self.kept.values().map(|(_, answers)| answers.len()).sum();
        [
            ("open_tasks", (self.open_count, OPEN_TASKS_MAX)),
            ("open_task_bytes", (self.open_bytes, OPEN_TASK_BYTES_MAX)),
            ("answers_unconfirmed", (self.unconfirmed + self.running.len(), UNCONFIRMED_MAX)),
            ("answers_kept", (kept, UNCONFIRMED_MAX)),
            ("forums", (self.copies.len(), FORUMS_MAX)),
        ]
    }

    /// Tasks this peer should execute and has not.
    pub fn unexecuted(&self) -> usize {
        self.forums.values().map(Forum::unexecuted).sum()
    }

    /// Takes what happened, returns what to do, in order.
    pub fn step(&mut self, input: Input) -> Result<Vec<Output>, Violation> {
        let mut out = Vec::new();
        match input {
            Input::Connected { cursor, newest } => self.begin(Link::Up, cursor, newest, &mut out),
            Input::Polling { cursor } => self.begin(Link::Polling, cursor, 0, &mut out),
            Input::Disconnected => self.begin(Link::Down, 0, 0, &mut out),
            Input::Forum(snapshot) => self.describe(snapshot, &mut out)?,
            Input::Records { entries, through } => self.feed(entries, through, &mut out)?,
            Input::Executed(answer) => self.executed(answer, &mut out),
            Input::NotExecuted { forum } => self.not_executed(forum, &mut out),
            Input::RetryDue(forum) => self.retry(forum, &mut out),
            Input::Refused { forum, task, refusal } => self.refused(forum, task, refusal, &mut out),
            Input::ResendDue(forum) => self.resend(forum, &mut out),
            Input::Installed { forum, invitation, cursor } => {
                self.installed(forum, invitation, cursor, &mut out);
            }
            Input::Tick => self.tick(&mut out),
        }
        Ok(out)
    }

    /// Whatever was known of forums came from the connection before; only the next one can say what holds now.
    fn begin(&mut self, link: Link, cursor: u64, newest: u64, out: &mut Vec<Output>) {
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
        self.newest = newest;
        self.described = false;
        self.copies_complete = false;
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

    /// Asks for the forum's next execution, unless one is running or a bound is reached.
    fn schedule(&mut self, id: ForumId, out: &mut Vec<Output>) {
        if self.link != Link::Up || self.running.contains_key(&id) {
            return;
        }
        let Some(forum) = self.forums.get(&id).filter(|_| self.copies.is_whole(id)) else { return };
        let Some(task) = forum.next_task(self.fed) else { return };
        if self.unconfirmed + self.running.len() >= UNCONFIRMED_MAX {
            self.starved.insert(id);
            return;
        }
        let epoch = forum.epoch;
        let work = Arc::clone(&forum.open[&task].work);
        out.push(Output::Execute { forum: id, task, epoch, work });
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

    fn installed(&mut self, id: ForumId, invitation: TaskId, cursor: u64, out: &mut Vec<Output>) {
        if self.copies.installed(id, invitation, cursor) {
            self.urge(id, out);
        }
    }

    /// Says once more what the hubs wait for from a joining replica.
    fn urge(&self, forum: ForumId, out: &mut Vec<Output>) {
        let Some(known) = self.forums.get(&forum) else { return };
        let Role::Joining(Joining { invitation, stage }) = known.role else {
            let lacks = |copied: Copied| copied.is_unseeded() || copied == Copied::Kept;
            let lacks = self.copies.get(forum).is_some_and(lacks);
            if lacks && known.role.serves() && self.fed >= known.as_of.max(self.applied) {
                out.push(Output::Lost(forum));
            }
            return;
        };
        let begun = match self.copies.get(forum) {
            Some(Copied::Joining { invitation: begun, installed }) if begun == invitation => Some(installed),
            _ => None,
        };
        match (stage, begun) {
            (Stage::Invited, Some(_)) => out.push(Output::Invited { forum, invitation }),
            (_, Some(None)) => out.push(Output::Seed { forum, invitation }),
            (Stage::Seeding, Some(Some(cursor))) => out.push(Output::Seeded { forum, invitation, cursor }),
            (Stage::CatchingUp, Some(Some(_))) => {}
            // The record that invites has been passed without this copy: what followed it is lost.
            (_, None) if invitation.get() <= self.applied => out.push(Output::Refuse { forum, invitation }),
            (_, None) => {}
        }
    }

    /// A verdict can be lost like anything else; answers nobody speaks of are repeated.
    fn tick(&mut self, out: &mut Vec<Output>) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(URGE_TICKS) {
            self.forums.keys().for_each(|id| self.urge(*id, out));
        }
        for forum in self.forums.values_mut() {
            if forum.as_of <= self.fed && forum.tick() {
                out.extend(forum.repeat());
            }
        }
    }

    /// What the answers on their way carry as facts, oldest first; for tests and digests.
    pub fn unconfirmed(&self, forum: ForumId) -> Vec<(TaskId, Bytes)> {
        let answers = self.forums.get(&forum).map(|forum| &forum.sent);
        answers.into_iter().flatten().map(|(task, answer)| (*task, answer.facts.clone())).collect()
    }
}
