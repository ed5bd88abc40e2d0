//! Which forum should be where: a pure plan from what is agreed and what everybody has to do.
//!
//! Owns the rules and their order. Never proposes, waits or remembers: whatever depends on time comes in with
//! [`Load`], and what was planned before shows in the state as open invitations. The same input gives the same plan.
//!
//! The rules, most urgent first:
//! 1. Replicas on peers that are drained, removed or lost get a successor; forums with too few replicas get more.
//!    Those with the fewest healthy copies come first.
//! 2. A busy forum gets one more replica while there are peers with less to do, then its peers are relieved.
//! 3. A forum with more replicas than it should have loses one.
//! 4. Replicas move from the fullest peers to the emptiest, then primaries do, until all are within a tenth of even.

mod busy;
mod even;
mod heat;
mod load;
mod needs;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId},
    v1::{self, InvitationCause, command},
};
use loop_raft_store::machine::HubState;

pub use heat::Heat;
pub use load::{Load, PeerLoad};
pub(crate) use view::spread;

use view::View;

/// How much may happen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Replicas of a forum for which nothing else was said.
    pub replicas: usize,
    /// Replicas of a busy one.
    pub replicas_max: usize,
    /// A peer that is away longer is lost, milliseconds.
    pub grace_ms: u64,
    /// Invitations under way at once.
    pub migrations_max: usize,
    /// Of them, to one peer.
    pub per_target_max: usize,
    /// Of them, from one peer.
    pub per_source_max: usize,
    /// Primaries moved by one plan for evenness.
    pub primary_moves_max: usize,
    /// Steps of one plan, those held back included.
    pub steps_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            replicas: 3,
            replicas_max: 4,
            grace_ms: 600_000,
            migrations_max: 8,
            per_target_max: 2,
            per_source_max: 2,
            primary_moves_max: 16,
            steps_max: 256,
        }
    }
}

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The forum.
    pub forum: ForumId,
    /// What to do with it.
    pub action: Action,
    /// What makes it due.
    pub why: Why,
    /// It is due, but as much as may is under way.
    pub held_back: bool,
}

impl Step {
    /// The command that does it.
    pub fn command(&self) -> command::Body {
        let forum_id = self.forum.get();
        match self.action {
            Action::Invite { target, source, replaces } => command::Body::InvitePeer(v1::InvitePeer {
                forum_id,
                target: target.get(),
                source: source.get(),
                replaces: replaces.map_or(0, PeerId::get),
                cause: self.why.cause().into(),
            }),
            Action::MovePrimary { to, epoch } => command::Body::MovePrimary(v1::MovePrimary {
                forum_id,
                to_peer: to.get(),
                expected_epoch: epoch.0,
            }),
            Action::Remove { peer } => {
                command::Body::RemoveReplica(v1::RemoveReplica { forum_id, peer_id: peer.get(), passed: 0 })
            }
        }
    }
}

/// What to do with a forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Invite a peer.
    Invite {
        /// Who is asked.
        target: PeerId,
        /// Who gives its copy.
        source: PeerId,
        /// Who drains once the target serves.
        replaces: Option<PeerId>,
    },
    /// Make another serving replica the primary.
    MovePrimary {
        /// Who.
        to: PeerId,
        /// The epoch the decision is made for.
        epoch: ForumEpoch,
    },
    /// Take a serving replica out.
    Remove {
        /// Whose.
        peer: PeerId,
    },
}

/// What makes a step due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A replica's peer was removed by an operator or has been away too long.
    Lost,
    /// A replica's peer is to be emptied.
    Drain,
    /// Fewer replicas than wanted.
    TooFew,
    /// More to do than for other forums.
    Busy,
    /// More replicas than wanted.
    TooMany,
    /// Peers hold unevenly many replicas.
    UnevenReplicas,
    /// Peers hold unevenly many primaries.
    UnevenPrimaries,
}

impl Why {
    /// The cause an invitation for this reason carries.
    pub const fn cause(self) -> InvitationCause {
        match self {
            Self::Lost => InvitationCause::LostPeer,
            Self::Drain => InvitationCause::Drain,
            Self::TooFew => InvitationCause::TooFew,
            Self::Busy => InvitationCause::Busy,
            Self::TooMany | Self::UnevenReplicas | Self::UnevenPrimaries => InvitationCause::Balance,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "a replica's peer is lost",
            Self::Drain => "a replica's peer is to be emptied",
            Self::TooFew => "fewer replicas than wanted",
            Self::Busy => "much more to do than for other forums",
            Self::TooMany => "more replicas than wanted",
            Self::UnevenReplicas => "peers hold unevenly many replicas",
            Self::UnevenPrimaries => "peers hold unevenly many primaries",
        })
    }
}

/// What should be done now, most urgent first. Takes what is under way as done.
pub fn plan(state: &HubState, load: &Load, policy: &Policy) -> Vec<Step> {
    let mut planner = Planner { view: View::new(state, load, policy), policy: *policy, steps: Vec::new() };
    planner.meet_needs();
    planner.relieve_busy();
    planner.remove_excess();
    planner.even_replicas();
    planner.even_primaries();
    planner.steps
}

/// A plan being made: every step is taken as done for those after it.
struct Planner {
    view: View,
    policy: Policy,
    steps: Vec<Step>,
}

impl Planner {
    fn is_full(&self) -> bool {
        self.steps.len() >= self.policy.steps_max
    }

    /// Invites the best peer to forum `at`, if there is one. Returns whether it may happen now.
    fn invite(&mut self, at: usize, replaces: Option<usize>, why: Why) -> Option<bool> {
        let target = self.view.best_target(at, replaces, why, &self.policy)?;
        self.invite_to(at, target, replaces, why)
    }

    fn invite_to(&mut self, at: usize, target: usize, replaces: Option<usize>, why: Why) -> Option<bool> {
        let source = self.view.best_source(at)?;
        let held_back = self.view.under_way >= self.policy.migrations_max
            || self.view.peers[target].inflow >= self.policy.per_target_max
            || self.view.peers[source].outflow >= self.policy.per_source_max;
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

    fn move_primary(&mut self, at: usize, to: usize, why: Why) {
        let forum = &self.view.forums[at];
        let action = Action::MovePrimary { to: self.view.peers[to].id, epoch: forum.epoch };
        self.steps.push(Step { forum: forum.id, action, why, held_back: false });
        self.view.primary_moved(at, to);
    }

    fn remove(&mut self, at: usize, peer: usize, why: Why) {
        let action = Action::Remove { peer: self.view.peers[peer].id };
        self.steps.push(Step { forum: self.view.forums[at].id, action, why, held_back: false });
        self.view.removed(at, peer);
    }
}
