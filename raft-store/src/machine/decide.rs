//! Decides what a command means. Owns every rule about who may do what.
//! Never changes state: a rule that also wrote could half-apply and make the hubs diverge.

use std::sync::Arc;

use loop_proto::{
    ids::{ForumEpoch, ForumId, MessageId, PeerId, RequestId, TaskId},
    v1::{self, RejectionCode, outcome::Kind},
};

use super::{
    command::{
        AnswerTask, AppendTask, Command, NewFacts, NewSession, OpenForum, RegisterPeer, Stamped, StoreFacts,
    },
    evolve::{Change, Upkeep},
    forum::Forum,
    peers::{Peer, PeerState},
    receipts::Made,
    record::{Assignment, FactsBody, Record, RecordBody, TaskBody},
    sessions,
    state::HubState,
};

/// How much of what has lapsed one command clears away, so that no command pays for a quiet night before it.
const LAPSED_PER_APPLY_MAX: usize = 8;
/// How many records one command trims at most: milliseconds of freeing memory, which every command behind it waits for.
const TRIM_PER_APPLY_MAX: u64 = 50_000;

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
        Command::OpenForum(command) => open_forum(state, &command),
        Command::AppendTask(command) => append_task(state, request, command),
        Command::AnswerTask(command) => answer_task(state, request, command),
        Command::StoreFacts(command) => store_facts(state, request, command),
        Command::RegisterPeer(command) => register_peer(state, command),
        Command::LeaseUserIds { peer, count } => lease_user_ids(state, request, peer, count),
        Command::MovePrimary { forum, to, expected_epoch } => {
            move_primary(state, request, forum, to, expected_epoch)
        }
        Command::TrimTasks { through, .. } => Ok(trim_tasks(state, through)),
        _ => Err(other_command()),
    }
}

fn open_forum(state: &HubState, command: &OpenForum) -> Decided {
    if let Some(forum) = state.forums.by_key(command.key).and_then(|id| state.forum(id)) {
        return Ok(Decision::unchanged(forum_opened(forum.id, &forum.assignment(), true)));
    }
    check_replicas(state, &command.replicas)?;
    if state.forums.len() as u64 >= state.bounds.forums_max {
        return Err(full(state.bounds.forums_max));
    }
    let Some(id) = u32::try_from(state.forums.next_id()).ok().and_then(ForumId::new) else {
        return Err(exhausted());
    };
    let epoch = ForumEpoch(1);
    let (primary, replicas) = (command.replicas[0], command.replicas.clone());
    let assignment = Assignment { epoch, primary, replicas, joining: Vec::new(), draining: Vec::new() };
    let answer = forum_opened(id, &assignment, false);
    let forum = Forum::new(id, command.key, &assignment, state.now);
    let body = RecordBody::Assignment(assignment);
    let record = Record::new(next_record(state, 0)?, state.now, Some(id), body);
    Ok(Decision { answer, changes: vec![Change::ForumOpened(forum), Change::RecordAppended(record)] })
}

fn check_replicas(state: &HubState, replicas: &[PeerId]) -> Result<(), v1::Rejection> {
    let (held, max) = (replicas.len() as u64, state.bounds.replicas_max);
    if held == 0 || held > max {
        return Err(rejection(RejectionCode::BadReplicas, held, max));
    }
    for (at, peer) in replicas.iter().enumerate() {
        if state.peer(*peer).is_none() || replicas[..at].contains(peer) {
            return Err(rejection(RejectionCode::BadReplicas, u64::from(peer.get()), 0));
        }
    }
    Ok(())
}

fn append_task(state: &HubState, request: RequestId, command: AppendTask) -> Decided {
    let forum = known_forum(state, command.forum)?;
    if let Some(seen) = state.receipts.request(request) {
        if seen.forum != command.forum {
            return Err(other_command());
        }
        let receipt = seen.answer.as_ref().map(|answer| v1::Receipt::clone(&answer.receipt));
        return Ok(Decision::unchanged(task_appended(seen.task, seen.message, true, receipt)));
    }
    check_task_bounds(state, forum, command.request.len() as u64)?;
    let message_id = if command.creates_message { Some(next_message(state)?) } else { None };
    let id = next_record(state, 0)?;
    let session = command.session.and_then(|id| state.sessions.get(&id).map(Arc::clone));
    let body = RecordBody::Task(TaskBody {
        request_id: request,
        request: command.request,
        message_id,
        session,
        origin_hub: command.origin_hub,
    });
    let record = Record::new(id, state.now, Some(command.forum), body);
    let bytes = state.tasks.open_bytes().saturating_add(record.bytes());
    if bytes > state.bounds.open_tasks_bytes_max {
        return Err(full(state.bounds.open_tasks_bytes_max));
    }
    Ok(Decision {
        answer: task_appended(id, message_id, false, None),
        changes: vec![Change::RecordAppended(record)],
    })
}

