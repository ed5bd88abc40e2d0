//! Copies that pass through this hub, and who waits for one that has not begun.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use loop_proto::{ids::PeerId, v1};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tonic::Status;

use super::check::Wanted;

/// Copies that pass through one hub at once.
const RELAYS_MAX: usize = 64;
/// Chunks that may wait between giver and taker: a quarter of a megabyte each.
pub(super) const CHUNKS_WAITING_MAX: usize = 4;
/// How long a peer has to begin to give.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// How long either side may stand still. A taker that is held back by its volunteer's bandwidth takes a chunk now and
/// then; a giver may have to wait for its disk.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);

/// Where chunks go, and how the giver's end is told.
pub(super) type Chunks = mpsc::Sender<Result<v1::CheckpointChunk, Status>>;

/// This hub's relays. Cheap to clone.
#[derive(Clone)]
pub struct Relays {
    expected: Arc<Mutex<BTreeMap<u64, Expected>>>,
    next: Arc<AtomicU64>,
    room: Arc<Semaphore>,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            expected: Arc::default(),
            next: Arc::new(AtomicU64::new(1)),
            room: Arc::new(Semaphore::new(RELAYS_MAX)),
        }
    }
}

/// A peer that was asked to give and has not begun.
pub(super) struct Expected {
    peer: PeerId,
    pub(super) wanted: Wanted,
    pub(super) chunks: Chunks,
    pub(super) begun: oneshot::Sender<Result<(), String>>,
}

/// The asking side's hold on an expected copy; dropping it withdraws the request.
pub(super) struct Ticket {
    relays: Relays,
    pub(super) id: u64,
    pub(super) begun: oneshot::Receiver<Result<(), String>>,
}

impl Relays {
    /// A place among the relays of this hub, held for as long as the copy flows.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.room.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{RELAYS_MAX} copies pass through this hub already"))
        })
    }

    /// Copies that pass, and how many may.
    pub fn held(&self) -> (usize, usize) {
        (RELAYS_MAX - self.room.available_permits(), RELAYS_MAX)
    }

    /// Expects `peer` to give; what it gives comes out of `chunks`' other end.
    pub(super) fn expect(&self, peer: PeerId, wanted: Wanted, chunks: Chunks) -> Ticket {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tx, begun) = oneshot::channel();
        self.expected.lock().insert(id, Expected { peer, wanted, chunks, begun: tx });
        Ticket { relays: self.clone(), id, begun }
    }

    /// The request a giving peer answers, if it was made to that peer; once.
    pub(super) fn take(&self, id: u64, peer: PeerId) -> Option<Expected> {
        let mut expected = self.expected.lock();
        expected.get(&id).is_some_and(|expected| expected.peer == peer).then(|| expected.remove(&id))?
    }

    /// A peer will not give what it was asked for.
    pub fn refused(&self, peer: PeerId, refused: &v1::ExportRefused) {
        if let Some(expected) = self.take(refused.relay_id, peer) {
            let reason = refused.reason.chars().filter(|c| !c.is_control()).take(200).collect();
            // An asker that has gone needs no reason.
            let _ = expected.begun.send(Err(reason));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.relays.expected.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    fn expect(relays: &Relays) -> (Ticket, mpsc::Receiver<Result<v1::CheckpointChunk, Status>>) {
        let (tx, rx) = mpsc::channel(1);
        (relays.expect(peer(1), Wanted::default(), tx), rx)
    }

    #[test]
    fn only_the_peer_that_was_asked_may_answer_and_only_once() {
        let relays = Relays::default();
        let (ticket, _rx) = expect(&relays);
        assert!(relays.take(ticket.id, peer(2)).is_none(), "somebody else's request");
        assert!(relays.take(ticket.id + 1, peer(1)).is_none(), "a request nobody made");
        assert!(relays.take(ticket.id, peer(1)).is_some());
        assert!(relays.take(ticket.id, peer(1)).is_none());
    }

    #[test]
    fn a_refusal_reaches_the_asker_with_its_reason() {
        let relays = Relays::default();
        let (mut ticket, _rx) = expect(&relays);
        let refused = v1::ExportRefused { relay_id: ticket.id, reason: "its disk\n is full".into() };
        relays.refused(peer(2), &refused);
        assert!(ticket.begun.try_recv().is_err(), "not its request");
        relays.refused(peer(1), &refused);
        assert_eq!(ticket.begun.try_recv().unwrap(), Err("its disk is full".into()));
    }

    #[test]
    fn an_asker_that_has_gone_leaves_nothing_behind() {
        let relays = Relays::default();
        drop(expect(&relays));
        assert!(relays.expected.lock().is_empty());
    }

    #[test]
    fn copies_at_once_are_bounded() {
        let relays = Relays::default();
        let held: Vec<_> = std::iter::from_fn(|| relays.enter().ok()).collect();
        assert_eq!(held.len(), RELAYS_MAX);
        assert_eq!(relays.enter().unwrap_err().code(), tonic::Code::ResourceExhausted);
        drop(held);
        assert!(relays.enter().is_ok());
    }
}
