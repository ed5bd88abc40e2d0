//! What stands in the way of a step, peer by peer.

use loop_proto::ids::PeerId;

use super::{
    blocked::{BlockedForum, Obstacle},
    planner::Planner,
    step::Why,
    view::View,
};

/// Peers named for one forum.
const OBSTACLES_MAX: usize = 16;
/// Forums told of in detail; beyond that they are counted.
const BLOCKED_MAX: usize = 256;

impl Planner {
    /// Notes that forum `at` needs a peer and none can be had. One that has just come will do in a moment.
    pub(super) fn block(&mut self, at: usize, replaces: Option<usize>, why: Why) {
        let in_a_moment = |peer: usize| obstacle(&self.view, peer, at) == Some(Obstacle::TooNew);
        if why != Why::NoCopy && (0..self.view.peers.len()).any(in_a_moment) {
            return;
        }
        self.blocked.total += 1;
        if self.blocked.forums.len() >= BLOCKED_MAX {
            return;
        }
        let view = &self.view;
        let forum = &view.forums[at];
        // Those who hold it are no answer to who else could; they come last.
        let mut all: Vec<(bool, PeerId, Obstacle)> = (0..view.peers.len())
            .filter_map(|peer| Some((forum.holds(peer), view.peers[peer].id, obstacle(view, peer, at)?)))
            .filter(|(_, _, obstacle)| *obstacle != Obstacle::Removed)
            .collect();
        all.sort_by_key(|(holds, peer, _)| (*holds, *peer));
        let others = all.len().saturating_sub(OBSTACLES_MAX);
        let obstacles = all.into_iter().take(OBSTACLES_MAX).map(|(_, peer, why)| (peer, why)).collect();
        let replaces = replaces.map(|peer| view.peers[peer].id);
        self.blocked.forums.push(BlockedForum { forum: forum.id, why, replaces, obstacles, others });
    }
}

/// Why `peer` cannot get forum `at`; `None`: it could.
fn obstacle(view: &View, peer: usize, at: usize) -> Option<Obstacle> {
    if view.forums[at].holds(peer) {
        return Some(if view.peers[peer].connected { Obstacle::HoldsIt } else { Obstacle::Away });
    }
    let own = view.peers[peer].obstacle;
    let full = (view.peers[peer].room == 0).then_some(Obstacle::ForumsMax);
    let failed = view.has_failed(peer, at).then_some(Obstacle::Failed);
    let too_new = (!view.peers[peer].has_stayed).then_some(Obstacle::TooNew);
    own.or(full).or(failed).or(too_new)
}
