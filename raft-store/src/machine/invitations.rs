//! Invitations: who was asked to hold which forum, and what became of it. Owns the open ones and a bounded history.
//! Never knows how far a copy has come on its way: that is soft state of the hubs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use loop_proto::{
    ids::{ForumId, HubTime, PeerId, TaskId},
    v1,
};

/// What made an invitation due.
pub type Cause = v1::InvitationCause;

/// How far an invitation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationStatus {
    /// Not answered.
    Waiting,
    /// Seeding or catching up.
    Accepted,
    /// The target serves.
    Completed,
    /// The target would not or could not.
    Rejected,
    /// Given up by the leader.
    Timeout,
}

impl InvitationStatus {
    /// Whether its target is still on the way.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Accepted)
    }

    /// The status a message names, if it names one.
    pub const fn of_wire(wire: v1::InvitationStatus) -> Option<Self> {
        match wire {
            v1::InvitationStatus::Unspecified => None,
            v1::InvitationStatus::Waiting => Some(Self::Waiting),
            v1::InvitationStatus::Accepted => Some(Self::Accepted),
            v1::InvitationStatus::Completed => Some(Self::Completed),
            v1::InvitationStatus::Rejected => Some(Self::Rejected),
            v1::InvitationStatus::Timeout => Some(Self::Timeout),
        }
    }
}

impl From<InvitationStatus> for v1::InvitationStatus {
    fn from(status: InvitationStatus) -> Self {
        match status {
            InvitationStatus::Waiting => Self::Waiting,
            InvitationStatus::Accepted => Self::Accepted,
            InvitationStatus::Completed => Self::Completed,
            InvitationStatus::Rejected => Self::Rejected,
            InvitationStatus::Timeout => Self::Timeout,
        }
    }
}

/// One peer asked to hold one forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The record that invited.
    pub id: TaskId,
    /// The forum.
    pub forum: ForumId,
    /// Who was to give its copy; any serving replica may do it.
    pub source: PeerId,
    /// Who was asked.
    pub target: PeerId,
    /// The serving replica that drains once the target serves; `None`: none, or it left before that.
    pub replaces: Option<PeerId>,
    /// What made it due.
    pub cause: Cause,
    /// How far it has come.
    pub status: InvitationStatus,
    /// Why the target did not come to serve; unspecified if nobody said.
    pub reason: v1::RejectReason,
    /// When it was made.
    pub invited_at: HubTime,
    /// When the target's stage or the status last changed.
    pub changed_at: HubTime,
    /// The record that made the target serve.
    pub cut_over_at: Option<TaskId>,
}

/// All open invitations, and those that ended last.
#[derive(Clone, Default, PartialEq)]
pub struct Invitations {
    by_id: BTreeMap<TaskId, Invitation>,
    open_by_target: BTreeSet<(PeerId, TaskId)>,
    /// In the order they ended; the next to be forgotten first.
    ended: VecDeque<TaskId>,
}

impl Invitations {
    /// The invitation of that id, if it is open or was not forgotten.
    pub fn get(&self, id: TaskId) -> Option<&Invitation> {
        self.by_id.get(&id)
    }

    /// Those that are open, oldest first.
    pub fn open(&self) -> impl Iterator<Item = &Invitation> {
        // By the index: leaders ask many times a second, and what is remembered is mostly over.
        let ids: BTreeSet<TaskId> = self.open_by_target.iter().map(|(_, id)| *id).collect();
        ids.into_iter().filter_map(|id| self.get(id))
    }

    /// Those that are open and ask this peer, oldest first.
    pub fn open_to(&self, target: PeerId) -> impl Iterator<Item = &Invitation> + '_ {
        let first = TaskId::new(1).map(|id| (target, id));
        let range = first.into_iter().flat_map(|first| self.open_by_target.range(first..));
        range.take_while(move |(peer, _)| *peer == target).filter_map(|(_, id)| self.get(*id))
    }

    /// All that are remembered, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Invitation> {
        self.by_id.values().rev()
    }

    /// How many are open.
    pub fn open_len(&self) -> usize {
        self.open_by_target.len()
    }

    /// How many ended ones are remembered.
    pub fn ended_len(&self) -> usize {
        self.ended.len()
    }

    /// Those that have ended, next to be forgotten first.
    pub(super) fn ended(&self) -> impl Iterator<Item = &Invitation> {
        self.ended.iter().filter_map(|id| self.by_id.get(id))
    }

    /// A new invitation, or what has become of a known one. Of those that ended, `kept` are remembered; the others.
    pub(super) fn store(&mut self, invitation: Invitation, kept: u64) -> Vec<TaskId> {
        let entry = (invitation.target, invitation.id);
        let before = self.by_id.insert(invitation.id, invitation);
        if invitation.status.is_open() {
            self.open_by_target.insert(entry);
        } else if before.is_none_or(|before| before.status.is_open()) {
            self.open_by_target.remove(&entry);
            self.ended.push_back(invitation.id);
        }
        let mut forgotten = Vec::new();
        while self.ended.len() as u64 > kept {
            let Some(oldest) = self.ended.pop_front() else { break };
            self.by_id.remove(&oldest);
            forgotten.push(oldest);
        }
        forgotten
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        if !self.by_id.iter().all(|(id, invitation)| *id == invitation.id) {
            return Err("an invitation is kept under another id");
        }
        let open = |invitation: &Invitation| {
            self.open_by_target.contains(&(invitation.target, invitation.id)) == invitation.status.is_open()
        };
        let open_len = self.by_id.values().filter(|invitation| invitation.status.is_open()).count();
        if !self.by_id.values().all(open) || open_len != self.open_by_target.len() {
            return Err("the index of open invitations is wrong");
        }
        let over = self.ended.iter().filter(|id| self.get(**id).is_some_and(|i| !i.status.is_open()));
        if over.count() != self.ended.len() || self.ended.len() + self.open_len() != self.by_id.len() {
            return Err("the order of ended invitations is wrong");
        }
        let timely = |invitation: &Invitation| {
            invitation.invited_at <= invitation.changed_at
                && invitation.cut_over_at.is_some() == (invitation.status == InvitationStatus::Completed)
        };
        if !self.by_id.values().all(timely) {
            return Err("an invitation's status does not fit its times");
        }
        Ok(())
    }
}
