//! Decides what a command means. Owns every rule about who may do what.
//! Never changes state: a rule that also wrote could half-apply and make the hubs diverge.

mod answers;
mod content;
mod forums;
mod invitations;
mod peers;
mod replicas;
mod tasks;

use std::sync::Arc;

use loop_proto::{
    ids::{ForumId, MessageId, PeerId, TaskId},
    v1::{self, RejectionCode, fact::Kind as FactKind, outcome::Kind},
};

use super::{
    bounds::{LOG_BUDGETS_FOR_STEPS, LOG_BUDGETS_FOR_WORK},
    command::{Command, Stamped},
    evolve::{Change, Upkeep},
    forum::Forum,
    peers::{Peer, PeerState},
    record::{FactsBody, Record, RecordBody},
    state::HubState,
};

/// How much of what has lapsed one command clears away, so that no command pays for a quiet night before it.
const LAPSED_PER_APPLY_MAX: usize = 8;

/// What a command means: its answer, and what changes.
pub(super) struct Decision {
    pub answer: Kind,
    pub changes: Vec<Change>,
}

impl Decision {
    fn unchanged(answer: Kind) -> Self {
        Self { answer, changes: Vec::new() }
    }
}

type Decided = Result<Decision, v1::Rejection>;

/// Decides one command.
pub(super) fn decide(state: &HubState, stamped: Stamped) -> Decided {
    let request = stamped.request;
    match stamped.command {
        Command::OpenForum(command) => forums::open_forum(state, &command),
        Command::AppendTask(command) => tasks::append_task(state, request, command),
        Command::AnswerTask(command) => answers::answer_task(state, request, command),
        Command::RegisterPeer(command) => peers::register_peer(state, command),
        Command::MovePrimary { forum, to, expected_epoch } => {
            forums::move_primary(state, request, forum, to, expected_epoch)
        }
        Command::TrimTasks { through, kept_through } => Ok(tasks::trim_tasks(state, through, kept_through)),
        Command::InvitePeer(command) => invitations::invite_peer(state, request, &command),
        Command::AnswerInvitation(command) => invitations::answer_invitation(state, &command),
        Command::SeedReplica { forum, invitation, peer, cursor } => {
            invitations::seed_replica(state, forum, invitation, peer, cursor)
        }
        Command::CutOver { forum, invitation, caught_up_through } => {
            invitations::cut_over(state, forum, invitation, caught_up_through)
        }
        Command::CloseInvitation(command) => invitations::close_invitation(state, &command),
        Command::RemoveReplica(command) => replicas::remove_replica(state, &command),
        Command::RestartReplica { forum, peer } => replicas::restart_replica(state, request, forum, peer),
        Command::SetForumReplicas { forum, replicas } => forums::set_forum_replicas(state, forum, replicas),
        Command::SetPeerState { peer, state: to } => peers::set_peer_state(state, peer, to),
        Command::AuditForum { forum } => forums::audit_forum(state, request, forum),
        Command::NoteBreach { peer, rule } => peers::note_breach(state, peer, rule),
        Command::PublishContent(files) => content::publish(state, files),
        Command::RemoveContent(paths) => Ok(content::remove(state, paths)),
        Command::NotePresence(peers) => Ok(peers::note_presence(state, peers)),
        Command::ConfirmReplica { forum, peer, audit } => {
            replicas::confirm_replica(state, forum, peer, audit)
        }
        Command::ReinstateReplica { forum, peer } => replicas::reinstate_replica(state, forum, peer),
    }
}

/// What time and bounds make due after a command; `None` for nothing.
pub(super) fn upkeep(state: &HubState) -> Option<Upkeep> {
    let (bounds, steady) = (&state.bounds, state.steady());
    let through = state.tasks.trim_point_for(
        bounds.records_max,
        bounds.records_bytes_max,
        // A record that some forum's replicas have not got would be lost to them all, and with it what was acknowledged.
        state.kept_through.min(state.trimmed_through().saturating_add(tasks::TRIM_PER_APPLY_MAX)),
    );
    let upkeep = Upkeep {
        trim_through: (through > state.trimmed_through()).then_some(through),
        sessions: state.sessions.due(state.now, bounds, LAPSED_PER_APPLY_MAX),
        receipts: state.receipts.answered_due(steady, bounds, LAPSED_PER_APPLY_MAX),
        proposals: state.receipts.proposals_due(steady, bounds, LAPSED_PER_APPLY_MAX),
        messages: abandoned_messages(state),
    };
    let idle = upkeep.trim_through.is_none()
        && upkeep.sessions == 0
        && upkeep.receipts == 0
        && upkeep.proposals == 0
        && upkeep.messages.is_empty();
    if idle { None } else { Some(upkeep) }
}

