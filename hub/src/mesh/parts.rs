//! The parts of the mesh, for services that use several of them.

use std::sync::Arc;

use loop_proto::{ids::PeerId, v1};
use loop_realtime::{Realtime, Settings};

use super::{
    audits::Audits,
    links::Links,
    presence::{Presence, Whereabouts},
    traffic::Traffic,
};
use crate::group::Group;

/// This hub's view of the others and of all peers. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    /// The hubs and the channels to them.
    pub group: Arc<Group>,
    /// Streams to the other hubs.
    pub links: Links,
    /// Who is connected where.
    pub presence: Arc<Presence>,
    /// How much forums and peers have to do.
    pub traffic: Arc<Traffic>,
    /// Listeners for digests.
    pub audits: Audits,
    /// Socket.IO clients, here and on the other hubs.
    pub realtime: Arc<Realtime>,
}

impl Mesh {
    /// A hub that has not heard of anybody yet.
    pub fn new(group: Arc<Group>, realtime: Settings) -> Self {
        let links = Links::default();
        Self {
            group,
            realtime: Realtime::new(realtime, Arc::new(links.clone())),
            links,
            presence: Arc::default(),
            traffic: Arc::default(),
            audits: Audits::default(),
        }
    }

    /// A peer's reply, wherever it is connected; `None`: it has gone, or its hub has.
    pub async fn ask_rows(
        &self,
        peer: PeerId,
        at: &Whereabouts,
        request: v1::RowsRequest,
    ) -> Option<v1::RowsReply> {
        match at {
            Whereabouts::Here(connection) => connection.ask_rows(request).ok()?.reply().await.ok(),
            Whereabouts::There { hub, .. } => self.links.ask_rows(*hub, peer.get(), request).await.ok(),
        }
    }

    /// Whether this hub reaches hub `other`, or is it.
    pub fn reaches(&self, other: u64) -> bool {
        other == self.group.own_id() || self.links.is_open(other)
    }
}
