//! For operators: what hubctl asks, and how a new hub enters the group.
//!
//! Any hub answers from what it has applied; only the leader knows how far the others are and what it plans. What
//! changes something goes through the proposer like every other command; a committed no becomes a sentence that says
//! what to do next. Never sends a forum's name or a session id.

mod changes;
mod content;
mod context;
mod guard;
mod invitations;
mod lists;
mod members;
mod page;
mod pass_on;
mod plan;
mod projection;
mod realtime;
mod refusal;
mod service;
mod verify;
mod waits_for;

pub use context::AdminContext;
pub use service::guarded;
