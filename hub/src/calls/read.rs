//! Reads: answered here, from a window that holds everything acknowledged before the call. Never write.

use loop_atomjump::{Answer, Call, Session, render, render_plain};
use loop_hub_edge::gateway::{CallError, ClientCall};
use loop_proto::{
    breakage::{self, Breakage},
    ids::ForumId,
    v1,
};
use tokio::time::Instant;

use super::parts::Calls;
use crate::windows::{HubView, Missing};

impl Calls {
    /// Serves a read, at the latest at `deadline`.
    pub async fn read(&self, call: &ClientCall, deadline: Instant) -> Result<Answer, CallError> {
        let mut asked = match self.decoded(call) {
            Ok(asked) => asked,
            Err(refused) => return Ok(refused),
        };
        if let Some(answer) = render_plain(&asked) {
            return Ok(answer);
        }
        if !breakage::is_on(Breakage::UnfencedRead) {
            self.log.fresh(deadline).await?;
        }
        let forum = self.forum_of(call);
        let shown = self.show(call, &mut asked, forum, None, deadline).await;
        let was_closed = |forum| self.log.read(|state| state.was_closed(forum));
        match shown {
            // In this moment: there is nothing in it any more, and nobody who could be asked for it.
            Err(_) if forum.is_some_and(was_closed) => {
                self.show(call, &mut asked, None, None, deadline).await
            }
            shown => shown,
        }
    }

    /// Makes the answer to a read, or to a write that is committed, from what is applied here.
    pub(super) async fn show(
        &self,
        call: &ClientCall,
        asked: &mut Call,
        forum: Option<ForumId>,
        receipt: Option<&v1::Receipt>,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        asked.set_place(forum, self.log.now());
        let asked = &*asked;
        if let Some(forum) = forum {
            self.traffic.read(forum);
        }
        let session_id = &call.request.session_id;
        self.look(session_id, forum, deadline, |session, view| render(asked, session, receipt, view)).await
    }

    /// Makes something of what a session may see of a forum, as it is applied here.
    pub(super) async fn look<T>(
        &self,
        session_id: &str,
        forum: Option<ForumId>,
        deadline: Instant,
        render: impl Fn(Session<'_>, &HubView<'_>) -> Result<T, Missing>,
    ) -> Result<T, CallError> {
        let record = self.log.read(|state| state.session(session_id).cloned());
        let session = Session::of(record.as_deref());
        self.windows.read(forum, deadline, |view| render(session, view)).await
    }
}
