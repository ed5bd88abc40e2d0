//! What a hub describes and feeds, taken into the core in log order.
//!
//! Whatever changes at a position — a copy begins, ends or goes, a digest is asked for — comes out between the facts
//! before it and those after it. Owns that order; never what an execution is.

use std::collections::BTreeSet;

use loop_proto::ids::{ForumId, TaskId};

use super::{
    Link, Replica,
    copies::{Change, Copied},
    entry::{Assignment, Entry, EntryBody, Facts, ForumSnapshot, OpenTask, Role},
    forum::{Closed, Forum},
    limits::{FORUMS_MAX, OPEN_TASK_BYTES_MAX, OPEN_TASKS_MAX},
    messages::{Output, Violation},
};
use crate::backend::AppliedRecord;

/// One portion of the feed on its way through the core.
#[derive(Default)]
struct Portion {
    /// Facts met since the last cut.
    records: Vec<AppliedRecord>,
    /// Forums in which something may be executed now.
    changed: BTreeSet<ForumId>,
    /// Forums whose executions are void.
    lost: BTreeSet<ForumId>,
    /// Forums whose hubs may be waiting for something.
    urged: BTreeSet<ForumId>,
}

impl Replica {
    pub(super) fn describe(
        &mut self,
        snapshot: ForumSnapshot,
        out: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        if self.link != Link::Up {
            return Err(Violation::NotConnected);
        }
        let size = snapshot.open.iter().map(|(_, task)| task.size).sum();
        self.check_room(snapshot.open.len(), size)?;
        let id = snapshot.forum;
        if self.described && self.forums.contains_key(&id) {
            self.complete(snapshot, out);
            return Ok(());
        }
        if self.forums.len() >= FORUMS_MAX {
            return Err(Violation::TooManyForums);
        }
        // Made anew under that epoch they would differ from those that may yet be committed.
        if let Some((answered, _)) =
            self.kept.get(&id).filter(|(answered, _)| *answered > snapshot.assignment.epoch)
        {
            return Err(Violation::Lags { described: snapshot.assignment.epoch, answered: *answered });
        }
        if let Some(old) = self.remove_forum(id) {
            self.void(id, !old.sent.is_empty(), out);
        }
        let kept = self.kept.remove(&id);
        let Some(role) = snapshot.assignment.role_of(self.me) else {
            self.void(id, kept.is_some(), out);
            return Ok(());
        };
        let mut forum = Forum::described(snapshot, role);
        // A hub may lag behind what an earlier connection brought: a task it calls open may be answered already.
        forum.as_of = forum.as_of.max(self.applied);
        match kept {
            Some((epoch, sent)) if role == Role::Primary && epoch == forum.epoch => forum.sent = sent,
            kept => self.void(id, kept.is_some(), out),
        }
        if !matches!(role, Role::Joining(_)) {
            self.copies.note_empty(id);
        }
        self.unconfirmed += forum.sent.len();
        self.open_count += forum.open.len();
        self.open_bytes += size;
        // Even one that is not behind: whether what we hold is whole is known once the description is complete.
        self.behind.insert((forum.as_of, id));
        self.forums.insert(id, forum);
        self.begin_reached(out);
        self.urge(id, out);
        Ok(())
    }

    /// A description in the middle of the feed brings what a newly invited replica cannot know: older tasks that are
    /// still open. All else it says comes with the feed, at its place.
    fn complete(&mut self, snapshot: ForumSnapshot, out: &mut Vec<Output>) {
        let id = snapshot.forum;
        let Some(forum) = self.forums.get_mut(&id) else { return };
        let late = forum.complete(snapshot.open);
        let newest_sent = forum.sent.last_key_value().map(|(task, _)| *task);
        if late.iter().any(|(task, _)| newest_sent.is_some_and(|newest| *task < newest)) {
            self.unconfirmed -= forum.forget_sent();
            self.void(id, true, out);
        }
        for (task, open) in late {
            self.open_task(id, task, open);
        }
        self.schedule(id, out);
    }

