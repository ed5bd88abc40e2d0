//! What a peer says about copies: its answer to an invitation, a copy installed, a digest, a copy it will not give.
//!
//! Checked here, then proposed or passed on. What the log makes of it comes back to the peer with the log.

use std::sync::Arc;

use loop_proto::{
    ids::{ForumId, TaskId},
    v1::{self, command, link_reply},
};
use loop_raft_store::machine::HubState;
use tokio::time::Instant;

use super::{
    answers::{self, NotTaken},
    context::PeersContext,
};
use crate::{log::ProposeError, mesh::presence::PeerConnection};

/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

type Taken = Result<(), &'static str>;

/// The invited peer's word.
pub(super) async fn answered(
    cx: &PeersContext,
    connection: &Arc<PeerConnection>,
    reply: v1::InvitationReply,
) -> Result<(), NotTaken> {
    if !is_invited(cx, connection, reply.forum_id, reply.invitation_id).await? {
        return Ok(());
    }
    if !reply.accepted {
        let (peer, forum) = (connection.peer, reply.forum_id);
        tracing::info!(%peer, forum, reason = ?reply.reason(), "a peer has rejected an invitation");
    }
    let answer = command::Body::AnswerInvitation(v1::AnswerInvitation {
        forum_id: reply.forum_id,
        invitation_id: reply.invitation_id,
        peer_id: connection.peer.get(),
        accepted: reply.accepted,
        reason: if reply.accepted { 0 } else { reply.reason().into() },
    });
    propose(cx, connection, answer, "the answer to an invitation").await;
    Ok(())
}

/// The checkpoint is installed.
pub(super) async fn seeded(
    cx: &PeersContext,
    connection: &Arc<PeerConnection>,
    seeded: v1::Seeded,
) -> Result<(), NotTaken> {
    if !is_invited(cx, connection, seeded.forum_id, seeded.invitation_id).await? {
        return Ok(());
    }
    let seed = command::Body::SeedReplica(v1::SeedReplica {
        forum_id: seeded.forum_id,
        invitation_id: seeded.invitation_id,
        peer_id: connection.peer.get(),
        cursor: seeded.cursor,
    });
    propose(cx, connection, seed, "an installed copy").await;
    Ok(())
}

/// A digest, for whoever asked for it on whichever hub.
pub(super) fn audited(cx: &PeersContext, connection: &PeerConnection, report: v1::AuditReport) -> Taken {
    check_ids(report.forum_id, report.record_id)?;
    if report.digest.len() != DIGEST_BYTES {
        return Err("a digest that is none");
    }
    let peer = connection.peer;
    let holds = |forum| cx.log.read(|state| state.forum(forum).is_some_and(|f| f.replica(peer).is_some()));
    // Its forum may just have been given to another peer.
    if ForumId::new(report.forum_id).is_some_and(holds) {
        cx.mesh.audits.keep(peer, &report, Instant::now());
        cx.mesh.audits.heard(peer, &report);
        cx.mesh
            .links
            .tell(link_reply::Kind::Audit(v1::LinkAudit { peer_id: peer.get(), report: Some(report) }));
    }
    Ok(())
}

/// Whether the peer is on its way to a forum by this invitation. What is said of one that is over, or that there never was, is not
/// proposed: it would change nothing, and a peer could fill the log with it.
async fn is_invited(
    cx: &PeersContext,
    connection: &PeerConnection,
    forum: u32,
    invitation: u64,
) -> Result<bool, NotTaken> {
    check_ids(forum, invitation)?;
    answers::is_in_the_log(cx, invitation).await?;
    let joins = |state: &HubState| {
        let forum = state.forum(ForumId::new(forum)?)?;
        Some(forum.replica(connection.peer)?.joining()?.invitation.get() == invitation)
    };
    Ok(cx.log.read(joins) == Some(true))
}

fn check_ids(forum: u32, record: u64) -> Taken {
    ForumId::new(forum).ok_or("no forum")?;
    TaskId::new(record).ok_or("no record")?;
    Ok(())
}

async fn propose(
    cx: &PeersContext,
    connection: &Arc<PeerConnection>,
    body: command::Body,
    what: &'static str,
) {
    let connection = connection.clone();
    let on_outcome = move |outcome| match outcome {
        Err(ProposeError::Rejected(rejection)) => {
            // The invitation was closed meanwhile, or this was said before: the log tells the peer.
            tracing::debug!(peer = %connection.peer, code = ?rejection.code(), what, "refused");
        }
        Ok(_) => {}
        // A peer says it again on a new connection.
        Err(_) => drop(connection.gone.send_replace(true)),
    };
    cx.log.submit(body, on_outcome).await;
}
