//! Closes forums in which there has been nothing for long enough. The log decides once more when it comes to it: whoever writes
//! into one in this moment keeps it.

use std::time::Duration;

use futures::future::join_all;
use loop_proto::{
    ids::ForumId,
    v1::{self, command},
};
use tokio::time::Instant;

use super::context::{LeaderContext, TRIED_FOR};
use crate::log::ProposeError;

/// How often it is looked for some.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Forums closed at once, so that a night after many visitors does not flood the log.
const CLOSED_AT_ONCE: usize = 64;

/// When it was looked last.
#[derive(Default)]
pub(super) struct Closing {
    looked_at: Option<Instant>,
}

impl Closing {
    /// Looks if it is time to, and proposes what is due.
    pub(super) async fn step(&mut self, cx: &LeaderContext, now: Instant) {
        if self.looked_at.is_some_and(|at| now.duration_since(at) < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(now);
        let due: Vec<ForumId> =
            cx.log.read(|state| state.forums_to_close().take(CLOSED_AT_ONCE).map(|forum| forum.id).collect());
        join_all(due.into_iter().map(|forum| close(cx, forum))).await;
    }
}

/// Not tried again here: the next look finds it once more.
async fn close(cx: &LeaderContext, forum: ForumId) {
    let body = command::Body::CloseForum(v1::CloseForum { forum_id: forum.get(), forced: false });
    match cx.log.propose(body, TRIED_FOR).await {
        Err(ProposeError::Rejected(no)) => {
            tracing::debug!(%forum, code = ?no.code(), "a forum is not closed: somebody uses it after all");
        }
        Ok(_) => tracing::info!(%forum, "closed a forum in which nobody has left anything"),
        Err(error) => tracing::debug!(%forum, %error, "could not close a forum"),
    }
}
