//! What of a peer outlives its connections.

use std::sync::Arc;

use loop_proto::{ids::PeerId, v1};
use tokio::sync::{mpsc, watch};

use super::{
    audits::Reported,
    download::Courier,
    driver::Driver,
    giving::Giving,
    mark::Mark,
    rows::Reader,
    seeding::{self, Seeding},
};
use crate::{backend::Backend, config::HubAddr};

/// What outlives a connection.
pub struct Peer {
    /// Who it is.
    pub me: PeerId,
    /// Where rows are.
    pub backend: Arc<dyn Backend>,
    /// What carries out the log.
    pub driver: Driver,
    /// What answers questions for rows.
    pub reader: Arc<Reader>,
    /// What moves copies.
    pub courier: Arc<Courier>,
    /// Copies on their way here.
    pub seeding: Arc<Seeding>,
    /// What came of the copies that were ordered.
    pub reports: mpsc::Receiver<seeding::Report>,
    /// Copies on their way to others.
    pub giving: Arc<Giving>,
    /// Digests, in the making and made.
    pub audits: (mpsc::Sender<v1::AuditReport>, mpsc::Receiver<v1::AuditReport>),
    /// Digests said lately, on whichever connection.
    pub reported: Reported,
    /// The hub there is a stream to.
    pub hub: watch::Sender<Option<HubAddr>>,
    /// That it has started over and hubs have not heard of it.
    pub mark: Mark,
    /// Whether this process has sent an answer; see `Hello.restarted`.
    pub has_answered: bool,
    /// Whether this process has found that a copy the hubs count on is not here.
    pub has_lost: bool,
}
