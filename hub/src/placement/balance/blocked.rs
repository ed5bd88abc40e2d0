//! What is due and cannot be done, and why not, peer by peer.

use std::fmt;

use loop_proto::{
    ids::{ForumId, PeerId},
    v1::RejectReason,
};

use super::step::Why;

/// All that is blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked {
    /// The first of them, most urgent first.
    pub forums: Vec<BlockedForum>,
    /// How many there are.
    pub total: usize,
}

/// A forum that lacks something nobody can give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedForum {
    /// Which one.
    pub forum: ForumId,
    /// What makes it due.
    pub why: Why,
    /// Whose copy is to be made elsewhere, if it is for one.
    pub replaces: Option<PeerId>,
    /// Why not, peer by peer; not all of them if there are many.
    pub obstacles: Vec<(PeerId, Obstacle)>,
    /// How many more there are.
    pub others: usize,
}

/// Why a peer cannot get a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is away.
    Away,
    /// It lacks records of the log.
    Behind,
    /// An operator has paused it.
    Paused,
    /// It is to be emptied.
    Draining,
    /// An operator has removed it.
    Removed,
    /// It holds as many forums as its volunteer gives.
    ForumsMax,
    /// Its disk is full.
    Disk,
    /// Its memory is full.
    Memory,
    /// It said no to its last invitation.
    SaidNo(RejectReason),
    /// It has a copy or is on its way to one.
    HoldsIt,
    /// It could not get this forum lately.
    Failed,
    /// It has come a moment ago.
    TooNew,
    /// A copy of it differed from the others' lately.
    Differed,
    /// It did not finish its last copies.
    Unfinished,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Away => "away",
            Self::Behind => "still catching up",
            Self::Paused => "paused",
            Self::Draining => "is itself to be emptied",
            Self::Removed => "removed",
            Self::ForumsMax => "holds as many forums as it may",
            Self::Disk => "disk full",
            Self::Memory => "memory full",
            Self::SaidNo(RejectReason::Paused) => "said it is paused",
            Self::SaidNo(RejectReason::ForumsMax) => "said it holds as many forums as it may",
            Self::SaidNo(RejectReason::DiskFull) => "said its disk is full",
            Self::SaidNo(RejectReason::Busy) => "busy with other copies",
            Self::SaidNo(_) => "said no a moment ago",
            Self::HoldsIt => "holds it already",
            Self::Failed => "could not get it lately",
            Self::TooNew => "has just come",
            Self::Differed => "a copy of it differed from the others' lately",
            Self::Unfinished => "did not finish its last copies",
        })
    }
}

impl fmt::Display for BlockedForum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.why, self.replaces) {
            (Why::LastCopy, _) => write!(f, "another copy: one is left"),
            (Why::NoCopy, _) => write!(f, "one of its peers to come back: no copy is there"),
            (_, Some(peer)) => write!(f, "a copy in place of that of {peer}"),
            (_, None) => write!(f, "one more copy"),
        }
    }
}
