//! Which requests were seen, and what their senders are told when they ask again.
//!
//! Owns two windows of memory: clients' requests, kept while their task is open and for a while after its answer, and
//! hubs' own proposals, kept for a hub's retries. Never knows what a request asks.

use std::{collections::VecDeque, sync::Arc};

use loop_proto::{
    ids::{ForumEpoch, ForumId, HubTime, MessageId, PeerId, RequestId, TaskId},
    v1,
};

use super::{bounds::Bounds, shared::SharedMap};

/// What a remembered request costs in memory besides its receipt's text: three indexes' entries.
const RECEIPT_OVERHEAD_BYTES: u64 = 200;

/// A client's request that became a task.
#[derive(Clone, PartialEq)]
pub struct SeenRequest {
    /// The task it became.
    pub task: TaskId,
    /// The task's forum.
    pub forum: ForumId,
    /// The message id it was given.
    pub message: Option<MessageId>,
    /// How it was answered; `None` while it is open.
    pub answer: Option<SeenAnswer>,
}

/// The answer that won.
#[derive(Clone, PartialEq)]
pub struct SeenAnswer {
    /// Who executed the task.
    pub peer: PeerId,
    /// The record that closed it.
    pub record: TaskId,
    /// The proposal that carried the answer.
    pub proposal: RequestId,
    /// When it was committed, in the log's time without its jumps.
    pub at: HubTime,
    /// What the client is told.
    pub receipt: Arc<v1::Receipt>,
}

/// What a hub's proposal came to, to be said again to a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A primary was moved.
    Move {
        /// The forum it led.
        forum: ForumId,
        /// The forum's new epoch.
        epoch: ForumEpoch,
    },
    /// A peer was invited.
    Invited {
        /// To hold which forum.
        forum: ForumId,
        /// The record that did.
        invitation: TaskId,
    },
    /// A replica was made to start again.
    Restarted {
        /// Of which forum.
        forum: ForumId,
        /// The record that did.
        record: u64,
    },
    /// A mark was put into a forum's stream.
    Audited {
        /// The forum.
        forum: ForumId,
        /// The mark.
        record: u64,
    },
}

/// Both windows.
#[derive(Clone, Default, PartialEq)]
pub struct Receipts {
    requests: SharedMap<RequestId, SeenRequest>,
    // Answered requests, in the order of their answers; the next to be forgotten first.
    answered: VecDeque<(HubTime, RequestId)>,
    // The same by task, for late answers.
    by_task: SharedMap<TaskId, RequestId>,
    answered_bytes: u64,
    proposals: SharedMap<RequestId, Made>,
    proposal_order: VecDeque<(HubTime, RequestId)>,
}

impl Receipts {
    /// The client's request of that id, if it is open or inside the window.
    pub fn request(&self, id: RequestId) -> Option<&SeenRequest> {
        self.requests.get(&id)
    }

    /// How a task was answered, if that is inside the window.
    pub fn answer_of(&self, task: TaskId) -> Option<(&SeenRequest, &SeenAnswer)> {
        let seen = self.requests.get(self.by_task.get(&task)?)?;
        Some((seen, seen.answer.as_ref()?))
    }

    /// What the proposal of that id came to, if it is inside the window.
    pub fn proposal(&self, id: RequestId) -> Option<Made> {
        self.proposals.get(&id).copied()
    }

    /// How many answered requests are remembered.
    pub fn answered_len(&self) -> usize {
        self.answered.len()
    }

    /// What remembered receipts cost, bytes.
    pub fn answered_bytes(&self) -> u64 {
        self.answered_bytes
    }

    /// How many proposals are remembered.
    pub fn proposals_len(&self) -> usize {
        self.proposals.len()
    }

    /// Answered requests, next to be forgotten first.
    pub(super) fn answered(&self) -> impl Iterator<Item = (RequestId, &SeenRequest, &SeenAnswer)> {
        self.answered.iter().filter_map(|(_, id)| {
            let seen = self.requests.get(id)?;
            Some((*id, seen, seen.answer.as_ref()?))
        })
    }

    /// Proposals, next to be forgotten first.
    pub(super) fn proposals(&self) -> impl Iterator<Item = (HubTime, RequestId, Made)> {
        self.proposal_order.iter().filter_map(|(at, id)| Some((*at, *id, self.proposal(*id)?)))
    }

