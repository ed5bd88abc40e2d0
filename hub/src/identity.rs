//! Who is speaking: a peer is what its secret says it is, unless an operator has removed it or it is suspended.

use loop_proto::ids::PeerId;
use loop_raft_store::machine::{HubState, Unwanted};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::Status;

use crate::log::{AgreedLog, PROPOSE_WITHIN};

/// SHA-256 of a peer's secret: what the hubs keep of it.
pub fn secret_hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The peer that has this id and secret. It may have joined through another hub a moment ago, so one that is not
/// known is looked for again once this hub has caught up.
pub async fn identify(log: &AgreedLog, claimed: u32, secret: &[u8]) -> Result<PeerId, Status> {
    let hash = secret_hash(secret);
    let known = |state: &HubState| state.peer_by_secret_hash(&hash).map(|peer| peer.id);
    let peer = log
        .find(Instant::now() + PROPOSE_WITHIN, |state| known(state).filter(|id| id.get() == claimed))
        .await
        .map_err(|stale| Status::unavailable(stale.to_string()))?
        .ok_or_else(|| Status::unauthenticated("no peer has this id and secret: join first"))?;
    refuse_unwanted(log, peer)?;
    Ok(peer)
}

/// Refuses a peer that an operator has removed, and one that has said what cannot be, for a while.
pub fn refuse_unwanted(log: &AgreedLog, peer: PeerId) -> Result<(), Status> {
    match log.read(|state| state.unwanted(peer)) {
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
