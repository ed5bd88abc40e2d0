//! The agreed state, as hubs look at it. Changed by `evolve` only.

use std::{collections::BTreeMap, fmt, sync::Arc};

use loop_proto::{
    ids::{ForumId, ForumKey, HubTime, MessageId, PeerId, RequestId, TaskId},
    v1,
};

use super::{
    bounds::Bounds,
    forum::{Forum, Forums},
    invitations::{Invitation, InvitationStatus, Invitations},
    peers::{Peer, Peers},
    receipts::Receipts,
    record::{Assignment, Record, RecordBody},
    sessions::{Session, SessionId, Sessions},
    tasks::Tasks,
};

/// Everything the hubs agree on. A clone shares records, forums and sessions with the original.
#[derive(Clone, PartialEq)]
pub struct HubState {
    pub(super) bounds: Bounds,
    pub(super) now: HubTime,
    pub(super) next_message: u64,
    pub(super) next_user: u64,
    pub(super) directory_newest: u64,
    pub(super) kept_through: u64,
    pub(super) peers: Peers,
    pub(super) forums: Forums,
    pub(super) invitations: Invitations,
    pub(super) tasks: Tasks,
    pub(super) receipts: Receipts,
    pub(super) sessions: Sessions,
}

/// The ids given out next. One above the last when a number range is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextIds {
    /// Next message.
    pub message: u64,
    /// The last message id that may be given out.
    pub message_max: u64,
    /// Next record of the log.
    pub task: u64,
    /// Next user of the next lease.
    pub user: u64,
    /// Next forum.
    pub forum: u64,
}

/// How much the state holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each is the number of what it names, or its bytes.
pub struct Counts {
    pub forums: usize,
    pub peers: usize,
    pub open_tasks: usize,
    pub open_tasks_bytes: u64,
    pub records: usize,
    pub records_bytes: u64,
    pub receipts: usize,
    pub receipts_bytes: u64,
    pub proposals: usize,
    pub invitations_open: usize,
    pub invitations_ended: usize,
    pub sessions: usize,
    pub sessions_bytes: u64,
}

/// A rule of the state that does not hold. The process must stop: it would answer wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("broken invariant: {0}")]
pub struct BrokenInvariant(pub &'static str);

/// How much it holds; what it holds are other people's secrets.
impl fmt::Debug for HubState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubState at {} with {:?}, {:?}", self.now.0, self.ids(), self.counts())
    }
}

