//! What a plan consists of: one step each, with what makes it due and the command that takes it.

use std::fmt;

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId},
    v1::{self, InvitationCause, command},
};

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