fn check_task_bounds(state: &HubState, forum: &Forum, request_bytes: u64) -> Result<(), v1::Rejection> {
    let bounds = &state.bounds;
    if request_bytes > bounds.request_bytes_max {
        return Err(rejection(RejectionCode::Malformed, request_bytes, bounds.request_bytes_max));
    }
    if state.tasks.open_tasks().len() as u64 >= bounds.open_tasks_max {
        return Err(full(bounds.open_tasks_max));
    }
    if forum.open_tasks.len() as u64 >= bounds.open_tasks_per_forum_max {
        return Err(full(bounds.open_tasks_per_forum_max));
    }
    Ok(())
}

fn answer_task(state: &HubState, proposal: RequestId, command: AnswerTask) -> Decided {
    let forum = known_forum(state, command.forum)?;
    known_peer(state, command.peer)?;
    let open = state.open_task(command.task).filter(|record| record.forum == Some(command.forum));
    if open.is_none() {
        return answer_again(state, proposal, &command);
    }
    if command.epoch != forum.epoch {
        return Err(rejection(RejectionCode::StaleEpoch, command.epoch.0, forum.epoch.0));
    }
    if command.peer != forum.primary {
        let (held, current) = (command.peer.get(), forum.primary.get());
        return Err(rejection(RejectionCode::NotPrimary, held.into(), current.into()));
    }
    if forum.oldest_open_task() != Some(command.task) {
        let oldest = forum.oldest_open_task().map_or(0, TaskId::get);
        return Err(rejection(RejectionCode::OutOfOrder, command.task.get(), oldest));
    }
    check_facts_bounds(state, &command.facts)?;
    let closes = Closes { task: command.task, receipt: command.receipt, proposal };
    let made = facts_records(state, command.peer, command.epoch, command.forum, command.facts, Some(closes))?;
    Ok(Decision { answer: task_answered(made.newest), changes: made.changes })
}

/// An answer to a task that is not open: a retry of the answer that won, one that came too late, or nonsense.
fn answer_again(state: &HubState, proposal: RequestId, command: &AnswerTask) -> Decided {
    let won = state.receipts.answer_of(command.task).filter(|(seen, _)| seen.forum == command.forum);
    if let Some((_, answer)) = won {
        if answer.proposal == proposal {
            return Ok(Decision::unchanged(task_answered(answer.record.get())));
        }
        let winner = u64::from(answer.peer.get());
        return Err(rejection(RejectionCode::AlreadyAnswered, command.peer.get().into(), winner));
    }
    let record = state.record(command.task).filter(|record| record.forum == Some(command.forum));
    if record.is_some_and(|record| record.task().is_some()) {
        // Answered so long ago that the winner is forgotten.
        return Err(rejection(RejectionCode::AlreadyAnswered, command.peer.get().into(), 0));
    }
    Err(rejection(RejectionCode::UnknownTask, command.task.get(), 0))
}