impl HubState {
    /// The state before the first command.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            now: HubTime::default(),
            next_message: u64::from(bounds.message_id_first.max(1)),
            next_user: u64::from(bounds.user_id_first.max(1)),
            directory_newest: 0,
            kept_through: 0,
            peers: Peers::default(),
            forums: Forums::new(bounds.forum_id_first),
            invitations: Invitations::default(),
            tasks: Tasks::default(),
            receipts: Receipts::default(),
            sessions: Sessions::default(),
        }
    }

    /// The maxima in force.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The log's time: that of the newest command.
    pub fn now(&self) -> HubTime {
        self.now
    }

    /// The newest record's id; 0: none was ever made.
    pub fn newest(&self) -> u64 {
        self.tasks.newest()
    }

    /// Records up to and including this one are gone from the log.
    pub fn trimmed_through(&self) -> u64 {
        self.tasks.trimmed_through()
    }

    /// The newest record of the directory stream; 0: none.
    pub fn directory_newest(&self) -> u64 {
        self.directory_newest
    }

    /// The forum of that id.
    pub fn forum(&self, id: ForumId) -> Option<&Forum> {
        self.forums.get(id)
    }

    /// The forum whose name has this key.
    pub fn forum_by_key(&self, key: ForumKey) -> Option<ForumId> {
        self.forums.by_key(key)
    }

    /// All forums, by id.
    pub fn forums(&self) -> impl ExactSizeIterator<Item = &Forum> + DoubleEndedIterator {
        self.forums.iter()
    }

    /// Forums with an id above `after` (0: all), by id.
    pub fn forums_after(&self, after: u32) -> impl ExactSizeIterator<Item = &Forum> {
        self.forums.after(after)
    }

    /// Forums of which `peer` has a copy, by id.
    pub fn forums_of(&self, peer: PeerId) -> impl Iterator<Item = &Forum> + '_ {
        self.forums.of_peer(peer).filter_map(|id| self.forums.get(id))
    }

    /// The peer of that id.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        self.peers.get(id)
    }

    /// All peers, by id.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = &Peer> {
        self.peers.iter()
    }

    /// The peer whose secret has this SHA-256.
    pub fn peer_by_secret_hash(&self, hash: &[u8; 32]) -> Option<&Peer> {
        self.peers.by_secret(hash)
    }

    /// The invitation of that id, if it is open or still remembered.
    pub fn invitation(&self, id: TaskId) -> Option<&Invitation> {
        self.invitations.get(id)
    }

    /// Invitations under way, oldest first.
    pub fn open_invitations(&self) -> impl Iterator<Item = &Invitation> {
        self.invitations.open()
    }

    /// Invitations under way that ask this peer, oldest first.
    pub fn open_invitations_to(&self, target: PeerId) -> impl Iterator<Item = &Invitation> + '_ {
        self.invitations.open_to(target)
    }

    /// All remembered invitations, newest first.
    pub fn invitations_newest_first(&self) -> impl Iterator<Item = &Invitation> {
        self.invitations.newest_first()
    }

    /// The newest remembered invitation by which a replica of this forum took another one's place.
    pub fn last_completed_move(&self, forum: ForumId) -> Option<&Invitation> {
        let moved = |invitation: &&Invitation| {
            invitation.forum == forum
                && invitation.status == InvitationStatus::Completed
                && invitation.replaces.is_some()
        };
        self.invitations.newest_first().filter(moved).max_by_key(|invitation| invitation.cut_over_at)
    }

    /// Every forum has a serving replica with all records up to this one on disk, as the leaders have said.
    pub fn kept_through(&self) -> u64 {
        self.kept_through
    }

    /// The newest committed record of a session; `None` also for what cannot be a session id.
    pub fn session(&self, id: &str) -> Option<&v1::SessionRecord> {
        self.sessions.get(&SessionId::parse(id)?).map(Arc::as_ref)
    }

    /// Retained records above `after`, in order. Those at or below [`Self::trimmed_through`] are gone.
    pub fn records_after(&self, after: u64) -> impl ExactSizeIterator<Item = &Arc<Record>> + Clone {
        self.tasks.records_after(after)
    }

    /// The retained record of that id.
    pub fn record(&self, id: TaskId) -> Option<&Arc<Record>> {
        self.tasks.record(id)
    }

    /// The unanswered task of that id, retained in the log or not.
    pub fn open_task(&self, id: TaskId) -> Option<&Arc<Record>> {
        self.tasks.open_task(id)
    }

    /// All unanswered tasks, oldest first.
    pub fn open_tasks(&self) -> impl ExactSizeIterator<Item = &Arc<Record>> {
        self.tasks.open_tasks()
    }

    /// What became of a client's request, if its task is open or its answer is inside the window.
    pub fn request(&self, id: RequestId) -> Option<(TaskId, Option<MessageId>, Option<&v1::Receipt>)> {
        let seen = self.receipts.request(id)?;
        Some((seen.task, seen.message, seen.answer.as_ref().map(|answer| answer.receipt.as_ref())))
    }

    /// The ids given out next.
    pub fn ids(&self) -> NextIds {
        NextIds {
            message: self.next_message,
            message_max: u64::from(self.bounds.message_id_max),
            task: self.newest().saturating_add(1),
            user: self.next_user,
            forum: self.forums.next_id(),
        }
    }

    /// How much the state holds.
    pub fn counts(&self) -> Counts {
        Counts {
            forums: self.forums.len(),
            peers: self.peers.len(),
            open_tasks: self.tasks.open_tasks().len(),
            open_tasks_bytes: self.tasks.open_bytes(),
            records: self.tasks.log_len(),
            records_bytes: self.tasks.log_bytes(),
            receipts: self.receipts.answered_len(),
            receipts_bytes: self.receipts.answered_bytes(),
            proposals: self.receipts.proposals_len(),
            invitations_open: self.invitations.open_len(),
            invitations_ended: self.invitations.ended_len(),
            sessions: self.sessions.len(),
            sessions_bytes: self.sessions.bytes(),
        }
    }

    /// Checks every rule the state must obey. Walks all of it: for tests, simulations and snapshots just read.
    pub fn check_invariants(&self) -> Result<(), BrokenInvariant> {
        self.peers.check().map_err(BrokenInvariant)?;
        self.forums.check().map_err(BrokenInvariant)?;
        self.tasks.check().map_err(BrokenInvariant)?;
        self.receipts.check(self.tasks.open_tasks().len()).map_err(BrokenInvariant)?;
        self.sessions.check(&self.bounds).map_err(BrokenInvariant)?;
        self.check_forums_and_tasks().map_err(BrokenInvariant)?;
        self.check_log().map_err(BrokenInvariant)?;
        self.check_ids().map_err(BrokenInvariant)?;
        self.check_bounds().map_err(BrokenInvariant)
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

    /// What the retained records say of their forums is what the forums say of themselves.
    fn check_log(&self) -> Result<(), &'static str> {
        let mut newest = BTreeMap::new();
        let mut assignments = BTreeMap::new();
        for record in self.records_after(0) {
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
            (counts.records as u64, bounds.records_max),
            (counts.records_bytes, bounds.records_bytes_max),
            (counts.receipts as u64, bounds.receipts_max),
            (counts.receipts_bytes, bounds.receipts_bytes_max),
            (counts.proposals as u64, bounds.proposals_max),
            (counts.invitations_open as u64, bounds.invitations_open_max),
            (counts.invitations_ended as u64, bounds.invitations_kept),
            (counts.sessions as u64, bounds.sessions_max),
            (counts.sessions_bytes, bounds.sessions_bytes_max),
        ];
        if !within.iter().all(|(held, max)| held <= max) {
            return Err("a bound is exceeded");
        }
        let forum_within = |forum: &Forum| {
            forum.replicas.len() as u64 <= bounds.replicas_max
                && forum.open_tasks.len() as u64 <= bounds.open_tasks_per_forum_max
        };
        if !self.forums().all(forum_within) {
            return Err("a forum's bound is exceeded");
        }
        Ok(())
    }
}
