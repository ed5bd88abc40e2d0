//! What carrying a copy uses.

use tokio_util::sync::CancellationToken;

use super::relays::Relays;
use crate::{log::AgreedLog, mesh::Mesh};

/// Carries copies. Cheap to clone.
#[derive(Clone)]
pub struct Transfer {
    /// Who may have which copy.
    pub log: AgreedLog,
    /// Where the peers are.
    pub mesh: Mesh,
    /// Copies on their way.
    pub relays: Relays,
    /// Ends all copies.
    pub shutdown: CancellationToken,
}
