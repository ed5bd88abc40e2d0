//! What an operator changes: which peer holds a forum, how many do, what becomes of a peer.
//!
//! Each is one command. Asked again with the same request id, of this hub or another, a move is made once; the other
//! changes come to the same however often they are asked.

use std::time::Duration;

use loop_proto::{
    ids::{ForumId, PeerId, RequestId},
    v1::{self, command},
};
use loop_raft_store::machine::{Forum, PeerState};
use tokio::time::Instant;
use tonic::Status;

use super::{
    context::AdminContext,
    refusal::{Asked, refusal},
};
use crate::log::{Change, ProposeError};

/// How long a hub that is behind may take to catch up before it looks at the forum.
const FRESH_WITHIN: Duration = Duration::from_millis(1500);
/// How long a change is tried. Both together are less than hubctl waits for one hub.
const TRIED_FOR: Duration = Duration::from_millis(2500);

pub(super) async fn move_forum(
    cx: &AdminContext,
    request: v1::MoveForumRequest,
) -> Result<v1::MoveForumReply, Status> {
    let id = request_id(cx, &request.request_id)?;
    let forum = forum_id(request.forum_id)?;
    let target = peer_id(request.to_peer)?;
    let replaces = PeerId::new(request.from_peer);
    if replaces == Some(target) {
        return Err(Status::invalid_argument(format!("{target} to {target} is no move: name two peers")));
    }
    fresh(cx).await?;
    let cause = v1::InvitationCause::Operator;
    let reply = invite(cx, id, Wanted { forum, target, replaces, cause }).await?;
    if replaces.is_none() {
        keep_one_more(cx, forum).await?;
    }
    Ok(reply)
}

/// Moves the forum's last completed move back: who was replaced gets its place again.
pub(super) async fn reverse_forum(
    cx: &AdminContext,
    request: v1::ReverseForumRequest,
) -> Result<v1::MoveForumReply, Status> {
    let id = request_id(cx, &request.request_id)?;
    let forum = forum_id(request.forum_id)?;
    fresh(cx).await?;
    let last = cx.log.read(|state| state.last_completed_move(forum).map(|i| (i.target, i.replaces)));
    let Some((came, Some(left))) = last else {
        known(cx, forum)?;
        return Err(Status::failed_precondition(format!(
            "no completed move of {forum} is remembered, so there is none to reverse; `hubctl forum move` moves it"
        )));
    };
    let cause = v1::InvitationCause::Reverse;
    invite(cx, id, Wanted { forum, target: left, replaces: Some(came), cause }).await
}

pub(super) async fn forum_replicas(
    cx: &AdminContext,
    request: v1::ChangeForumReplicasRequest,
) -> Result<v1::ChangeForumReplicasReply, Status> {
    let forum = forum_id(request.forum_id)?;
    let replicas = request.replicas;
    let body = command::Body::SetForumReplicas(v1::SetForumReplicas { forum_id: request.forum_id, replicas });
    propose(cx, cx.log.new_request(), body, Asked::Replicas, Some(forum)).await?;
    tracing::info!(%forum, replicas, "an operator has set how many replicas a forum shall have");
    Ok(v1::ChangeForumReplicasReply {})
}

/// Whatever is in it.
pub(super) async fn close_forum(
    cx: &AdminContext,
    request: v1::CloseForumRequest,
) -> Result<v1::CloseForumReply, Status> {
    let forum = forum_id(request.forum_id)?;
    let body = command::Body::CloseForum(v1::CloseForum { forum_id: request.forum_id, forced: true });
    propose(cx, cx.log.new_request(), body, Asked::Close, Some(forum)).await?;
    tracing::warn!(%forum, "an operator has closed a forum; its rows are deleted everywhere");
    Ok(v1::CloseForumReply {})
}

pub(super) async fn peer_state(
    cx: &AdminContext,
    request: v1::ChangePeerStateRequest,
) -> Result<v1::ChangePeerStateReply, Status> {
    let peer = peer_id(request.peer_id)?;
    let Some(state) = PeerState::of_wire(request.state()) else {
        return Err(Status::invalid_argument("a peer's state is active, paused, draining or removed"));
    };
    let body = command::Body::SetPeerState(v1::SetPeerState {
        peer_id: peer.get(),
        state: v1::PeerState::from(state).into(),
    });
    propose(cx, cx.log.new_request(), body, Asked::PeerState, None).await?;
    tracing::info!(%peer, ?state, "an operator has set the state of a peer");
    Ok(v1::ChangePeerStateReply {})
}

struct Wanted {
    forum: ForumId,
    target: PeerId,
    replaces: Option<PeerId>,
    cause: v1::InvitationCause,
}

async fn invite(cx: &AdminContext, id: RequestId, wanted: Wanted) -> Result<v1::MoveForumReply, Status> {
    let Wanted { forum, target, replaces, cause } = wanted;
    let source = source(cx, forum, replaces)?;
    check_connected(cx, forum, target)?;
    let invite = v1::InvitePeer {
        forum_id: forum.get(),
        target: target.get(),
        source: source.get(),
        replaces: replaces.map_or(0, PeerId::get),
        cause: cause.into(),
    };
    let v1::PeerInvited { invitation_id } = propose(cx, id, invite, Asked::Invite, Some(forum)).await?;
    tracing::info!(%forum, %target, ?replaces, invitation_id, "an operator moves a forum");
    // Who asks this hub what has become of it shall find it here; if that takes too long it is there all the same.
    let _ = fresh(cx).await;
    Ok(v1::MoveForumReply { invitation_id })
}

