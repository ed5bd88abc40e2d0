//! A forum's set of replicas: its next state as one record, and the ways out of it.

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, RequestId, TaskId},
    v1::{self, RejectionCode, outcome::Kind},
};

use super::{
    super::{
        evolve::Change,
        forum::{Forum, JoinStage, Replica, ReplicaRole},
        invitations::{Cause, Invitation, InvitationStatus},
        peers::PeerState,
        receipts::Made,
        record::{Assignment, Record, RecordBody},
        state::HubState,
    },
    Decided, Decision, exhausted, known_forum, known_peer, next_record, other_command, present_peer,
    rejection,
};

/// What becomes of a forum's replicas, until it is a record.
pub(super) struct NextSet<'a> {
    state: &'a HubState,
    forum: &'a Forum,
    epoch: ForumEpoch,
    primary: PeerId,
    replicas: Vec<Replica>,
    invitations: Vec<Invitation>,
}

impl<'a> NextSet<'a> {
    /// The set as it is.
    pub fn of(state: &'a HubState, forum: &'a Forum) -> Self {
        let (epoch, primary, replicas) = (forum.epoch, forum.primary, forum.replicas.clone());
        Self { state, forum, epoch, primary, replicas, invitations: Vec::new() }
    }

    /// The epoch it will have.
    pub fn epoch(&self) -> ForumEpoch {
        self.epoch
    }

    /// Makes `peer` the primary, under a new epoch.
    pub fn lead(&mut self, peer: PeerId) -> Result<(), v1::Rejection> {
        self.epoch = ForumEpoch(self.epoch.0.checked_add(1).ok_or_else(exhausted)?);
        self.primary = peer;
        Ok(())
    }

    /// Gives a peer a role, its first or another one.
    pub fn set(&mut self, peer: PeerId, role: ReplicaRole) {
        match self.replicas.iter_mut().find(|replica| replica.peer == peer) {
            Some(replica) => replica.role = role,
            None => self.replicas.push(Replica { peer, role }),
        }
    }

    /// Takes a peer out. Who was to replace it is one more replica instead.
    pub fn remove(&mut self, peer: PeerId) {
        self.replicas.retain(|replica| replica.peer != peer);
        if let Some(successor) = replacing(self.state, self.forum, peer) {
            self.note(Invitation { replaces: None, ..*successor });
        }
    }

    /// Makes `target` a replica by a new invitation, which is the record `id`.
    pub fn invite(
        &mut self,
        id: TaskId,
        source: PeerId,
        target: PeerId,
        replaces: Option<PeerId>,
        cause: Cause,
    ) {
        self.set(target, ReplicaRole::Joining { invitation: id, source, stage: JoinStage::Invited });
        self.note(Invitation {
            id,
            forum: self.forum.id,
            source,
            target,
            replaces,
            cause,
            status: InvitationStatus::Waiting,
            reason: v1::RejectReason::Unspecified,
            invited_at: self.state.now,
            changed_at: self.state.now,
            cut_over_at: None,
        });
    }

    /// What has become of an invitation.
    pub fn note(&mut self, invitation: Invitation) {
        self.invitations.push(invitation);
    }

    /// Ends an open invitation without its target.
    pub fn end(&mut self, invitation: &Invitation, status: InvitationStatus, reason: v1::RejectReason) {
        self.replicas.retain(|replica| replica.peer != invitation.target);
        self.note(Invitation { status, reason, changed_at: self.state.now, ..*invitation });
    }

    /// The record `id` that shows the set, and the changes that make it so.
    pub fn recorded(self, id: TaskId) -> (Assignment, Vec<Change>) {
        let assignment = Assignment::of(self.epoch, self.primary, &self.replicas);
        let body = RecordBody::Assignment(assignment.clone());
        let record = Record::new(id, self.state.now, Some(self.forum.id), body);
        let mut changes = vec![Change::Reassigned { record, replicas: self.replicas }];
        changes.extend(self.invitations.into_iter().map(Change::InvitationStored));
        (assignment, changes)
    }

    /// The decision for this set, under the next record.
    pub fn decided(self) -> Decided {
        let id = next_record(self.state, 0)?;
        let (assignment, changes) = self.recorded(id);
        Ok(Decision { answer: replicas_changed(&assignment, id.get()), changes })
    }
}

/// The open invitation whose target is to take this replica's place.
pub(super) fn replacing<'a>(state: &'a HubState, forum: &'a Forum, peer: PeerId) -> Option<&'a Invitation> {
    let mut invitations = forum.joining().filter_map(|joining| state.invitation(joining.invitation));
    invitations.find(|invitation| invitation.replaces == Some(peer))
}

