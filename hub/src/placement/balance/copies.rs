//! Copies that are there: the last one is doubled first, replaced ones are taken back or let go, new ones are tried.

use loop_proto::breakage::{self, Breakage};

use super::{
    planner::Planner,
    step::{Action, Step, Why},
    view::ForumView,
};

/// Additional copies a new peer is tried with.
const TRIED_WITH: usize = 4;

impl Planner {
    /// Replaced copies serve again where too few others do: nothing has to be copied for it.
    pub(super) fn take_back(&mut self) {
        if breakage::is_on(Breakage::NotReinstated) {
            return;
        }
        for at in 0..self.view.forums.len() {
            let forum = &self.view.forums[at];
            if forum.draining.is_empty() || self.here(forum) >= forum.wanted || !self.has_place(forum) {
                continue;
            }
            let whole = forum.draining.iter().filter(|draining| draining.live);
            let best =
                whole.max_by_key(|draining| (draining.confirmed, self.view.peers[draining.peer].standing));
            if let Some(peer) = best.map(|draining| draining.peer) {
                self.reinstate(at, peer);
            }
        }
    }

    /// Whether one more may serve beside those on their way: they could not serve if it took the last place. Where no copy is live
    /// nobody waits for them.
    pub(super) fn has_place(&self, forum: &ForumView) -> bool {
        let more = forum.joining.iter().filter(|(_, replaces)| replaces.is_none()).count();
        let places = self.policy.replicas_max.max(forum.wanted);
        more == 0 || forum.live.is_empty() || forum.serving.len() + more < places
    }

    /// Forums with one live copy get another before anything else happens. Returns whether some are about to.
    pub(super) fn double_last_copies(&mut self) -> bool {
        let mut any = false;
        for at in 0..self.view.forums.len() {
            let forum = &self.view.forums[at];
            if forum.wanted < 2 || self.here(forum) > 1 {
                continue;
            }
            any |= !forum.joining.is_empty();
            if forum.planned || !forum.joining.is_empty() || breakage::is_on(Breakage::LastCopyWaits) {
                continue;
            }
            if forum.live.is_empty() {
                if self.here(forum) == 0 {
                    self.block(at, None, Why::NoCopy);
                    self.view.forums[at].planned = true;
                }
                continue;
            }
            // One that is away keeps its place as long as there is another one.
            let replaces =
                self.replaceable(forum).filter(|_| forum.serving.len() >= self.policy.replicas_max);
            any |= self.invite_or_block(at, replaces, Why::LastCopy);
        }
        any
    }

    /// Live copies, counting those whose peers have been away for a moment only.
    fn here(&self, forum: &ForumView) -> usize {
        let away = |peer: &&usize| !forum.live.contains(*peer) && self.view.peers[**peer].was_here;
        forum.live.len() + forum.serving.iter().filter(away).count()
    }

    /// Who holds a place and no live copy: the longest lost first.
    fn replaceable(&self, forum: &ForumView) -> Option<usize> {
        let gone = forum.serving.iter().copied().filter(|peer| !self.view.peers[*peer].connected);
        gone.min_by_key(|peer| (!self.view.peers[*peer].lost, *peer))
    }

    /// Lets go of copies that were replaced, once their successors' are known to be as good and enough others are there.
    pub(super) fn let_go_of_replaced(&mut self) {
        for at in 0..self.view.forums.len() {
            let forum = &self.view.forums[at];
            let early = breakage::is_on(Breakage::ReplacedLetGoEarly);
            let due = forum.draining.iter().find(|draining| {
                let enough = self.safe_others(forum, draining.peer) >= forum.wanted;
                draining.passed >= draining.since_record && (early || draining.is_over && enough)
            });
            let Some(due) = due.copied().filter(|_| !forum.planned) else { continue };
            let others_min = if early { 0 } else { forum.wanted };
            let action =
                Action::Remove { peer: self.view.peers[due.peer].id, passed: due.passed, others_min };
            self.steps.push(Step { forum: forum.id, action, why: Why::Replaced, held_back: false });
            let forum = &mut self.view.forums[at];
            forum.planned = true;
            forum.draining.retain(|draining| draining.peer != due.peer);
        }
    }

