//! Writes: opens the forum if need be, appends the task, waits until its answer is committed.

use std::{sync::Arc, time::Duration};

use loop_proto::{
    ids::{ForumId, ForumKey, RequestId, TaskId},
    v1::{self, RejectionCode, command, outcome},
};
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    gateway::{CallError, ClientCall},
    hub::Hub,
    proposer::ProposeError,
    reads::{self, Read},
    waiters::{Delivery, Place},
};

/// How long a committed answer waits for its body before it is rendered again from its receipt.
const BODY_WITHIN: Duration = Duration::from_millis(150);
/// Open tasks of one hub's browsers; more would only wait in line.
pub const WAITING_MAX: usize = 8192;

/// Serves a write.
pub async fn serve(
    hub: &Arc<Hub>,
    call: ClientCall,
    deadline: Instant,
) -> Result<v1::ResponseBody, CallError> {
    if hub.proposer.is_full() || hub.waiters.len() >= WAITING_MAX {
        return Err(CallError::Overloaded);
    }
    let key = call.forum.ok_or(CallError::Full("no forum"))?;
    let forum = if call.opens_forum {
        open(hub, key, deadline).await?
    } else {
        reads::fresh(hub, deadline).await?;
        match hub.state.read(|state| state.forum_by_key(key)) {
            Some(forum) => forum,
            // There is nothing to change in a forum nobody has opened; a peer says so in AtomJump's words.
            None => return reads::serve(hub, &Read::new(None, &call), deadline).await,
        }
    };
    let mut place = hub.waiters.enter(call.request_id);
    let appended = append(hub, forum, &call, deadline).await?;
    let task = TaskId::new(appended.task_id).ok_or(CallError::Indeterminate)?;
    if appended.duplicate {
        follow_first(hub, call.request_id, task, appended.receipt.as_ref());
    }
    match wait(hub, call.request_id, &mut place, deadline).await? {
        Delivery::Body(body) => Ok(body),
        Delivery::Receipt(receipt) => {
            let read = Read { receipt: Some(receipt), ..Read::new(Some(forum), &call) };
            reads::serve(hub, &read, deadline).await
        }
    }
}

/// The forum of this key; opened on the least loaded peers if nobody has opened it yet.
pub async fn open(hub: &Hub, key: ForumKey, deadline: Instant) -> Result<ForumId, CallError> {
    if let Some(forum) = hub.state.read(|state| state.forum_by_key(key)) {
        return Ok(forum);
    }
    let replicas = hub.placement.choose(hub);
    if replicas.is_empty() {
        return Err(CallError::NoPeer);
    }
    let open = command::Body::OpenForum(v1::OpenForum {
        key: key.0.to_vec().into(),
        replicas: replicas.iter().map(|peer| peer.get()).collect(),
    });
    let within = deadline.saturating_duration_since(Instant::now());
    match hub.proposer.propose(hub.new_request_id(), open, within).await.map_err(call_error)?.kind {
        Some(outcome::Kind::ForumOpened(opened)) => {
            ForumId::new(opened.forum_id).ok_or(CallError::Indeterminate)
        }
        Some(outcome::Kind::Rejection(rejection)) => match rejection.code() {
            RejectionCode::Full => Err(CallError::Full("no more forums can be opened")),
            code => {
                tracing::warn!(?code, "a forum could not be opened");
                Err(CallError::NoPeer)
            }
        },
        _ => Err(CallError::Indeterminate),
    }
}

async fn append(
    hub: &Hub,
    forum: ForumId,
    call: &ClientCall,
    deadline: Instant,
) -> Result<v1::TaskAppended, CallError> {
    let append = command::Body::AppendTask(v1::AppendTask {
        forum_id: forum.get(),
        request: call.request.encode_to_vec().into(),
        session_id: call.request.session_id.clone(),
        creates_message: call.creates_message,
        origin_hub: hub.group.own_id(),
    });
    let within = deadline.saturating_duration_since(Instant::now());
    match hub.proposer.propose(call.request_id.0, append, within).await.map_err(call_error)?.kind {
        Some(outcome::Kind::TaskAppended(appended)) => Ok(appended),
        Some(outcome::Kind::Rejection(rejection)) => match rejection.code() {
            RejectionCode::Full => Err(CallError::Full("too many messages wait for a peer")),
            RejectionCode::IdsExhausted => Err(CallError::Full("no message ids are left")),
            code => {
                tracing::error!(?code, "a task was refused");
                Err(CallError::Indeterminate)
            }
        },
        _ => Err(CallError::Indeterminate),
    }
}

/// This request was sent before, perhaps through another hub, which then gets the body: waits for the same task.
fn follow_first(hub: &Hub, request: RequestId, task: TaskId, receipt: Option<&v1::Receipt>) {
    hub.waiters.appended(request, task);
    // Committed in the meantime? The log's event may have passed before this hub knew that somebody waits.
    let now_answered =
        hub.state.read(|state| state.request(request).and_then(|(_, _, receipt)| receipt.cloned()));
    if let Some(receipt) = receipt.or(now_answered.as_ref()) {
        hub.waiters.answered_before(request, receipt);
    }
}

async fn wait(
    hub: &Hub,
    request: RequestId,
    place: &mut Place<'_>,
    deadline: Instant,
) -> Result<Delivery, CallError> {
    loop {
        tokio::select! {
            delivery = timeout_at(deadline, &mut place.delivery) => {
                return delivery.map_err(|_| CallError::Pending)?.map_err(|_| CallError::Pending);
            }
            () = sleep(BODY_WITHIN) => {
                if hub.waiters.lacks_only_body(request) {
                    hub.waiters.give_up_on_body(request);
                }
            }
        }
    }
}

fn call_error(error: ProposeError) -> CallError {
    match error {
        ProposeError::NoLeader | ProposeError::Closed => CallError::NoLeader,
        ProposeError::Indeterminate => CallError::Indeterminate,
    }
}
