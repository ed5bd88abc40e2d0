//! A peer that was below the trim point: records of its forums are missing from its copies for ever, so they are to be
//! copied anew before it may answer for them again.

use futures::{StreamExt, stream};
use loop_proto::{
    ids::{ForumId, PeerId},
    v1::{self, RejectionCode, command},
};
use tokio::time::Instant;

use super::context::PeersContext;
use crate::log::{PROPOSE_WITHIN, ProposeError};

/// Proposals under way at once.
const AT_ONCE: usize = 256;

/// Makes every copy of `peer` one that is to be replaced. `false`: not now, the peer comes again.
pub(super) async fn restart_replicas(cx: &PeersContext, peer: PeerId) -> bool {
    let deadline = Instant::now() + PROPOSE_WITHIN;
    if cx.log.fresh(deadline).await.is_err() {
        return false;
    }
    let due: Vec<ForumId> = cx.log.read(|state| state.forums_of(peer).map(|forum| forum.id).collect());
    tracing::warn!(%peer, forums = due.len(), "a peer was away longer than the log is kept and starts over");
    let proposals = due.into_iter().map(|forum| async move {
        let restart = v1::RestartReplica { forum_id: forum.get(), peer_id: peer.get() };
        let body = command::Body::RestartReplica(restart);
        let outcome = cx.log.propose(body, PROPOSE_WITHIN).await;
        match outcome {
            Err(ProposeError::Rejected(rejection)) => {
                tell_refusal(peer, forum, rejection.code());
                true
            }
            Ok(_) => true,
            Err(_) => false,
        }
    });
    let all: Vec<bool> = stream::iter(proposals).buffer_unordered(AT_ONCE).collect().await;
    all.into_iter().all(|done| done) && cx.log.fresh(Instant::now() + PROPOSE_WITHIN).await.is_ok()
}

fn tell_refusal(peer: PeerId, forum: ForumId, code: RejectionCode) {
    match code {
        RejectionCode::LastReplica => tracing::error!(
            %peer, %forum,
            "records of this forum are lost: its only copy missed them, and the log has them no more"
        ),
        code => tracing::info!(%peer, %forum, ?code, "a copy needs no restart"),
    }
}
