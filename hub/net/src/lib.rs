//! The outside as hubs and their tools see it: sockets, clock and chance as arguments, channels, bounded queues, secrets, and
//! where a call comes from.

pub mod admin_token;
pub mod callers;
pub mod channel;
pub mod group_secret;
pub mod io;
pub mod queue;
pub mod secret;
