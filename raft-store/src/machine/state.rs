//! The agreed state, as hubs look at it. Changed by `evolve` only.

use std::{fmt, sync::Arc};

use loop_proto::{
    ids::{ForumId, ForumKey, HubTime, MessageId, PeerId, RequestId, TaskId},
    v1,
};

use super::{
    bounds::Bounds,
    content::Manifest,
    forum::{Forum, Forums},
    invitations::{Invitation, InvitationStatus, Invitations},
    open_messages::OpenMessages,
    peers::{Peer, PeerState, Peers, Unwanted},
    receipts::Receipts,
    record::Record,
    sessions::{SessionId, Sessions},
    tasks::Tasks,
};

/// Everything the hubs agree on. A clone shares records, forums and sessions with the original.
#[derive(Clone, PartialEq)]
pub struct HubState {
    pub(super) bounds: Bounds,
    pub(super) now: HubTime,
    /// Of the log's time, what it jumped over, milliseconds: time in which nobody is known to have waited.
    pub(super) skipped_ms: u64,
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
    pub(super) open_messages: OpenMessages,
    pub(super) manifest: Manifest,
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
    /// Next user.
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
    pub open_messages: usize,
    pub content_files: usize,
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
            skipped_ms: 0,
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
            open_messages: OpenMessages::default(),
            manifest: Manifest::default(),
        }
    }

    /// The files hubs serve from peers.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The maxima in force.
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The log's time: that of the newest command.
    pub fn now(&self) -> HubTime {
        self.now
    }

    /// The log's time without its jumps: how long memory is kept is counted in it, so that a leader whose clock is an
    /// hour ahead makes nobody forget what was answered a moment ago.
    pub fn steady(&self) -> HubTime {
        HubTime(self.now.0.saturating_sub(self.skipped_ms))
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
    pub fn forums(&self) -> impl DoubleEndedIterator<Item = &Forum> {
        self.forums.iter()
    }

    /// Forums in which there is nothing, and nothing on its way into them; the one that has been so for longest first.
    pub fn empty_forums(&self) -> impl Iterator<Item = &Forum> {
        self.forums.empty()
    }

    /// Those that have been so for long enough to be closed.
    pub fn forums_to_close(&self) -> impl Iterator<Item = &Forum> {
        let least = self.bounds.empty_forum_age_ms;
        let long_enough = move |forum: &&Forum| {
            forum.occupancy.empty_since.is_some_and(|since| since.0.saturating_add(least) <= self.steady().0)
        };
        self.empty_forums().take_while(long_enough)
    }

    /// Whether there was a forum of that id, and is no more.
    pub fn was_closed(&self, forum: ForumId) -> bool {
        let was_given_out = (u64::from(self.bounds.forum_id_first.max(1))..self.forums.next_id())
            .contains(&forum.get().into());
        was_given_out && self.forum(forum).is_none()
    }

    /// Forums with an id above `after` (0: all), by id.
    pub fn forums_after(&self, after: u32) -> impl Iterator<Item = &Forum> {
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

    /// For how long a peer is suspended still, milliseconds; 0: it is not.
    pub fn suspended_ms(&self, peer: PeerId) -> u64 {
        let breach = self.peer(peer).and_then(|peer| peer.breach);
        breach.map_or(0, |breach| breach.suspended_ms(self.steady(), self.bounds.suspension_ms))
    }

    /// Why hubs have nothing to do with a peer; `None`: it is welcome, or unknown.
    pub fn unwanted(&self, peer: PeerId) -> Option<Unwanted> {
        let known = self.peer(peer)?;
        match self.suspended_ms(peer) {
            0 => (known.state == PeerState::Removed).then_some(Unwanted::Removed),
            for_ms => Some(Unwanted::Suspended { for_ms }),
        }
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
    pub fn session(&self, id: &str) -> Option<&Arc<v1::SessionRecord>> {
        self.sessions.get(&SessionId::parse(id)?)
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
            open_messages: self.open_messages.len(),
            content_files: self.manifest.len(),
        }
    }
}
