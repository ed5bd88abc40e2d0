//! Forgets the part of the log that every peer has on disk.

use std::{sync::Arc, time::Duration};

use loop_proto::v1::{self, command};

use crate::hub::Hub;

/// Records kept although everybody has them: a peer that reconnects with an older cursor finds them still there.
const KEEP: u64 = 10_000;
/// Not worth a log entry below this.
const TRIM_MIN: u64 = 1_000;

/// Proposes a new trim point if it is worth it. A peer that is away holds it back until the budget is used up;
/// that limit is the machine's own.
pub(super) async fn step(hub: &Arc<Hub>) {
    let (peers, trimmed, newest) = hub.state.read(|state| {
        (state.peers().map(|peer| peer.id).collect::<Vec<_>>(), state.trimmed_through(), state.newest())
    });
    let known = hub.presence.find_all(peers.iter().copied());
    if known.len() < peers.len() {
        return;
    }
    let slowest = known.iter().map(|(_, at)| at.cursor()).min().unwrap_or(0);
    let through = slowest.min(newest.saturating_sub(KEEP));
    if through < trimmed + TRIM_MIN {
        return;
    }
    let trim = command::Body::TrimTasks(v1::TrimTasks { through, kept_through: 0 });
    if let Err(error) = hub.proposer.propose(hub.new_request_id(), trim, Duration::from_secs(1)).await {
        tracing::debug!(%error, "could not trim the log");
    }
}
