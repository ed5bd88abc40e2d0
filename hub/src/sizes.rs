//! How much this hub keeps for others, and the most it may keep: what bounds its memory, for operators and for tests.
//!
//! Looks only; every bound is held where the thing is kept.

use std::{sync::Arc, time::Duration};

use loop_proto::content::FILES_MAX;
use loop_raft_store::machine::bounds::LOG_BUDGETS_FOR_STEPS;
use metrics::gauge;

use crate::{calls::WAITING_MAX, hub::Hub};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// One of the things that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its name, as the metrics have it.
    pub what: &'static str,
    /// How much of it there is.
    pub now: u64,
    /// The most there may be.
    pub limit: u64,
}

impl Size {
    fn new(what: &'static str, (now, limit): (usize, usize)) -> Self {
        Self { what, now: now as u64, limit: limit as u64 }
    }
}

/// Looks once a second, for as long as the hub runs.
pub async fn watch(hub: Arc<Hub>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let sizes = of(&hub);
        for size in &sizes {
            gauge!("loop_held", "what" => size.what).set(size.now as f64);
            gauge!("loop_held_limit", "what" => size.what).set(size.limit as f64);
        }
        hub.io.tell_sizes(&sizes);
    }
}

/// Everything whose size others decide.
fn of(hub: &Hub) -> Vec<Size> {
    let mut sizes = Vec::with_capacity(32);
    let mut add = |what, held| sizes.push(Size::new(what, held));
    for (what, held) in hub.proposer.held() {
        add(what, held);
    }
    let (what, held) = hub.waiters.held(WAITING_MAX);
    add(what, held);
    for (what, held) in hub.windows.held() {
        add(what, held);
    }
    for (what, held) in hub.presence.held(hub.config.peer_queue) {
        add(what, held);
    }
    for (what, held) in hub.links.held() {
        add(what, held);
    }
    for (what, held) in hub.content.held() {
        add(what, held);
    }
    add("relays", hub.relays.held());
    add("audit_listeners", hub.audits.held());
    add("audit_reports", hub.audits.kept());
    add("forums_below", hub.health.held());
    sizes.extend(agreed(hub));
    sizes
}

/// What the hubs agree on, against the bounds that are part of it.
fn agreed(hub: &Hub) -> Vec<Size> {
    let (counts, bounds) = hub.state.read(|state| (state.counts(), *state.bounds()));
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
