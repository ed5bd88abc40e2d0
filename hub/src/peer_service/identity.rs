//! Who is speaking: a peer is what its secret says it is, unless an operator has removed it or it is suspended.

use loop_proto::ids::PeerId;
use loop_raft_store::machine::Unwanted;
use tokio::time::Instant;
use tonic::Status;

use crate::{
    calls,
    hub::{Hub, PROPOSE_WITHIN},
};

/// The peer that has this id and secret. It may have joined through another hub a moment ago, so one that is not
/// known is looked for again once this hub has caught up.
pub async fn identify(hub: &Hub, claimed: u32, secret: &[u8]) -> Result<PeerId, Status> {
    let peer = match hub.authenticate(claimed, secret) {
        Some(peer) => peer,
        None => {
            calls::fresh(hub, Instant::now() + PROPOSE_WITHIN)
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            hub.authenticate(claimed, secret)
                .ok_or_else(|| Status::unauthenticated("no peer has this id and secret: join first"))?
        }
    };
    refuse_unwanted(hub, peer)?;
    Ok(peer)
}

/// Refuses a peer that an operator has removed, and one that has said what cannot be, for a while.
pub(super) fn refuse_unwanted(hub: &Hub, peer: PeerId) -> Result<(), Status> {
    match hub.state.read(|state| state.unwanted(peer)) {
        None => Ok(()),
        Some(Unwanted::Suspended { for_ms }) => Err(Status::permission_denied(format!(
            "{peer} has answered what cannot follow from its task and is suspended for {} s more; `hubctl peers` says what",
            for_ms.div_ceil(1000)
        ))),
        Some(Unwanted::Removed) => Err(Status::permission_denied(format!(
            "an operator has removed {peer}; `hubctl peer resume {peer}` takes it back"
        ))),
    }
}
