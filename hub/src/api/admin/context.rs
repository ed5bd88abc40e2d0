//! What answering operators uses.

use std::sync::Arc;

use loop_net::io::Io;
use tokio_util::sync::CancellationToken;

use crate::{
    config::HubConfig, content::Content, health::Health, leader::PlanBoard, log::AgreedLog,
    membership::Changes, mesh::Mesh, placement::balance::Policy, projection::Projection, raft::HubRaftNode,
};

/// One hub's means to answer operators.
pub struct AdminContext {
    /// What this hub was started with.
    pub config: Arc<HubConfig>,
    /// The outside.
    pub io: Io,
    /// Who leads, and how far the others are.
    pub raft: HubRaftNode,
    /// The way to change the set of hubs.
    pub changes: Changes,
    /// What is agreed, and the way to change it.
    pub log: AgreedLog,
    /// Who is connected where.
    pub mesh: Mesh,
    /// How well this hub serves.
    pub health: Arc<Health>,
    /// Published files on their way.
    pub content: Arc<Content>,
    /// How forums are to be spread.
    pub policy: Policy,
    /// The newest plan, while this hub leads.
    pub plan: Arc<PlanBoard>,
    /// This hub's rows for questions in SQL; `None`: it has none.
    pub projection: Option<Arc<Projection>>,
    /// Ends what waits.
    pub shutdown: CancellationToken,
}
