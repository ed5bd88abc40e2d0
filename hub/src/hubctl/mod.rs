//! The operator's view of a running group: `hubctl`.
//!
//! Owns the questions, the tables and JSON they come back as, and the exit codes. Asks any hub: none has to lead.
//! Never sends a forum's name (only its hash), never shows one.

mod admin;
mod args;
mod error;
mod moves;
mod run;
mod table;
mod view;

pub use admin::Admin;
pub use args::{Args, Command, ForumCommand, ForumRef, PeerCommand, PeerRef};
pub use error::CtlError;
pub use run::run;