/// An added replica is there to stay: without this, balance would take it for one too many.
async fn keep_one_more(cx: &AdminContext, forum: ForumId) -> Result<(), Status> {
    let held = cx.log.read(|state| {
        let forum = state.forum(forum)?;
        let adds = |id| state.invitation(id).is_some_and(|invitation| invitation.replaces.is_none());
        let joining = forum.joining().filter(|joining| adds(joining.invitation)).count();
        let wanted = forum.replicas_wanted.map_or(cx.config.replicas, |wanted| wanted as usize);
        u32::try_from(forum.serving().count() + joining).ok().filter(|held| *held as usize > wanted)
    });
    let Some(replicas) = held else { return Ok(()) };
    let body = command::Body::SetForumReplicas(v1::SetForumReplicas { forum_id: forum.get(), replicas });
    propose(cx, cx.log.new_request(), body, Asked::Replicas, Some(forum)).await.map(drop)
}

/// A peer that is away could not answer; one that is on its way already was invited when this was asked before.
fn check_connected(cx: &AdminContext, forum: ForumId, target: PeerId) -> Result<(), Status> {
    let is_new = cx.log.read(|state| {
        state.peer(target).is_some_and(|peer| peer.state == PeerState::Active)
            && state.forum(forum).is_some_and(|forum| forum.replica(target).is_none())
    });
    if is_new && cx.mesh.presence.find(target).is_none() {
        return Err(Status::failed_precondition(format!(
            "{target} is not connected to any hub, so it cannot answer an invitation: start it, `hubctl peers` shows \
             when it is there"
        )));
    }
    Ok(())
}

/// Who gives its copy: the one that leaves if it is there, else the least busy replica that is, rather not the primary.
fn source(cx: &AdminContext, forum: ForumId, leaves: Option<PeerId>) -> Result<PeerId, Status> {
    let (primary, serving) = known(cx, forum)?;
    let mut there = cx.mesh.presence.find_all(serving);
    there.sort_by_key(|(peer, at)| (Some(*peer) != leaves, *peer == primary, at.load()));
    there.first().map(|(peer, _)| *peer).ok_or_else(|| {
        Status::failed_precondition(format!(
            "no replica of {forum} is connected, so nobody can give a copy: start one of their peers, `hubctl forum \
             show {forum}` names them"
        ))
    })
}

/// A forum's primary and the serving replicas whose peers are not removed.
fn known(cx: &AdminContext, forum: ForumId) -> Result<(PeerId, Vec<PeerId>), Status> {
    let found = cx.log.read(|state| {
        let forum = state.forum(forum)?;
        let present = |peer: &PeerId| state.peer(*peer).is_some_and(|p| p.state != PeerState::Removed);
        Some((forum.primary, forum.serving().filter(present).collect()))
    });
    found.ok_or_else(|| {
        let code = v1::RejectionCode::UnknownForum.into();
        refusal(Asked::Invite, &v1::Rejection { code, held: forum.get().into(), current: 0 }, None)
    })
}

/// Proposes and waits; a committed no becomes a status with words.
pub(super) async fn propose<C: Change>(
    cx: &AdminContext,
    id: RequestId,
    change: C,
    asked: Asked,
    forum: Option<ForumId>,
) -> Result<C::Outcome, Status> {
    cx.log.propose_as(id, change, TRIED_FOR).await.map_err(|error| match error {
        ProposeError::Rejected(no) => {
            let forum: Option<Forum> = forum.and_then(|id| cx.log.read(|state| state.forum(id).cloned()));
            refusal(asked, &no, forum.as_ref())
        }
        ProposeError::NoLeader | ProposeError::Closed => Status::unavailable(
            "no hub leads at the moment, so nothing was changed: ask again, or see `hubctl status`",
        ),
        ProposeError::Indeterminate => Status::unavailable(
            "no answer yet: it may still be done. See `hubctl invitations` or `hubctl peers` before asking again",
        ),
    })
}

/// Has this hub see everything that was acknowledged before.
pub(super) async fn fresh(cx: &AdminContext) -> Result<(), Status> {
    let behind = |_| {
        Status::unavailable("no hub leads at the moment, or this one is far behind: ask again or another")
    };
    cx.log.fresh(Instant::now() + FRESH_WITHIN).await.map_err(behind)
}

pub(super) fn forum_id(raw: u32) -> Result<ForumId, Status> {
    ForumId::new(raw).ok_or_else(|| Status::invalid_argument("which forum? Its id is a number from 1 on"))
}

fn peer_id(raw: u32) -> Result<PeerId, Status> {
    PeerId::new(raw).ok_or_else(|| Status::invalid_argument("which peer? Its id is a number from 1 on"))
}

/// The caller's id for this request, or a new one.
fn request_id(cx: &AdminContext, given: &[u8]) -> Result<RequestId, Status> {
    match RequestId::from_bytes(given) {
        Some(id) => Ok(id),
        None if given.is_empty() => Ok(cx.log.new_request()),
        None => Err(Status::invalid_argument("a request id is 16 bytes, or none")),
    }
}
