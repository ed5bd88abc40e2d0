//! Commands with the outcome each has when it is taken.

use loop_proto::v1::{self, command, outcome};

/// A change of what the hubs agree on.
pub trait Change {
    /// What it leads to when it is taken.
    type Outcome;

    /// The command that makes it.
    fn into_body(self) -> command::Body;

    /// The outcome in a committed answer that is no rejection; `None`: it is the answer to something else.
    fn outcome(kind: outcome::Kind) -> Option<Self::Outcome>;
}

/// Command → its outcome: protobuf has one `oneof` for all of them.
macro_rules! outcomes {
    ($($command:ident => $outcome:ident),* $(,)?) => {$(
        impl Change for v1::$command {
            type Outcome = v1::$outcome;

            fn into_body(self) -> command::Body {
                command::Body::$command(self)
            }

            fn outcome(kind: outcome::Kind) -> Option<v1::$outcome> {
                match kind {
                    outcome::Kind::$outcome(outcome) => Some(outcome),
                    _ => None,
                }
            }
        }
    )*};
}

outcomes! {
    OpenForum => ForumOpened,
    AppendTask => TaskAppended,
    RegisterPeer => PeerRegistered,
    InvitePeer => PeerInvited,
    AuditForum => ForumAudited,
}

/// A command of which only matters that it is taken.
impl Change for command::Body {
    type Outcome = ();

    fn into_body(self) -> command::Body {
        self
    }

    fn outcome(_: outcome::Kind) -> Option<()> {
        Some(())
    }
}