    pub(super) fn open(&mut self, id: RequestId, task: TaskId, forum: ForumId, message: Option<MessageId>) {
        self.requests.insert(id, SeenRequest { task, forum, message, answer: None });
    }

    /// The request will never be answered: it is as if it had not been sent.
    pub(super) fn withdraw(&mut self, id: RequestId) {
        if self.requests.get(&id).is_some_and(|seen| seen.answer.is_none()) {
            self.requests.remove(&id);
        }
    }

    pub(super) fn answer(&mut self, id: RequestId, answer: SeenAnswer) {
        let Some(seen) = self.requests.get_mut(&id) else { return };
        self.answered_bytes += bytes(&answer);
        self.by_task.insert(seen.task, id);
        self.answered.push_back((answer.at, id));
        seen.answer = Some(answer);
    }

    pub(super) fn remember(&mut self, at: HubTime, id: RequestId, made: Made) {
        if self.proposals.insert(id, made).is_none() {
            self.proposal_order.push_back((at, id));
        }
    }

    /// How many answered requests must go: all that is above the bounds, and of those that have lapsed at most
    /// `lapsed_max`.
    pub(super) fn answered_due(&self, now: HubTime, bounds: &Bounds, lapsed_max: usize) -> usize {
        let (mut kept, mut bytes_kept) = (self.answered.len() as u64, self.answered_bytes);
        let mut due = 0;
        for (at, id) in &self.answered {
            let over = kept > bounds.receipts_max || bytes_kept > bounds.receipts_bytes_max;
            let lapsed = at.0.saturating_add(bounds.receipt_age_ms) <= now.0;
            if !over && (!lapsed || due >= lapsed_max) {
                break;
            }
            let answer = self.requests.get(id).and_then(|seen| seen.answer.as_ref());
            bytes_kept -= answer.map_or(0, bytes);
            kept -= 1;
            due += 1;
        }
        due
    }

    /// How many proposals must go, by the same rule.
    pub(super) fn proposals_due(&self, now: HubTime, bounds: &Bounds, lapsed_max: usize) -> usize {
        let over = (self.proposal_order.len() as u64).saturating_sub(bounds.proposals_max);
        let lapsed = |(at, _): &&(HubTime, RequestId)| at.0.saturating_add(bounds.proposal_age_ms) <= now.0;
        let lapsed = self.proposal_order.iter().take(lapsed_max).take_while(lapsed).count();
        lapsed.max(usize::try_from(over).unwrap_or(usize::MAX))
    }

    /// Forgets the `count` oldest answered requests.
    pub(super) fn forget_answered(&mut self, count: usize) {
        for (_, id) in self.answered.drain(..count.min(self.answered.len())) {
            let Some(seen) = self.requests.remove(&id) else { continue };
            self.by_task.remove(&seen.task);
            self.answered_bytes -= seen.answer.as_ref().map_or(0, bytes);
        }
    }

    /// Forgets the `count` oldest proposals.
    pub(super) fn forget_proposals(&mut self, count: usize) {
        for (_, id) in self.proposal_order.drain(..count.min(self.proposal_order.len())) {
            self.proposals.remove(&id);
        }
    }

    pub(super) fn check(&self, open: usize) -> Result<(), &'static str> {
        if self.requests.len() != self.answered.len() + open {
            return Err("a request is neither open nor answered");
        }
        if self.by_task.len() != self.answered.len() || self.answered().count() != self.answered.len() {
            return Err("the index of answered requests is wrong");
        }
        if !self.answered().zip(self.answered().skip(1)).all(|(a, b)| a.2.record < b.2.record) {
            return Err("answers are out of order");
        }
        if self.answered().map(|(_, _, answer)| bytes(answer)).sum::<u64>() != self.answered_bytes {
            return Err("the receipts' bytes are miscounted");
        }
        if self.proposals.len() != self.proposal_order.len()
            || self.proposals().count() != self.proposals.len()
        {
            return Err("the order of proposals is wrong");
        }
        Ok(())
    }
}

/// What remembering this answer costs, bytes.
fn bytes(answer: &SeenAnswer) -> u64 {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len) as u64;
    text(&answer.receipt.sid_json) + text(&answer.receipt.lid) + RECEIPT_OVERHEAD_BYTES
}
