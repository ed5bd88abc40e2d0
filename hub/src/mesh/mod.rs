//! What the hubs of a group tell one another beside the log: who is connected where, how busy it is, peers' rows and digests.
//!
//! Soft state: never replicated, and made again after a restart. Only decisions taken from it are proposed.

pub mod audits;
mod keep;
mod links;
mod parts;
pub mod presence;
pub mod rows;
mod serve;
mod tell_realtime;
mod tell_traffic;
pub mod traffic;

pub use keep::LinkKeeper;
pub use parts::Mesh;
pub use serve::LinkService;
pub use tell_traffic::tell_traffic;
