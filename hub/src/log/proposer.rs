//! The way of every command into the log, from any hub: one ordered stream to whichever hub leads.
//!
//! Owns retry. A command that got no answer is sent again, with the same request id, when a leader is known again;
//! that is safe because the machine answers a repetition like the first time. Never decides what to propose.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use loop_proto::v1::{self, command, from_leader, outcome, to_leader};
use prost::Message;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{
    door::BATCH_MAX,
    route::{Completion, Routes},
};

/// Most commands of one hub that wait for an answer. More wait in front of [`Proposer::submit`].
const PENDING_MAX: usize = 8192;
/// How long a refused or lost command waits before it is sent again.
const RETRY: Duration = Duration::from_millis(20);

/// Why a command has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No leader took it in time. Nothing was written.
    #[error("no hub leads at the moment")]
    NoLeader,
    /// It was handed to a leader that has not answered. It may still be committed: only the same request id may be
    /// proposed again.
    #[error("the outcome is not known yet")]
    Indeterminate,
    /// This hub is going down. Nothing was written: what may have been is [`ProposeError::Indeterminate`].
    #[error("this hub is shutting down")]
    Closed,
    /// Committed, and refused: it will be refused again while what stands against it does.
    #[error("refused: {}", .0.code().as_str_name())]
    Rejected(v1::Rejection),
}

/// Told a command's outcome, once.
pub type OnOutcome = Box<dyn FnOnce(Result<outcome::Kind, ProposeError>) + Send>;

struct Pending {
    command: bytes::Bytes,
    deadline: Instant,
    on_outcome: OnOutcome,
    /// Whether it is with a leader now.
    in_flight: bool,
    /// Whether a leader it was handed to earlier may have written it.
    maybe_written: bool,
}

impl Pending {
    /// It is not, or no longer known to be, with a leader. `refused`: that leader certainly did not write it.
    fn comes_back(&mut self, refused: bool) {
        self.maybe_written |= self.in_flight && !refused;
        self.in_flight = false;
    }

    /// What is said of it when it is given up: `unwritten` only where it is certain that no leader has written it.
    const fn without_outcome(&self, unwritten: ProposeError) -> ProposeError {
        if self.maybe_written || self.in_flight { ProposeError::Indeterminate } else { unwritten }
    }
}

/// A handle to this hub's proposer. Cheap to clone.
#[derive(Clone)]
pub struct Proposer {
    commands: mpsc::Sender<Pending>,
    read_indexes: mpsc::Sender<oneshot::Sender<u64>>,
    depths: Arc<Depths>,
}

/// How many wait for an answer, as of the driver's last turn.
#[derive(Default)]
struct Depths {
    commands: AtomicUsize,
    readers: AtomicUsize,
}

impl Proposer {
    /// Starts the proposer. It follows `leader` and ends with `shutdown`.
    pub fn start(routes: Routes, leader: watch::Receiver<Option<u64>>, shutdown: CancellationToken) -> Self {
        let (commands, commands_rx) = mpsc::channel(PENDING_MAX);
        let (read_indexes, read_indexes_rx) = mpsc::channel(PENDING_MAX);
        let depths = Arc::<Depths>::default();
        let driver = Driver {
            routes,
            leader,
            route: None,
            generation: 0,
            next_seq: 1,
            pending: BTreeMap::new(),
            waiting: BTreeSet::new(),
            parked: BTreeSet::new(),
            round: None,
            waiting_readers: Vec::new(),
            completions: mpsc::channel(PENDING_MAX),
            depths: depths.clone(),
        };
        tokio::spawn(driver.run(commands_rx, read_indexes_rx, shutdown));
        Self { commands, read_indexes, depths }
    }

    /// Proposes `body`; commands submitted one after another reach the leader in that order. Waits while too many
    /// are pending. `on_outcome` is called exactly once, at the latest after `within`.
    pub async fn submit(
        &self,
        request_id: [u8; 16],
        body: command::Body,
        within: Duration,
        on_outcome: OnOutcome,
    ) {
        let command = v1::Command { request_id: request_id.to_vec().into(), at_ms: 0, body: Some(body) }
            .encode_to_vec();
        let pending = Pending {
            command: command.into(),
            deadline: Instant::now() + within,
            on_outcome,
            in_flight: false,
            maybe_written: false,
        };
        if let Err(mpsc::error::SendError(pending)) = self.commands.send(pending).await {
            let closed = pending.without_outcome(ProposeError::Closed);
            (pending.on_outcome)(Err(closed));
        }
    }

    /// Proposes `body` and waits for its outcome.
    pub async fn propose(
        &self,
        request_id: [u8; 16],
        body: command::Body,
        within: Duration,
    ) -> Result<outcome::Kind, ProposeError> {
        let (tx, rx) = oneshot::channel();
        // The receiver is gone only if the caller gave up; the command itself goes its way.
        let on_outcome = Box::new(|outcome| drop(tx.send(outcome)));
        self.submit(request_id, body, within, on_outcome).await;
        rx.await.unwrap_or(Err(ProposeError::Closed))
    }

