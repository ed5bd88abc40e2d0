//! The parts of the mesh, for services that use several of them.

use std::sync::Arc;

use super::{audits::Audits, links::Links, presence::Presence, traffic::Traffic};
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
}

impl Mesh {
    /// A hub that has not heard of anybody yet.
    pub fn new(group: Arc<Group>) -> Self {
        Self {
            group,
            links: Links::default(),
            presence: Arc::default(),
            traffic: Arc::default(),
            audits: Audits::default(),
        }
    }

    /// Whether this hub reaches hub `other`, or is it.
    pub fn reaches(&self, other: u64) -> bool {
        other == self.group.own_id() || self.links.is_open(other)
    }
}
