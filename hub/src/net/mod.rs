//! The outside of a hub: sockets, clock and chance as arguments, channels to other hubs, bounded queues, secrets and who calls.

pub mod admin_token;
pub mod callers;
pub mod channel;
pub mod group_secret;
pub mod io;
pub mod queue;
pub mod secret;