    fn check_room(&self, tasks: usize, bytes: usize) -> Result<(), Violation> {
        let fits = self.open_count + tasks <= OPEN_TASKS_MAX
            && self.open_bytes.saturating_add(bytes) <= OPEN_TASK_BYTES_MAX;
        if fits { Ok(()) } else { Err(Violation::TooManyTasks) }
    }

    pub(super) fn feed(
        &mut self,
        entries: Vec<Entry>,
        through: u64,
        out: &mut Vec<Output>,
    ) -> Result<(), Violation> {
        self.check_feed(&entries, through)?;
        self.end_description(out);
        let mut portion = Portion::default();
        for Entry { id, forum, body } in entries {
            match (body, forum) {
                (EntryBody::Facts(facts), _) => self.take_facts(id, forum, facts, &mut portion),
                (EntryBody::Task(task), Some(forum)) => {
                    self.open_task(forum, id, task);
                    portion.changed.insert(forum);
                }
                (EntryBody::Assignment(assignment), Some(forum)) => {
                    self.take_assignment(id, forum, &assignment, &mut portion, out);
                }
                (EntryBody::Audit, Some(forum)) => self.take_audit(id, forum, &mut portion, out),
                (EntryBody::Closed { forum, forced }, _) => {
                    self.take_closed(id, (forum, forced), &mut portion, out);
                }
                (EntryBody::Task(_) | EntryBody::Assignment(_) | EntryBody::Audit, None) => {}
            }
        }
        self.fed = through;
        if through > self.applied {
            self.applied = through;
            out.push(Output::Apply { records: portion.records, through });
        }
        for forum in portion.lost {
            self.void(forum, true, out);
        }
        self.begin_reached(out);
        for forum in portion.changed {
            self.schedule(forum, out);
        }
        self.feed_starved(out);
        for forum in portion.urged {
            self.urge(forum, out);
        }
        Ok(())
    }

