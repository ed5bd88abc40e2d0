//! Which peers are connected to which hub, how far they are and how busy.
//!
//! Soft state: each hub knows its own connections at first hand and the others' by their word. Never replicated;
//! only decisions taken from it are proposed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use loop_net::queue::{Gone, Queue};
use loop_proto::{ids::PeerId, v1};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

/// Kilobytes of records that may wait for a slow peer. Beyond it the peer's feed stands still: it reads the log from where
/// it is, and holds on to nothing that the log has let go.
pub const OUTGOING_KILOBYTES_MAX: u32 = 16 * 1024;

/// Requests for rows one peer may have been sent and not answered: every browser of every hub waits for one at a time.
const UNANSWERED_MAX: usize = 8192 * 5;

/// Forums whose progress one heartbeat of a peer may tell.
const SEEDING_MAX: usize = 16;

/// One peer's stream on this hub.
pub struct PeerConnection {
    /// Who it is.
    pub peer: PeerId,
    /// Tells connections of the same peer apart: the newer one wins.
    pub serial: u64,
    outgoing: Queue<v1::HubToPeer>,
    unanswered: Mutex<BTreeMap<u64, oneshot::Sender<v1::RowsReply>>>,
    next_request: AtomicU64,
    cursor: AtomicU64,
    /// The last record it can have: it came with it, or was sent it on this stream.
    sent: AtomicU64,
    latency_us: AtomicU32,
    limits: v1::PeerLimits,
    status: Mutex<Option<v1::PeerStatus>>,
    /// Wakes its feed: there may be something to send.
    pub wake: Notify,
    /// Set when the stream must end.
    pub gone: watch::Sender<bool>,
}

impl PeerConnection {
    /// A connection that writes to `outgoing`. `cursor` and `limits` are those of the peer's Hello.
    pub fn new(
        peer: PeerId,
        serial: u64,
        cursor: u64,
        limits: v1::PeerLimits,
        outgoing: Queue<v1::HubToPeer>,
    ) -> Arc<Self> {
        Arc::new(Self {
            peer,
            serial,
            outgoing,
            unanswered: Mutex::default(),
            next_request: AtomicU64::new(1),
            cursor: AtomicU64::new(cursor),
            sent: AtomicU64::new(cursor),
            latency_us: AtomicU32::new(0),
            limits,
            status: Mutex::default(),
            wake: Notify::new(),
            gone: watch::Sender::new(false),
        })
    }

    /// The last record the peer has on disk, as it last said.
    pub fn cursor(&self) -> u64 {
        self.cursor.load(Ordering::Relaxed)
    }

