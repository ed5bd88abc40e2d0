//! Which forum should be where: a pure plan from what is agreed and what everybody has to do.
//!
//! Owns the rules and their order. Never proposes, waits or remembers: whatever depends on time comes in with
//! [`Load`], and what was planned before shows in the state as open invitations. The same input gives the same plan.
//!
//! The rules, most urgent first:
//! 1. A replaced copy is taken back where too few live ones are left. A forum with one live copy gets another.
//! 2. Replicas on peers that are drained, removed or lost get a successor; forums with too few replicas get more.
//!    Those with the fewest healthy copies come first.
//! 3. A replaced copy is let go once its successor's was confirmed and has been for a while.
//! 4. A busy forum gets one more replica while there are peers with less to do, then its peers are relieved.
//! 5. A forum with more replicas than it should have loses one.
//! 6. Replicas move from the fullest peers to the emptiest, until all are within a tenth of even; new peers are tried with
//!    additional copies; primaries go to peers that are counted on, then from the fullest to the emptiest.
//!
//! A live complete copy is never taken away while fewer than the wanted number of others are live, confirmed, and on peers
//! that are counted on.

mod blocked;
mod busy;
mod copies;
mod even;
mod heat;
mod load;
mod needs;
mod refusals;
#[cfg(test)]
mod safety_tests;
mod standing;
#[cfg(test)]
pub(super) mod tests;
mod view;

use std::fmt;

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId},
    v1::{self, InvitationCause, command},
};
use loop_raft_store::machine::HubState;

pub use blocked::{Blocked, BlockedForum, Obstacle};
pub use heat::Heat;
pub use load::{Load, PeerLoad};
pub use refusals::Outcomes;
pub use standing::Patience;
pub(crate) use view::spread;

use view::View;

/// How much may happen, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Replicas of a forum for which nothing else was said.
    pub replicas: usize,
    /// Replicas of a busy one.
    pub replicas_max: usize,
    /// A peer that is away longer is lost, milliseconds, if nothing is known of its habits.
    pub grace_ms: u64,
    /// How long a peer must have been there before its copies count, milliseconds.
    pub probation_ms: u64,
    /// How long a replaced copy is kept once its successor's was confirmed, milliseconds.
    pub copy_grace_ms: u64,
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
            probation_ms: 12 * 3_600_000,
            copy_grace_ms: 600_000,
            migrations_max: 8,
            per_target_max: 2,
            per_source_max: 2,
            primary_moves_max: 16,
            steps_max: 256,
        }
    }
}

impl Policy {
    /// What is to be proven at this point of the log, and how long an absence is borne.
    pub fn patience(&self, state: &HubState) -> Patience {
        Patience { now: state.steady(), probation_ms: self.probation_ms, grace_ms: self.grace_ms }
    }
}

/// What should be done, and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is due, most urgent first.
    pub steps: Vec<Step>,
    /// What is due and cannot be done.
    pub blocked: Blocked,
    /// Copies that serve, are live and have not been compared with another's.
    pub unconfirmed: Vec<(ForumId, PeerId)>,
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
            Action::Remove { peer, passed, others_min } => command::Body::RemoveReplica(v1::RemoveReplica {
                forum_id,
                peer_id: peer.get(),
                passed,
                others_min: u32::try_from(others_min).unwrap_or(u32::MAX),
                differs: false,
            }),
            Action::Reinstate { peer } => {
                command::Body::ReinstateReplica(v1::ReinstateReplica { forum_id, peer_id: peer.get() })
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
    /// Take a serving or replaced replica out.
    Remove {
        /// Whose.
        peer: PeerId,
        /// Of a replaced one: how far along the log its successor is.
        passed: u64,
        /// How many others must be there for it.
        others_min: usize,
    },
    /// Have a replaced replica serve again.
    Reinstate {
        /// Whose.
        peer: PeerId,
    },
}