    /// A Raft log index at or above everything acknowledged before this call. Calls share round trips.
    pub async fn read_index(&self, within: Duration) -> Result<u64, ProposeError> {
        let (tx, rx) = oneshot::channel();
        self.read_indexes.send(tx).await.map_err(|_| ProposeError::Closed)?;
        match tokio::time::timeout(within, rx).await {
            Ok(Ok(index)) => Ok(index),
            Ok(Err(_)) => Err(ProposeError::Closed),
            Err(_) => Err(ProposeError::NoLeader),
        }
    }

    /// What waits for the leader, and what may.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 4] {
        [
            ("commands_queued", (PENDING_MAX - self.commands.capacity(), PENDING_MAX)),
            ("commands_pending", (self.depths.commands.load(Ordering::Relaxed), PENDING_MAX)),
            ("readers_queued", (PENDING_MAX - self.read_indexes.capacity(), PENDING_MAX)),
            ("readers_pending", (self.depths.readers.load(Ordering::Relaxed), 2 * PENDING_MAX)),
        ]
    }

    /// Whether a new write would have to wait behind a full queue.
    pub fn is_full(&self) -> bool {
        self.commands.capacity() == 0
    }
}

/// Where the question for a read index is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// To be sent now.
    NotYet,
    /// On its way.
    Sent,
    /// Refused; sent again at the next retry.
    Parked,
}

struct Round {
    seq: u64,
    asked: Asked,
    readers: Vec<oneshot::Sender<u64>>,
}

struct Driver {
    routes: Routes,
    leader: watch::Receiver<Option<u64>>,
    route: Option<mpsc::Sender<v1::ToLeader>>,
    /// Counts routes, so that what an old one still says is told apart.
    generation: u64,
    next_seq: u64,
    pending: BTreeMap<u64, Pending>,
    /// Pending commands to be sent now, oldest first.
    waiting: BTreeSet<u64>,
    /// Pending commands to be sent at the next retry: at once would spin while nobody leads.
    parked: BTreeSet<u64>,
    round: Option<Round>,
    waiting_readers: Vec<oneshot::Sender<u64>>,
    completions: (mpsc::Sender<Completion>, mpsc::Receiver<Completion>),
    depths: Arc<Depths>,
}

