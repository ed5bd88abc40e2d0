//! One forum's copy on this peer. Owns which of its tasks are open and which of our answers are on their way.
//!
//! Invariant, once the feed has reached `as_of`: the tasks in `sent` are a prefix of those in `open`, because tasks
//! are executed in log order and leave both maps together. Never knows other forums, nor what a task does.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Unbounded},
};

use loop_proto::{
    ids::{ForumEpoch, PeerId, TaskId},
    v1,
};

use super::{
    entry::{Assignment, Facts, ForumSnapshot, OpenTask, Role},
    messages::Output,
};

/// Answers of one forum that may be on their way at once. Keeps a hub's queue, and what must be repeated after a
/// lost one, small; far above what one round trip to a quorum needs.
pub const UNCONFIRMED_PER_FORUM_MAX: usize = 256;

/// Ticks without any confirmation after which answers are sent again unasked.
const QUIET_TICKS_MAX: u32 = 4;

/// Answers to tasks older than this replica's knowledge of the forum that are remembered until it is described.
const EARLY_MAX: usize = 65_536;

#[derive(Debug)]
pub(super) struct Forum {
    pub epoch: ForumEpoch,
    pub role: Role,
    /// Nothing is executed before the feed has reached this position.
    pub as_of: u64,
    /// The position `epoch` and `role` are of.
    pub assigned_at: u64,
    pub open: BTreeMap<TaskId, OpenTask>,
    pub sent: BTreeMap<TaskId, v1::Answer>,
    /// The backend could not execute; waits for the shell to say when to try again.
    pub waiting_to_retry: bool,
    pub retries: u32,
    /// A repetition of all answers is due; until then new ones are kept back, as they could only be refused.
    pub waiting_to_resend: bool,
    pub resends: u32,
    quiet_ticks: u32,
    /// Learnt of from a record, not from a description: older tasks may be open that only a description can bring.
    /// Those that were answered since then are kept here.
    early: Option<BTreeSet<TaskId>>,
    /// Tasks the description brought: open as of `assigned_at`, whatever a feed that trails it says before.
    described: BTreeSet<TaskId>,
}

/// What a closing record means for the answers we have on their way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It is our answer.
    Confirmed,
    /// We have nothing on its way that it could disturb.
    NotOurs,
    /// Something else was committed than what we built on.
    Lost,
}

impl Forum {
    /// A forum that is first heard of by an assignment at log position `at`.
    pub fn opened(assignment: &Assignment, role: Role, at: u64) -> Self {
        Self {
            epoch: assignment.epoch,
            role,
            as_of: at,
            assigned_at: at,
            open: BTreeMap::new(),
            sent: BTreeMap::new(),
            waiting_to_retry: false,
            retries: 0,
            waiting_to_resend: false,
            resends: 0,
            quiet_ticks: 0,
            early: Some(BTreeSet::new()),
            described: BTreeSet::new(),
        }
    }

    pub fn described(snapshot: ForumSnapshot, role: Role) -> Self {
        let mut forum = Self::opened(&snapshot.assignment, role, snapshot.as_of);
        forum.open = snapshot.open.into_iter().collect();
        forum.described = forum.open.keys().copied().collect();
        forum.early = None;
        forum
    }

    /// The feed has come to the record that invites this peer, and the forum was described as of then or later: what
    /// the feed brought before it may lack answers from a time at which this peer held nothing. Returns what goes.
    pub fn forget_before_invitation(&mut self) -> Vec<OpenTask> {
        let Self { open, described, .. } = self;
        open.extract_if(.., |task, _| !described.contains(task)).map(|(_, task)| task).collect()
    }

    /// Takes the tasks of a later description that are not known yet and still open, and says which those are.
    pub fn complete(&mut self, open: Vec<(TaskId, OpenTask)>) -> Vec<(TaskId, OpenTask)> {
        let early = self.early.take().unwrap_or_default();
        let known = |task: &TaskId| early.contains(task) || self.open.contains_key(task);
        open.into_iter().filter(|(task, _)| !known(task)).collect()
    }

    /// The next task to execute, if this peer may and the forum's own bounds allow it.
    pub fn next_task(&self, fed: u64) -> Option<TaskId> {
        let may = self.role == Role::Primary && fed >= self.as_of && !self.waiting_to_retry;
        if !may || self.sent.len() >= UNCONFIRMED_PER_FORUM_MAX {
            return None;
        }
        let after = self.sent.last_key_value().map_or(Unbounded, |(task, _)| Excluded(*task));
        self.open.range((after, Unbounded)).next().map(|(task, _)| *task)
    }

    /// Tasks this peer should execute and has not.
    pub fn unexecuted(&self) -> usize {
        // After a reconnect an answer may be on its way for a task that is not open any more, until its record comes.
        if self.role == Role::Primary { self.open.len().saturating_sub(self.sent.len()) } else { 0 }
    }

    /// Takes a closing record. With [`Closed::Lost`] the caller must drop what was executed.
    pub fn close(&mut self, task: TaskId, facts: &Facts, me: PeerId) -> Closed {
        self.remove_open(task);
        let Some(answer) = self.sent.get(&task) else {
            // Executions build on all that came before them, so one that skipped this task is void too.
            return if self.sent.is_empty() { Closed::NotOurs } else { Closed::Lost };
        };
        let ours = facts.peer == Some(me)
            && facts.epoch == self.epoch
            && facts.rows == answer.facts
            && self.sent.first_key_value().is_some_and(|(oldest, _)| *oldest == task);
        if !ours {
            return Closed::Lost;
        }
        self.sent.remove(&task);
        self.quiet_ticks = 0;
        self.resends = 0;
        Closed::Confirmed
    }

    /// The task is answered.
    pub fn remove_open(&mut self, task: TaskId) {
        if self.open.remove(&task).is_none()
            && let Some(early) = self.early.as_mut().filter(|early| early.len() < EARLY_MAX)
        {
            early.insert(task);
        }
    }

    /// All answers on their way once more, oldest first.
    pub fn repeat(&self) -> impl Iterator<Item = Output> {
        self.sent.values().map(|answer| Output::Send(Box::new(answer.clone())))
    }

    /// Forgets what is on its way. Returns how many answers that were.
    pub fn forget_sent(&mut self) -> usize {
        self.waiting_to_resend = false;
        self.waiting_to_retry = false;
        self.resends = 0;
        self.quiet_ticks = 0;
        std::mem::take(&mut self.sent).len()
    }

    /// Counts time that passed without a confirmation; true when the answers should be repeated.
    pub fn tick(&mut self) -> bool {
        if self.sent.is_empty() || self.waiting_to_resend {
            self.quiet_ticks = 0;
            return false;
        }
        self.quiet_ticks += 1;
        let due = self.quiet_ticks >= QUIET_TICKS_MAX;
        if due {
            self.quiet_ticks = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_on_its_way_for_a_task_that_is_closed_counts_as_nothing_to_do() {
        let me = PeerId::new(1).unwrap();
        let (epoch, replicas) = (ForumEpoch(1), vec![me]);
        let assignment = Assignment {
            epoch,
            primary: me,
            replicas,
            joining: vec![],
            draining: vec![],
            unconfirmed: vec![],
        };
        let mut forum = Forum::opened(&assignment, Role::Primary, 1);
        forum.sent.insert(TaskId::new(2).unwrap(), v1::Answer::default());
        assert_eq!((forum.open.len(), forum.unexecuted()), (0, 0));
    }
}
