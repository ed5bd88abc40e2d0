//! How forums are to be spread, as this hub's operator has chosen.

use std::time::Duration;

use super::balance::Policy;
use crate::config::HubConfig;

/// What this hub's operator has chosen.
pub fn policy(config: &HubConfig) -> Policy {
    Policy {
        replicas: config.replicas,
        replicas_max: config.replicas_max,
        grace_ms: millis(config.peer_grace),
        probation_ms: millis(config.peer_probation),
        copy_grace_ms: millis(config.copy_grace),
        ..Policy::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
