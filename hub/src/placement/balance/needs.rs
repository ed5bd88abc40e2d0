//! Every forum is where it can stay, on as many peers as it should be, and on no more.

use std::cmp::Reverse;

use super::{
    planner::Planner,
    step::Why,
    view::{DrainingView, ForumView},
};

/// A forum that lacks something.
struct Need {
    healthy: usize,
    why: Why,
    at: usize,
    replaces: Option<usize>,
    /// Whose replaced copy meets it: nothing has to be copied.
    taken_back: Option<usize>,
}

impl Planner {
    /// Gives forums that lost a replica, or have too few, another one.
    pub(super) fn meet_needs(&mut self) {
        self.let_go_of_leaving();
        let mut needs: Vec<Need> = (0..self.view.forums.len()).filter_map(|at| self.need(at)).collect();
        needs.sort_by_key(|need| (need.healthy, need.why, need.at));
        for need in needs {
            if self.is_full() {
                return;
            }
            match need.taken_back {
                Some(peer) => self.reinstate(need.at, peer),
                None => drop(self.invite_or_block(need.at, need.replaces, need.why)),
            }
        }
    }

    /// Replicas that serve and stay: their peers are there, or will be back soon.
    fn healthy(&self, forum: &ForumView) -> usize {
        forum.serving.iter().filter(|peer| self.view.peers[**peer].stays).count()
    }

    fn need(&self, at: usize) -> Option<Need> {
        let forum = &self.view.forums[at];
        // One invitation at a time for one forum: the next one is made from what the first came to.
        if forum.planned || !forum.joining.is_empty() {
            return None;
        }
        let stay = |peer: &usize| self.view.peers[*peer].stays;
        let staying = forum.holders().filter(stay).count();
        let counted = forum.holders().filter(stay).filter(|peer| self.view.counts(*peer)).count();
        let useful = |draining: &&DrainingView| {
            let counts = self.view.counts(draining.peer);
            draining.live && stay(&draining.peer) && (staying < forum.wanted || counts)
        };
        let key = |draining: &&DrainingView| (draining.confirmed, self.view.peers[draining.peer].standing);
        let replaced = forum.draining.iter().filter(useful).max_by_key(key);
        let taken_back = replaced.map(|draining| draining.peer);
        // Copies on peers that do not count yet, or no more, are better than none; they are made up for where others can be
        // had.
        let can_be_met = || taken_back.is_some() || self.view.has_counted_target(at);
        if counted >= forum.wanted || staying >= forum.wanted && !can_be_met() {
            return None;
        }
        let leaving = forum.serving.iter().copied().filter(|peer| !stay(peer));
        let replaces = leaving.min_by_key(|peer| (!self.view.peers[*peer].lost, *peer));
        let full = forum.serving.len() >= self.policy.replicas_max.max(forum.wanted);
        let weakest = || {
            let weak = forum.serving.iter().copied().filter(|peer| !self.view.counts(*peer));
            weak.min_by_key(|peer| (self.view.peers[*peer].connected, self.view.peers[*peer].standing, *peer))
        };
        let replaces = replaces.or_else(|| if full { weakest() } else { None });
        let why = match replaces {
            Some(peer) if self.view.peers[peer].lost => Why::Lost,
            Some(peer) if !stay(&peer) => Why::Drain,
            Some(_) | None => Why::TooFew,
        };
        Some(Need { healthy: self.healthy(forum), why, at, replaces, taken_back })
    }

    /// A copy on a peer that is leaving needs no successor where enough others are safe.
    fn let_go_of_leaving(&mut self) {
        for at in 0..self.view.forums.len() {
            let forum = &self.view.forums[at];
            if self.is_full() {
                return;
            }
            if forum.planned || !forum.joining.is_empty() {
                continue;
            }
            let leaving =
                forum.serving.iter().copied().find(|peer| {
                    !self.view.peers[*peer].stays && self.safe_others(forum, *peer) >= forum.wanted
                });
            let Some(leaving) = leaving else { continue };
            let why = if self.view.peers[leaving].lost { Why::Lost } else { Why::Drain };
            self.remove_or_free(at, leaving, why);
        }
    }

    /// Removes a replica; a primary's place goes to another first.
    fn remove_or_free(&mut self, at: usize, peer: usize, why: Why) {
        if self.view.forums[at].primary != peer {
            return self.remove(at, peer, why);
        }
        let view = &self.view;
        let forum = &view.forums[at];
        let heirs =
            forum.live.iter().copied().filter(|other| *other != peer && forum.confirmed.contains(other));
        let key = |other: &usize| {
            let on = &view.peers[*other];
            (!on.stays, !view.counts(*other), on.primaries, *other)
        };
        if let Some(heir) = heirs.min_by_key(key) {
            self.move_primary(at, heir, why);
        }
    }

    /// Takes one replica from every forum that has more than it should.
    pub(super) fn remove_excess(&mut self) {
        for at in 0..self.view.forums.len() {
            if self.is_full() {
                return;
            }
            let forum = &self.view.forums[at];
            let idle = !forum.planned && !forum.hot && forum.joining.is_empty();
            if !idle || forum.serving.len() <= forum.wanted {
                continue;
            }
            if let Some(spare) = self.spare(forum) {
                self.remove_or_free(at, spare, Why::TooMany);
            }
        }
    }

    /// The copy that a forum can best do without; `None`: none.
    fn spare(&self, forum: &ForumView) -> Option<usize> {
        let view = &self.view;
        let can_go = |peer: &usize| self.safe_others(forum, *peer) >= forum.wanted;
        // One more beside what is wanted is how a new peer is tried.
        let is_tried = |peer: &usize| {
            view.peers[*peer].is_new && !view.counts(*peer) && forum.serving.len() <= forum.wanted + 1
        };
        let candidates = forum.serving.iter().copied().filter(|peer| can_go(peer) && !is_tried(peer));
        candidates.max_by_key(|peer| {
            let (on, clashes) = (&view.peers[*peer], view.clashes(forum, *peer, None));
            let safe = forum.live.contains(peer) && forum.confirmed.contains(peer);
            (!view.counts(*peer), !safe, clashes, *peer != forum.primary, on.replicas, Reverse(on.id))
        })
    }

    /// Forums are led by peers that count, where one of those has a copy that does.
    pub(super) fn steady_primaries(&mut self) {
        let mut moved = 0;
        for at in 0..self.view.forums.len() {
            if moved >= self.policy.primary_moves_max || self.is_full() {
                return;
            }
            let view = &self.view;
            let forum = &view.forums[at];
            if forum.planned || view.counts(forum.primary) || !forum.joining.is_empty() {
                continue;
            }
            let heirs = forum.live.iter().copied().filter(|peer| {
                view.counts(*peer) && forum.confirmed.contains(peer) && view.peers[*peer].works
            });
            if let Some(heir) = heirs.min_by_key(|peer| (view.peers[*peer].primaries, *peer)) {
                self.move_primary(at, heir, Why::UnprovenPrimary);
                moved += 1;
            }
        }
    }
}