impl Driver {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Pending>,
        mut readers: mpsc::Receiver<oneshot::Sender<u64>>,
        shutdown: CancellationToken,
    ) {
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut new, mut new_readers) = (Vec::new(), Vec::new());
        self.reroute();
        loop {
            let room = PENDING_MAX - self.pending.len();
            let readers_room = PENDING_MAX.saturating_sub(self.waiting_readers.len());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some((generation, completion)) = self.completions.1.recv() => {
                    self.complete(generation, completion);
                    self.drain_completions();
                }
                changed = self.leader.changed() => match changed {
                    Ok(()) => self.reroute(),
                    Err(_) => break,
                },
                _ = commands.recv_many(&mut new, BATCH_MAX.min(room)), if room > 0 => {
                    for pending in new.drain(..) {
                        self.pending.insert(self.next_seq, pending);
                        self.waiting.insert(self.next_seq);
                        self.next_seq += 1;
                    }
                }
                _ = readers.recv_many(&mut new_readers, BATCH_MAX.min(readers_room)), if readers_room > 0 => {
                    self.waiting_readers.append(&mut new_readers);
                }
                _ = retry.tick() => self.expire(),
            }
            self.start_round();
            self.send_waiting();
            self.tell_depths();
        }
        for pending in std::mem::take(&mut self.pending).into_values() {
            let closed = pending.without_outcome(ProposeError::Closed);
            (pending.on_outcome)(Err(closed));
        }
    }

    fn tell_depths(&self) {
        let asking = self.round.as_ref().map_or(0, |round| round.readers.len());
        self.depths.commands.store(self.pending.len(), Ordering::Relaxed);
        self.depths.readers.store(self.waiting_readers.len() + asking, Ordering::Relaxed);
    }

    /// Opens a route to the hub that leads now. Everything unanswered will be sent again on it.
    fn reroute(&mut self) {
        let leader = *self.leader.borrow_and_update();
        self.generation += 1;
        self.route =
            leader.map(|leader| self.routes.open(leader, self.generation, self.completions.0.clone()));
        self.parked.clear();
        self.pending.values_mut().for_each(|pending| pending.comes_back(false));
        self.waiting = self.pending.keys().copied().collect();
        if let Some(round) = &mut self.round {
            round.asked = Asked::NotYet;
        }
    }

    fn start_round(&mut self) {
        if self.round.is_none() && !self.waiting_readers.is_empty() {
            let readers = std::mem::take(&mut self.waiting_readers);
            self.round = Some(Round { seq: self.next_seq, asked: Asked::NotYet, readers });
            self.next_seq += 1;
        }
    }

    /// Sends what waits, oldest first, as far as the route takes it.
    fn send_waiting(&mut self) {
        let Some(route) = &self.route else { return };
        if let Some(round) = self.round.as_mut().filter(|round| round.asked == Asked::NotYet) {
            let question = v1::ToLeader { seq: round.seq, kind: Some(to_leader::Kind::ReadIndex(true)) };
            if route.try_send(question).is_ok() {
                round.asked = Asked::Sent;
            }
        }
        while let Some(seq) = self.waiting.first().copied() {
            if let Some(pending) = self.pending.get_mut(&seq) {
                let command = to_leader::Kind::Command(pending.command.clone());
                if route.try_send(v1::ToLeader { seq, kind: Some(command) }).is_err() {
                    // Full or broken: the retry tick or the route's end brings us back.
                    return;
                }
                pending.in_flight = true;
            }
            self.waiting.pop_first();
        }
    }

    fn drain_completions(&mut self) {
        for _ in 0..BATCH_MAX {
            match self.completions.1.try_recv() {
                Ok((generation, completion)) => self.complete(generation, completion),
                Err(_) => return,
            }
        }
    }

    fn complete(&mut self, generation: u64, completion: Option<v1::FromLeader>) {
        let Some(v1::FromLeader { seq, kind }) = completion else {
            if generation == self.generation {
                self.route_ended();
            }
            return;
        };
        match kind {
            Some(from_leader::Kind::Outcome(outcome)) => {
                // An outcome is an outcome, whichever route brought it.
                if let Some(pending) = self.pending.remove(&seq) {
                    (pending.on_outcome)(decided(outcome));
                }
            }
            Some(from_leader::Kind::ReadIndex(index)) => {
                if let Some(round) = self.round.take_if(|round| round.seq == seq) {
                    for reader in round.readers {
                        let _ = reader.send(index);
                    }
                }
            }
            Some(from_leader::Kind::NotLeader(_) | from_leader::Kind::Overloaded(_)) => {
                self.sent_back(seq, generation, true);
            }
            Some(from_leader::Kind::Indeterminate(_)) | None => self.sent_back(seq, generation, false),
        }
    }

    fn sent_back(&mut self, seq: u64, generation: u64, refused: bool) {
        if generation != self.generation {
            return;
        }
        if let Some(pending) = self.pending.get_mut(&seq) {
            pending.comes_back(refused);
            self.parked.insert(seq);
        }
        if let Some(round) = self.round.as_mut().filter(|round| round.seq == seq) {
            round.asked = Asked::Parked;
        }
    }

    fn route_ended(&mut self) {
        self.route = None;
        self.waiting.clear();
        self.pending.values_mut().for_each(|pending| pending.comes_back(false));
        self.parked = self.pending.keys().copied().collect();
        if let Some(round) = &mut self.round {
            round.asked = Asked::Parked;
        }
    }

    /// Gives up what is overdue; lets parked commands be sent again.
    fn expire(&mut self) {
        let now = Instant::now();
        let overdue: Vec<u64> =
            self.pending.iter().filter(|(_, p)| p.deadline <= now).map(|(seq, _)| *seq).collect();
        for seq in overdue {
            if let Some(pending) = self.pending.remove(&seq) {
                let error = pending.without_outcome(ProposeError::NoLeader);
                (pending.on_outcome)(Err(error));
            }
        }
        if self.route.is_none() && self.leader.borrow().is_some() {
            self.reroute();
        }
        self.waiting.append(&mut self.parked);
        if let Some(round) = self.round.as_mut().filter(|round| round.asked == Asked::Parked) {
            round.asked = Asked::NotYet;
        }
        if let Some(round) = &mut self.round {
            round.readers.retain(|reader| !reader.is_closed());
        }
        self.round.take_if(|round| round.readers.is_empty());
    }
}

/// A committed answer. One that this version does not know may be anything.
fn decided(outcome: v1::Outcome) -> Result<outcome::Kind, ProposeError> {
    match outcome.kind {
        Some(outcome::Kind::Rejection(rejection)) => Err(ProposeError::Rejected(rejection)),
        Some(kind) => Ok(kind),
        None => Err(ProposeError::Indeterminate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_a_leader_may_have_written_is_never_said_to_be_unwritten() {
        let with = |in_flight, maybe_written| Pending {
            command: bytes::Bytes::new(),
            deadline: Instant::now(),
            on_outcome: Box::new(|_| {}),
            in_flight,
            maybe_written,
        };
        let said = |pending: Pending| pending.without_outcome(ProposeError::Closed);
        assert_eq!(said(with(false, false)), ProposeError::Closed);
        assert_eq!(said(with(true, false)), ProposeError::Indeterminate);
        assert_eq!(said(with(false, true)), ProposeError::Indeterminate);
        let mut lost = with(true, false);
        lost.comes_back(false);
        assert_eq!(said(lost), ProposeError::Indeterminate, "its route broke");
        let mut refused = with(true, false);
        refused.comes_back(true);
        assert_eq!(said(refused), ProposeError::Closed, "its hub did not lead");
    }
}
