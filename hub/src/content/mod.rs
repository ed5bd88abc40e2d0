//! Published files on their way between this hub and peers: fetched for browsers, handed out when they are published.
//!
//! Which path has which hash is agreed; who really has the bytes is not, so peers are asked, and what they send is
//! nobody's to see before its size and SHA-256 are right.

mod fetch;
mod give;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use loop_atomjump::Rule;
use loop_proto::{
    content::ContentHash,
    ids::PeerId,
    v1::{self, command, rows_request},
};
use metrics::counter;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    gateway::CallError,
    hub::PROPOSE_WITHIN,
    io::Io,
    link::Links,
    presence::{Presence, Whereabouts},
    proposer::Proposer,
};

pub use give::{Candidate, Upload};

/// Files being fetched at once, each at most 8 MiB.
const FETCHES_MAX: usize = 8;
/// Files being uploaded at once, each at most 8 MiB.
const UPLOADS_MAX: usize = 4;
/// How long a peer may take for one piece of a file.
const PIECE_WITHIN: Duration = Duration::from_secs(5);

/// A fetch that several browsers wait for.
type Flight = Shared<BoxFuture<'static, Result<Bytes, CallError>>>;

/// The way to the bytes of published files.
pub struct Content {
    ways: Ways,
    io: Io,
    proposer: Proposer,
    flights: Mutex<BTreeMap<ContentHash, Flight>>,
    fetches: Semaphore,
    uploads: Arc<Semaphore>,
}

impl Content {
    /// Nothing is under way yet.
    pub fn new(presence: Arc<Presence>, links: Links, io: Io, proposer: Proposer) -> Arc<Self> {
        Arc::new(Self {
            ways: Ways { presence, links },
            io,
            proposer,
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

    /// Has it committed that a peer has sent bytes that cannot be the file's, which suspends it.
    async fn note_lie(&self, peer: PeerId) {
        counter!("loop_peer_breaches_total").increment(1);
        tracing::warn!(%peer, "a peer has sent {}", Rule::Content);
        let note = v1::NoteBreach { peer_id: peer.get(), rule: Rule::Content.number().into() };
        // Without a leader it is not noted; a peer that goes on so is, another time.
        let ignored = Box::new(|_| {});
        let id = self.io.random_id();
        self.proposer.submit(id, command::Body::NoteBreach(note), PROPOSE_WITHIN, ignored).await;
    }

    /// In an order that no two hubs share.
    fn shuffle<T>(&self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.io.random_below(at + 1));
        }
    }
}

/// How one peer is asked, wherever it is connected.
struct Ways {
    presence: Arc<Presence>,
    links: Links,
}

impl Ways {
    /// Its reply, unless it refuses or does not answer in time.
    async fn ask(&self, peer: PeerId, at: &Whereabouts, kind: rows_request::Kind) -> Option<v1::RowsReply> {
        let request = v1::RowsRequest { kind: Some(kind), ..v1::RowsRequest::default() };
        let asked = async {
            match at {
                Whereabouts::Here(connection) => connection.ask_rows(request).ok()?.reply().await.ok(),
                Whereabouts::There { hub, .. } => self.links.ask_rows(*hub, peer.get(), request).await.ok(),
            }
        };
        timeout(PIECE_WITHIN, asked).await.ok().flatten().filter(|reply| !reply.refused)
    }
}

/// SHA-256.
pub fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(bytes).into())
}
