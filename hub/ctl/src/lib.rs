//! The operator's view of a running group: `hubctl`.
//!
//! Owns the questions, the tables and JSON they come back as, and the exit codes. Asks any hub: none has to lead.
//! Whatever it changes, the hubs decide. Never sends a forum's name (only its hash), never shows one, nor a token.

mod args;
mod confirm;
mod drain;
mod folder;
mod names;
mod publish;
mod run;
mod table;
mod view;
mod watch;

pub use args::{Args, Command, ForumCommand, ForumRef, HubCommand, PeerCommand, StaticCommand};
pub use names::PeerRef;
pub use run::{Outside, run};
pub use table::Width;
