//! Streams between hubs for soft state: reads for the other hub's peers, bodies for its browsers, and who hangs on it.
//!
//! Nothing here is ever replicated; what a broken link loses is asked again or made again.

mod client;
mod service;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use loop_proto::v1::{self, link_request};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

pub use client::keep_links;
pub use service::serve;

use crate::presence::Gone;

/// Messages that may wait for a slow link; what does not fit is dropped, and its reader asks elsewhere.
const OUTGOING_MAX: usize = 1024;

/// This hub's links to the others. Cheap to clone.
#[derive(Clone, Default)]
pub struct Links(Arc<Mutex<BTreeMap<u64, Link>>>);

/// One open link.
#[derive(Clone)]
struct Link {
    outgoing: mpsc::Sender<v1::LinkRequest>,
    reads: Arc<Mutex<BTreeMap<u64, oneshot::Sender<v1::ReadReply>>>>,
    next_read: Arc<AtomicU64>,
}

impl Links {
    fn get(&self, hub: u64) -> Option<Link> {
        self.0.lock().get(&hub).cloned()
    }

    /// Passes a body on. If there is no link the browser's hub renders the answer from its receipt.
    pub fn send_body(&self, hub: u64, body: v1::LinkBody) {
        if let Some(link) = self.get(hub) {
            link.send(link_request::Kind::Body(body));
        }
    }

    /// Asks a peer on another hub.
    pub async fn read(&self, hub: u64, peer_id: u32, read: v1::ReadRequest) -> Result<v1::ReadReply, Gone> {
        let link = self.get(hub).ok_or(Gone)?;
        let link_id = link.next_read.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        link.reads.lock().insert(link_id, tx);
        let _forget = Forget { link: &link, link_id };
        if !link.send(link_request::Kind::Read(v1::LinkRead { link_id, peer_id, read: Some(read) })) {
            return Err(Gone);
        }
        rx.await.map_err(|_| Gone)
    }
}

impl Link {
    fn send(&self, kind: link_request::Kind) -> bool {
        self.outgoing.try_send(v1::LinkRequest { kind: Some(kind) }).is_ok()
    }
}

/// Forgets a read whose asker has gone.
struct Forget<'a> {
    link: &'a Link,
    link_id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.reads.lock().remove(&self.link_id);
    }
}
