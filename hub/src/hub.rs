//! What the services of one hub share.

use std::{sync::Arc, time::Duration};

use loop_proto::{
    ids::{ForumEpoch, PeerId, TaskId},
    v1,
};
use loop_raft_store::{adapter::StateReader, log_store::disk::Dir};
use openraft::async_runtime::watch::WatchReceiver;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{
    audits::Audits, changes::Changes, config::HubConfig, group::Group, health::Health, io::Io,
    leader::PlanBoard, link::Links, placement::Placement, presence::Presence, proposer::Proposer,
    raft_node::HubRaftNode, relay::Relays, traffic::Traffic, waiters::Waiters,
};

/// How long a hub's own proposals (facts of reads, leases, registrations) are tried.
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

    /// Passes a body on to the hub whose browser waits for it.
    pub fn deliver_body(&self, origin_hub: u64, body: v1::LinkBody) {
        if origin_hub == self.group.own_id() {
            self.take_body(body);
        } else {
            self.links.send_body(origin_hub, body);
        }
    }

    /// Takes a body for a browser of this hub; one that names no task or peer is dropped.
    pub fn take_body(&self, body: v1::LinkBody) {
        if let (Some(task), Some(peer), Some(content)) =
            (TaskId::new(body.task_id), PeerId::new(body.peer_id), body.body)
        {
            self.waiters.body(task, (peer, ForumEpoch(body.epoch)), content);
        }
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
