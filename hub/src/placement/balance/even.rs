//! Peers hold about equally many replicas, and are the primary of equally many: the last of all reasons, so it never moves what
//! is not safe, and concerns only peers that are counted on.
//!
//! Every step brings a fuller and an emptier peer closer together, so the plan comes to an end.

use std::cmp::Reverse;

use super::{
    planner::Planner,
    step::Why,
    view::{Mean, PeerView},
};

/// Fullest and emptiest peers that are tried with one another.
const TRIED: usize = 16;

/// Whether something should go from a peer with `from` to one with `to`: at least two apart, and one of them more than
/// a tenth away from even.
fn is_uneven(from: usize, to: usize, mean: Mean) -> bool {
    from >= to + 2 && (mean.is_far_below(from) || mean.is_far_above(to))
}

/// Orders equals otherwise for other peers: in the order of their ids the same few forums would move again and again.
fn turn(ids: [u32; 3]) -> u32 {
    ids.iter().fold(0, |turn: u32, id| (turn.rotate_left(5) ^ id).wrapping_mul(0x9e37_79b9))
}

impl Planner {
    /// Moves replicas from the fullest peers to the emptiest.
    pub(super) fn even_replicas(&mut self) {
        let mean = self.view.mean(|peer| peer.replicas);
        while !self.is_full() {
            let Some((at, from, to)) = self.next_replica_move(mean) else { return };
            if self.invite_to(at, to, Some(from), Why::UnevenReplicas) != Some(true) {
                return;
            }
        }
    }

    fn next_replica_move(&self, mean: Mean) -> Option<(usize, usize, usize)> {
        let peers = &self.view.peers;
        let order = |keep: fn(&PeerView) -> bool| {
            let is_even = |at: &usize| self.view.is_even(*at) && keep(&peers[*at]);
            let mut order: Vec<usize> = (0..peers.len()).filter(is_even).collect();
            order.sort_by_key(|at| (peers[*at].replicas, peers[*at].id));
            order
        };
        let fullest = order(|peer| peer.works);
        let emptiest = order(|peer| peer.takes && peer.room > 0);
        for to in emptiest.iter().copied().take(TRIED) {
            if peers[to].inflow >= self.policy.per_target_max {
                continue;
            }
            for from in fullest.iter().rev().copied().take(TRIED) {
                if !is_uneven(peers[from].replicas, peers[to].replicas, mean) {
                    break;
                }
                if let Some(at) = self.best_to_move(from, to) {
                    return Some((at, from, to));
                }
            }
        }
        None
    }

    /// The forum that best goes from one peer to another: spread no worse, primaries more even, little to do.
    fn best_to_move(&self, from: usize, to: usize) -> Option<usize> {
        let view = &self.view;
        let primary_goes = view.peers[from].primaries > view.peers[to].primaries;
        let candidates = view.peers[from].serves.iter().map(|at| *at as usize).filter(|at| {
            let forum = &view.forums[*at];
            let idle = !forum.planned && !forum.resting && !forum.hot && forum.joining.is_empty();
            idle && self.is_safe(forum) && forum.serving.contains(&from) && view.may_take(to, *at)
        });
        candidates
            .filter_map(|at| {
                let forum = &view.forums[at];
                let before = view.clashes(forum, from, None);
                let after = view.clashes(forum, to, Some(from));
                // A forum that stood well apart is not moved for the sake of a count.
                (after <= before).then(|| {
                    let fits = (forum.primary == from) == primary_goes;
                    let gain = before - after;
                    let turn = turn([forum.id.get(), view.peers[from].id.get(), view.peers[to].id.get()]);
                    (Reverse(gain), !fits, forum.rate.requests_per_minute(), turn, at)
                })
            })
            .min()
            .map(|(.., at)| at)
    }

    /// Moves primaries among the replicas that serve.
    pub(super) fn even_primaries(&mut self) {
        let mean = self.view.mean(|peer| peer.primaries);
        let mut exhausted = vec![false; self.view.peers.len()];
        let mut moved = 0;
        while moved < self.policy.primary_moves_max && !self.is_full() {
            let peers = &self.view.peers;
            let left = (0..peers.len()).filter(|at| self.view.is_even(*at) && !exhausted[*at]);
            let Some(from) = left.max_by_key(|at| (peers[*at].primaries, Reverse(peers[*at].id))) else {
                return;
            };
            match self.best_heir(from, mean) {
                Some((at, to)) => {
                    self.move_primary(at, to, Why::UnevenPrimaries);
                    moved += 1;
                }
                None => exhausted[from] = true,
            }
        }
    }

    /// The forum, and who gets it, for which a peer best gives up being the primary.
    fn best_heir(&self, from: usize, mean: Mean) -> Option<(usize, usize)> {
        let view = &self.view;
        let idle = |at: &usize| {
            let forum = &view.forums[*at];
            forum.primary == from
                && !forum.planned
                && !forum.resting
                && !forum.hot
                && forum.joining.is_empty()
        };
        let own = view.peers[from].serves.iter().map(|at| *at as usize).filter(idle);
        let pairs = own.flat_map(|at| {
            let forum = &view.forums[at];
            let heirs = forum.live.iter().copied();
            let heirs = heirs.filter(move |peer| *peer != from && forum.confirmed.contains(peer));
            heirs.map(move |heir| (at, heir))
        });
        pairs
            .filter(|(_, heir)| {
                let peer = &view.peers[*heir];
                view.is_even(*heir) && is_uneven(view.peers[from].primaries, peer.primaries, mean)
            })
            .min_by_key(|(at, heir)| {
                (view.peers[*heir].primaries, view.forums[*at].rate.requests_per_minute(), *at)
            })
    }
}