    /// Takes note of the peer's cursor, which never falls while it is connected, and is never above what it was sent.
    pub fn reached(&self, cursor: u64) {
        self.cursor.fetch_max(cursor.min(self.sent.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// Everything up to this record is about to be sent.
    pub fn sends(&self, through: u64) {
        self.sent.fetch_max(through, Ordering::Relaxed);
    }

    /// Takes the peer's heartbeat. Of a list longer than an honest peer sends only the beginning is kept.
    pub fn said(&self, mut status: v1::PeerStatus) {
        self.reached(status.cursor);
        status.cursor = self.cursor();
        status.seeding.truncate(SEEDING_MAX);
        *self.status.lock() = Some(status);
    }

    /// Requests for rows it has been sent and has not answered.
    pub fn executing(&self) -> u32 {
        u32::try_from(self.unanswered.lock().len()).unwrap_or(u32::MAX)
    }

    /// Sends, waiting while the stream is full. An error: the stream is gone.
    pub async fn send(&self, kind: v1::hub_to_peer::Kind) -> Result<(), Gone> {
        self.outgoing.send(v1::HubToPeer { kind: Some(kind) }).await
    }

    /// Sends if there is room at once.
    pub fn try_send(&self, kind: v1::hub_to_peer::Kind) -> Result<(), Gone> {
        self.outgoing.try_send_small(v1::HubToPeer { kind: Some(kind) })
    }

    /// Asks for rows. The receiver fails when the connection ends.
    pub fn ask_rows(self: &Arc<Self>, mut request: v1::RowsRequest) -> Result<PendingRows, Gone> {
        let id = self.next_request.fetch_add(1, Ordering::Relaxed);
        request.id = id;
        let (tx, reply) = oneshot::channel();
        self.unanswered.lock().insert(id, tx);
        let pending = PendingRows { connection: self.clone(), id, reply };
        // Whoever still holds a connection that has ended must not wait on it: its requests have failed already.
        if *self.gone.borrow() {
            return Err(Gone);
        }
        self.try_send(v1::hub_to_peer::Kind::Rows(request))?;
        Ok(pending)
    }

    /// The rows a peer was asked for; those that nobody waits for any more are dropped.
    pub fn replied(&self, reply: v1::RowsReply) {
        if let Some(tx) = self.unanswered.lock().remove(&reply.id) {
            let _ = tx.send(reply);
        }
    }

    /// Takes a measured answer into the moving average of its latency.
    pub fn took(&self, micros: u32) {
        let old = self.latency_us.load(Ordering::Relaxed);
        let new = if old == 0 { micros } else { old - old / 8 + micros / 8 };
        self.latency_us.store(new, Ordering::Relaxed);
    }

    fn present(&self) -> v1::PresentPeer {
        v1::PresentPeer {
            peer_id: self.peer.get(),
            cursor: self.cursor(),
            executing: self.executing(),
            latency_us: self.latency_us.load(Ordering::Relaxed),
            limits: Some(self.limits),
            status: self.status.lock().clone(),
        }
    }
}

/// Rows on their way. Dropping it forgets the request.
pub struct PendingRows {
    connection: Arc<PeerConnection>,
    id: u64,
    reply: oneshot::Receiver<v1::RowsReply>,
}

impl PendingRows {
    /// Waits for the reply.
    pub async fn reply(mut self) -> Result<v1::RowsReply, Gone> {
        (&mut self.reply).await.map_err(|_| Gone)
    }
}

impl Drop for PendingRows {
    fn drop(&mut self) {
        self.connection.unanswered.lock().remove(&self.id);
    }
}

/// Where a peer can be reached.
#[derive(Clone)]
pub enum Whereabouts {
    /// On this hub.
    Here(Arc<PeerConnection>),
    /// On another hub, as that hub said.
    There {
        /// The other hub.
        hub: u64,
        /// What it said.
        peer: Arc<v1::PresentPeer>,
    },
}

impl Whereabouts {
    /// Unanswered reads, weighted by how long one takes: the smaller, the sooner it will answer.
    pub fn load(&self) -> u64 {
        let (executing, latency_us, distance) = match self {
            Self::Here(connection) => {
                (connection.executing(), connection.latency_us.load(Ordering::Relaxed), 0)
            }
            // A hop through another hub costs about as much as a quick read.
            Self::There { peer, .. } => (peer.executing, peer.latency_us, 300),
        };
        (u64::from(executing) + 1) * (u64::from(latency_us).max(100) + distance)
    }

    /// The peer's cursor, as last heard.
    pub fn cursor(&self) -> u64 {
        match self {
            Self::Here(connection) => connection.cursor(),
            Self::There { peer, .. } => peer.cursor,
        }
    }

    /// What it has not answered yet, as last heard.
    pub fn executing(&self) -> u32 {
        match self {
            Self::Here(connection) => connection.executing(),
            Self::There { peer, .. } => peer.executing,
        }
    }

    /// What its volunteer gives; zeros: no limit.
    pub fn limits(&self) -> v1::PeerLimits {
        match self {
            Self::Here(connection) => connection.limits,
            Self::There { peer, .. } => peer.limits.unwrap_or_default(),
        }
    }

    /// Its last heartbeat; `None` before the first.
    pub fn status(&self) -> Option<v1::PeerStatus> {
        match self {
            Self::Here(connection) => connection.status.lock().clone(),
            Self::There { peer, .. } => peer.status.clone(),
        }
    }

    /// The hub it is connected to, given this hub's id.
    pub fn hub(&self, own: u64) -> u64 {
        match self {
            Self::Here(_) => own,
            Self::There { hub, .. } => *hub,
        }
    }
}

/// All peers connected anywhere.
#[derive(Default)]
pub struct Presence {
    inner: Mutex<Inner>,
    /// Counts changes of the local set; links pass it on.
    changed: watch::Sender<u64>,
    /// Counts changes of who is connected anywhere.
    changed_anywhere: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    here: BTreeMap<PeerId, Arc<PeerConnection>>,
    there: BTreeMap<u64, BTreeMap<PeerId, Arc<v1::PresentPeer>>>,
    next_serial: u64,
}

impl Presence {
    /// A number for a new connection.
    pub fn next_serial(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.next_serial += 1;
        inner.next_serial
    }

    /// A peer has connected here. An older connection of the same peer is told to go.
    pub fn arrived(&self, connection: Arc<PeerConnection>) {
        if let Some(old) = self.inner.lock().here.insert(connection.peer, connection) {
            old.gone.send_replace(true);
        }
        self.has_changed_here();
    }

    /// A connection has ended; what it was asked and has not answered fails.
    pub fn left(&self, connection: &PeerConnection) {
        let mut inner = self.inner.lock();
        if inner.here.get(&connection.peer).is_some_and(|current| current.serial == connection.serial) {
            inner.here.remove(&connection.peer);
        }
        drop(inner);
        connection.unanswered.lock().clear();
        self.has_changed_here();
    }

    fn has_changed_here(&self) {
        self.changed.send_modify(|n| *n += 1);
        self.changed_anywhere.send_modify(|n| *n += 1);
    }

    /// What another hub says of its peers, whole.
    pub fn heard(&self, hub: u64, presence: v1::PeerPresence) {
        let known = |peer: v1::PresentPeer| Some((PeerId::new(peer.peer_id)?, Arc::new(peer)));
        let peers: BTreeMap<_, _> = presence.peers.into_iter().filter_map(known).collect();
        let mut inner = self.inner.lock();
        let before = inner.there.entry(hub).or_default();
        let same = before.keys().eq(peers.keys());
        *before = peers;
        drop(inner);
        if !same {
            self.changed_anywhere.send_modify(|n| *n += 1);
        }
    }

    /// The link to another hub is broken: what is connected to it cannot be reached.
    pub fn lost(&self, hub: u64) {
        let lost = self.inner.lock().there.remove(&hub);
        if lost.is_some_and(|peers| !peers.is_empty()) {
            self.changed_anywhere.send_modify(|n| *n += 1);
        }
    }

    /// This hub's own peers, for the other hubs.
    pub fn own(&self) -> v1::PeerPresence {
        v1::PeerPresence { peers: self.inner.lock().here.values().map(|c| c.present()).collect() }
    }

    /// Follows changes of this hub's own set.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Follows changes of who is connected, to whichever hub.
    pub fn follow_all(&self) -> watch::Receiver<u64> {
        self.changed_anywhere.subscribe()
    }

    /// Where a peer is, this hub preferred.
    pub fn find(&self, peer: PeerId) -> Option<Whereabouts> {
        self.inner.lock().find(peer)
    }

    /// The connection of a peer on this hub.
    pub fn here(&self, peer: PeerId) -> Option<Arc<PeerConnection>> {
        self.inner.lock().here.get(&peer).cloned()
    }

    /// All connections on this hub.
    pub fn all_here(&self) -> Vec<Arc<PeerConnection>> {
        self.inner.lock().here.values().cloned().collect()
    }

    /// Where each of `peers` is, those that are connected.
    pub fn find_all(&self, peers: impl IntoIterator<Item = PeerId>) -> Vec<(PeerId, Whereabouts)> {
        let inner = self.inner.lock();
        peers.into_iter().filter_map(|peer| Some((peer, inner.find(peer)?))).collect()
    }

    /// What waits for the slowest peer here, and what may; `messages` is how many of them.
    pub fn held(&self, messages: usize) -> [(&'static str, (usize, usize)); 3] {
        let inner = self.inner.lock();
        let most =
            |held: fn(&PeerConnection) -> usize| inner.here.values().map(|c| held(c)).max().unwrap_or(0);
        [
            ("peer_messages", (most(|c| c.outgoing.waiting()), messages)),
            ("peer_kilobytes", (most(|c| c.outgoing.kilobytes_waiting()), OUTGOING_KILOBYTES_MAX as usize)),
            ("peer_reads", (most(|c| c.unanswered.lock().len()), UNANSWERED_MAX)),
        ]
    }

    /// Whether any peer is connected, to whichever hub.
    pub fn anyone(&self) -> bool {
        let inner = self.inner.lock();
        !inner.here.is_empty() || inner.there.values().any(|peers| !peers.is_empty())
    }

    /// How many peers are connected.
    pub fn count(&self) -> usize {
        let inner = self.inner.lock();
        let elsewhere: BTreeSet<&PeerId> = inner.there.values().flat_map(BTreeMap::keys).collect();
        inner.here.len() + elsewhere.into_iter().filter(|peer| !inner.here.contains_key(peer)).count()
    }

    /// The cursors of all connected peers.
    pub fn cursors(&self) -> BTreeMap<PeerId, u64> {
        let inner = self.inner.lock();
        let there = inner.there.values().flatten().map(|(peer, at)| (*peer, at.cursor));
        let mut cursors: BTreeMap<PeerId, u64> = there.collect();
        // What is known at first hand counts more.
        cursors.extend(inner.here.iter().map(|(peer, connection)| (*peer, connection.cursor())));
        cursors
    }

    /// All connected peers.
    pub fn everyone(&self) -> Vec<(PeerId, Whereabouts)> {
        let inner = self.inner.lock();
        let mut ids: Vec<PeerId> =
            inner.here.keys().chain(inner.there.values().flat_map(BTreeMap::keys)).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().filter_map(|peer| Some((peer, inner.find(peer)?))).collect()
    }
}

impl Inner {
    fn find(&self, peer: PeerId) -> Option<Whereabouts> {
        if let Some(connection) = self.here.get(&peer) {
            return Some(Whereabouts::Here(connection.clone()));
        }
        let (hub, peer) =
            self.there.iter().find_map(|(hub, peers)| Some((*hub, peers.get(&peer)?.clone())))?;
        Some(Whereabouts::There { hub, peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_nothing_that_it_did_not_come_with_and_was_not_sent() {
        let (tx, _) = Queue::new(1, 1);
        let peer = PeerId::new(1).unwrap();
        let connection = PeerConnection::new(peer, 1, 10, v1::PeerLimits::default(), tx);
        let says = |cursor| {
            connection.said(v1::PeerStatus { cursor, ..Default::default() });
            (connection.cursor(), connection.present().status.unwrap().cursor)
        };
        assert_eq!(says(1 << 63), (10, 10));
        connection.sends(20);
        assert_eq!(says(15), (15, 15));
        assert_eq!(says(u64::MAX), (20, 20));
        assert_eq!(says(12), (20, 20), "it does not fall");
    }

    fn connection(presence: &Presence, peer: u32) -> Arc<PeerConnection> {
        let (tx, _) = Queue::new(1, 1);
        let connection = PeerConnection::new(
            PeerId::new(peer).unwrap(),
            presence.next_serial(),
            0,
            v1::PeerLimits::default(),
            tx,
        );
        presence.arrived(connection.clone());
        connection
    }

    #[tokio::test]
    async fn a_connection_that_has_ended_takes_no_reads_that_nobody_would_answer() {
        let presence = Presence::default();
        let peer = PeerId::new(1).unwrap();
        // The stream is still there: whoever has looked the peer up holds on to it.
        let (tx, _stream) = Queue::new(8, 8);
        let connection = PeerConnection::new(peer, presence.next_serial(), 0, v1::PeerLimits::default(), tx);
        presence.arrived(connection.clone());
        let asked_before = connection.ask_rows(v1::RowsRequest::default()).unwrap();
        connection.gone.send_replace(true);
        presence.left(&connection);
        assert!(asked_before.reply().await.is_err());
        assert!(connection.ask_rows(v1::RowsRequest::default()).is_err());
        assert_eq!(connection.executing(), 0);
    }

    #[test]
    fn a_second_connection_replaces_the_first_and_the_firsts_end_does_not_remove_it() {
        let presence = Presence::default();
        let old = connection(&presence, 1);
        let new = connection(&presence, 1);
        assert!(*old.gone.borrow());
        presence.left(&old);
        assert_eq!(presence.here(new.peer).map(|c| c.serial), Some(new.serial));
    }

    #[test]
    fn a_peer_is_found_here_first_then_by_the_other_hubs_word_until_that_hub_is_lost() {
        let presence = Presence::default();
        let word = v1::PresentPeer { peer_id: 1, cursor: 9, ..Default::default() };
        presence.heard(2, v1::PeerPresence { peers: vec![word] });
        let peer = PeerId::new(1).unwrap();
        assert!(matches!(presence.find(peer), Some(Whereabouts::There { hub: 2, .. })));
        let here = connection(&presence, 1);
        assert!(matches!(presence.find(peer), Some(Whereabouts::Here(_))));
        presence.left(&here);
        presence.lost(2);
        assert!(presence.find(peer).is_none() && presence.everyone().is_empty());
    }

    #[test]
    fn who_follows_all_peers_hears_when_one_comes_or_goes_anywhere_and_not_of_every_heartbeat() {
        let presence = Presence::default();
        let word = |cursor, peers: &[u32]| {
            let peers = peers.iter().map(|id| v1::PresentPeer { peer_id: *id, cursor, ..Default::default() });
            v1::PeerPresence { peers: peers.collect() }
        };
        let mut all = presence.follow_all();
        let mut heard = |presence: &Presence| {
            let changed = all.has_changed().unwrap();
            all.mark_unchanged();
            (changed, presence.count())
        };
        presence.heard(2, word(5, &[1, 7]));
        assert_eq!(heard(&presence), (true, 2));
        presence.heard(2, word(9, &[1, 7]));
        assert_eq!(heard(&presence), (false, 2), "the same peers, further on");
        let here = connection(&presence, 1);
        assert_eq!(heard(&presence), (true, 2), "on its way from one hub to another, a peer is one");
        here.sends(12);
        here.reached(12);
        let cursors: Vec<(u32, u64)> =
            presence.cursors().into_iter().map(|(peer, cursor)| (peer.get(), cursor)).collect();
        assert_eq!(cursors, [(1, 12), (7, 9)]);
        presence.lost(2);
        assert_eq!(heard(&presence), (true, 1));
        presence.lost(2);
        assert_eq!(heard(&presence), (false, 1));
        presence.left(&here);
        assert_eq!(heard(&presence), (true, 0));
    }

    #[test]
    fn the_other_hubs_hear_limits_and_the_last_heartbeat_and_no_list_grows_without_bound() {
        let presence = Presence::default();
        let here = connection(&presence, 1);
        here.sends(9);
        here.said(v1::PeerStatus {
            cursor: 9,
            disk_bytes: 5,
            seeding: vec![v1::SeedProgress::default(); 1000],
            ..Default::default()
        });
        let told = presence.own().peers.remove(0);
        assert_eq!((told.cursor, told.limits), (9, Some(v1::PeerLimits::default())));
        let status = told.status.unwrap();
        assert_eq!((status.disk_bytes, status.seeding.len()), (5, SEEDING_MAX));
    }
}
