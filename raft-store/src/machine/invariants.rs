//! Every rule the agreed state must obey, whatever commands made it and wherever it was read from.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::ids::{ForumId, PeerId, TaskId};

use super::{
    bounds::{Bounds, LOG_BUDGETS_FOR_STEPS, RECORDS_PER_COMMAND_MAX},
    forum::Forum,
    invitations::{Invitation, InvitationStatus},
    record::{Assignment, RecordBody},
    replica::{JoinStage, Joining, ReplicaRole},
    sessions::Session,
    state::{BrokenInvariant, HubState},
};

/// More than a record takes besides a peer's facts and a request. Receipts echo at most two short texts.
const SMALL_BYTES: u64 = 4096;

impl HubState {
    /// Checks every rule the state must obey. Walks all of it: for tests, simulations and snapshots just read.
    pub fn check_invariants(&self) -> Result<(), BrokenInvariant> {
        self.peers.check(self.steady()).map_err(BrokenInvariant)?;
        self.forums.check(self.steady()).map_err(BrokenInvariant)?;
        self.tasks.check().map_err(BrokenInvariant)?;
        self.receipts.check(self.tasks.open_tasks().len()).map_err(BrokenInvariant)?;
        self.sessions.check(&self.bounds).map_err(BrokenInvariant)?;
        self.check_messages().map_err(BrokenInvariant)?;
        self.invitations.check().map_err(BrokenInvariant)?;
        self.check_content().map_err(BrokenInvariant)?;
        self.check_forums_and_tasks().map_err(BrokenInvariant)?;
        self.check_replicas().map_err(BrokenInvariant)?;
        self.check_invitations().map_err(BrokenInvariant)?;
        self.check_log().map_err(BrokenInvariant)?;
        self.check_ids().map_err(BrokenInvariant)?;
        self.check_bounds().map_err(BrokenInvariant)
    }

