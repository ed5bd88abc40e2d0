//! Writes: opens the forum if need be, appends the task, waits until its answer is committed, then shows the forum.

use std::time::Duration;

use futures::join;
use loop_atomjump::{Answer, Call, new_rows, render_plain};
use loop_hub_edge::gateway::{CallError, ClientCall, Opening};
use loop_proto::{
    ids::{ForumId, RequestId, TaskId},
    v1::{self, RejectionCode},
};
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};

use super::{parts::Calls, waiters::Place};
use crate::log::ProposeError;

/// How long it is waited until a committed answer that could not be shown is tried again.
const SHOW_AGAIN: Duration = Duration::from_millis(50);
/// How often a forum is looked for that is closed in the very moment somebody writes into it.
const APPENDS_MAX: usize = 3;
/// Open tasks of one hub's browsers; more would only wait in line.
pub const WAITING_MAX: usize = 8192;

impl Calls {
    /// Serves a write.
    pub async fn write(&self, call: ClientCall, deadline: Instant) -> Result<Answer, CallError> {
        if self.log.is_full() || self.waiters.len() >= WAITING_MAX {
            return Err(CallError::Overloaded);
        }
        let asked = self.decoded(&call);
        let mut place = self.waiters.enter(call.request_id);
        let Some((forum, appended)) = self.append_to_forum(&call, deadline).await? else {
            // There is nothing to change in a forum nobody has opened.
            return match asked {
                Ok(mut asked) => self.show(&call, &mut asked, None, None, deadline).await,
                Err(refused) => Ok(refused),
            };
        };
        let task = TaskId::new(appended.task_id).ok_or(CallError::Indeterminate)?;
        if appended.duplicate {
            self.follow_first(call.request_id, task, appended.receipt, deadline).await?;
        }
        let shows_forum = asked.as_ref().is_ok_and(|asked| render_plain(asked).is_none());
        let prepared = async {
            if shows_forum {
                self.windows.prepare(forum, deadline).await;
            }
        };
        // Rows that are on their way when the answer comes are worth waiting for: it is shown from them.
        let (receipt, ()) = join!(wait(&mut place, deadline), prepared);
        let receipt = receipt?;
        match asked {
            Ok(mut asked) => self.show_committed(&call, &mut asked, forum, &receipt, deadline).await,
            Err(refused) => Ok(refused),
        }
    }

    /// Appends the task to the call's forum; `None`: nobody has opened it, and this call opens none. A forum that is closed in this
    /// very moment is looked for once more, and opened anew.
    async fn append_to_forum(
        &self,
        call: &ClientCall,
        deadline: Instant,
    ) -> Result<Option<(ForumId, v1::TaskAppended)>, CallError> {
        for _ in 0..APPENDS_MAX {
            let forum = if let Some(opening) = &call.opens {
                self.open(call, opening, deadline).await?
            } else {
                self.log.fresh(deadline).await?;
                match self.forum_of(call) {
                    Some(forum) => forum,
                    None => return Ok(None),
                }
            };
            if let Some(appended) = self.append(forum, call, deadline).await? {
                return Ok(Some((forum, appended)));
            }
            // This hub may not know yet that the forum is closed.
            self.log.fresh(deadline).await?;
        }
        Err(CallError::Overloaded)
    }

    /// It is committed: nobody may be told that nothing was written, and who can be shown it within the time is. A hub that has only
    /// just come does not know yet where the peers are.
    async fn show_committed(
        &self,
        call: &ClientCall,
        asked: &mut Call,
        forum: ForumId,
        receipt: &v1::Receipt,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        loop {
            match self.show(call, asked, Some(forum), Some(receipt), deadline).await {
                Ok(answer) => return Ok(answer),
                Err(_) if Instant::now() + SHOW_AGAIN < deadline => sleep(SHOW_AGAIN).await,
                Err(_) => return Err(CallError::Pending),
            }
        }
    }

