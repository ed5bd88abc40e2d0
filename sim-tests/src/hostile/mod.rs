//! A peer with valid credentials that tries to do harm, as a program of its own (`hostile-peer`) against real hubs.
//!
//! It joins like any volunteer, follows the log, executes what it is given, and at one place says what it should not.
//! Owns what it tries and what it tells of it; never knows what the hubs are expected to do.

mod lies;
mod peer;
mod rows;
mod stage;
mod visit;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use lies::{INVITATIONS, PLANTED};
pub use peer::{Options, run};
pub use rows::RowLie;
pub use stage::{Attacked, BREACHES, REFUSED, ROWS_REFUSED, Stage};
pub use visit::HostilePeer;

/// What a hostile peer tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attempt {
    /// Answers a message with a subscription beside it.
    OtherKind,
    /// Answers a message with a second one: somebody else's.
    SecondMessage,
    /// Stores its message under the last id there is.
    MessageId,
    /// Stores its message as the message of another forum.
    OtherForum,
    /// Writes in another user's name: his number.
    Author,
    /// Writes under a name that was not given.
    AuthorName,
    /// Puts script into what is shown.
    Script,
    /// Writes tomorrow.
    Date,
    /// Gives another user an e-mail address, a password and money.
    User,
    /// Changes the name that the writer's session goes by.
    SessionName,
    /// Plants a session in a field that no hub knows.
    PlantedSession,
    /// Gives the forum a password and an owner.
    ForumRow,
    /// Stores nothing and says that it is stored.
    Missing,
    /// Breaks out of JSONP with the number that the writer is told.
    Jsonp,
    /// Sends a message text of a megabyte.
    Fat,
    /// Sends more in one piece than a hub reads.
    Oversized,
    /// Answers the last task there can be.
    EndOfIds,
    /// Answers, with as much as fits, what nobody has asked yet.
    Early,
    /// Accepts thousands of times an invitation that it never had.
    Invitations,
    /// Answers for a forum that there cannot be.
    NoForum,
    /// Answers with bytes that are no facts.
    Garbage,
    /// Says that it has 2^63 records on disk.
    Cursor,
    /// Says so when it comes.
    HelloCursor,
    /// Answers under the epoch before, then as it should.
    StaleEpoch,
    /// Says each answer twice.
    Twice,
    /// Answers when another peer has, which has taken its place.
    Late,
    /// Keeps silent until another peer has its place, then answers that one's tasks.
    NotPrimary,
    /// Answers truly, and sends rows that cannot be those it was asked for.
    Rows,
    /// Answers truly, and sends rows with script in them.
    ScriptRows,
}

impl Attempt {
    /// Its name on a command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Whom it is to harm: what browsers are shown, or what can be guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Victim {
    /// A forum it does not hold.
    pub forum: u32,
    /// A message of that forum.
    pub message: u32,
    /// Who wrote it.
    pub user: u32,
}

/// What it tells, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// It has its number.
    Joined {
        /// The number.
        peer: u32,
    },
    /// A hub has welcomed it.
    Connected,
    /// It has tried; what exactly, in words.
    Tried {
        /// What it sent.
        what: String,
    },
    /// An answer was not taken.
    Verdict {
        /// The code, by its name in the wire contract; empty: none.
        code: String,
    },
    /// The log has closed a task of a forum it holds.
    Closed {
        /// Whose answer won.
        by: u32,
        /// Whether the record, or any before it, holds what was planted.
        planted: bool,
    },
    /// It was asked for rows.
    Asked {
        /// What it sent in their place.
        lie: RowLie,
    },
    /// Its stream has ended.
    Ended {
        /// Why.
        why: String,
    },
    /// It has come again and was refused.
    Refused {
        /// The status' code.
        code: String,
        /// Its message.
        why: String,
    },
}
