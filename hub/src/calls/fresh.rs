//! Waits until a read can see everything that was acknowledged before it.

use tokio::time::{Instant, timeout_at};

use crate::{gateway::CallError, hub::Hub};

/// Waits until everything acknowledged before this call is applied here.
pub async fn fresh(hub: &Hub, deadline: Instant) -> Result<(), CallError> {
    let (asked_at, freshness) = (Instant::now(), &hub.health.freshness);
    let within = deadline.saturating_duration_since(asked_at);
    let index = hub.proposer.read_index(within).await.map_err(|_| CallError::NoLeader)?;
    freshness.led(asked_at);
    let applied = timeout_at(deadline, hub.state.wait_applied(index)).await;
    applied.map_err(|_| CallError::Timeout)?.map_err(|_| CallError::NoLeader)?;
    freshness.current(asked_at);
    Ok(())
}
