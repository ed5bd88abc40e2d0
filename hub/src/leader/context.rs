//! What the duties of a leader use.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::board::PlanBoard;
use crate::{config::HubConfig, log::AgreedLog, mesh::Mesh, placement::balance::Policy, raft::HubRaftNode};

/// How long one of a leader's proposals is tried. Not longer: the next look decides anew on what is there then.
pub(super) const TRIED_FOR: Duration = Duration::from_secs(1);

/// One hub's means to lead. Cheap to clone.
#[derive(Clone)]
pub struct LeaderContext {
    /// What its operator has chosen.
    pub config: Arc<HubConfig>,
    /// The same, as the plan has it.
    pub policy: Policy,
    /// Whether it leads.
    pub raft: HubRaftNode,
    /// What is agreed, and the way to change it.
    pub log: AgreedLog,
    /// Who is there and what they say.
    pub mesh: Mesh,
    /// Where the newest plan is shown.
    pub plan: Arc<PlanBoard>,
    /// Ends the duties.
    pub shutdown: CancellationToken,
}
