//! The hub's side of a peer's working life: joining, the work stream, the fallback poll.
//!
//! Everything a peer says is checked here, once, before it can become a proposal. Never chooses placement.

mod answers;
mod context;
mod feed;
mod outgoing;
mod reports;
mod service;
mod started_over;
mod work;

pub use context::PeersContext;
pub use service::PeerGrpc;
