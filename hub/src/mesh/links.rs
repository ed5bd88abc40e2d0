//! Streams between hubs for soft state: requests for rows of the other hub's peers, and which peers are connected to it.
//!
//! Nothing here is ever replicated; what a broken link loses is asked again or made again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use loop_net::queue::{Gone, Queue};
use loop_proto::v1::{self, link_reply, link_request};
use loop_realtime::Forward;
use parking_lot::Mutex;
use tokio::sync::{broadcast, oneshot};

/// Messages that may wait for a slow link; what does not fit is dropped, and its reader asks elsewhere.
pub(super) const OUTGOING_MAX: usize = 1024;
/// And their kilobytes.
pub(super) const OUTGOING_KILOBYTES_MAX: u32 = 64 * 1024;

/// News for all other hubs that a slow link may be behind with; older ones are lost to it.
const NEWS_MAX: usize = 256;

/// This hub's links to the others. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    pub(super) open: Arc<Mutex<BTreeMap<u64, Link>>>,
    news: broadcast::Sender<link_reply::Kind>,
}

impl Default for Links {
    fn default() -> Self {
        Self { open: Arc::default(), news: broadcast::Sender::new(NEWS_MAX) }
    }
}

/// One open link.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) outgoing: Queue<v1::LinkRequest>,
    pub(super) unanswered: Arc<Mutex<BTreeMap<u64, oneshot::Sender<v1::RowsReply>>>>,
    pub(super) next_request: Arc<AtomicU64>,
}

impl Links {
    fn get(&self, hub: u64) -> Option<Link> {
        self.open.lock().get(&hub).cloned()
    }

    /// Whether another hub can be reached: it has spoken within the last heartbeats.
    pub fn is_open(&self, hub: u64) -> bool {
        self.open.lock().contains_key(&hub)
    }

    /// How many other hubs can be reached.
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// What waits for the slowest link, and what may.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 3] {
        let open = self.open.lock();
        let most = |held: fn(&Link) -> usize| open.values().map(held).max().unwrap_or(0);
        [
            ("link_messages", (most(|link| link.outgoing.waiting()), OUTGOING_MAX)),
            (
                "link_kilobytes",
                (most(|link| link.outgoing.kilobytes_waiting()), OUTGOING_KILOBYTES_MAX as usize),
            ),
            ("link_news", (self.news.len(), NEWS_MAX)),
        ]
    }

    /// Tells every hub that has a link to this one.
    pub fn tell(&self, news: link_reply::Kind) {
        // Nobody to be told is no failure: this hub may be alone.
        let _ = self.news.send(news);
    }

    /// What there is to be told from now on.
    pub(super) fn follow_news(&self) -> broadcast::Receiver<link_reply::Kind> {
        self.news.subscribe()
    }

    /// Asks a peer on another hub.
    pub async fn ask_rows(
        &self,
        hub: u64,
        peer_id: u32,
        request: v1::RowsRequest,
    ) -> Result<v1::RowsReply, Gone> {
        let link = self.get(hub).ok_or(Gone)?;
        let link_id = link.next_request.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        link.unanswered.lock().insert(link_id, tx);
        let _forget = Forget { link: &link, link_id };
        if !link.send(link_request::Kind::Rows(v1::LinkRows { link_id, peer_id, request: Some(request) })) {
            return Err(Gone);
        }
        rx.await.map_err(|_| Gone)
    }
}

impl Forward for Links {
    fn forward(&self, hub: u64, message: v1::RealtimeMessage) -> bool {
        self.get(hub).is_some_and(|link| link.send(link_request::Kind::RealtimeMessage(message)))
    }
}

impl Link {
    pub(super) fn send(&self, kind: link_request::Kind) -> bool {
        self.outgoing.try_send(v1::LinkRequest { kind: Some(kind) }).is_ok()
    }
}

/// Forgets a request whose asker has gone.
struct Forget<'a> {
    link: &'a Link,
    link_id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.unanswered.lock().remove(&self.link_id);
    }
}