    /// The forum of this call; opened on the least loaded peers if nobody has opened it yet.
    async fn open(
        &self,
        call: &ClientCall,
        opening: &Opening,
        deadline: Instant,
    ) -> Result<ForumId, CallError> {
        let key = call.forum.ok_or(CallError::Full("no forum"))?;
        if let Some(forum) = self.forum_of(call) {
            return Ok(forum);
        }
        let replicas = self.placement.choose();
        if replicas.is_empty() {
            return Err(CallError::NoPeer);
        }
        let open = v1::OpenForum {
            key: key.0.to_vec().into(),
            replicas: replicas.iter().map(|peer| peer.get()).collect(),
            title: new_rows::title(&opening.name),
            decays_at_s: new_rows::decay_time(&opening.general, self.log.now()),
        };
        let opened = self.log.propose(open, deadline.saturating_duration_since(Instant::now())).await;
        let opened = opened.map_err(|error| not_opened(&error))?;
        ForumId::new(opened.forum_id).ok_or(CallError::Indeterminate)
    }

    /// `None`: there is no such forum any more.
    async fn append(
        &self,
        forum: ForumId,
        call: &ClientCall,
        deadline: Instant,
    ) -> Result<Option<v1::TaskAppended>, CallError> {
        let append = v1::AppendTask {
            forum_id: forum.get(),
            request: call.request.encode_to_vec().into(),
            session_id: call.request.session_id.clone(),
            creates_message: call.creates_message,
            named_message: call.named_message.map_or(0, |id| id.get()),
        };
        let within = deadline.saturating_duration_since(Instant::now());
        match self.log.propose_as(call.request_id, append, within).await {
            Ok(appended) => Ok(Some(appended)),
            Err(ProposeError::Rejected(no)) if no.code() == RejectionCode::UnknownForum => Ok(None),
            Err(error) => Err(not_appended(&error)),
        }
    }

    /// This request was sent before, perhaps through another hub: waits for the same task.
    async fn follow_first(
        &self,
        request: RequestId,
        task: TaskId,
        receipt: Option<v1::Receipt>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        self.waiters.appended(request, task);
        // Committed in the meantime? The log's event may have passed before this hub knew that somebody waits.
        let answered =
            || self.log.read(|state| state.request(request).and_then(|(_, _, receipt)| receipt.cloned()));
        if let Some(receipt) = receipt.or_else(answered) {
            // It may be ahead of the windows, and what is shown must hold this very message.
            self.log.fresh(deadline).await.map_err(|_| CallError::Pending)?;
            self.waiters.answered_before(request, &receipt);
        }
        Ok(())
    }
}

async fn wait(place: &mut Place<'_>, deadline: Instant) -> Result<v1::Receipt, CallError> {
    timeout_at(deadline, &mut place.receipt)
        .await
        .map_err(|_| CallError::Pending)?
        .map_err(|_| CallError::Pending)
}

fn not_opened(error: &ProposeError) -> CallError {
    match error {
        ProposeError::Rejected(rejection) if rejection.code() == RejectionCode::Full => {
            CallError::Full("no more forums can be opened")
        }
        ProposeError::Rejected(rejection) => {
            tracing::warn!(code = ?rejection.code(), "a forum could not be opened");
            CallError::NoPeer
        }
        error => not_committed(error),
    }
}

fn not_appended(error: &ProposeError) -> CallError {
    match error {
        ProposeError::Rejected(rejection) => match rejection.code() {
            RejectionCode::Full => CallError::Full("too many messages wait for a peer"),
            RejectionCode::IdsExhausted => CallError::Full("no message or user ids are left"),
            code => {
                tracing::error!(?code, "a task was refused");
                CallError::Indeterminate
            }
        },
        error => not_committed(error),
    }
}

const fn not_committed(error: &ProposeError) -> CallError {
    match error {
        ProposeError::NoLeader | ProposeError::Closed => CallError::NoLeader,
        ProposeError::Indeterminate | ProposeError::Rejected(_) => CallError::Indeterminate,
    }
}
