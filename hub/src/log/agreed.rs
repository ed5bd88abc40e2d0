//! What the hubs agree on, as one hub has it: reading, waiting for what is newest, and proposing.

use std::{sync::Arc, time::Duration};

use loop_net::io::Io;
use loop_proto::{
    ids::{HubTime, RequestId},
    v1::{command, outcome},
};
use loop_raft_store::{adapter::StateReader, machine::HubState};
use tokio::time::{Instant, timeout_at};

use super::{
    change::Change,
    proposer::{OnOutcome, ProposeError, Proposer},
};
use crate::group::Freshness;

/// How long a hub's own proposals (answers, registrations) are tried.
pub const PROPOSE_WITHIN: Duration = Duration::from_secs(5);

/// Why a hub does not have what was agreed before it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// No leader that reaches a majority has answered.
    #[error("no hub leads at the moment")]
    NoLeader,
    /// It is known what was agreed, and it is not applied here in time.
    #[error("this hub is behind the others")]
    Behind,
}

/// The log and the state it leads to. Cheap to clone.
#[derive(Clone)]
pub struct AgreedLog {
    state: StateReader,
    proposer: Proposer,
    freshness: Arc<Freshness>,
    io: Io,
}

impl AgreedLog {
    /// What `state` has applied and `proposer` adds to; what is learnt of its age is noted in `freshness`.
    pub fn new(state: StateReader, proposer: Proposer, freshness: Arc<Freshness>, io: Io) -> Self {
        Self { state, proposer, freshness, io }
    }

    /// Looks at the state. Nothing is applied meanwhile, so look briefly.
    pub fn read<R>(&self, look: impl FnOnce(&HubState) -> R) -> R {
        self.state.read(look)
    }

    /// The state itself, for whoever follows it.
    pub const fn state(&self) -> &StateReader {
        &self.state
    }

    /// When this hub last knew what was agreed.
    pub const fn freshness(&self) -> &Arc<Freshness> {
        &self.freshness
    }

    /// The time that answers are for: never before what the hubs have agreed on.
    pub fn now(&self) -> HubTime {
        HubTime(self.io.now_ms()).max(self.read(HubState::now))
    }

    /// Waits until everything acknowledged before this call is applied here.
    pub async fn fresh(&self, deadline: Instant) -> Result<(), Stale> {
        let asked_at = Instant::now();
        let within = deadline.saturating_duration_since(asked_at);
        let index = self.proposer.read_index(within).await.map_err(|_| Stale::NoLeader)?;
        self.freshness.led(asked_at);
        let applied = timeout_at(deadline, self.state.wait_applied(index)).await;
        applied.map_err(|_| Stale::Behind)?.map_err(|_| Stale::NoLeader)?;
        self.freshness.current(asked_at);
        Ok(())
    }

    /// What `look` finds: here, or, if this hub is behind, once it has what the others have. An error: that cannot be known now.
    pub async fn find<T>(
        &self,
        deadline: Instant,
        look: impl Fn(&HubState) -> Option<T>,
    ) -> Result<Option<T>, Stale> {
        if let Some(found) = self.read(&look) {
            return Ok(Some(found));
        }
        self.fresh(deadline).await?;
        Ok(self.read(look))
    }

    /// Proposes a change under a new request id and waits for its outcome.
    pub async fn propose<C: Change>(&self, change: C, within: Duration) -> Result<C::Outcome, ProposeError> {
        self.propose_as(self.new_request(), change, within).await
    }

    /// A request id nobody else has.
    pub fn new_request(&self) -> RequestId {
        RequestId(self.io.random_id())
    }

    /// Proposes a change that may have been proposed before: the same request id has the same outcome.
    pub async fn propose_as<C: Change>(
        &self,
        request: RequestId,
        change: C,
        within: Duration,
    ) -> Result<C::Outcome, ProposeError> {
        let kind = self.proposer.propose(request.0, change.into_body(), within).await?;
        C::outcome(kind).ok_or(ProposeError::Indeterminate)
    }

    /// Proposes without waiting. What is submitted one after another is committed in that order.
    pub async fn submit(
        &self,
        body: command::Body,
        on_outcome: impl FnOnce(Result<outcome::Kind, ProposeError>) + Send + 'static,
    ) {
        let on_outcome: OnOutcome = Box::new(on_outcome);
        self.proposer.submit(self.io.random_id(), body, PROPOSE_WITHIN, on_outcome).await;
    }

    /// Whether a new write would have to wait behind a full queue.
    pub fn is_full(&self) -> bool {
        self.proposer.is_full()
    }

    /// What waits for the leader, and what may.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 4] {
        self.proposer.held()
    }
}
