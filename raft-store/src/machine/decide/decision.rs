//! What a command comes to, and what all rules ask of the state: who is known, what there is room for, which ids come next.

use loop_proto::{
    ids::{ForumId, MessageId, PeerId, TaskId},
    v1::{self, RejectionCode, outcome::Kind},
};

use super::super::{
    bounds::{LOG_BUDGETS_FOR_STEPS, LOG_BUDGETS_FOR_WORK},
    evolve::Change,
    forum::Forum,
    peers::{Peer, PeerState},
    state::HubState,
};

/// What a command means: its answer, and what changes.
pub(in super::super) struct Decision {
    pub answer: Kind,
    pub changes: Vec<Change>,
}

impl Decision {
    pub fn unchanged(answer: Kind) -> Self {
        Self { answer, changes: Vec::new() }
    }
}

pub(super) type Decided = Result<Decision, v1::Rejection>;

pub(super) fn known_forum(state: &HubState, id: ForumId) -> Result<&Forum, v1::Rejection> {
    state.forum(id).ok_or_else(|| rejection(RejectionCode::UnknownForum, id.get().into(), 0))
}

pub(super) fn known_peer(state: &HubState, id: PeerId) -> Result<&Peer, v1::Rejection> {
    state.peer(id).ok_or_else(|| rejection(RejectionCode::UnknownPeer, id.get().into(), 0))
}

/// A known peer that is not removed: one that is may do nothing, and nothing is given to it.
pub(super) fn present_peer(state: &HubState, id: PeerId) -> Result<&Peer, v1::Rejection> {
    let peer = known_peer(state, id)?;
    if peer.state == PeerState::Removed { Err(not_taking(peer)) } else { Ok(peer) }
}

pub(super) fn not_taking(peer: &Peer) -> v1::Rejection {
    let current = v1::PeerState::from(peer.state) as i32;
    rejection(RejectionCode::PeerState, peer.id.get().into(), current.unsigned_abs().into())
}

/// Whether the log has room for a command that brings new work. Where a forum's replicas are all away, the log's end is
/// held back for them and the log outgrows its budget. Work is refused then; answers and the steps that bring replicas
/// back still fit, so the log can shrink again.
pub(super) fn check_room_for_work(state: &HubState) -> Result<(), v1::Rejection> {
    check_room(state, LOG_BUDGETS_FOR_WORK)
}

pub(super) fn check_room(state: &HubState, budgets: u64) -> Result<(), v1::Rejection> {
    let records = state.bounds.records_max.saturating_mul(budgets);
    let bytes = state.bounds.records_bytes_max.saturating_mul(budgets);
    if state.tasks.log_len() as u64 >= records {
        return Err(full(records));
    }
    if state.tasks.log_bytes() >= bytes {
        return Err(full(bytes));
    }
    Ok(())
}

/// The id of the record that follows `ahead` others of the same command. No command appends where the log has outgrown
/// its budget by far: it waits until replicas have caught up, which takes no command but [`Command::TrimTasks`].
pub(super) fn next_record(state: &HubState, ahead: u64) -> Result<TaskId, v1::Rejection> {
    check_room(state, LOG_BUDGETS_FOR_STEPS)?;
    state.newest().checked_add(1 + ahead).and_then(TaskId::new).ok_or_else(exhausted)
}

pub(super) fn next_message(state: &HubState) -> Result<MessageId, v1::Rejection> {
    if state.next_message > u64::from(state.bounds.message_id_max) {
        return Err(exhausted());
    }
    u32::try_from(state.next_message).ok().and_then(MessageId::new).ok_or_else(exhausted)
}

pub(super) fn next_user(state: &HubState) -> Result<u32, v1::Rejection> {
    if state.next_user > u64::from(state.bounds.user_id_max) {
        return Err(exhausted());
    }
    u32::try_from(state.next_user).map_err(|_| exhausted())
}

/// An id that names one command was used for another.
pub(super) fn other_command() -> v1::Rejection {
    rejection(RejectionCode::Malformed, 0, 0)
}

pub(super) fn full(bound: u64) -> v1::Rejection {
    rejection(RejectionCode::Full, 0, bound)
}

pub(super) fn exhausted() -> v1::Rejection {
    rejection(RejectionCode::IdsExhausted, 0, 0)
}

pub(super) fn rejection(code: RejectionCode, held: u64, current: u64) -> v1::Rejection {
    v1::Rejection { code: code.into(), held, current }
}
