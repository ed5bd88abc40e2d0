//! The steps of an invitation, from its record to the cut-over or its end. A step that was taken before is answered
//! with what is so, because a hub repeats a proposal whose outcome it did not hear.

use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumId, PeerId, RequestId, TaskId},
    v1::{self, RejectionCode, outcome::Kind},
};

use super::{
    super::{
        bounds::CUT_OVER_LAG_MAX,
        command::{AnswerInvitation, CloseInvitation, InvitePeer},
        evolve::Change,
        forum::Forum,
        invitations::{Cause, Invitation, InvitationStatus},
        peers::PeerState,
        receipts::Made,
        replica::{JoinStage, Joining, ReplicaRole},
        state::HubState,
    },
    decision::{
        Decided, Decision, full, known_forum, next_record, not_taking, other_command, present_peer, rejection,
    },
    replicas::{NextSet, replacing, unchanged, wrong_stage},
};

pub(super) fn invite_peer(state: &HubState, proposal: RequestId, command: &InvitePeer) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Invited { forum, invitation }) if forum == command.forum => {
            return Ok(Decision::unchanged(peer_invited(invitation)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    let forum = known_forum(state, command.forum)?;
    check_invited(state, forum, command)?;
    check_places(state, forum, command.replaces)?;
    if state.invitations.open_len() as u64 >= state.bounds.invitations_open_max {
        return Err(full(state.bounds.invitations_open_max));
    }
    let id = next_record(state, 0)?;
    let mut next = NextSet::of(state, forum);
    next.invite(id, command.source, command.target, command.replaces, command.cause);
    let (_, mut changes) = next.recorded(id);
    let made = Made::Invited { forum: forum.id, invitation: id };
    changes.push(Change::ProposalMade { proposal, made });
    Ok(Decision { answer: peer_invited(id), changes })
}

fn check_invited(state: &HubState, forum: &Forum, command: &InvitePeer) -> Result<(), v1::Rejection> {
    let target = present_peer(state, command.target)?;
    present_peer(state, command.source)?;
    if forum.replica(target.id).is_some() {
        return Err(rejection(RejectionCode::AlreadyAReplica, target.id.get().into(), 0));
    }
    if target.state != PeerState::Active {
        return Err(not_taking(target));
    }
    for peer in [Some(command.source), command.replaces].into_iter().flatten() {
        if !forum.is_served_by(peer) {
            return Err(rejection(RejectionCode::NotAReplica, peer.get().into(), 0));
        }
    }
    // Two at once would make two of one.
    let taken = command.replaces.filter(|peer| replacing(state, forum, *peer).is_some());
    taken.map_or(Ok(()), |peer| Err(wrong_stage(peer.get().into(), None)))
}

/// One that replaces nobody takes a place for good. One that replaces takes it over, but for a while there are more
/// replicas than places, and those that drain are not let go by themselves.
fn check_places(state: &HubState, forum: &Forum, replaces: Option<PeerId>) -> Result<(), v1::Rejection> {
    let max = state.bounds.replicas_max;
    let adds = |joining: &Joining| {
        state.invitation(joining.invitation).is_none_or(|invitation| invitation.replaces.is_none())
    };
    let places = (forum.serving().count() + forum.joining().filter(adds).count()) as u64;
    if replaces.is_none() && places >= max {
        return Err(rejection(RejectionCode::BadReplicas, places + 1, max));
    }
    if forum.replicas.len() as u64 >= state.bounds.replicas_of_any_role_max() {
        return Err(full(state.bounds.replicas_of_any_role_max()));
    }
    Ok(())
}

/// An invitation and where its target stands; no stage once it has ended.
struct Step<'a> {
    forum: &'a Forum,
    invitation: &'a Invitation,
    stage: Option<JoinStage>,
}

fn step(
    state: &HubState,
    forum: ForumId,
    invitation: TaskId,
    peer: Option<PeerId>,
) -> Result<Step<'_>, v1::Rejection> {
    let forum = known_forum(state, forum)?;
    let unknown = || rejection(RejectionCode::UnknownInvitation, invitation.get(), 0);
    let invitation = state.invitation(invitation).ok_or_else(unknown)?;
    if invitation.forum != forum.id || peer.is_some_and(|peer| peer != invitation.target) {
        return Err(unknown());
    }
    let joining = forum.replica(invitation.target).and_then(|replica| replica.joining());
    let stage = joining.filter(|joining| joining.invitation == invitation.id).map(|joining| joining.stage);
    Ok(Step { forum, invitation, stage })
}

