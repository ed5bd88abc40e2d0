//! Binds openraft to this system: what a proposal, a reply and a hub node are, and which runtime runs it.
//!
//! Owns the choice of types. Never knows what a command means, nor how anything is stored or sent.

use std::{cell::Cell, fmt, future::Future, time::Duration};

use bytes::Bytes;
use loop_proto::v1;
use openraft::{
    AsyncRuntime, EntryPayload, OptionalSend, RaftTypeConfig, TokioInstant,
    impls::{BoxedErrorSource, InlineBatch, leader_id_adv},
    raft::responder::Responder,
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::{mpsc, oneshot};

/// The type configuration of the hub group's Raft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubRaft;

impl RaftTypeConfig for HubRaft {
    type D = Proposal;
    type R = Reply;
    type NodeId = u64;
    type Node = HubNode;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = openraft::Vote<LeaderId>;
    type Payload = EntryPayload<Proposal, u64, HubNode>;
    type Entry = openraft::Entry<LeaderId, Self::Payload>;
    type AsyncRuntime = HubRt;
    type Responder<T>
        = HubResponder<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = BoxedErrorSource;
}

/// Term and node: totally ordered, so that two candidates of one term do not block each other.
pub type LeaderId = leader_id_adv::LeaderId<u64, u64>;
/// Position of an entry and the leader who put it there.
pub type LogId = openraft::LogId<LeaderId>;
/// Who a node has voted for, and whether a quorum did.
pub type Vote = openraft::Vote<LeaderId>;
/// One entry of the Raft log.
pub type Entry = openraft::alias::EntryOf<HubRaft>;
/// Voters and learners of the hub group.
pub type Membership = openraft::Membership<u64, HubNode>;
/// A membership and the position that made it so.
pub type StoredMembership = openraft::alias::StoredMembershipOf<HubRaft>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<HubRaft>;
/// A snapshot: its meta and the machine's bytes.
pub type Snapshot = openraft::alias::SnapshotOf<HubRaft, Bytes>;

/// What is proposed to the group: an encoded `v1::Command`. Opaque here: it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal(pub Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a proposal came to. Entries that are no command (blank, membership) have an outcome without a kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply(pub v1::Outcome);

/// Where a hub is reached. Empty addresses only in tests that never dial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubNode {
    /// host:port other hubs and peers dial.
    pub grpc_addr: String,
    /// host:port browsers use.
    pub http_addr: String,
}

impl fmt::Display for HubNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grpc {}, http {}", self.grpc_addr, self.http_addr)
    }
}

/// Carries the result of a `client_write_ff` to whoever proposed.
///
/// A proposer that answers many proposals over one stream takes them all from one channel by tag, so it needs
/// neither a task nor an allocation for each.
#[derive(Debug)]
pub struct HubResponder<T>(Option<Route<T>>);

#[derive(Debug)]
enum Route<T> {
    Once(oneshot::Sender<T>),
    Tagged { tag: u64, to: mpsc::UnboundedSender<(u64, Option<T>)> },
}

impl<T> HubResponder<T> {
    /// One proposal, one receiver. The receiver fails if Raft stops before there is a result.
    pub fn once() -> (Self, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(Route::Once(sender))), receiver)
    }

    /// Sends `(tag, Some(result))`, or `(tag, None)` if Raft stops before there is one: then the proposal may or
    /// may not be committed. The proposer bounds the channel by bounding its proposals in flight.
    pub fn tagged(tag: u64, to: mpsc::UnboundedSender<(u64, Option<T>)>) -> Self {
        Self(Some(Route::Tagged { tag, to }))
    }

    fn finish(&mut self, result: Option<T>) {
        // A proposer that went away (a closed stream) is no error: its answer has nobody to go to.
        match (self.0.take(), result) {
            (Some(Route::Once(sender)), Some(result)) => drop(sender.send(result)),
            (Some(Route::Tagged { tag, to }), result) => drop(to.send((tag, result))),
            (Some(Route::Once(_)), None) | (None, _) => {}
        }
    }
}

impl<T: OptionalSend + 'static> Responder<HubRaft, T> for HubResponder<T> {
    fn on_complete(mut self, result: T) {
        self.finish(Some(result));
    }
}

impl<T> Drop for HubResponder<T> {
    fn drop(&mut self) {
        self.finish(None);
    }
}

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes every random choice Raft takes on this thread follow from `seed`; `None` returns to true randomness.
/// For simulation, which runs all hubs on one thread.
pub fn seed_thread(seed: Option<u64>) {
    SEED.set(seed);
}

/// Tokio, with a random source that a simulation can seed.
#[derive(Debug)]
pub struct HubRt(openraft::TokioRuntime);

impl AsyncRuntime for HubRt {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = tokio::task::JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = StdRng;
    type Mpsc = <openraft::TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <openraft::TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <openraft::TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <openraft::TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        tokio::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        openraft::TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        openraft::TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        openraft::TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        openraft::TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> StdRng {
        match SEED.get() {
            #[expect(
                clippy::disallowed_methods,
                reason = "the one place where a real node's chance comes from"
            )]
            None => StdRng::from_rng(&mut rand::rng()),
            Some(seed) => {
                // The multiplier and increment of Knuth's MMIX generator: each call gets its own seed.
                SEED.set(Some(
                    seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
                ));
                StdRng::seed_from_u64(seed)
            }
        }
    }

    fn new(threads: usize) -> Self {
        Self(openraft::TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn a_seeded_thread_repeats_its_choices() {
        let draw = || (0..4).map(|_| HubRt::thread_rng().next_u64()).collect::<Vec<_>>();
        seed_thread(Some(7));
        let first = draw();
        seed_thread(Some(7));
        assert_eq!(draw(), first);
        assert_ne!(first[0], first[1], "each call must get its own seed");
        seed_thread(None);
        assert_ne!(draw(), first);
    }

    #[test]
    fn a_dropped_responder_says_that_there_is_no_result() {
        let (to, mut results) = mpsc::unbounded_channel();
        HubResponder::<u8>::tagged(1, to.clone()).on_complete(9);
        drop(HubResponder::<u8>::tagged(2, to));
        assert_eq!(results.try_recv(), Ok((1, Some(9))));
        assert_eq!(results.try_recv(), Ok((2, None)));

        let (once, mut receiver) = HubResponder::<u8>::once();
        drop(once);
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn a_proposal_never_prints_its_bytes() {
        let proposal = Proposal(Bytes::from_static(b"secret"));
        assert_eq!(format!("{proposal} {proposal:?}"), "Proposal(6 bytes) Proposal(6 bytes)");
    }
}
