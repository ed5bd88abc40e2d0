//! How much this hub keeps for others, and the most it may keep: what bounds its memory, for operators and for tests.
//!
//! Looks only; every bound is held where the thing is kept.

use std::time::Duration;

use loop_proto::content::FILES_MAX;
use loop_raft_store::machine::bounds::LOG_BUDGETS_FOR_STEPS;
use metrics::gauge;

use crate::{
    log::AgreedLog,
    outside::{Outside, Size},
};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Something whose size others decide: name, how much of it there is, and the most there may be.
pub type Held = (&'static str, (usize, usize));

/// Looks once a second, for as long as the hub runs.
pub async fn watch(outside: Outside, log: AgreedLog, held: impl Fn() -> Vec<Held>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let mut sizes: Vec<Size> = held().into_iter().map(|(what, held)| Size::new(what, held)).collect();
        sizes.extend(agreed(&log));
        for size in &sizes {
            gauge!("loop_held", "what" => size.what).set(size.now as f64);
            gauge!("loop_held_limit", "what" => size.what).set(size.limit as f64);
        }
        outside.tell_sizes(&sizes);
    }
}

/// What the hubs agree on, against the bounds that are part of it.
fn agreed(log: &AgreedLog) -> Vec<Size> {
    let (counts, bounds) = log.read(|state| (state.counts(), *state.bounds()));
    let size = |what, now: usize, limit| Size { what, now: now as u64, limit };
    let bytes = |what, now, limit| Size { what, now, limit };
    vec![
        size("forums", counts.forums, bounds.forums_max),
        size("peers", counts.peers, bounds.peers_max),
        size("open_tasks", counts.open_tasks, bounds.open_tasks_max),
        bytes("open_tasks_bytes", counts.open_tasks_bytes, bounds.open_tasks_bytes_max),
        size("records", counts.records, bounds.records_max.saturating_mul(LOG_BUDGETS_FOR_STEPS)),
        bytes(
            "records_bytes",
            counts.records_bytes,
            bounds.records_bytes_max.saturating_mul(LOG_BUDGETS_FOR_STEPS),
        ),
        size("receipts", counts.receipts, bounds.receipts_max),
        bytes("receipts_bytes", counts.receipts_bytes, bounds.receipts_bytes_max),
        size("proposals_known", counts.proposals, bounds.proposals_max),
        size("invitations_open", counts.invitations_open, bounds.invitations_open_max),
        size("invitations_ended", counts.invitations_ended, bounds.invitations_kept),
        size("open_messages", counts.open_messages, bounds.open_messages_max),
        size("content_files", counts.content_files, FILES_MAX as u64),
        size("sessions", counts.sessions, bounds.sessions_max),
        bytes("sessions_bytes", counts.sessions_bytes, bounds.sessions_bytes_max),
    ]
}
