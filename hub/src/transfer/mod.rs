//! Copies of forums on their way from one peer to another, through the hubs they are connected to.
//!
//! Owns the pairing of who asks with who gives, and every bound on it. Nothing is kept but a few chunks: the giver is
//! read only as fast as the taker takes, by gRPC's own flow control. Never looks into a copy; the taker checks it.

mod check;
mod fetch;
mod give;
mod parts;
mod relays;
mod source;

pub use fetch::CopyStream;
pub use parts::Transfer;
pub use relays::Relays;
