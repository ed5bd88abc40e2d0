//! A volunteer's machine: holds the forums assigned to it and executes their requests.
//!
//! Never knows Raft, nor other peers. Dials out to a hub, never in.

pub mod config;
mod error;
pub mod identity;
pub mod io;
pub mod limits;
mod run;

pub mod backend;
pub mod replica;
mod session;

pub use error::PeerError;
pub use run::run;
pub use session::{Report, check};