/// The answer to a step that was taken before.
pub(super) fn unchanged(forum: &Forum, record_id: u64) -> Decision {
    Decision::unchanged(replicas_changed(&forum.assignment(), record_id))
}

fn replicas_changed(assignment: &Assignment, record_id: u64) -> Kind {
    Kind::ReplicasChanged(v1::ReplicasChanged { assignment: Some(assignment.into()), record_id })
}

/// A draining replica goes once its successor has the cut-over on disk: until then it is the only one whose copy is
/// known to be whole, and a primary may be moved back to it.
pub(super) fn remove_replica(state: &HubState, forum: ForumId, peer: PeerId, passed: u64) -> Decided {
    let forum = known_forum(state, forum)?;
    known_peer(state, peer)?;
    let Some(replica) = forum.replica(peer) else { return Ok(unchanged(forum, 0)) };
    let held = u64::from(peer.get());
    match replica.role {
        ReplicaRole::Joining { stage, .. } => return Err(wrong_stage(held, Some(stage))),
        ReplicaRole::Serving { .. } => {
            let lost = state.peer(peer).is_some_and(|peer| peer.state == PeerState::Removed);
            if !lost && heir(state, forum, peer).is_none() || forum.serving().count() == 1 {
                return Err(rejection(RejectionCode::LastReplica, held, 0));
            }
            if forum.primary == peer {
                return Err(wrong_stage(held, None));
            }
        }
        ReplicaRole::Draining { since_record, .. } if passed < since_record.get() => {
            return Err(rejection(RejectionCode::NotCaughtUp, passed, since_record.get()));
        }
        ReplicaRole::Draining { .. } => {}
    }
    let mut next = NextSet::of(state, forum);
    next.remove(peer);
    next.decided()
}

/// The peer's copy cannot be brought up to date from the log, so it starts as an invited one. It is let go instead
/// where nobody would wait for it: another peer is about to take its place, it drains, or no more invitations fit.
pub(super) fn restart_replica(
    state: &HubState,
    proposal: RequestId,
    forum: ForumId,
    peer: PeerId,
) -> Decided {
    let forum = known_forum(state, forum)?;
    match state.receipts.proposal(proposal) {
        Some(Made::Restarted { forum: of, record }) if of == forum.id => return Ok(unchanged(forum, record)),
        Some(_) => return Err(other_command()),
        None => {}
    }
    present_peer(state, peer)?;
    let held = u64::from(peer.get());
    let replica = forum.replica(peer).ok_or_else(|| rejection(RejectionCode::NotAReplica, held, 0))?;
    let mut next = NextSet::of(state, forum);
    if replica.is_serving() {
        let last = || rejection(RejectionCode::LastReplica, held, 0);
        let heir = heir(state, forum, peer).ok_or_else(last)?;
        if forum.primary == peer {
            next.lead(heir)?;
        }
    }
    let id = next_record(state, 0)?;
    let fits = (state.invitations.open_len() as u64) < state.bounds.invitations_open_max;
    match replica.role {
        ReplicaRole::Joining { invitation, .. } => {
            let replaces = state.invitation(invitation).and_then(|before| {
                next.end(before, InvitationStatus::Timeout, v1::RejectReason::Unspecified);
                before.replaces
            });
            next.invite(id, next.primary, peer, replaces, Cause::Behind);
        }
        ReplicaRole::Serving { .. } if fits && replacing(state, forum, peer).is_none() => {
            next.invite(id, next.primary, peer, None, Cause::Behind);
        }
        ReplicaRole::Serving { .. } | ReplicaRole::Draining { .. } => next.remove(peer),
    }
    let (assignment, mut changes) = next.recorded(id);
    let made = Made::Restarted { forum: forum.id, record: id.get() };
    changes.push(Change::ProposalMade { proposal, made });
    Ok(Decision { answer: replicas_changed(&assignment, id.get()), changes })
}

/// Who serves when `peer` does not: the first other replica, one whose peer is active if there is one. A removed peer's
/// replica is as good as lost.
fn heir(state: &HubState, forum: &Forum, peer: PeerId) -> Option<PeerId> {
    let others = forum.serving().filter(|other| *other != peer).filter_map(|other| state.peer(other));
    let present = others.filter(|other| other.state != PeerState::Removed);
    present.min_by_key(|other| other.state != PeerState::Active).map(|other| other.id)
}

/// Not what the replica waits for; `current` is its stage, 0 if it is not joining.
pub(super) fn wrong_stage(held: u64, stage: Option<JoinStage>) -> v1::Rejection {
    let current = stage.map_or(v1::JoinStage::Unspecified, v1::JoinStage::from) as i32;
    rejection(RejectionCode::WrongStage, held, current.unsigned_abs().into())
}