/// The unfinished messages that go, each with the record that removes it. Those that have lapsed wait for room in the
/// log. One above the bound does not: it is there because of the command that has just been applied, which had room.
fn abandoned_messages(state: &HubState) -> Vec<(MessageId, Arc<Record>)> {
    let has_room = check_room(state, LOG_BUDGETS_FOR_STEPS).is_ok();
    let lapsed_max = if has_room { LAPSED_PER_APPLY_MAX } else { 0 };
    let due = state.open_messages.due(state.steady(), &state.bounds, lapsed_max);
    // Numbered once it is certain that each is there: ids are dense.
    let due = due.into_iter().filter_map(|(message, forum)| Some((message, state.forum(forum)?)));
    let removed = due.zip(1..).map_while(|((message, forum), ahead)| {
        let id = state.newest().checked_add(ahead).and_then(TaskId::new)?;
        let (epoch, forum) = (forum.epoch, forum.id);
        let row = v1::MessageRemoved { id: message.get(), forum_id: forum.get() };
        let body = FactsBody::of_hubs(epoch, FactKind::MessageRemoved(row));
        Some((message, Record::new(id, state.now, Some(forum), RecordBody::Facts(body))))
    });
    removed.collect()
}

fn known_forum(state: &HubState, id: ForumId) -> Result<&Forum, v1::Rejection> {
    state.forum(id).ok_or_else(|| rejection(RejectionCode::UnknownForum, id.get().into(), 0))
}

fn known_peer(state: &HubState, id: PeerId) -> Result<&Peer, v1::Rejection> {
    state.peer(id).ok_or_else(|| rejection(RejectionCode::UnknownPeer, id.get().into(), 0))
}

/// A known peer that is not removed: one that is may do nothing, and nothing is given to it.
fn present_peer(state: &HubState, id: PeerId) -> Result<&Peer, v1::Rejection> {
    let peer = known_peer(state, id)?;
    if peer.state == PeerState::Removed { Err(not_taking(peer)) } else { Ok(peer) }
}

fn not_taking(peer: &Peer) -> v1::Rejection {
    let current = v1::PeerState::from(peer.state) as i32;
    rejection(RejectionCode::PeerState, peer.id.get().into(), current.unsigned_abs().into())
}

/// Whether the log has room for a command that brings new work. Where a forum's replicas are all away, the log's end is
/// held back for them and the log outgrows its budget. Work is refused then; answers and the steps that bring replicas
/// back still fit, so the log can shrink again.
fn check_room_for_work(state: &HubState) -> Result<(), v1::Rejection> {
    check_room(state, LOG_BUDGETS_FOR_WORK)
}

fn check_room(state: &HubState, budgets: u64) -> Result<(), v1::Rejection> {
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
fn next_record(state: &HubState, ahead: u64) -> Result<TaskId, v1::Rejection> {
    check_room(state, LOG_BUDGETS_FOR_STEPS)?;
    state.newest().checked_add(1 + ahead).and_then(TaskId::new).ok_or_else(exhausted)
}

fn next_message(state: &HubState) -> Result<MessageId, v1::Rejection> {
    if state.next_message > u64::from(state.bounds.message_id_max) {
        return Err(exhausted());
    }
    u32::try_from(state.next_message).ok().and_then(MessageId::new).ok_or_else(exhausted)
}

fn next_user(state: &HubState) -> Result<u32, v1::Rejection> {
    if state.next_user > u64::from(state.bounds.user_id_max) {
        return Err(exhausted());
    }
    u32::try_from(state.next_user).map_err(|_| exhausted())
}

/// An id that names one command was used for another.
fn other_command() -> v1::Rejection {
    rejection(RejectionCode::Malformed, 0, 0)
}

fn full(bound: u64) -> v1::Rejection {
    rejection(RejectionCode::Full, 0, bound)
}

fn exhausted() -> v1::Rejection {
    rejection(RejectionCode::IdsExhausted, 0, 0)
}

fn rejection(code: RejectionCode, held: u64, current: u64) -> v1::Rejection {
    v1::Rejection { code: code.into(), held, current }
}
