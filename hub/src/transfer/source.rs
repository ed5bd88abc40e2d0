//! Who may have a copy, and from whom.

use std::cmp::Reverse;

use loop_proto::ids::{ForumId, PeerId};
use loop_raft_store::machine::{HubState, Replica};
use tokio::time::Instant;
use tonic::Status;

use super::{check::Wanted, parts::Transfer};
use crate::{log::PROPOSE_WITHIN, mesh::presence::Whereabouts};

/// Peers asked in turn for one copy.
const SOURCES_MAX: usize = 3;

type Source = (PeerId, Whereabouts);

/// Peers that can give `caller` what it wants, the best first.
pub(super) async fn choose(
    transfer: &Transfer,
    caller: PeerId,
    wanted: &Wanted,
) -> Result<Vec<Source>, Status> {
    let mut sources = match ForumId::new(wanted.forum_id) {
        None => directory(transfer, caller),
        Some(forum) => of_forum(transfer, caller, forum, wanted.invitation_id).await?,
    };
    sources.truncate(SOURCES_MAX);
    Ok(sources)
}

/// Any peer that has everything up to the trim point has all users; the one that has least to do gives them.
fn directory(transfer: &Transfer, caller: PeerId) -> Vec<Source> {
    let trimmed = transfer.log.read(HubState::trimmed_through);
    let mut sources = transfer.mesh.presence.everyone();
    sources.retain(|(peer, at)| *peer != caller && at.cursor() >= trimmed);
    sources.sort_by_key(|(peer, at)| (at.load(), Reverse(at.cursor()), *peer));
    sources
}

async fn of_forum(
    transfer: &Transfer,
    caller: PeerId,
    forum: ForumId,
    invitation_id: u64,
) -> Result<Vec<Source>, Status> {
    // The peer may have been invited through another hub that is ahead of this one.
    let found = transfer
        .log
        .find(Instant::now() + PROPOSE_WITHIN, |state| givers(state, caller, forum, invitation_id))
        .await
        .map_err(|stale| Status::unavailable(stale.to_string()))?;
    let (first, serving) = found.ok_or_else(|| {
        Status::failed_precondition("no invitation of this id is open for this peer and forum")
    })?;
    let mut sources = transfer.mesh.presence.find_all(serving);
    sources.sort_by_key(|(peer, at)| (*peer != first, Reverse(at.cursor()), *peer));
    Ok(sources)
}

/// The invitation's source and everybody who serves the forum; `None` without that invitation.
fn givers(
    state: &HubState,
    caller: PeerId,
    forum: ForumId,
    invitation_id: u64,
) -> Option<(PeerId, Vec<PeerId>)> {
    let forum = state.forum(forum)?;
    let joining = forum.replica(caller).and_then(Replica::joining)?;
    (joining.invitation.get() == invitation_id).then(|| (joining.source, forum.serving().collect()))
}
