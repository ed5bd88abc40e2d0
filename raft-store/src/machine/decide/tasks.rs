//! Tasks, the users that their sessions get, and the log's end.

use std::sync::Arc;

use loop_atomjump::{fake_ip, new_rows};
use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumId, MessageId, RequestId, TaskId},
    v1::{self, RejectionCode, fact::Kind as FactKind, outcome::Kind},
};

use super::{
    super::{
        command::AppendTask,
        evolve::Change,
        forum::Forum,
        record::{FactsBody, Record, RecordBody, TaskBody},
        sessions::{self, Session, SessionId},
        state::HubState,
    },
    decision::{
        Decided, Decision, check_room_for_work, full, known_forum, next_message, next_record, next_user,
        other_command, rejection,
    },
};

/// How many records one command trims at most: milliseconds of freeing memory, which every command behind it waits for.
pub(super) const TRIM_PER_APPLY_MAX: u64 = 50_000;

pub(super) fn append_task(state: &HubState, request: RequestId, command: AppendTask) -> Decided {
    let forum = known_forum(state, command.forum)?;
    let seen = state.receipts.request(request);
    if let Some(seen) = seen.filter(|_| !breakage::is_on(Breakage::DuplicateOnResend)) {
        // The forum it was answered in may have been closed since, and opened anew: it is answered all the same.
        if seen.forum != command.forum && state.forum(seen.forum).is_some() {
            return Err(other_command());
        }
        let receipt = seen.answer.as_ref().map(|answer| v1::Receipt::clone(&answer.receipt));
        return Ok(Decision::unchanged(task_appended(seen.task, seen.message, true, receipt)));
    }
    check_task_bounds(state, forum, command.request.len() as u64)?;
    check_room_for_work(state)?;
    let session = command.session.map(|id| SessionOfTask::find(state, id)).transpose()?;
    let ahead = session.as_ref().map_or(0, |session| u64::from(session.made_user.is_some()));
    let id = next_record(state, ahead)?;
    let user = session.as_ref().map(|session| session.record.user_id);
    let table = &state.open_messages;
    let is_open = |named: &MessageId| table.is_of(*named, command.forum, user, &address_without_session());
    // What was begun and has lapsed since, or went with its forum, is sent anew: its author must not be told that it was kept.
    let comes_late = |named: MessageId| {
        let is_here = |of: ForumId| of == command.forum || state.was_closed(of);
        table.has_lapsed(named, is_here, user, &address_without_session())
    };
    let creates = command.creates_message || command.named_message.is_some_and(comes_late);
    let message_id = if creates { Some(next_message(state)?) } else { None };
    let body = RecordBody::Task(TaskBody {
        request_id: request,
        request: command.request,
        message_id,
        session: session.as_ref().map(|session| Arc::clone(&session.record)),
        open_message: command.named_message.filter(is_open),
    });
    let record = Record::new(id, state.now, Some(command.forum), body);
    let bytes = state.tasks.open_bytes().saturating_add(record.bytes());
    if bytes > state.bounds.open_tasks_bytes_max {
        return Err(full(state.bounds.open_tasks_bytes_max));
    }
    let mut changes = session.map_or(Vec::new(), |session| session.changes(state));
    changes.push(Change::RecordAppended(record));
    Ok(Decision { answer: task_appended(id, message_id, false, None), changes })
}

/// The address that authors without a session, which are robots, have in common.
fn address_without_session() -> String {
    fake_ip(b"")
}

/// A task's session, and the user made for it if it had none.
struct SessionOfTask {
    id: SessionId,
    record: Arc<v1::SessionRecord>,
    made_user: Option<(u32, Arc<Record>)>,
}

impl SessionOfTask {
    /// The session as it is kept, else a new one with a new user.
    fn find(state: &HubState, id: SessionId) -> Result<Self, v1::Rejection> {
        if let Some(record) = state.sessions.get(&id) {
            return Ok(Self { id, record: Arc::clone(record), made_user: None });
        }
        let (user, at) = (next_user(state)?, next_record(state, 0)?);
        let row = new_rows::anonymous_user(user, id.as_str(), state.now);
        let body = RecordBody::Facts(FactsBody::of_hubs(Default::default(), FactKind::UserStored(row)));
        let made = Record::new(at, state.now, None, body);
        Ok(Self { id, record: sessions::new(&id, user, at, state.now), made_user: Some((user, made)) })
    }

    /// The user first, then what refers to it. The session's age begins anew with each task.
    fn changes(self, state: &HubState) -> Vec<Change> {
        let made = self.made_user.map(|(user, record)| Change::UserMade { user, record });
        let session = Session { record: self.record, stored_at: state.now };
        let kept = !breakage::is_on(Breakage::ForgottenSession);
        made.into_iter().chain(kept.then_some(Change::SessionStored(self.id, session))).collect()
    }
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
