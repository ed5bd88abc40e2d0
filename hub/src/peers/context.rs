//! What serving peers uses.

use std::sync::Arc;

use loop_net::io::Io;
use tokio_util::sync::CancellationToken;

use crate::{
    calls::waiters::Waiters, config::HubConfig, log::AgreedLog, mesh::Mesh, transfer::Transfer,
    windows::Windows,
};

/// One hub's means to serve peers. Cheap to clone.
#[derive(Clone)]
pub struct PeersContext {
    /// What its operator has chosen.
    pub config: Arc<HubConfig>,
    /// The outside.
    pub io: Io,
    /// What is agreed, and the way to change it.
    pub log: AgreedLog,
    /// Who is connected where.
    pub mesh: Mesh,
    /// Browsers that wait for a write.
    pub waiters: Arc<Waiters>,
    /// The newest rows of forums that are looked at.
    pub windows: Arc<Windows>,
    /// Copies on their way between peers.
    pub transfer: Transfer,
    /// Ends all streams.
    pub shutdown: CancellationToken,
}
