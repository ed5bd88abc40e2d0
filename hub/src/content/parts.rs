//! What fetching and handing out share: the bounds, and how one peer is asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use loop_atomjump::Rule;
use loop_hub_edge::gateway::CallError;
use loop_net::io::Io;
use loop_proto::{
    content::ContentHash,
    ids::PeerId,
    v1::{self, rows_request},
};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    breaches::note_breach,
    log::AgreedLog,
    mesh::{Mesh, presence::Whereabouts},
};

/// Files being fetched at once, each at most 8 MiB.
const FETCHES_MAX: usize = 8;
/// Files that are fetched or wait for it; more browsers are told to come again.
pub(super) const FLIGHTS_MAX: usize = 64;
/// How long a file may take, the wait for a place included: a peer that answers slowly holds one no longer.
pub(super) const FETCHED_WITHIN: Duration = Duration::from_secs(20);
/// Files being uploaded at once, each at most 8 MiB.
const UPLOADS_MAX: usize = 4;
/// How long a peer may take for one piece of a file.
const PIECE_WITHIN: Duration = Duration::from_secs(5);

/// A fetch that several browsers wait for.
pub(super) type Flight = Shared<BoxFuture<'static, Result<Bytes, CallError>>>;

/// The way to the bytes of published files.
pub struct Content {
    pub(super) mesh: Mesh,
    io: Io,
    log: AgreedLog,
    pub(super) flights: Mutex<BTreeMap<ContentHash, Flight>>,
    pub(super) fetches: Semaphore,
    uploads: Arc<Semaphore>,
}

impl Content {
    /// Nothing is under way yet.
    pub fn new(mesh: Mesh, io: Io, log: AgreedLog) -> Arc<Self> {
        Arc::new(Self {
            mesh,
            io,
            log,
            flights: Mutex::default(),
            fetches: Semaphore::new(FETCHES_MAX),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
        })
    }

    /// A place among the uploads, if there is one.
    pub fn enter_upload(&self) -> Option<OwnedSemaphorePermit> {
        self.uploads.clone().try_acquire_owned().ok()
    }

    /// What is in memory, and what may be.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 2] {
        [
            ("content_fetches", (FETCHES_MAX - self.fetches.available_permits(), FETCHES_MAX)),
            ("content_uploads", (UPLOADS_MAX - self.uploads.available_permits(), UPLOADS_MAX)),
        ]
    }

    /// A peer has sent bytes that cannot be the file's.
    pub(super) async fn note_lie(&self, peer: PeerId) {
        tracing::warn!(%peer, "a peer has sent {}", Rule::Content);
        note_breach(&self.log, peer, Rule::Content).await;
    }

    /// In an order that no two hubs share.
    pub(super) fn shuffle<T>(&self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.io.random_below(at + 1));
        }
    }

    /// A peer's reply, unless it refuses or does not answer in time.
    pub(super) async fn ask(
        &self,
        peer: PeerId,
        at: &Whereabouts,
        kind: rows_request::Kind,
    ) -> Option<v1::RowsReply> {
        let request = v1::RowsRequest { kind: Some(kind), ..v1::RowsRequest::default() };
        let asked = self.mesh.ask_rows(peer, at, request);
        timeout(PIECE_WITHIN, asked).await.ok().flatten().filter(|reply| !reply.refused)
    }
}

/// SHA-256.
pub fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(bytes).into())
}
