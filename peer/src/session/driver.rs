//! Carries out what the replica's pure core asks, in order, on the backend. Owns both for a process's life.
//!
//! Executions run inline: they work on memory, and one after another is what the core demands per forum anyway.
//! So a simulation runs exactly this. Never touches the network: what must be sent is handed to the caller one by
//! one, so that an answer is on its way while the next task executes.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, TaskId},
    v1,
};
use prost::Message;

use super::user_ids::UserIdPool;
use crate::{
    backend::{Backend, BackendError, Execution, Work},
    replica::{Input, Output, Replica, Violation},
};

/// What remains for the caller to do.
#[derive(Debug)]
pub enum Effect {
    /// Send an answer.
    Send(Box<v1::Answer>),
    /// Push [`Input::RetryDue`] later.
    RetryLater {
        /// The forum.
        forum: ForumId,
        /// In a row, from 1.
        attempt: u32,
    },
    /// Push [`Input::ResendDue`] later.
    ResendLater {
        /// The forum.
        forum: ForumId,
        /// In a row, from 1.
        attempt: u32,
    },
}

/// Why the driver stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The hub broke the feed's contract.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The backend cannot go on.
    #[error("{0}")]
    Backend(String),
}

/// The core and the backend, together.
pub struct Driver {
    replica: Replica,
    backend: Arc<dyn Backend>,
    ids: Arc<UserIdPool>,
    todo: VecDeque<Output>,
}

impl Driver {
    /// Goes on from the backend's durable cursor.
    pub fn new(me: PeerId, backend: Arc<dyn Backend>, ids: Arc<UserIdPool>) -> Self {
        let replica = Replica::new(me, backend.durable_cursor());
        Self { replica, backend, ids, todo: VecDeque::new() }
    }

    /// What the core knows.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Takes an input; [`Self::next`] then carries out what follows from it.
    pub fn push(&mut self, input: Input) -> Result<(), Violation> {
        self.todo.extend(self.replica.step(input)?);
        Ok(())
    }

    /// Goes on until something is left for the caller. `None`: all is done.
    pub fn next(&mut self) -> Result<Option<Effect>, DriveError> {
        while let Some(output) = self.todo.pop_front() {
            match output {
                Output::Apply { records, through } => match self.backend.apply(records, through) {
                    Ok(()) => {}
                    // The core counts it as applied; there is no way back but a restart.
                    Err(error) => return Err(DriveError::Backend(error.to_string())),
                },
                Output::Forget(forum) => self.backend.forget_pending(forum),
                Output::Execute { forum, task, epoch, work, origin_hub } => {
                    let input = self.execute(forum, task, epoch, &work, origin_hub)?;
                    self.push(input)?;
                }
                Output::Send(answer) => return Ok(Some(Effect::Send(answer))),
                Output::RetryLater { forum, attempt } => {
                    return Ok(Some(Effect::RetryLater { forum, attempt }));
                }
                Output::ResendLater { forum, attempt } => {
                    return Ok(Some(Effect::ResendLater { forum, attempt }));
                }
            }
        }
        Ok(None)
    }

    fn execute(
        &self,
        forum: ForumId,
        task: TaskId,
        epoch: ForumEpoch,
        work: &Work,
        origin_hub: u64,
    ) -> Result<Input, DriveError> {
        match self.backend.execute(task, work, &mut self.ids.taker()) {
            Ok(execution) => {
                let answer = answer(forum, task, epoch, origin_hub, execution);
                Ok(Input::Executed(Box::new(answer)))
            }
            Err(BackendError::Unavailable(why)) => {
                tracing::debug!(%forum, %task, why, "cannot execute now");
                Ok(Input::NotExecuted { forum })
            }
            Err(error @ BackendError::Fatal(_)) => Err(DriveError::Backend(error.to_string())),
        }
    }
}

fn answer(forum: ForumId, task: TaskId, epoch: ForumEpoch, origin_hub: u64, made: Execution) -> v1::Answer {
    v1::Answer {
        task_id: task.get(),
        forum_id: forum.get(),
        epoch: epoch.0,
        receipt: Some(made.receipt),
        forum_facts: encode_facts(made.forum_facts),
        directory_facts: encode_facts(made.directory_facts),
        sessions: made.session.into_iter().collect(),
        body: Some(made.body),
        origin_hub,
    }
}

/// Facts as they travel; none are no bytes.
pub fn encode_facts(facts: Vec<v1::Fact>) -> Bytes {
    v1::Facts { facts }.encode_to_vec().into()
}
