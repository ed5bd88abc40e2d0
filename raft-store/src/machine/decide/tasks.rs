//! Tasks, their answers, facts of reads, and the log's end.

use std::sync::Arc;

use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumEpoch, ForumId, MessageId, PeerId, RequestId, TaskId},
    v1::{self, RejectionCode, outcome::Kind},
};

use super::{
    super::{
        command::{AnswerTask, AppendTask, NewFacts, NewSession, StoreFacts},
        evolve::Change,
        forum::Forum,
        receipts::Made,
        record::{FactsBody, Record, RecordBody, TaskBody},
        sessions,
        state::HubState,
    },
    Decided, Decision, check_room_for_work, full, known_forum, known_peer, next_message, next_record,
    other_command, present_peer, rejection,
};

/// How many records one command trims at most: milliseconds of freeing memory, which every command behind it waits for.
pub(super) const TRIM_PER_APPLY_MAX: u64 = 50_000;

pub(super) fn append_task(state: &HubState, request: RequestId, command: AppendTask) -> Decided {
    let forum = known_forum(state, command.forum)?;
    let seen = state.receipts.request(request);
    if let Some(seen) = seen.filter(|_| !breakage::is_on(Breakage::DuplicateOnResend)) {
        if seen.forum != command.forum {
            return Err(other_command());
        }
        let receipt = seen.answer.as_ref().map(|answer| v1::Receipt::clone(&answer.receipt));
        return Ok(Decision::unchanged(task_appended(seen.task, seen.message, true, receipt)));
    }
    check_task_bounds(state, forum, command.request.len() as u64)?;
    check_room_for_work(state)?;
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

pub(super) fn answer_task(state: &HubState, proposal: RequestId, command: AnswerTask) -> Decided {
    let forum = known_forum(state, command.forum)?;
    known_peer(state, command.peer)?;
    let open = state.open_task(command.task).filter(|record| record.forum == Some(command.forum));
    if open.is_none() {
        return answer_again(state, proposal, &command);
    }
    present_peer(state, command.peer)?;
    let fenced = !breakage::is_on(Breakage::EpochUnchecked);
    if command.epoch != forum.epoch && fenced {
        return Err(rejection(RejectionCode::StaleEpoch, command.epoch.0, forum.epoch.0));
    }
    if command.peer != forum.primary && fenced {
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

pub(super) fn store_facts(state: &HubState, proposal: RequestId, command: StoreFacts) -> Decided {
    match state.receipts.proposal(proposal) {
        Some(Made::Facts { forum, record }) if forum == command.forum => {
            return Ok(Decision::unchanged(facts_stored(record)));
        }
        Some(_) => return Err(other_command()),
        None => {}
    }
    let forum = known_forum(state, command.forum)?;
    present_peer(state, command.peer)?;
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
    check_room_for_work(state)?;
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
    let kept = facts.sessions.into_iter().filter(|_| !breakage::is_on(Breakage::ForgottenSession));
    let sessions = kept.map(|session| sessions::own(session.record, id.get())).collect();
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

/// The answer says how far it came; whoever wants more asks again. `through` is the leader's own judgement;
/// `kept_through` is what the budget may take without asking.
pub(super) fn trim_tasks(state: &HubState, through: u64, kept_through: u64) -> Decision {
    let reach = state.trimmed_through().saturating_add(TRIM_PER_APPLY_MAX).min(state.newest());
    let through = through.clamp(state.trimmed_through(), reach);
    let kept_through = kept_through.min(state.newest());
    let mut changes = Vec::new();
    if through > state.trimmed_through() {
        changes.push(Change::Trimmed { through });
    }
    if kept_through > state.kept_through {
        changes.push(Change::KeptThrough(kept_through));
    }
    Decision { answer: Kind::TasksTrimmed(v1::TasksTrimmed { through }), changes }
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
