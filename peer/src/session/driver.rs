//! Carries out what the replica's pure core asks, in order, on the backend. Owns both for a process's life.
//!
//! Executions run inline: they work on memory, and one after another is what the core demands per forum anyway.
//! So a simulation runs exactly this. Never touches the network: what must be sent is handed to the caller one by
//! one, so that an answer is on its way while the next task executes.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, TaskId},
    v1,
};
use prost::Message;
use tokio::sync::oneshot;

use super::{departures::Departures, seeding::Seeding};
use crate::{
    backend::{Backend, BackendError, Digest, Executed, Joining, Work},
    replica::{Copied, Input, Output, Replica, Violation},
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
    /// Answer an invitation.
    Invited {
        /// The forum.
        forum: ForumId,
        /// The invitation.
        invitation: TaskId,
    },
    /// Reject an invitation whose beginning was missed.
    Refuse {
        /// The forum.
        forum: ForumId,
        /// The invitation.
        invitation: TaskId,
    },
    /// Start over: the hubs count on a copy that is not here.
    Lost(ForumId),
    /// Say that a checkpoint is installed.
    Seeded(v1::Seeded),
    /// Report a digest when it is computed.
    Audit {
        /// The forum.
        forum: ForumId,
        /// The record that asks.
        record: TaskId,
        /// What the backend will have computed.
        digest: oneshot::Receiver<Digest>,
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

impl From<BackendError> for DriveError {
    fn from(error: BackendError) -> Self {
        Self::Backend(error.to_string())
    }
}

/// The core and the backend, together.
pub struct Driver {
    me: PeerId,
    replica: Replica,
    backend: Arc<dyn Backend>,
    seeding: Arc<Seeding>,
    departures: Arc<Departures>,
    todo: VecDeque<Output>,
    answered: u64,
}

impl Driver {
    /// Goes on from what the backend has on disk.
    pub fn new(
        me: PeerId,
        backend: Arc<dyn Backend>,
        seeding: Arc<Seeding>,
        departures: Arc<Departures>,
    ) -> Result<Self, DriveError> {
        let mut copies: BTreeMap<ForumId, Copied> =
            backend.forums_on_disk()?.into_iter().map(|forum| (forum, Copied::Whole)).collect();
        copies.extend(backend.forums_kept()?.into_iter().map(|forum| (forum, Copied::Kept)));
        for Joining { forum, invitation, installed } in backend.joining()? {
            copies.insert(forum, Copied::Joining { invitation, installed });
        }
        let replica = Replica::new(me, backend.durable_cursor(), copies);
        Ok(Self { me, replica, backend, seeding, departures, todo: VecDeque::new(), answered: 0 })
    }

    /// Forgets all it knew: the cursor has jumped, and these forums' copies are all there are.
    pub fn start_over(&mut self, forums: &[ForumId]) -> Result<(), DriveError> {
        self.departures.announce();
        let kept = self.backend.forums_kept()?;
        let copied = |forum: &ForumId| if kept.contains(forum) { Copied::Kept } else { Copied::Whole };
        let copies = forums.iter().map(|forum| (*forum, copied(forum)));
        self.replica = Replica::new(self.me, self.backend.durable_cursor(), copies);
        self.todo.clear();
        Ok(())
    }

    /// Tasks answered since the process began.
    pub fn answered(&self) -> u64 {
        self.answered
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
                // The core counts it as done; if it cannot be, there is no way back but a restart.
                Output::Apply { records, through } => self.backend.apply(records, through)?,
                Output::BeginJoining { forum, invitation } => {
                    // Stopped first: from here on an older checkpoint must not become this copy.
                    self.let_go(forum, Some(invitation));
                    self.backend.begin_joining(forum, invitation)?;
                }
                Output::EndJoining(forum) => {
                    self.seeding.stop(forum, None);
                    self.backend.end_joining(forum)?;
                }
                Output::Drop(forum) => {
                    tracing::info!(%forum, "a forum is not held any more; its rows go");
                    self.let_go(forum, None);
                    self.backend.drop_forum(forum)?;
                }
                Output::DropEmpty(forum) => {
                    tracing::info!(%forum, "a forum is closed: there is nothing in it");
                    self.let_go(forum, None);
                    self.backend.drop_empty_forum(forum)?;
                }
                Output::Keep(forum) => {
                    tracing::warn!(
                        %forum,
                        "the hubs take this forum away although nobody else is known to have all of it: its rows stay here, \
                         `loop-peer export {forum}` writes them to a file while the peer is stopped"
                    );
                    self.let_go(forum, None);
                    self.backend.keep_forum(forum)?;
                }
                Output::Seed { forum, invitation } => self.seeding.order(forum, invitation),
                Output::Invited { forum, invitation } => {
                    return Ok(Some(Effect::Invited { forum, invitation }));
                }
                Output::Refuse { forum, invitation } => {
                    return Ok(Some(Effect::Refuse { forum, invitation }));
                }
                Output::Seeded { forum, invitation, cursor } => {
                    let (forum_id, invitation_id) = (forum.get(), invitation.get());
                    return Ok(Some(Effect::Seeded(v1::Seeded { forum_id, invitation_id, cursor })));
                }
                Output::Lost(forum) => return Ok(Some(Effect::Lost(forum))),
                Output::Audit { forum, record } => {
                    let digest = self.backend.audit(forum)?;
                    return Ok(Some(Effect::Audit { forum, record, digest }));
                }
                Output::Forget(forum) => self.backend.forget_pending(forum),
                Output::Execute { forum, task, epoch, work } => {
                    let input = self.execute(forum, task, epoch, &work)?;
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

    /// The forum's rows are about to go, or to be exchanged: no older checkpoint becomes them any more, and no read that has
    /// begun on them is answered. A copy on its way by `invitation` goes on.
    fn let_go(&self, forum: ForumId, invitation: Option<TaskId>) {
        self.seeding.stop(forum, invitation);
        self.departures.announce();
    }

    fn execute(
        &mut self,
        forum: ForumId,
        task: TaskId,
        epoch: ForumEpoch,
        work: &Work,
    ) -> Result<Input, DriveError> {
        match self.backend.execute(task, work) {
            Ok(execution) => {
                self.answered += 1;
                let answer = answer(forum, task, epoch, execution);
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

fn answer(forum: ForumId, task: TaskId, epoch: ForumEpoch, made: Executed) -> v1::Answer {
    let Executed { facts, session, receipt } = made;
    v1::Answer {
        task_id: task.get(),
        forum_id: forum.get(),
        epoch: epoch.0,
        receipt: Some(receipt),
        // None are no bytes.
        facts: v1::Facts { facts }.encode_to_vec().into(),
        session,
    }
}
