//! Bugs this system could have, each to be switched on in a simulation to see whether its checks notice.
//!
//! Owns their names and the switch. A hook is one condition beside the line it breaks. Only the cargo feature
//! `breakages`, which nothing that ships turns on, compiles the switch in; without it [`is_on`] is constantly false
//! and the hooks are gone. Never knows what a hook does.

macro_rules! breakages {
    ($(#[doc = $about:literal] $variant:ident = $name:literal,)+) => {
        /// A bug that can be switched on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Breakage {
            $(#[doc = $about] $variant,)+
        }

        impl Breakage {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its name on a command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// What is wrong with it on, in one line.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about.trim_ascii(),)+
                }
            }
        }
    };
}

breakages! {
    /// A hub answers a browser as soon as a peer has answered, committed or not.
    AckBeforeCommit = "ack-before-commit",
    /// A peer saves its cursor first and the rows later.
    CursorBeforeData = "cursor-before-data",
    /// A peer saves rows first and its cursor later.
    FactsWithoutCursor = "facts-without-cursor",
    /// An answer is taken from whoever sends it, under whichever epoch.
    EpochUnchecked = "epoch-unchecked",
    /// A forum gets another primary under the same epoch.
    EpochNotRaised = "epoch-not-raised",
    /// The log is trimmed without waiting for peers to which a copy is on its way.
    TrimPastSeeding = "trim-past-seeding",
    /// The machine takes facts without asking whether they can follow from their task.
    ConformUnchecked = "conform-unchecked",
    /// Rows of a kind or number that a request cannot change are taken.
    KindUnchecked = "kind-unchecked",
    /// An answer's rows of another forum are taken.
    ForumUnchecked = "forum-unchecked",
    /// A message that is not the task's own is taken.
    MessageUnchecked = "message-unchecked",
    /// A message whose author, time, state or recipient is not the request's is taken.
    ColumnsUnchecked = "columns-unchecked",
    /// A message that says something else than its request is taken.
    TextUnchecked = "text-unchecked",
    /// A message at a place that is none is taken.
    PlaceUnchecked = "place-unchecked",
    /// A session is changed as an answer says, whatever the request asks for.
    SessionUnchecked = "session-unchecked",
    /// A receipt that does not tell what was changed is taken.
    ReceiptUnchecked = "receipt-unchecked",
    /// An answer that stores nothing and says that it did is taken.
    MissingUnchecked = "missing-unchecked",
    /// A hub's window passes over some of the log.
    WindowMissesFacts = "window-misses-facts",
    /// A session that is given its user is kept by no hub.
    ForgottenSession = "forgotten-session",
    /// A commit that is sent again is a new commit.
    DuplicateOnResend = "duplicate-on-resend",
    /// A replica on its way serves after a fixed time, wherever it is in the log.
    CutOverByWallClock = "cut-over-by-wall-clock",
    /// The Raft log says that it is on disk without a sync.
    LostSync = "lost-sync",
    /// A hub's vote is not written down.
    VoteNotDurable = "vote-not-durable",
    /// A leader that loses power and is back at once leads on in its old term.
    LeadRestored = "lead-restored",
    /// A hub that starts from a snapshot gives out message ids from the first one again.
    IdReuseAfterFailover = "id-reuse-after-failover",
    /// A snapshot leaves out which requests were answered.
    SnapshotForgetsRequests = "snapshot-forgets-requests",
    /// A snapshot leaves out the sessions.
    SnapshotForgetsSessions = "snapshot-forgets-sessions",
    /// The log's time is the newest leader's clock, even if it is behind.
    TimeFalls = "time-falls",
    /// A write cut short by a power cut is taken for a whole one.
    TornWriteTaken = "torn-write-taken",
    /// A replica answers a read from what it has, without waiting for what was acknowledged before.
    UnfencedRead = "unfenced-read",
    /// A leader vouches for reads without asking whether it still leads.
    UnconfirmedLead = "unconfirmed-lead",
    /// A new leader does not bring to an end what was under way before its election.
    EffectLostAtElection = "effect-lost-at-election",
    /// A change of the hubs whose leader is lost between its two steps stays half done.
    ChangeHalfDone = "change-half-done",
    /// A peer that comes back is fed what is new from then on, not what it missed.
    FeedSkipsToLive = "feed-skips-to-live",
    /// What was staged while a copy was on its way is not written on top of it.
    StagedFactsDropped = "staged-facts-dropped",
    /// The machine lets a copy be taken away without asking whether others are left.
    LastCopyRemoved = "last-copy-removed",
    /// A forum with messages is closed as one that is empty.
    FullForumClosed = "full-forum-closed",
    /// A replaced copy is let go as soon as its successor serves, confirmed or not.
    ReplacedLetGoEarly = "replaced-let-go-early",
    /// A new peer's copies count from the first moment.
    NewcomerCounts = "newcomer-counts",
    /// What was known of a peer's absence is forgotten with the leader.
    AttendanceForgotten = "attendance-forgotten",
    /// A forum with one live copy left waits its turn among the others.
    LastCopyWaits = "last-copy-waits",
    /// A replaced copy is not taken back when its successor goes away.
    NotReinstated = "not-reinstated",
}

impl Breakage {
    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|breakage| breakage.name() == name)
    }
}

#[cfg(feature = "breakages")]
thread_local! {
    static ON: std::cell::Cell<Option<Breakage>> = const { std::cell::Cell::new(None) };
}

/// Switches one on, on this thread, and whichever was on off.
#[cfg(feature = "breakages")]
pub fn switch_on(breakage: Option<Breakage>) {
    ON.set(breakage);
}

/// Whether it is on, on this thread.
#[cfg(feature = "breakages")]
pub fn is_on(breakage: Breakage) -> bool {
    ON.get() == Some(breakage)
}

/// Never: the switch is not compiled in.
#[cfg(not(feature = "breakages"))]
pub const fn is_on(_breakage: Breakage) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_breakage_is_found_by_its_own_name_and_says_what_it_breaks() {
        let names: BTreeSet<&str> = Breakage::ALL.iter().map(|breakage| breakage.name()).collect();
        assert_eq!(names.len(), Breakage::ALL.len());
        for breakage in Breakage::ALL {
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(breakage.name().chars().all(kebab), "{}", breakage.name());
            assert_eq!(Breakage::from_name(breakage.name()), Some(*breakage));
            assert!(breakage.about().ends_with('.') && !breakage.about().contains('\n'));
        }
        assert_eq!(Breakage::from_name("nothing"), None);
    }

    #[test]
    fn nothing_is_broken_unless_somebody_says_so() {
        assert!(Breakage::ALL.iter().all(|breakage| !is_on(*breakage)));
    }
}
