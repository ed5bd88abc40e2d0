//! Rule 1: every forum is where it can stay, on as many peers as it should be. Rule 3: and on no more.

use std::cmp::Reverse;

use super::{Planner, Why, view::ForumView};

/// A forum that lacks something.
struct Need {
    healthy: usize,
    why: Why,
    at: usize,
    replaces: Option<usize>,
}

impl Planner {
    /// Gives forums that lost a replica, or have too few, another one.
    pub(super) fn meet_needs(&mut self) {
        self.let_go_of_leaving();
        if !self.view.peers.iter().any(|peer| peer.takes && peer.room > 0) {
            return;
        }
        let mut needs: Vec<Need> = (0..self.view.forums.len()).filter_map(|at| self.need(at)).collect();
        needs.sort_by_key(|need| (need.healthy, need.why, need.at));
        for need in needs {
            if self.is_full() {
                return;
            }
            self.invite(need.at, need.replaces, need.why);
        }
    }

    /// Serving replicas whose peers are there, in the order they came.
    fn healthy(&self, forum: &ForumView) -> usize {
        forum.serving.iter().filter(|peer| self.view.peers[**peer].stays).count()
    }

    /// Replicas that will serve and stay once everything under way is done.
    fn staying(&self, forum: &ForumView) -> usize {
        forum.holders().filter(|peer| self.view.peers[*peer].stays).count()
    }

    fn need(&self, at: usize) -> Option<Need> {
        let forum = &self.view.forums[at];
        // One invitation at a time for one forum: the next one is made from what the first came to.
        if forum.planned || !forum.joining.is_empty() || self.staying(forum) >= forum.wanted {
            return None;
        }
        let healthy = self.healthy(forum);
        let leaving = forum.serving.iter().copied().filter(|peer| !self.view.peers[*peer].stays);
        let replaces = leaving.min_by_key(|peer| (!self.view.peers[*peer].lost, *peer));
        let why = match replaces {
            Some(peer) if self.view.peers[peer].lost => Why::Lost,
            Some(_) => Why::Drain,
            None => Why::TooFew,
        };
        Some(Need { healthy, why, at, replaces })
    }

    /// A replica on a peer that is leaving needs no successor where enough others stay. One on a removed peer is no
    /// copy at all, but it is kept in the list until another one serves.
    fn let_go_of_leaving(&mut self) {
        for at in 0..self.view.forums.len() {
            let forum = &self.view.forums[at];
            if self.is_full() {
                return;
            }
            if !forum.joining.is_empty() || self.healthy(forum) < forum.wanted {
                continue;
            }
            let leaving = forum.serving.iter().copied().find(|peer| !self.view.peers[*peer].stays);
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
        let others = view.forums[at].serving.iter().copied();
        let heirs = others.filter(|other| *other != peer && view.peers[*other].connected);
        let stays = |other: &usize| !view.peers[*other].stays;
        if let Some(heir) = heirs.min_by_key(|other| (stays(other), view.peers[*other].primaries, *other)) {
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
            if !idle || self.staying(forum) <= forum.wanted {
                continue;
            }
            let view = &self.view;
            let spare = forum.serving.iter().copied().max_by_key(|peer| {
                let (on, clashes) = (&view.peers[*peer], view.clashes(forum, *peer, None));
                (!on.connected, clashes, *peer != forum.primary, on.replicas, Reverse(on.id))
            });
            if let Some(spare) = spare {
                self.remove_or_free(at, spare, Why::TooMany);
            }
        }
    }
}
