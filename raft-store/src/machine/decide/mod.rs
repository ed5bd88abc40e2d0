//! Decides what a command means. Owns every rule about who may do what.
//! Never changes state: a rule that also wrote could half-apply and make the hubs diverge.

mod answers;
mod closing;
mod content;
mod decision;
mod forums;
mod invitations;
mod peers;
mod replicas;
mod tasks;

use std::sync::Arc;

use loop_proto::{
    ids::{MessageId, TaskId},
    v1::{self, fact::Kind as FactKind},
};

use self::decision::{Decided, check_room};
use super::{
    bounds::LOG_BUDGETS_FOR_STEPS,
    command::{Command, Stamped},
    evolve::Upkeep,
    record::{FactsBody, Record, RecordBody},
    state::HubState,
};

/// How much of what has lapsed one command clears away, so that no command pays for a quiet night before it.
const LAPSED_PER_APPLY_MAX: usize = 8;

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
        Command::CloseForum { forum, forced } => closing::close_forum(state, forum, forced),
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
