//! What only the leading hub does: moves primaries away from peers that do not answer, trims the log.
//!
//! Holds nothing that a new leader could not find out by itself. Only decisions are proposed.

mod takeover;
mod trim;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::hub::Hub;

/// How often the leader looks.
const LOOK: Duration = Duration::from_millis(50);
/// How often the log is trimmed.
const TRIM_EVERY: Duration = Duration::from_secs(5);
/// What a new leader gives links and peers to show up before it holds anybody's absence against them.
const SETTLE: Duration = Duration::from_millis(600);

/// Runs until shutdown; does nothing while another hub leads.
pub async fn run(hub: Arc<Hub>) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leading_since: Option<Instant> = None;
    let mut trimmed_at = Instant::now();
    let mut takeover = takeover::Takeover::default();
    loop {
        tokio::select! {
            biased;
            () = hub.shutdown.cancelled() => return,
            _ = look.tick() => {}
        }
        if !hub.raft.is_leader() {
            leading_since = None;
            takeover = takeover::Takeover::default();
            continue;
        }
        if leading_since.get_or_insert_with(Instant::now).elapsed() < SETTLE {
            continue;
        }
        takeover.step(&hub).await;
        if trimmed_at.elapsed() >= TRIM_EVERY {
            trimmed_at = Instant::now();
            trim::step(&hub).await;
        }
    }
}
