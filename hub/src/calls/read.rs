//! Reads: answered here, from a window that holds everything acknowledged before the call. Never write.

use loop_atomjump::{Answer, Call, Session, render, render_plain};
use loop_proto::{
    breakage::{self, Breakage},
    ids::ForumId,
    v1,
};
use tokio::time::Instant;

use super::{decoded, forum_of, fresh, now};
use crate::{
    gateway::{CallError, ClientCall},
    hub::Hub,
};

/// Serves a read, at the latest at `deadline`.
pub async fn read(hub: &Hub, call: &ClientCall, deadline: Instant) -> Result<Answer, CallError> {
    let mut asked = match decoded(hub, call) {
        Ok(asked) => asked,
        Err(refused) => return Ok(refused),
    };
    if let Some(answer) = render_plain(&asked) {
        return Ok(answer);
    }
    if !breakage::is_on(Breakage::UnfencedRead) {
        fresh(hub, deadline).await?;
    }
    let forum = forum_of(hub, call);
    let shown = show(hub, call, &mut asked, forum, None, deadline).await;
    let was_closed = |forum| hub.state.read(|state| state.was_closed(forum));
    match shown {
        // In this moment: there is nothing in it any more, and nobody who could be asked for it.
        Err(_) if forum.is_some_and(was_closed) => show(hub, call, &mut asked, None, None, deadline).await,
        shown => shown,
    }
}

/// Makes the answer to a read, or to a write that is committed, from what is applied here.
pub(super) async fn show(
    hub: &Hub,
    call: &ClientCall,
    asked: &mut Call,
    forum: Option<ForumId>,
    receipt: Option<&v1::Receipt>,
    deadline: Instant,
) -> Result<Answer, CallError> {
    asked.set_place(forum, now(hub));
    let asked = &*asked;
    let record = hub.state.read(|state| state.session(&call.request.session_id).cloned());
    let session = Session::of(record.as_deref());
    match forum {
        Some(forum) => {
            hub.traffic.read(forum);
            hub.windows.read(forum, deadline, |view| render(asked, session, receipt, view)).await
        }
        None => hub.windows.read_nothing(deadline, |view| render(asked, session, receipt, view)).await,
    }
}