/// What makes a step due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// No copy is live; there is nothing to copy from.
    NoCopy,
    /// One live copy is left.
    LastCopy,
    /// Too few live copies are left, and a replaced one is.
    TakenBack,
    /// A replica's peer was removed by an operator or has been away too long.
    Lost,
    /// A replica's peer is to be emptied.
    Drain,
    /// Fewer replicas than wanted.
    TooFew,
    /// As many replicas as may be, and too few of them are live.
    NoRoom,
    /// A copy was replaced, and its successor's is as good.
    Replaced,
    /// More to do than for other forums.
    Busy,
    /// More replicas than wanted.
    TooMany,
    /// Peers hold unevenly many replicas.
    UnevenReplicas,
    /// A new peer is tried with an additional copy.
    Probation,
    /// The primary's peer is not counted on, and another one is.
    UnprovenPrimary,
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
            Self::NoCopy | Self::LastCopy => InvitationCause::LastCopy,
            Self::Probation => InvitationCause::Probation,
            Self::TakenBack
            | Self::NoRoom
            | Self::Replaced
            | Self::TooMany
            | Self::UnevenReplicas
            | Self::UnprovenPrimary
            | Self::UnevenPrimaries => InvitationCause::Balance,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCopy => "no copy is there",
            Self::LastCopy => "one live copy is left",
            Self::TakenBack => "too few live copies are left, and this one is still there",
            Self::NoRoom => "as many replicas as may be, and too few of them are live",
            Self::Replaced => "its successor's copy is as good",
            Self::Probation => "a new peer is tried with an additional copy",
            Self::UnprovenPrimary => "the primary's peer is new or often away",
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
pub fn plan(state: &HubState, load: &Load, policy: &Policy) -> Plan {
    let view = View::new(state, load, policy);
    let unconfirmed = view.unconfirmed();
    let mut planner = Planner { view, policy: *policy, steps: Vec::new(), blocked: Blocked::default() };
    planner.take_back();
    planner.make_room();
    let saving = planner.double_last_copies();
    planner.meet_needs();
    planner.let_go_of_replaced();
    if !saving {
        planner.relieve_busy();
    }
    planner.remove_excess();
    if !saving {
        planner.even_replicas();
        planner.try_newcomers();
    }
    planner.steady_primaries();
    planner.even_primaries();
    Plan { steps: planner.steps, blocked: planner.blocked, unconfirmed }
}

/// A plan being made: every step is taken as done for those after it.
struct Planner {
    view: View,
    policy: Policy,
    steps: Vec<Step>,
    blocked: Blocked,
}

impl Planner {
    fn is_full(&self) -> bool {
        self.steps.len() >= self.policy.steps_max
    }

    /// Invites the best peer to forum `at`, or notes that there is none. Returns whether it is invited now.
    fn invite_or_block(&mut self, at: usize, replaces: Option<usize>, why: Why) -> bool {
        let target = self.view.best_target(at, replaces, why, &self.policy);
        let invited = target.and_then(|target| self.invite_to(at, target, replaces, why));
        if invited.is_none() && why != Why::Busy {
            self.block(at, replaces, why);
        }
        self.view.forums[at].planned |= why != Why::Busy;
        invited == Some(true)
    }

    fn invite_to(&mut self, at: usize, target: usize, replaces: Option<usize>, why: Why) -> Option<bool> {
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

    fn move_primary(&mut self, at: usize, to: usize, why: Why) {
        let forum = &self.view.forums[at];
        let action = Action::MovePrimary { to: self.view.peers[to].id, epoch: forum.epoch };
        self.steps.push(Step { forum: forum.id, action, why, held_back: false });
        self.view.primary_moved(at, to);
    }

    fn remove(&mut self, at: usize, peer: usize, why: Why) {
        let others_min = self.view.forums[at].wanted;
        let action = Action::Remove { peer: self.view.peers[peer].id, passed: 0, others_min };
        self.steps.push(Step { forum: self.view.forums[at].id, action, why, held_back: false });
        self.view.removed(at, peer);
    }
}
