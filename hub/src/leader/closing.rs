//! Closes forums in which there has been nothing for long enough. The log decides once more when it comes to it: whoever writes
//! into one in this moment keeps it.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use loop_proto::{
    ids::ForumId,
    v1::{self, command, outcome},
};
use tokio::time::Instant;

use crate::hub::Hub;

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
    pub(super) async fn step(&mut self, hub: &Arc<Hub>, now: Instant) {
        if self.looked_at.is_some_and(|at| now.duration_since(at) < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(now);
        let due: Vec<ForumId> = hub
            .state
            .read(|state| state.forums_to_close().take(CLOSED_AT_ONCE).map(|forum| forum.id).collect());
        join_all(due.into_iter().map(|forum| close(hub, forum))).await;
    }
}

/// Not tried again here: the next look finds it once more.
async fn close(hub: &Arc<Hub>, forum: ForumId) {
    let body = command::Body::CloseForum(v1::CloseForum { forum_id: forum.get(), forced: false });
    match hub.proposer.propose(hub.new_request_id(), body, Duration::from_secs(1)).await {
        Ok(v1::Outcome { kind: Some(outcome::Kind::Rejection(no)) }) => {
            tracing::debug!(%forum, code = ?no.code(), "a forum is not closed: somebody uses it after all");
        }
        Ok(_) => tracing::info!(%forum, "closed a forum in which nobody has left anything"),
        Err(error) => tracing::debug!(%forum, %error, "could not close a forum"),
    }
}
