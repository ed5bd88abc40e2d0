//! One peer's copy of a forum: how far it has come. Never knows the forum.

use loop_proto::{
    ids::{ForumEpoch, HubTime, PeerId, TaskId},
    v1,
};

/// A peer on its way to serve a forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Who.
    pub peer: PeerId,
    /// The record that invited it.
    pub invitation: TaskId,
    /// Who was to give its copy when it was invited.
    pub source: PeerId,
    /// Its next step.
    pub stage: JoinStage,
}

/// One peer's copy of a forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Whose copy.
    pub peer: PeerId,
    /// How far it has come.
    pub role: ReplicaRole,
    /// When its copy was found equal to another replica's, in the log's steady time; a forum's first replicas are from
    /// the beginning. `None`: not yet, so nobody counts on it.
    pub confirmed_at: Option<HubTime>,
}

/// How far a replica has come. No entry: not a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaRole {
    /// Invited; follows the stream, answers nothing.
    Joining {
        /// The record that invited it.
        invitation: TaskId,
        /// Who was to give its copy when it was invited.
        source: PeerId,
        /// Its next step.
        stage: JoinStage,
    },
    /// Answers reads, and tasks if it is the primary.
    Serving {
        /// The epoch it was admitted under.
        since: ForumEpoch,
    },
    /// Replaced; follows the stream and answers nothing, until its successor has the cut-over on disk.
    Draining {
        /// The record that made its successor serve.
        since_record: TaskId,
        /// Who serves in its place.
        successor: PeerId,
    },
}

/// What an invited replica has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinStage {
    /// Answer.
    Invited,
    /// Get a checkpoint and have it on disk.
    Seeding,
    /// Follow the log to its end.
    CatchingUp,
}

impl From<JoinStage> for v1::JoinStage {
    fn from(stage: JoinStage) -> Self {
        match stage {
            JoinStage::Invited => Self::Invited,
            JoinStage::Seeding => Self::Seeding,
            JoinStage::CatchingUp => Self::CatchingUp,
        }
    }
}

impl JoinStage {
    /// The stage a message names, if it names one.
    pub const fn of_wire(wire: v1::JoinStage) -> Option<Self> {
        match wire {
            v1::JoinStage::Unspecified => None,
            v1::JoinStage::Invited => Some(Self::Invited),
            v1::JoinStage::Seeding => Some(Self::Seeding),
            v1::JoinStage::CatchingUp => Some(Self::CatchingUp),
        }
    }
}

impl Replica {
    /// Whether it may answer.
    pub const fn is_serving(&self) -> bool {
        matches!(self.role, ReplicaRole::Serving { .. })
    }

    /// Whether it serves and its copy was found equal to another's.
    pub const fn is_confirmed(&self) -> bool {
        self.is_serving() && self.confirmed_at.is_some()
    }

    /// Whether it was replaced and waits to be let go.
    pub const fn is_draining(&self) -> bool {
        matches!(self.role, ReplicaRole::Draining { .. })
    }

    /// How it is on its way to serve, if it is.
    pub const fn joining(&self) -> Option<Joining> {
        match self.role {
            ReplicaRole::Joining { invitation, source, stage } => {
                Some(Joining { peer: self.peer, invitation, source, stage })
            }
            ReplicaRole::Serving { .. } | ReplicaRole::Draining { .. } => None,
        }
    }
}