    fn check_content(&self) -> Result<(), &'static str> {
        self.manifest.check()?;
        let known = |peer: &PeerId| self.peer(*peer).is_some();
        if !self.manifest.after("").flat_map(|(_, file)| &file.holders).all(known) {
            return Err("a published file is on a peer that is unknown");
        }
        Ok(())
    }

    fn check_messages(&self) -> Result<(), &'static str> {
        let awaited = self.open_tasks().filter_map(|record| record.task()?.open_message);
        self.open_messages.check(self.steady(), awaited)?;
        if !self.open_messages.iter().all(|(_, message)| self.forum(message.forum).is_some()) {
            return Err("an unfinished message is of no forum");
        }
        let mut counted: BTreeMap<ForumId, u64> = BTreeMap::new();
        self.open_messages.iter().for_each(|(_, message)| *counted.entry(message.forum).or_default() += 1);
        let of_forum = |forum: &Forum| counted.get(&forum.id).copied().unwrap_or(0);
        if !self.forums().all(|forum| forum.occupancy.unfinished == of_forum(forum)) {
            return Err("a forum's unfinished messages are miscounted");
        }
        Ok(())
    }

    fn check_forums_and_tasks(&self) -> Result<(), &'static str> {
        let mut open = 0;
        for forum in self.forums() {
            open += forum.open_tasks.len();
            if !forum.replicas.iter().all(|replica| self.peer(replica.peer).is_some()) {
                return Err("a replica's peer is unknown");
            }
            let of_forum = |task: &TaskId| self.open_task(*task).is_some_and(|r| r.forum == Some(forum.id));
            if !forum.open_tasks.iter().all(of_forum) {
                return Err("a forum lists a task that is not open");
            }
            if forum.newest_record > self.newest() || forum.tasks_appended > self.newest() {
                return Err("a forum's newest record lies above the log");
            }
        }
        if open != self.open_tasks().len() {
            return Err("an open task is in no forum's list");
        }
        for record in self.open_tasks() {
            let seen = record.task().and_then(|task| self.receipts.request(task.request_id));
            if seen.is_none_or(|seen| seen.task != record.id || seen.answer.is_some()) {
                return Err("an open task's request is not remembered as open");
            }
        }
        let directory = self.records_after(0).filter(|record| record.forum.is_none()).last();
        if directory.is_some_and(|record| record.id.get() != self.directory_newest)
            || self.directory_newest > self.newest()
        {
            return Err("the directory's newest record is wrong");
        }
        Ok(())
    }

    /// A replica that joins and the open invitation of its forum and peer are two sides of one thing.
    fn check_replicas(&self) -> Result<(), &'static str> {
        let mut joining = 0;
        for forum in self.forums() {
            joining += forum.joining().count();
            if !forum.joining().all(|replica| self.is_invited(forum, &replica)) {
                return Err("a joining replica has no open invitation");
            }
            let mut replaced = BTreeSet::new();
            for peer in forum.joining().filter_map(|joining| self.invitation(joining.invitation)?.replaces) {
                if !forum.is_served_by(peer) || !replaced.insert(peer) {
                    return Err("an invitation replaces what does not serve, or is replaced twice");
                }
            }
            let known = |role: &ReplicaRole| match role {
                ReplicaRole::Serving { .. } => true,
                ReplicaRole::Joining { source, .. } => self.peer(*source).is_some(),
                ReplicaRole::Draining { successor, .. } => self.peer(*successor).is_some(),
            };
            if !forum.replicas.iter().all(|replica| known(&replica.role)) {
                return Err("a replica's source or successor is unknown");
            }
        }
        if joining != self.invitations.open_len() {
            return Err("an open invitation has no joining replica");
        }
        Ok(())
    }

    fn is_invited(&self, forum: &Forum, joining: &Joining) -> bool {
        let status = match joining.stage {
            JoinStage::Invited => InvitationStatus::Waiting,
            JoinStage::Seeding | JoinStage::CatchingUp => InvitationStatus::Accepted,
        };
        self.invitation(joining.invitation).is_some_and(|invitation| {
            invitation.forum == forum.id
                && invitation.target == joining.peer
                && invitation.source == joining.source
                && invitation.status == status
        })
    }

    fn check_invitations(&self) -> Result<(), &'static str> {
        let known = |peer: Option<PeerId>| peer.is_none_or(|peer| self.peer(peer).is_some());
        for invitation in self.invitations_newest_first() {
            let Invitation { id, forum, source, target, replaces, status, changed_at, cut_over_at, .. } =
                *invitation;
            if !known(Some(source)) || !known(Some(target)) || !known(replaces) {
                return Err("an invitation's peer is unknown");
            }
            let is_over = !status.is_open() && self.was_closed(forum);
            if !is_over && self.forum(forum).is_none_or(|forum| id.get() > forum.newest_record) {
                return Err("an invitation lies above its forum's newest record");
            }
            let served = |at: TaskId| at > id && at.get() <= self.newest();
            if changed_at > self.now() || !cut_over_at.is_none_or(served) {
                return Err("an invitation lies in the future");
            }
        }
        Ok(())
    }

    /// What the retained records say of their forums is what the forums say of themselves.
    fn check_log(&self) -> Result<(), &'static str> {
        let mut newest = BTreeMap::new();
        let mut assignments = BTreeMap::new();
        for record in self.records_after(0) {
            if let RecordBody::Closed { forum: closed, .. } = &record.body {
                if self.forum(*closed).is_some() {
                    return Err("a forum is there that the log has closed");
                }
                newest.remove(closed);
                assignments.remove(closed);
            }
            let Some(forum) = record.forum else { continue };
            newest.insert(forum, record.id.get());
            if let RecordBody::Assignment(assignment) = &record.body {
                assignments.insert(forum, assignment);
            }
        }
        let agrees = |(id, newest): (&ForumId, &u64)| {
            self.forum(*id).is_some_and(|forum| forum.newest_record == *newest)
        };
        if !newest.iter().all(agrees) {
            return Err("a forum's newest record is wrong");
        }
        let agrees = |(id, assignment): (&ForumId, &&Assignment)| {
            self.forum(*id).is_some_and(|forum| forum.assignment() == **assignment)
        };
        if !assignments.iter().all(agrees) {
            return Err("a forum is not held as its newest assignment says");
        }
        Ok(())
    }

    fn check_ids(&self) -> Result<(), &'static str> {
        let mut last = None;
        for record in self.records_after(0) {
            let Some(id) = record.task().and_then(|task| task.message_id) else { continue };
            if last.is_some_and(|last| last >= id) {
                return Err("message ids do not increase along the log");
            }
            last = Some(id);
        }
        if last.is_some_and(|last| u64::from(last.get()) >= self.next_message) {
            return Err("the next message id was given out before");
        }
        if self.records_after(0).last().is_some_and(|record| record.at > self.now) {
            return Err("a record lies in the future");
        }
        let past =
            |session: &Session| session.record.version <= self.newest() && session.stored_at <= self.now;
        if !self.sessions.iter().all(past) {
            return Err("a session lies in the future");
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), &'static str> {
        let (counts, bounds) = (self.counts(), &self.bounds);
        let within = [
            (counts.forums as u64, bounds.forums_max),
            (counts.peers as u64, bounds.peers_max),
            (counts.open_tasks as u64, bounds.open_tasks_max),
            (counts.open_tasks_bytes, bounds.open_tasks_bytes_max),
            (counts.receipts as u64, bounds.receipts_max),
            (counts.receipts_bytes, bounds.receipts_bytes_max),
            (counts.proposals as u64, bounds.proposals_max),
            (counts.invitations_open as u64, bounds.invitations_open_max),
            (counts.invitations_ended as u64, bounds.invitations_kept),
            (counts.sessions as u64, bounds.sessions_max),
            (counts.sessions_bytes, bounds.sessions_bytes_max),
            (counts.open_messages as u64, bounds.open_messages_max),
        ];
        let log = (counts.records as u64, counts.records_bytes);
        if log.0 > most_records(bounds) || log.1 > most_bytes(bounds) || self.kept_through() > self.newest() {
            return Err("the log is larger than it may become");
        }
        if !within.iter().all(|(held, max)| held <= max) {
            return Err("a bound is exceeded");
        }
        let forum_within = |forum: &Forum| {
            forum.replicas.len() as u64 <= bounds.replicas_of_any_role_max()
                && forum
                    .replicas_wanted
                    .is_none_or(|wanted| (1..=bounds.replicas_max).contains(&wanted.into()))
                && forum.open_tasks.len() as u64 <= bounds.open_tasks_per_forum_max
        };
        if !self.forums().all(forum_within) {
            return Err("a forum's bound is exceeded");
        }
        Ok(())
    }
}

/// A command that fits below the limit may take the log above it, once.
fn most_records(bounds: &Bounds) -> u64 {
    bounds.records_max.saturating_mul(LOG_BUDGETS_FOR_STEPS).saturating_add(RECORDS_PER_COMMAND_MAX)
}

fn most_bytes(bounds: &Bounds) -> u64 {
    let work = bounds.facts_bytes_max.saturating_add(bounds.request_bytes_max);
    let most = work.saturating_add(RECORDS_PER_COMMAND_MAX * SMALL_BYTES);
    bounds.records_bytes_max.saturating_mul(LOG_BUDGETS_FOR_STEPS).saturating_add(most)
}
