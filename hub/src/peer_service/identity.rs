//! Who is speaking: a peer is what its secret says it is, unless an operator has removed it.

use loop_proto::ids::PeerId;
use loop_raft_store::machine::PeerState;
use tokio::time::Instant;
use tonic::Status;

use crate::{
    hub::{Hub, PROPOSE_WITHIN},
    reads,
};

/// The peer that has this id and secret. It may have joined through another hub a moment ago, so one that is not
/// known is looked for again once this hub has caught up.
pub async fn identify(hub: &Hub, claimed: u32, secret: &[u8]) -> Result<PeerId, Status> {
    let peer = match hub.authenticate(claimed, secret) {
        Some(peer) => peer,
        None => {
            reads::fresh(hub, Instant::now() + PROPOSE_WITHIN)
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            hub.authenticate(claimed, secret)
                .ok_or_else(|| Status::unauthenticated("no peer has this id and secret: join first"))?
        }
    };
    refuse_removed(hub, peer)?;
    Ok(peer)
}

/// Refuses a peer that an operator has removed.
pub(super) fn refuse_removed(hub: &Hub, peer: PeerId) -> Result<(), Status> {
    let state = hub.state.read(|state| state.peer(peer).map(|peer| peer.state));
    if state == Some(PeerState::Removed) {
        return Err(Status::permission_denied(format!(
            "an operator has removed {peer}; `hubctl peer resume {peer}` takes it back"
        )));
    }
    Ok(())
}
