//! Answers: who may give one, and what it may change.

use std::sync::Arc;

use bytes::Bytes;
use loop_atomjump::{Claim, Extent};
use loop_proto::{
    breakage::{self, Breakage},
    ids::{RequestId, TaskId},
    v1::{self, RejectionCode, outcome::Kind},
};
use prost::Message;

use super::{
    super::{
        command::AnswerTask,
        evolve::Change,
        judge::judge,
        open_messages::Step,
        record::{FactsBody, Record, RecordBody, TaskBody},
        sessions::{self, Session, SessionId},
        state::HubState,
    },
    decision::{Decided, Decision, known_forum, known_peer, next_record, present_peer, rejection},
};

pub(super) fn answer_task(state: &HubState, proposal: RequestId, command: AnswerTask) -> Decided {
    let forum = known_forum(state, command.forum)?;
    known_peer(state, command.peer)?;
    let open = state.open_task(command.task).filter(|record| record.forum == Some(command.forum));
    let Some((record, task)) = open.and_then(|record| Some((record, record.task()?))) else {
        return answer_again(state, proposal, &command);
    };
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
    let (held, most) = (command.facts.len() as u64, state.bounds.facts_bytes_max);
    if held > most {
        return Err(rejection(RejectionCode::Malformed, held, most));
    }
    let Ok(facts) = v1::Facts::decode(command.facts.clone()) else {
        return Err(rejection(RejectionCode::Malformed, held, 0));
    };
    check_rules(state, record, task, &facts, &command)?;
    let id = next_record(state, 0)?;
    Ok(Decision {
        answer: task_answered(id.get()),
        changes: changes(state, id, task, &facts, command, proposal),
    })
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

/// An answer must be what its task allows.
fn check_rules(
    state: &HubState,
    record: &Record,
    task: &TaskBody,
    facts: &v1::Facts,
    command: &AnswerTask,
) -> Result<(), v1::Rejection> {
    if breakage::is_on(Breakage::ConformUnchecked) {
        return Ok(());
    }
    let claim = Claim {
        facts: &facts.facts,
        session: command.session.as_ref(),
        receipt: &command.receipt,
        is_open: Some(task.open_message.is_some_and(|id| state.open_messages.contains(id))),
    };
    judge(record, task, &claim, Extent::ButForText)
        .map_err(|rule| rejection(RejectionCode::BreaksRules, rule.number().into(), 0))
}

/// One record, `id`, that closes the task. It holds the facts as they were understood and checked: bytes that mean nothing to
/// this version do not get into the log.
fn changes(
    state: &HubState,
    id: TaskId,
    task: &TaskBody,
    facts: &v1::Facts,
    command: AnswerTask,
    proposal: RequestId,
) -> Vec<Change> {
    let session = changed_session(state, id, task, command.session.as_ref());
    let body = FactsBody {
        task: Some(command.task),
        peer: Some(command.peer),
        epoch: command.epoch,
        facts: Bytes::from(facts.encode_to_vec()),
        receipt: Some(Arc::new(command.receipt)),
    };
    let record = Record::new(id, state.now, Some(command.forum), RecordBody::Facts(body));
    let steps = facts.facts.iter().filter_map(|fact| Step::of(fact, command.forum, state.steady()));
    let steps = steps.map(|step| Change::MessageStepped { forum: command.forum, step });
    std::iter::once(Change::TaskAnswered { proposal, record }).chain(steps).chain(session).collect()
}

/// What an answer changed of its task's session goes into the newest record of it, so that changes of several tasks add up.
/// One that has lapsed meanwhile, or is another user's by now, is left alone.
fn changed_session(
    state: &HubState,
    version: TaskId,
    task: &TaskBody,
    change: Option<&v1::SessionChange>,
) -> Option<Change> {
    let (change, shown) = (change?, task.session.as_ref()?);
    let id = SessionId::parse(&shown.id)?;
    let kept = state.sessions.get(&id).filter(|kept| kept.user_id == shown.user_id)?;
    let record = sessions::changed(kept, change, version, state.now);
    Some(Change::SessionStored(id, Session { record, stored_at: state.now }))
}

fn task_answered(record_id: u64) -> Kind {
    Kind::TaskAnswered(v1::TaskAnswered { record_id })
}
