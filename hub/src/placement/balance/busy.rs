//! A busy forum gets capacity; quiet forums are left alone.

use super::{planner::Planner, step::Why, view};

/// A peer has room for a busy forum if it has at most this part of what the forum's peers have to do.
const IDLE_PART: u64 = 2;
/// A forum is worth moving away from a busy peer if it makes at least this part of its load.
const WORTH_MOVING_PART: u64 = 10;

impl Planner {
    /// More replicas for busy forums, then less beside them.
    pub(super) fn relieve_busy(&mut self) {
        for at in view::by_rate(&self.view.forums) {
            if self.is_full() {
                return;
            }
            let forum = &self.view.forums[at];
            if forum.planned || !forum.joining.is_empty() {
                continue;
            }
            let may_grow = forum.serving.len() < self.policy.replicas_max.max(forum.wanted);
            if may_grow && self.has_idle_target(at) {
                self.invite_or_block(at, None, Why::Busy);
            } else if !forum.resting && !self.relieve_primary(at) {
                self.move_a_neighbour(at);
            }
        }
    }

    /// Whether somebody has much less to do than those who hold the forum.
    fn has_idle_target(&self, at: usize) -> bool {
        let view = &self.view;
        let serving = &view.forums[at].serving;
        let load: u64 = serving.iter().map(|peer| view.peers[*peer].load).sum();
        let target = view.best_target(at, None, Why::Busy, &self.policy);
        target.is_some_and(|peer| {
            view.peers[peer].load.saturating_mul(IDLE_PART * serving.len() as u64) <= load
        })
    }

    /// Makes the replica the primary that has least to do besides this forum, if that is much less.
    fn relieve_primary(&mut self, at: usize) -> bool {
        let view = &self.view;
        let forum = &view.forums[at];
        let besides = |peer: usize| view.peers[peer].load.saturating_sub(forum.share(peer));
        let others = forum.live.iter().copied().filter(|peer| view.is_even(*peer));
        let best =
            others.filter(|peer| forum.confirmed.contains(peer)).min_by_key(|peer| (besides(*peer), *peer));
        let Some(best) = best.filter(|best| *best != forum.primary) else { return false };
        let tasks = forum.rate.tasks_per_minute;
        // It must be worth a new epoch: the difference is at least what the tasks themselves make.
        let gains = besides(forum.primary) / IDLE_PART > besides(best).saturating_add(tasks / IDLE_PART);
        if gains {
            self.move_primary(at, best, Why::Busy);
        }
        gains
    }

    /// Gives the primary of another forum with much to do, on this one's primary, to a replica with less to do.
    fn move_a_neighbour(&mut self, at: usize) {
        let view = &self.view;
        let busy = view.forums[at].primary;
        let load = view.peers[busy].load;
        let worth = |neighbour: &usize| {
            let forum = &view.forums[*neighbour];
            *neighbour != at
                && forum.primary == busy
                && !forum.planned
                && !forum.resting
                && forum.joining.is_empty()
                && forum.rate.tasks_per_minute >= load / WORTH_MOVING_PART
        };
        let neighbours = view.peers[busy].serves.iter().map(|at| *at as usize).filter(worth);
        let with_heir = neighbours.filter_map(|neighbour| {
            let forum = &view.forums[neighbour];
            let heirs = forum.live.iter().copied().filter(|peer| *peer != busy && view.is_even(*peer));
            let heir = heirs
                .filter(|peer| forum.confirmed.contains(peer))
                .min_by_key(|peer| (view.peers[*peer].load, *peer))?;
            let tasks = forum.rate.tasks_per_minute;
            (view.peers[heir].load.saturating_add(tasks) < load.saturating_sub(tasks)).then_some((
                forum.rate.tasks_per_minute,
                neighbour,
                heir,
            ))
        });
        if let Some((_, neighbour, heir)) = with_heir.max_by_key(|(tasks, at, _)| (*tasks, usize::MAX - at)) {
            self.move_primary(neighbour, heir, Why::Busy);
        }
    }
}
