//! A forum's set of replicas: its next state as one record, and the ways out of it.

use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumEpoch, ForumId, PeerId, RequestId, TaskId},
    v1::{self, RejectionCode, outcome::Kind},
};

use super::{
    super::{
        command::RemoveReplica,
        evolve::Change,
        forum::Forum,
        invitations::{Cause, Invitation, InvitationStatus},
        peers::{Peer, PeerState},
        receipts::Made,
        record::{Assignment, Record, RecordBody},
        replica::{JoinStage, Replica, ReplicaRole},
        state::HubState,
    },
    decision::{
        Decided, Decision, exhausted, known_forum, known_peer, next_record, other_command, present_peer,
        rejection,
    },
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
        let step = u64::from(!breakage::is_on(Breakage::EpochNotRaised));
        self.epoch = ForumEpoch(self.epoch.0.checked_add(step).ok_or_else(exhausted)?);
        self.primary = peer;
        Ok(())
    }

    /// Gives a peer a role, its first or another one. A copy that begins is another copy than the one before it.
    pub fn set(&mut self, peer: PeerId, role: ReplicaRole) {
        let begins = matches!(role, ReplicaRole::Joining { .. });
        match self.replicas.iter_mut().find(|replica| replica.peer == peer) {
            Some(replica) => {
                replica.role = role;
                replica.confirmed_at = replica.confirmed_at.filter(|_| !begins);
            }
            None => self.replicas.push(Replica { peer, role, confirmed_at: None }),
        }
    }

    /// Takes note that a peer's copy was found equal to another's.
    fn confirm(&mut self, peer: PeerId) {
        let now = self.state.steady();
        if let Some(replica) = self.replicas.iter_mut().find(|replica| replica.peer == peer) {
            replica.confirmed_at = Some(now);
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

/// Takes a copy away, if enough others are known to be whole and there. A draining one also waits until its successor has
/// the cut-over on disk.
pub(super) fn remove_replica(state: &HubState, command: &RemoveReplica) -> Decided {
    let peer = command.peer;
    let forum = known_forum(state, command.forum)?;
    known_peer(state, peer)?;
    let Some(replica) = forum.replica(peer) else { return Ok(unchanged(forum, 0)) };
    let held = u64::from(peer.get());
    match replica.role {
        ReplicaRole::Joining { stage, .. } => return Err(wrong_stage(held, Some(stage))),
        ReplicaRole::Draining { since_record, .. } if command.passed < since_record.get() => {
            return Err(rejection(RejectionCode::NotCaughtUp, command.passed, since_record.get()));
        }
        ReplicaRole::Serving { .. } | ReplicaRole::Draining { .. } => {}
    }
    check_others(state, forum, replica, command.others_min)?;
    if forum.primary == peer {
        return Err(wrong_stage(held, None));
    }
    let mut next = NextSet::of(state, forum);
    next.remove(peer);
    let mut decision = next.decided()?;
    decision.changes.extend(command.differs.then_some(Change::PeerDoubted { peer }));
    Ok(decision)
}

/// Whether the forum can do without this copy: enough others serve with a confirmed one, on peers that are present. Of a copy that
/// nobody counts on, because it was never confirmed and its peer is not there, it is enough that it is not the only one.
fn check_others(
    state: &HubState,
    forum: &Forum,
    replica: &Replica,
    others_min: u64,
) -> Result<(), v1::Rejection> {
    let present = |peer: PeerId| state.peer(peer).is_some_and(Peer::is_present);
    let others = || forum.replicas.iter().filter(|other| other.peer != replica.peer && other.is_serving());
    let counts = replica.confirmed_at.is_some() || present(replica.peer);
    let (held, needed) = if counts {
        let confirmed = others().filter(|other| other.is_confirmed() && present(other.peer)).count();
        (confirmed as u64, others_min.max(1))
    } else {
        (others().count() as u64, 1)
    };
    if held < needed && !breakage::is_on(Breakage::LastCopyRemoved) {
        return Err(rejection(RejectionCode::LastReplica, held, needed));
    }
    Ok(())
}

/// A serving replica's copy was compared. Without a mark in the log nobody else has a copy that counts.
pub(super) fn confirm_replica(
    state: &HubState,
    forum: ForumId,
    peer: PeerId,
    audit: Option<TaskId>,
) -> Decided {
    let forum = known_forum(state, forum)?;
    let held = u64::from(peer.get());
    let replica = forum.replica(peer).filter(|replica| replica.is_serving());
    let replica = replica.ok_or_else(|| rejection(RejectionCode::NotAReplica, held, 0))?;
    if replica.is_confirmed() {
        return Ok(unchanged(forum, 0));
    }
    match audit {
        Some(audit) if audit.get() > forum.newest_record => {
            return Err(rejection(RejectionCode::NotCaughtUp, audit.get(), forum.newest_record));
        }
        None if is_confirmed_elsewhere(state, forum, peer) => return Err(wrong_stage(held, None)),
        Some(_) | None => {}
    }
    let mut next = NextSet::of(state, forum);
    next.confirm(peer);
    next.decided()
}

fn is_removed(state: &HubState, peer: PeerId) -> bool {
    state.peer(peer).is_none_or(|peer| peer.state == PeerState::Removed)
}

/// A draining replica has followed the stream, so it can serve again at once.
pub(super) fn reinstate_replica(state: &HubState, forum: ForumId, peer: PeerId) -> Decided {
    let forum = known_forum(state, forum)?;
    present_peer(state, peer)?;
    let held = u64::from(peer.get());
    let replica = forum.replica(peer).ok_or_else(|| rejection(RejectionCode::NotAReplica, held, 0))?;
    match replica.role {
        ReplicaRole::Serving { .. } => return Ok(unchanged(forum, 0)),
        ReplicaRole::Joining { stage, .. } => return Err(wrong_stage(held, Some(stage))),
        ReplicaRole::Draining { .. } => {}
    }
    let mut next = NextSet::of(state, forum);
    next.set(peer, ReplicaRole::Serving { since: next.epoch() });
    next.decided()
}

/// The peer's copy cannot be brought up to date from the log, so it starts as an invited one. It is let go instead
/// where nobody would wait for it: another peer is about to take its place, it drains, or no more invitations fit. Where no other
/// replica serves, one that it replaced does again.
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
        let replaced = || replaced_heir(state, forum);
        let heir = heir(state, forum, peer).or_else(replaced).ok_or_else(last)?;
        if forum.primary == peer {
            next.lead(heir)?;
        }
        if forum.replica(heir).is_some_and(|replica| !replica.is_serving()) {
            next.set(heir, ReplicaRole::Serving { since: next.epoch() });
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
        ReplicaRole::Serving { .. } | ReplicaRole::Draining { .. } => {
            let is_awaited = match replica.is_serving() {
                true => replacing(state, forum, peer).is_none(),
                // Its rows stay until its peer has those of the others, whom nobody has compared with anything yet.
                false => replica.confirmed_at.is_some() && !is_confirmed_elsewhere(state, forum, peer),
            };
            if fits && is_awaited {
                next.invite(id, next.primary, peer, None, Cause::Behind);
            } else {
                next.remove(peer);
            }
        }
    }
    let (assignment, mut changes) = next.recorded(id);
    let made = Made::Restarted { forum: forum.id, record: id.get() };
    changes.push(Change::ProposalMade { proposal, made });
    Ok(Decision { answer: replicas_changed(&assignment, id.get()), changes })
}

/// Whether another has a copy that was compared, those apart whose peers are removed.
fn is_confirmed_elsewhere(state: &HubState, forum: &Forum, peer: PeerId) -> bool {
    let mut others = forum.replicas.iter().filter(|other| other.peer != peer);
    others.any(|other| other.confirmed_at.is_some() && !is_removed(state, other.peer))
}

/// Who serves when `peer` does not: the first other replica, one with a confirmed copy on an active peer if there is one. A
/// removed peer's replica is as good as lost.
fn heir(state: &HubState, forum: &Forum, peer: PeerId) -> Option<PeerId> {
    let others = forum.serving().filter(|other| *other != peer).filter_map(|other| state.peer(other));
    let present = others.filter(|other| other.state != PeerState::Removed);
    let unconfirmed = |peer: &Peer| forum.replica(peer.id).is_none_or(|replica| !replica.is_confirmed());
    present.min_by_key(|other| (unconfirmed(other), other.state != PeerState::Active)).map(|other| other.id)
}

/// Who serves again when nobody else does: a replaced replica that still follows, one with a confirmed copy if there is one.
fn replaced_heir(state: &HubState, forum: &Forum) -> Option<PeerId> {
    let draining =
        forum.replicas.iter().filter(|replica| matches!(replica.role, ReplicaRole::Draining { .. }));
    let present = draining.filter(|replica| !is_removed(state, replica.peer));
    present.min_by_key(|replica| replica.confirmed_at.is_none()).map(|replica| replica.peer)
}

/// Not what the replica waits for; `current` is its stage, 0 if it is not joining.
pub(super) fn wrong_stage(held: u64, stage: Option<JoinStage>) -> v1::Rejection {
    let current = stage.map_or(v1::JoinStage::Unspecified, v1::JoinStage::from) as i32;
    rejection(RejectionCode::WrongStage, held, current.unsigned_abs().into())
}
