//! What the services of one hub share.

use std::{sync::Arc, time::Duration};

use loop_proto::ids::PeerId;
use loop_raft_store::{adapter::StateReader, log_store::disk::Dir};
use openraft::async_runtime::watch::WatchReceiver;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{
    audits::Audits, changes::Changes, config::HubConfig, content::Content, group::Group, health::Health,
    io::Io, leader::PlanBoard, link::Links, peer_rows::PeerRows, placement::Placement, presence::Presence,
    proposer::Proposer, raft_node::HubRaftNode, relay::Relays, traffic::Traffic, waiters::Waiters,
    windows::Windows,
};

/// How long a hub's own proposals (answers, registrations) are tried.
pub const PROPOSE_WITHIN: Duration = Duration::from_secs(5);

/// One hub. Shared by all its services.
pub struct Hub {
    /// Its configuration, frozen.
    pub config: HubConfig,
    /// The outside.
    pub io: Io,
    /// The other hubs.
    pub group: Arc<Group>,
    /// This hub's Raft node.
    pub raft: HubRaftNode,
    /// Where its log is.
    pub log_dir: Arc<dyn Dir>,
    /// The way to change the set of hubs.
    pub changes: Changes,
    /// What has been agreed, as far as it is applied here.
    pub state: StateReader,
    /// The way into the log.
    pub proposer: Proposer,
    /// Who is connected where.
    pub presence: Arc<Presence>,
    /// Browsers that wait for a write.
    pub waiters: Arc<Waiters>,
    /// The newest rows of forums that are looked at.
    pub windows: Arc<Windows>,
    /// The way to peers' rows.
    pub rows: PeerRows,
    /// The way to the bytes of published files.
    pub content: Arc<Content>,
    /// Streams to the other hubs.
    pub links: Links,
    /// Copies on their way between peers.
    pub relays: Relays,
    /// Operators that wait for digests.
    pub audits: Audits,
    /// How much forums and peers have to do.
    pub traffic: Arc<Traffic>,
    /// What balance would do now, while this hub leads.
    pub plan: PlanBoard,
    /// How full peers are, for new forums.
    pub placement: Placement,
    /// How well all this serves.
    pub health: Health,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

impl Hub {
    /// A request id nobody else has.
    pub fn new_request_id(&self) -> [u8; 16] {
        self.io.random_id()
    }

    /// Who holds this secret, if it is peer `claimed`.
    pub fn authenticate(&self, claimed: u32, secret: &[u8]) -> Option<PeerId> {
        let hash = secret_hash(secret);
        self.state
            .read(|state| state.peer_by_secret_hash(&hash).map(|peer| peer.id))
            .filter(|id| id.get() == claimed)
    }

    /// Whether this hub follows a leader or is it. It may have fallen a moment ago: see `health` for what is certain.
    pub fn has_leader(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.current_leader.is_some()
    }
}

/// SHA-256 of a peer's secret: what the hubs keep of it.
pub fn secret_hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}
