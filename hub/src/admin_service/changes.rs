//! What operators change: moves of forums, their number of replicas, what peers may hold.

use std::sync::Arc;

use loop_proto::{
    ids::{ForumId, PeerId},
    v1::{self, InvitationCause, command, outcome},
};
use loop_raft_store::machine::Forum;
use tokio::time::Instant;
use tonic::Status;

use super::words;
use crate::{
    hub::{Hub, PROPOSE_WITHIN},
    reads,
};

/// Invites a peer to a forum, in the place of another one or beside all.
pub(super) async fn move_forum(hub: &Arc<Hub>, request: v1::MoveForumRequest) -> Result<u64, Status> {
    let (forum, to) = (forum_id(request.forum_id)?, peer_id(request.to_peer)?);
    let from = (request.from_peer != 0).then(|| peer_id(request.from_peer)).transpose()?;
    catch_up(hub).await?;
    let id = invite(hub, forum, from, to, InvitationCause::Operator).await?;
    if from.is_none() {
        keep_one_more(hub, forum).await?;
    }
    Ok(id)
}

/// Moves the forum's last completed move back.
pub(super) async fn reverse_forum(hub: &Arc<Hub>, request: v1::ReverseForumRequest) -> Result<u64, Status> {
    let forum = forum_id(request.forum_id)?;
    catch_up(hub).await?;
    let (from, to) = hub.state.read(|state| {
        state.forum(forum).ok_or_else(|| Status::not_found("nobody has opened this forum"))?;
        let last = state.last_completed_move(forum);
        let last = last.and_then(|moved| Some((moved.target, moved.replaces?)));
        last.ok_or_else(|| Status::failed_precondition(format!("no move of {forum} is remembered")))
    })?;
    invite(hub, forum, Some(from), to, InvitationCause::Reverse).await
}

/// How many replicas a forum shall have.
pub(super) async fn change_replicas(
    hub: &Arc<Hub>,
    request: v1::ChangeForumReplicasRequest,
) -> Result<(), Status> {
    let forum = forum_id(request.forum_id)?;
    set_replicas(hub, forum, request.replicas).await
}

/// What a peer may hold.
pub(super) async fn change_peer_state(
    hub: &Arc<Hub>,
    request: v1::ChangePeerStateRequest,
) -> Result<(), Status> {
    let peer = peer_id(request.peer_id)?;
    if request.state() == v1::PeerState::Unspecified {
        return Err(Status::invalid_argument("a peer is active, paused, draining or removed"));
    }
    let set = v1::SetPeerState { peer_id: peer.get(), state: request.state };
    propose(hub, command::Body::SetPeerState(set)).await?;
    tracing::info!(%peer, state = ?request.state(), "an operator has changed what a peer may hold");
    Ok(())
}

async fn set_replicas(hub: &Arc<Hub>, forum: ForumId, replicas: u32) -> Result<(), Status> {
    let set = v1::SetForumReplicas { forum_id: forum.get(), replicas };
    propose(hub, command::Body::SetForumReplicas(set)).await.map(drop)
}

/// An added replica is there to stay: without this, balance would take it for one too many.
async fn keep_one_more(hub: &Arc<Hub>, forum: ForumId) -> Result<(), Status> {
    let now = hub.state.read(|state| {
        let forum = state.forum(forum)?;
        let adds = |invitation| state.invitation(invitation).is_some_and(|i| i.replaces.is_none());
        let joining = forum.joining().filter(|joining| adds(joining.invitation)).count();
        let wanted = forum.replicas_wanted.map_or(hub.config.replicas, |wanted| wanted as usize);
        let held = forum.serving().count() + joining;
        (held > wanted).then_some(held)
    });
    match now.and_then(|held| u32::try_from(held).ok()) {
        Some(held) => set_replicas(hub, forum, held).await,
        None => Ok(()),
    }
}

async fn invite(
    hub: &Arc<Hub>,
    forum: ForumId,
    from: Option<PeerId>,
    to: PeerId,
    cause: InvitationCause,
) -> Result<u64, Status> {
    let unknown = || Status::not_found("nobody has opened this forum");
    let serving: Vec<PeerId> =
        hub.state.read(|state| state.forum(forum).map(|f| f.serving().collect())).ok_or_else(unknown)?;
    if hub.state.read(|state| state.peer(to).is_none()) {
        return Err(Status::not_found(format!("no peer {to} has ever joined")));
    }
    if let Some(from) = from.filter(|from| !serving.contains(from)) {
        return Err(Status::failed_precondition(format!("{from} does not serve {forum}")));
    }
    if hub.presence.find(to).is_none() {
        return Err(Status::failed_precondition(format!("{to} is not connected: it could not answer")));
    }
    let sources = hub.presence.find_all(serving);
    let leaves = |peer: PeerId| Some(peer) == from;
    let source = sources.into_iter().max_by_key(|(peer, at)| (leaves(*peer), at.cursor()));
    let Some((source, _)) = source else {
        return Err(Status::failed_precondition(format!("no replica of {forum} is connected to give its copy")));
    };
    let invite = command::Body::InvitePeer(v1::InvitePeer {
        forum_id: forum.get(),
        target: to.get(),
        source: source.get(),
        replaces: from.map_or(0, PeerId::get),
        cause: cause.into(),
    });
    match propose(hub, invite).await? {
        outcome::Kind::PeerInvited(v1::PeerInvited { invitation_id }) => {
            tracing::info!(%forum, %to, ?cause, "an operator moves a forum");
            Ok(invitation_id)
        }
        other => Err(Status::internal(format!("an invitation came to something else: {other:?}"))),
    }
}

/// Proposes and waits until this hub has applied it, so that what the operator asks next shows it.
pub(super) async fn propose(hub: &Arc<Hub>, body: command::Body) -> Result<outcome::Kind, Status> {
    let outcome = hub.proposer.propose(hub.new_request_id(), body, PROPOSE_WITHIN).await;
    let kind = match outcome.map_err(words::unproposed)?.kind {
        Some(outcome::Kind::Rejection(rejection)) => return Err(words::refused(&rejection)),
        Some(kind) => kind,
        None => return Err(Status::internal("the leader's answer cannot be read")),
    };
    catch_up(hub).await?;
    Ok(kind)
}

/// Brings this hub up to what was agreed before the operator asked.
async fn catch_up(hub: &Hub) -> Result<(), Status> {
    reads::fresh(hub, Instant::now() + PROPOSE_WITHIN)
        .await
        .map_err(|error| Status::unavailable(error.to_string()))
}

fn forum_id(id: u32) -> Result<ForumId, Status> {
    ForumId::new(id).ok_or_else(|| Status::invalid_argument("which forum?"))
}

fn peer_id(id: u32) -> Result<PeerId, Status> {
    PeerId::new(id).ok_or_else(|| Status::invalid_argument("which peer?"))
}

/// How many replicas a forum shall have, as it stands.
pub(super) fn replicas_wanted(hub: &Hub, forum: &Forum) -> u32 {
    forum.replicas_wanted.unwrap_or_else(|| u32::try_from(hub.config.replicas).unwrap_or(u32::MAX))
}
