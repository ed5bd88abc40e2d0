//! What the hubs agree on: a pure function from committed commands to records, ids and answers.
//!
//! Owns every rule about forums, tasks, sessions, peers and ids. Never waits, reads a clock, draws a random number,
//! opens a socket, logs, or depends on the order of an unordered map: the same commands give the same state and the
//! same bytes on every hub.

pub mod attendance;
pub mod bounds;
pub mod command;
pub mod content;
mod decide;
pub mod event;
mod evolve;
pub mod forum;
mod invariants;
pub mod invitations;
mod judge;
mod log;
pub mod occupancy;
mod open_messages;
pub mod peers;
pub mod receipts;
pub mod record;
pub mod replica;
pub mod sessions;
mod shared;
pub mod snapshot;
pub mod state;
pub mod tasks;

use loop_proto::v1;

pub use attendance::Attendance;
pub use bounds::Bounds;
pub use command::{Command, Stamped, Unreadable};
pub use content::{ContentFile, Manifest};
pub use event::Event;
pub use forum::Forum;
pub use invitations::{Invitation, InvitationStatus};
pub use judge::judge;
pub use occupancy::Occupancy;
pub use peers::{Breach, Peer, PeerState, Unwanted};
pub use record::{Assignment, FactsBody, Record, RecordBody, TaskBody};
pub use replica::{JoinStage, Joining, Replica, ReplicaRole};
pub use sessions::SessionId;
pub use state::{HubState, NextIds};

/// What one command came to.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The answer to whoever proposed it.
    pub outcome: v1::Outcome,
    /// What changed, in order; empty for a rejection that found nothing due.
    pub events: Vec<Event>,
}

/// Applies one committed command: decides, changes `state`, then does what time and bounds make due.
pub fn apply(state: &mut HubState, stamped: Stamped) -> Applied {
    let mut events = Vec::new();
    evolve::advance_time(state, stamped.at);
    let kind = match decide::decide(state, stamped) {
        Ok(decision) => {
            for change in decision.changes {
                evolve::evolve(state, change, &mut events);
            }
            decision.answer
        }
        Err(rejection) => v1::outcome::Kind::Rejection(rejection),
    };
    if let Some(upkeep) = decide::upkeep(state) {
        evolve::upkeep(state, upkeep, &mut events);
    }
    Applied { outcome: v1::Outcome { kind: Some(kind) }, events }
}

/// Applies a command as the log holds it. One that cannot be read is refused by every hub alike and changes nothing.
pub fn apply_command(state: &mut HubState, command: v1::Command) -> Applied {
    match Stamped::try_from(command) {
        Ok(stamped) => apply(state, stamped),
        Err(_) => Applied { outcome: malformed(), events: Vec::new() },
    }
}

/// Bytes that are no command this version knows. Leaders do not let such into the log: in the log, a newer hub put it
/// there. Passed over it would make this hub's state another than that hub's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the log holds a command that this version does not know: install the version that the other hubs run and start this \
     hub again; nothing is lost"
)]
pub struct UnknownCommand;

/// Reads an encoded [`v1::Command`].
pub fn read_command(command: impl bytes::Buf) -> Result<v1::Command, UnknownCommand> {
    let command = <v1::Command as prost::Message>::decode(command).map_err(|_| UnknownCommand)?;
    if command.body.is_some() { Ok(command) } else { Err(UnknownCommand) }
}

/// Applies an encoded [`v1::Command`], as [`apply_command`] does.
pub fn apply_bytes(state: &mut HubState, command: bytes::Bytes) -> Result<Applied, UnknownCommand> {
    Ok(apply_command(state, read_command(command)?))
}

/// What is answered to whoever proposes what no hub can apply.
pub fn malformed() -> v1::Outcome {
    let rejection = v1::Rejection { code: v1::RejectionCode::Malformed.into(), held: 0, current: 0 };
    v1::Outcome { kind: Some(v1::outcome::Kind::Rejection(rejection)) }
}