impl Step<'_> {
    /// It has ended: well, then the step was taken before, or without its target.
    fn over(&self) -> Decided {
        match self.completed() {
            true => Ok(unchanged(self.forum, 0)),
            false => Err(rejection(RejectionCode::UnknownInvitation, self.invitation.id.get(), 0)),
        }
    }

    fn wrong_stage(&self) -> v1::Rejection {
        wrong_stage(self.invitation.id.get(), self.stage)
    }

    fn completed(&self) -> bool {
        self.invitation.status == InvitationStatus::Completed
    }

    /// The target, unless its peer is removed: such a one comes no further.
    fn check_target(&self, state: &HubState) -> Result<(), v1::Rejection> {
        present_peer(state, self.invitation.target).map(drop)
    }

    /// The target reaches a stage.
    fn reach(&self, state: &HubState, stage: JoinStage) -> Decided {
        let Invitation { id, source, target, .. } = *self.invitation;
        let mut next = NextSet::of(state, self.forum);
        next.set(target, ReplicaRole::Joining { invitation: id, source, stage });
        let status = InvitationStatus::Accepted;
        next.note(Invitation { status, changed_at: state.now, ..*self.invitation });
        next.decided()
    }

    /// The target is no replica any more; the epoch stays.
    fn end(&self, state: &HubState, status: InvitationStatus, reason: v1::RejectReason) -> Decided {
        if self.completed() {
            return Err(self.wrong_stage());
        }
        if self.stage.is_none() {
            return Ok(unchanged(self.forum, 0));
        }
        let mut next = NextSet::of(state, self.forum);
        next.end(self.invitation, status, reason);
        next.decided()
    }
}

/// A target may also say no after it has accepted: what it is sent may be damaged, or too large for it.
pub(super) fn answer_invitation(state: &HubState, command: &AnswerInvitation) -> Decided {
    let step = step(state, command.forum, command.invitation, Some(command.peer))?;
    if !command.accepted {
        return step.end(state, InvitationStatus::Rejected, command.reason);
    }
    match step.stage {
        Some(JoinStage::Invited) => {
            step.check_target(state)?;
            step.reach(state, JoinStage::Seeding)
        }
        Some(JoinStage::Seeding | JoinStage::CatchingUp) => Ok(unchanged(step.forum, 0)),
        None => step.over(),
    }
}

/// The target follows the stream from its invitation on, so a copy from before that would leave a gap.
pub(super) fn seed_replica(
    state: &HubState,
    forum: ForumId,
    invitation: TaskId,
    peer: PeerId,
    cursor: u64,
) -> Decided {
    let step = step(state, forum, invitation, Some(peer))?;
    match step.stage {
        Some(JoinStage::Invited) => Err(step.wrong_stage()),
        Some(JoinStage::Seeding) if cursor < invitation.get() => {
            Err(rejection(RejectionCode::NotCaughtUp, cursor, invitation.get()))
        }
        Some(JoinStage::Seeding) => {
            step.check_target(state)?;
            step.reach(state, JoinStage::CatchingUp)
        }
        Some(JoinStage::CatchingUp) => Ok(unchanged(step.forum, 0)),
        None => step.over(),
    }
}

/// Decided against the forum as it is at this position: the primary may have moved, or what is replaced may be gone.
pub(super) fn cut_over(state: &HubState, forum: ForumId, invitation: TaskId, through: u64) -> Decided {
    let step = step(state, forum, invitation, None)?;
    let (forum, invitation) = (step.forum, step.invitation);
    match step.stage {
        Some(JoinStage::CatchingUp) => {}
        Some(_) if breakage::is_on(Breakage::CutOverByWallClock) => {}
        Some(_) => return Err(step.wrong_stage()),
        None => return step.over(),
    }
    step.check_target(state)?;
    let least = forum.newest_record.saturating_sub(CUT_OVER_LAG_MAX);
    if through < least && !breakage::is_on(Breakage::CutOverByWallClock) {
        return Err(rejection(RejectionCode::NotCaughtUp, through, least));
    }
    let (served, max) = (forum.serving().count() as u64, state.bounds.replicas_max);
    // Whoever only starts again has its place already; a replaced one may have been taken back meanwhile.
    if invitation.replaces.is_none() && invitation.cause != Cause::Behind && served >= max {
        return Err(rejection(RejectionCode::BadReplicas, served + 1, max));
    }
    let id = next_record(state, 0)?;
    let successor = invitation.target;
    let mut next = NextSet::of(state, forum);
    if let Some(replaced) = invitation.replaces {
        next.set(replaced, ReplicaRole::Draining { since_record: id, successor });
        if replaced == forum.primary {
            next.lead(successor)?;
        }
    }
    next.set(successor, ReplicaRole::Serving { since: next.epoch() });
    let status = InvitationStatus::Completed;
    next.note(Invitation { status, changed_at: state.now, cut_over_at: Some(id), ..*invitation });
    next.decided()
}

pub(super) fn close_invitation(state: &HubState, command: &CloseInvitation) -> Decided {
    let step = step(state, command.forum, command.invitation, None)?;
    step.end(state, command.status, command.reason)
}

fn peer_invited(invitation: TaskId) -> Kind {
    Kind::PeerInvited(v1::PeerInvited { invitation_id: invitation.get() })
}
