//! A plan while it is being made.

use super::{
    blocked::Blocked,
    policy::Policy,
    step::{Action, Step, Why},
    view::View,
};

/// A plan being made: every step is taken as done for those after it.
pub(super) struct Planner {
    pub(super) view: View,
    pub(super) policy: Policy,
    pub(super) steps: Vec<Step>,
    pub(super) blocked: Blocked,
}

impl Planner {
    pub(super) fn is_full(&self) -> bool {
        self.steps.len() >= self.policy.steps_max
    }

    /// Invites the best peer to forum `at`, or notes that there is none. Returns whether it is invited now.
    pub(super) fn invite_or_block(&mut self, at: usize, replaces: Option<usize>, why: Why) -> bool {
        let target = self.view.best_target(at, replaces, why, &self.policy);
        let invited = target.and_then(|target| self.invite_to(at, target, replaces, why));
        if invited.is_none() && why != Why::Busy {
            self.block(at, replaces, why);
        }
        self.view.forums[at].planned |= why != Why::Busy;
        invited == Some(true)
    }

    pub(super) fn invite_to(
        &mut self,
        at: usize,
        target: usize,
        replaces: Option<usize>,
        why: Why,
    ) -> Option<bool> {
        let source = self.view.best_source(at)?;
        // A last copy does not wait until others have moved.
        let times = if why == Why::LastCopy { 2 } else { 1 };
        let held_back = self.view.under_way >= self.policy.migrations_max * times
            || self.view.peers[target].inflow >= self.policy.per_target_max * times
            || self.view.peers[source].outflow >= self.policy.per_source_max * times;
        let action = Action::Invite {
            target: self.view.peers[target].id,
            source: self.view.peers[source].id,
            replaces: replaces.map(|peer| self.view.peers[peer].id),
        };
        self.steps.push(Step { forum: self.view.forums[at].id, action, why, held_back });
        if !held_back {
            self.view.invited(at, target, source, replaces);
        }
        Some(!held_back)
    }

    pub(super) fn move_primary(&mut self, at: usize, to: usize, why: Why) {
        let forum = &self.view.forums[at];
        let action = Action::MovePrimary { to: self.view.peers[to].id, epoch: forum.epoch };
        self.steps.push(Step { forum: forum.id, action, why, held_back: false });
        self.view.primary_moved(at, to);
    }

    pub(super) fn remove(&mut self, at: usize, peer: usize, why: Why) {
        let others_min = self.view.forums[at].wanted;
        let action = Action::Remove { peer: self.view.peers[peer].id, passed: 0, others_min };
        self.steps.push(Step { forum: self.view.forums[at].id, action, why, held_back: false });
        self.view.removed(at, peer);
    }
}