fn store_facts(state: &HubState, proposal: RequestId, command: StoreFacts) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Facts { forum, record }) if forum == command.forum => {
            return Ok(Decision::unchanged(facts_stored(record)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    let forum = known_forum(state, command.forum)?;
    known_peer(state, command.peer)?;
    if command.epoch != forum.epoch {
        return Err(rejection(RejectionCode::StaleEpoch, command.epoch.0, forum.epoch.0));
    }
    if !forum.is_served_by(command.peer) {
        return Err(rejection(RejectionCode::NotAReplica, command.peer.get().into(), 0));
    }
    check_facts_bounds(state, &command.facts)?;
    for NewSession { id, record } in &command.facts.sessions {
        let current = state.sessions.version(id);
        if record.version != current {
            return Err(rejection(RejectionCode::StaleSession, record.version, current));
        }
    }
    let mut made = facts_records(state, command.peer, command.epoch, command.forum, command.facts, None)?;
    let record = made.newest;
    made.changes.push(Change::ProposalMade { proposal, made: Made::Facts { forum: forum.id, record } });
    Ok(Decision { answer: facts_stored(record), changes: made.changes })
}

fn check_facts_bounds(state: &HubState, facts: &NewFacts) -> Result<(), v1::Rejection> {
    let held = facts.forum.len().max(facts.directory.len()) as u64;
    if held > state.bounds.facts_bytes_max {
        return Err(rejection(RejectionCode::Malformed, held, state.bounds.facts_bytes_max));
    }
    let held = facts.sessions.iter().map(|session| session.record.data.len()).max().unwrap_or(0) as u64;
    if held > state.bounds.session_bytes_max {
        return Err(rejection(RejectionCode::Malformed, held, state.bounds.session_bytes_max));
    }
    Ok(())
}

/// The task that facts close.
struct Closes {
    task: TaskId,
    receipt: v1::Receipt,
    proposal: RequestId,
}

struct MadeRecords {
    newest: u64,
    changes: Vec<Change>,
}

/// Up to two records: the directory's facts, then the forum's with the sessions. Users come before what refers to
/// them, and whoever has applied the closing record has applied all of the answer.
fn facts_records(
    state: &HubState,
    peer: PeerId,
    epoch: ForumEpoch,
    forum: ForumId,
    facts: NewFacts,
    closes: Option<Closes>,
) -> Result<MadeRecords, v1::Rejection> {
    let mut made = MadeRecords { newest: 0, changes: Vec::with_capacity(3) };
    if !facts.directory.is_empty() {
        let id = next_record(state, 0)?;
        let body = FactsBody {
            task: None,
            peer,
            epoch,
            facts: facts.directory,
            sessions: Vec::new(),
            receipt: None,
        };
        let record = Record::new(id, state.now, None, RecordBody::Facts(body));
        made.newest = id.get();
        made.changes.push(Change::RecordAppended(record));
    }
    if closes.is_none() && facts.forum.is_empty() && facts.sessions.is_empty() {
        return Ok(made);
    }
    let id = next_record(state, made.changes.len() as u64)?;
    let sessions =
        facts.sessions.into_iter().map(|session| sessions::own(session.record, id.get())).collect();
    let (task, receipt, proposal) = match closes {
        Some(closes) => (Some(closes.task), Some(Arc::new(closes.receipt)), Some(closes.proposal)),
        None => (None, None, None),
    };
    let body = FactsBody { task, peer, epoch, facts: facts.forum, sessions, receipt };
    let record = Record::new(id, state.now, Some(forum), RecordBody::Facts(body));
    made.newest = id.get();
    made.changes.push(match proposal {
        Some(proposal) => Change::TaskAnswered { proposal, record },
        None => Change::RecordAppended(record),
    });
    Ok(made)
}

fn register_peer(state: &HubState, command: RegisterPeer) -> Decided {
    let known = state.peer_by_secret_hash(&command.secret_hash);
    let (id, registered_at, peer_state) = match known {
        Some(peer) => (peer.id, peer.registered_at, peer.state),
        None if state.peers.len() as u64 >= state.bounds.peers_max => {
            return Err(full(state.bounds.peers_max));
        }
        None => (state.peers.next_id().ok_or_else(exhausted)?, state.now, PeerState::default()),
    };
    let peer = Peer {
        id,
        name: command.name,
        secret_hash: command.secret_hash,
        owner: command.owner,
        network: command.network,
        registered_at,
        state: peer_state,
    };
    let answer = Kind::PeerRegistered(v1::PeerRegistered { peer_id: id.get() });
    if known == Some(&peer) {
        return Ok(Decision::unchanged(answer));
    }
    Ok(Decision { answer, changes: vec![Change::PeerRegistered(peer)] })
}

fn lease_user_ids(state: &HubState, proposal: RequestId, peer: PeerId, count: u32) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Lease { peer: to, first, count }) if to == peer => {
            return Ok(Decision::unchanged(leased(first, count)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    known_peer(state, peer)?;
    let left = (u64::from(state.bounds.user_id_max) + 1).saturating_sub(state.next_user);
    let count = u64::from(count.min(state.bounds.user_id_block_max)).min(left);
    let (Ok(first), Ok(count)) = (u32::try_from(state.next_user), u32::try_from(count)) else {
        return Err(exhausted());
    };
    if count == 0 {
        return Err(exhausted());
    }
    Ok(Decision {
        answer: leased(first, count),
        changes: vec![
            Change::UserIdsLeased { count },
            Change::ProposalMade { proposal, made: Made::Lease { peer, first, count } },
        ],
    })
}

fn move_primary(
    state: &HubState,
    proposal: RequestId,
    forum: ForumId,
    to: PeerId,
    expected_epoch: ForumEpoch,
) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Move { forum: of, epoch }) if of == forum => {
            return Ok(Decision::unchanged(moved(epoch)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    let forum = known_forum(state, forum)?;
    known_peer(state, to)?;
    if expected_epoch != forum.epoch {
        return Err(rejection(RejectionCode::StaleEpoch, expected_epoch.0, forum.epoch.0));
    }
    if !forum.is_served_by(to) {
        return Err(rejection(RejectionCode::NotAReplica, to.get().into(), 0));
    }
    // Also to the present primary: a new epoch refuses what that peer answered before it was restarted.
    let epoch = ForumEpoch(forum.epoch.0.checked_add(1).ok_or_else(exhausted)?);
    let assignment = Assignment::of(epoch, to, &forum.replicas);
    let body = RecordBody::Assignment(assignment);
    let record = Record::new(next_record(state, 0)?, state.now, Some(forum.id), body);
    Ok(Decision {
        answer: moved(epoch),
        changes: vec![
            Change::RecordAppended(record),
            Change::ProposalMade { proposal, made: Made::Move { forum: forum.id, epoch } },
        ],
    })
}

/// The answer says how far it came; whoever wants more asks again.
fn trim_tasks(state: &HubState, through: u64) -> Decision {
    let reach = state.trimmed_through().saturating_add(TRIM_PER_APPLY_MAX).min(state.newest());
    let through = through.clamp(state.trimmed_through(), reach);
    let answer = Kind::TasksTrimmed(v1::TasksTrimmed { through });
    if through == state.trimmed_through() {
        return Decision::unchanged(answer);
    }
    Decision { answer, changes: vec![Change::Trimmed { through }] }
}

/// What time and bounds make due after a command; `None` for nothing.
pub(super) fn upkeep(state: &HubState) -> Option<Upkeep> {
    let (bounds, now) = (&state.bounds, state.now);
    let through = state.tasks.trim_point_for(bounds.records_max, bounds.records_bytes_max);
    let upkeep = Upkeep {
        trim_through: (through > state.trimmed_through()).then_some(through),
        sessions: state.sessions.due(now, bounds, LAPSED_PER_APPLY_MAX),
        receipts: state.receipts.answered_due(now, bounds, LAPSED_PER_APPLY_MAX),
        proposals: state.receipts.proposals_due(now, bounds, LAPSED_PER_APPLY_MAX),
    };
    let idle = upkeep.trim_through.is_none()
        && upkeep.sessions == 0
        && upkeep.receipts == 0
        && upkeep.proposals == 0;
    if idle { None } else { Some(upkeep) }
}

fn known_forum(state: &HubState, id: ForumId) -> Result<&Forum, v1::Rejection> {
    state.forum(id).ok_or_else(|| rejection(RejectionCode::UnknownForum, id.get().into(), 0))
}

fn known_peer(state: &HubState, id: PeerId) -> Result<&Peer, v1::Rejection> {
    state.peer(id).ok_or_else(|| rejection(RejectionCode::UnknownPeer, id.get().into(), 0))
}

/// The id of the record that follows `ahead` others of the same command.
fn next_record(state: &HubState, ahead: u64) -> Result<TaskId, v1::Rejection> {
    state.newest().checked_add(1 + ahead).and_then(TaskId::new).ok_or_else(exhausted)
}

fn next_message(state: &HubState) -> Result<MessageId, v1::Rejection> {
    if state.next_message > u64::from(state.bounds.message_id_max) {
        return Err(exhausted());
    }
    u32::try_from(state.next_message).ok().and_then(MessageId::new).ok_or_else(exhausted)
}

fn forum_opened(id: ForumId, assignment: &Assignment, existed: bool) -> Kind {
    Kind::ForumOpened(v1::ForumOpened { forum_id: id.get(), assignment: Some(assignment.into()), existed })
}

fn task_appended(
    task: TaskId,
    message: Option<MessageId>,
    duplicate: bool,
    receipt: Option<v1::Receipt>,
) -> Kind {
    let message_id = message.map(MessageId::get);
    Kind::TaskAppended(v1::TaskAppended { task_id: task.get(), message_id, duplicate, receipt })
}

fn task_answered(record_id: u64) -> Kind {
    Kind::TaskAnswered(v1::TaskAnswered { record_id })
}

fn facts_stored(record_id: u64) -> Kind {
    Kind::FactsStored(v1::FactsStored { record_id })
}

fn leased(first: u32, count: u32) -> Kind {
    Kind::UserIdsLeased(v1::UserIdsLeased { first, count })
}

fn moved(epoch: ForumEpoch) -> Kind {
    Kind::PrimaryMoved(v1::PrimaryMoved { epoch: epoch.0 })
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