    /// The first records end the description of this connection: what was not described is not held, unless the hub
    /// knows less than this peer does.
    fn end_description(&mut self, out: &mut Vec<Output>) {
        self.forget_kept(out);
        if self.link != Link::Up || self.described {
            return;
        }
        self.described = true;
        if self.newest >= self.applied {
            self.copies_complete = true;
            let gone = self.copies.drop_unless(|forum| self.forums.contains_key(&forum));
            out.extend(gone.into_iter().map(Output::Drop));
        }
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

    /// Hands over what came before `at`, so that what is said next takes effect exactly there.
    fn cut(&mut self, at: TaskId, portion: &mut Portion, out: &mut Vec<Output>) {
        if !portion.records.is_empty() {
            let (records, through) = (std::mem::take(&mut portion.records), at.get() - 1);
            self.applied = through;
            out.push(Output::Apply { records, through });
        }
    }

    fn take_facts(&mut self, id: TaskId, forum: Option<ForumId>, facts: Facts, portion: &mut Portion) {
        let closes = facts.closes.filter(|_| forum.is_some());
        let fresh = id.get() > self.applied;
        if let (Some(forum), Some(task)) = (forum.filter(|_| self.link == Link::Up), closes) {
            if self.close_task(forum, task, &facts, fresh) == Closed::Lost {
                portion.lost.insert(forum);
            }
            portion.changed.insert(forum);
        }
        if !fresh {
            return;
        }
        let mut record = AppliedRecord { id, forum, closes, facts: facts.rows, staged: false };
        if let Some(forum) = forum {
            match self.copies.get(forum) {
                // What the hubs took away is followed no further.
                Some(Copied::Kept) => return,
                Some(copied) => record.staged = copied.is_unseeded(),
                // Nobody said which forums there are: the hub feeds those it gave to this peer.
                None if !self.copies_complete => self.copies.note_empty(forum),
                None => return,
            }
        }
        portion.records.push(record);
    }

    fn take_assignment(
        &mut self,
        id: TaskId,
        forum: ForumId,
        assignment: &Assignment,
        portion: &mut Portion,
        out: &mut Vec<Output>,
    ) {
        if id.get() > self.applied {
            let others_whole = assignment.is_whole_beside(self.me);
            let change = self.copies.follow(forum, assignment.role_of(self.me), id, others_whole);
            if change.is_some() {
                self.cut(id, portion, out);
            }
            match change {
                Some(Change::Begin(invitation)) => out.push(Output::BeginJoining { forum, invitation }),
                Some(Change::End) => out.push(Output::EndJoining(forum)),
                Some(Change::Drop) => out.push(Output::Drop(forum)),
                Some(Change::Keep) => out.push(Output::Keep(forum)),
                None => {}
            }
        }
        if self.link == Link::Up {
            if self.assign(forum, id, assignment) {
                portion.lost.insert(forum);
            }
            portion.changed.insert(forum);
            portion.urged.insert(forum);
        }
    }

    /// Who holds the forum in whichever role, or kept its rows when it was taken away, lets them go. No other forum ever gets its
    /// id, so that is right also when the record comes again, after a hub that lags has described the forum once more.
    fn take_closed(
        &mut self,
        id: TaskId,
        (forum, forced): (ForumId, bool),
        portion: &mut Portion,
        out: &mut Vec<Output>,
    ) {
        if self.copies.close(forum) {
            if id.get() > self.applied {
                self.cut(id, portion, out);
            }
            out.push(if forced { Output::Drop(forum) } else { Output::DropEmpty(forum) });
        }
        portion.urged.remove(&forum);
        let had_sent = self.remove_forum(forum).is_some_and(|known| !known.sent.is_empty());
        if had_sent || self.running.contains_key(&forum) {
            portion.lost.insert(forum);
        }
    }

    /// Only met for the first time: rows that have moved on have another digest. A replaced copy is as good as one that serves:
    /// it may be all there is to compare its successor's with.
    fn take_audit(&mut self, id: TaskId, forum: ForumId, portion: &mut Portion, out: &mut Vec<Output>) {
        let has_all = |role: Role| role.serves() || role == Role::Draining;
        let has_all = self.forums.get(&forum).is_some_and(|forum| has_all(forum.role));
        if id.get() > self.applied && has_all && self.copies.is_whole(forum) {
            self.cut(id, portion, out);
            out.push(Output::Audit { forum, record: id });
        }
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
        let Some(forum) = self.forums.get_mut(&forum).filter(|_| self.link == Link::Up) else { return };
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
            forum.remove_open(task);
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
        let role = assignment.role_of(self.me);
        let Some(forum) = self.forums.get_mut(&id) else {
            if let Some(role) = role.filter(|_| self.forums.len() < FORUMS_MAX) {
                self.forums.insert(id, Forum::opened(assignment, role, at.get()));
            }
            return false;
        };
        let invited = match role {
            Some(Role::Joining(joining)) if joining.invitation == at => Some(joining),
            _ => None,
        };
        if at.get() <= forum.assigned_at || assignment.epoch < forum.epoch {
            if invited.is_some() {
                let gone = forum.forget_before_invitation();
                self.open_count -= gone.len();
                self.open_bytes -= gone.iter().map(|task| task.size).sum::<usize>();
            }
            return false;
        }
        if let Some(joining) = invited {
            // It may not have been held for a while before; a description brings what is open.
            let old = self.remove_forum(id);
            self.forums.insert(id, Forum::opened(assignment, Role::Joining(joining), at.get()));
            return old.is_some_and(|old| !old.sent.is_empty()) || self.running.contains_key(&id);
        }
        forum.assigned_at = at.get();
        let was_primary = std::mem::replace(&mut forum.role, role.unwrap_or(Role::Draining)) == Role::Primary;
        // The others may come and go: as long as epoch and primary stay, what was answered stands.
        let stands = assignment.epoch == forum.epoch && was_primary == (role == Some(Role::Primary));
        if role.is_some() && stands {
            return false;
        }
        forum.epoch = assignment.epoch;
        forum.retries = 0;
        let forgotten = forum.forget_sent();
        self.unconfirmed -= forgotten;
        if role.is_none() {
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
}