    /// A forum can have so many replicas in all roles. Where it has, one goes that nobody can use now and that others can do
    /// without, so that a copy can be made on a peer that is there.
    pub(super) fn make_room(&mut self) {
        for at in 0..self.view.forums.len() {
            let forum = &self.view.forums[at];
            let held = forum.serving.len() + forum.joining.len() + forum.draining.len();
            let is_full = held + 1 >= self.view.roles_max && self.here(forum) < forum.wanted;
            let is_whole = forum.live.iter().any(|peer| forum.confirmed.contains(peer));
            if !is_full || !is_whole || forum.planned {
                continue;
            }
            let replaced = forum.draining.iter().filter(|draining| !draining.live);
            let replaced =
                replaced.map(|draining| (draining.peer, draining.passed.max(draining.since_record)));
            let gone = |peer: &usize| !self.view.peers[*peer].connected && *peer != forum.primary;
            let serving = forum.serving.iter().copied().filter(gone).map(|peer| (peer, 0));
            let key = |(peer, _): &(usize, u64)| (self.view.peers[*peer].standing, *peer);
            let Some((peer, passed)) = replaced.min_by_key(key).or_else(|| serving.min_by_key(key)) else {
                continue;
            };
            let action = Action::Remove { peer: self.view.peers[peer].id, passed, others_min: 1 };
            self.steps.push(Step { forum: forum.id, action, why: Why::NoRoom, held_back: false });
            self.view.forums[at].planned = true;
        }
    }

    /// Live and confirmed copies beside that of `peer`, on peers that count, or that can be counted on as much as it.
    pub(super) fn safe_others(&self, forum: &ForumView, peer: usize) -> usize {
        let standing = self.view.peers[peer].standing;
        let counts = |other: usize| self.view.counts(other) || self.view.peers[other].standing >= standing;
        Self::confirmed_live(forum).filter(|other| *other != peer && counts(*other)).count()
    }

    fn confirmed_live(forum: &ForumView) -> impl Iterator<Item = usize> {
        forum.live.iter().copied().filter(|peer| forum.confirmed.contains(peer))
    }

    /// Whether as many copies as wanted are live, confirmed and on peers that count, and nothing is under way.
    pub(super) fn is_safe(&self, forum: &ForumView) -> bool {
        let settled = forum.joining.is_empty() && forum.draining.is_empty();
        let counted = Self::confirmed_live(forum).filter(|peer| self.view.counts(*peer)).count();
        settled && counted >= forum.wanted
    }

    /// Peers that are new, and have stayed so far, get a few additional copies: their digests tell whether they can be
    /// counted on.
    pub(super) fn try_newcomers(&mut self) {
        let new: Vec<usize> = (0..self.view.peers.len())
            .filter(|peer| {
                let view = &self.view.peers[*peer];
                view.is_new && view.takes && view.room > 0 && view.has_stayed && !self.view.counts(*peer)
            })
            .collect();
        for peer in new {
            let mut held = self.view.peers[peer].replicas;
            let forums = self.view.forums.len();
            // Each begins elsewhere: no forum is copied for all of them.
            let first = self.view.peers[peer].id.get() as usize * TRIED_WITH;
            for at in (0..forums).map(|at| (first + at) % forums) {
                if held >= TRIED_WITH || self.is_full() {
                    break;
                }
                let forum = &self.view.forums[at];
                let places = self.policy.replicas_max.max(forum.wanted + 1).min(self.view.serving_max);
                let has_place = forum.serving.len() < places;
                let quiet = !forum.planned && !forum.resting && !forum.hot;
                if quiet && has_place && self.is_safe(forum) && self.view.may_take(peer, at) {
                    match self.invite_to(at, peer, None, Why::Probation) {
                        Some(true) => held += 1,
                        _ => return,
                    }
                }
            }
        }
    }

    pub(super) fn reinstate(&mut self, at: usize, peer: usize) {
        let action = Action::Reinstate { peer: self.view.peers[peer].id };
        self.steps.push(Step {
            forum: self.view.forums[at].id,
            action,
            why: Why::TakenBack,
            held_back: false,
        });
        self.view.reinstated(at, peer);
    }
}
