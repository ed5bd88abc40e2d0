//! Reads: answered here, from a window that holds everything acknowledged before the call. Never write.

use loop_atomjump::{Answer, Session, render, render_plain};
use loop_proto::{
    breakage::{self, Breakage},
    ids::ForumId,
    v1,
};
use tokio::time::Instant;

use super::{fresh, rendered};
use crate::{
    gateway::{CallError, ClientCall},
    hub::Hub,
};

/// Serves a read, at the latest at `deadline`.
pub async fn read(hub: &Hub, call: &ClientCall, deadline: Instant) -> Result<Answer, CallError> {
    if let Some(answer) =
        rendered(hub, call, None).as_ref().map(render_plain).unwrap_or_else(|refused| Some(refused.clone()))
    {
        return Ok(answer);
    }
    if !breakage::is_on(Breakage::UnfencedRead) {
        fresh(hub, deadline).await?;
    }
    let forum = call.forum.and_then(|key| hub.state.read(|state| state.forum_by_key(key)));
    show(hub, call, forum, None, deadline).await
}

/// Makes the answer to a read, or to a write that is committed, from what is applied here.
pub(super) async fn show(
    hub: &Hub,
    call: &ClientCall,
    forum: Option<ForumId>,
    receipt: Option<&v1::Receipt>,
    deadline: Instant,
) -> Result<Answer, CallError> {
    let asked = match rendered(hub, call, forum) {
        Ok(asked) => asked,
        Err(refused) => return Ok(refused),
    };
    let record = hub.state.read(|state| state.session(&call.request.session_id).cloned());
    let session = Session::of(record.as_ref());
    match forum {
        Some(forum) => {
            hub.traffic.read(forum);
            hub.windows.read(forum, deadline, |view| render(&asked, session, receipt, view)).await
        }
        None => hub.windows.read_nothing(deadline, |view| render(&asked, session, receipt, view)).await,
    }
}
