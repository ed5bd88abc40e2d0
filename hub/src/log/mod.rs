//! The log the hubs agree on, as the rest of a hub uses it: read what is applied, wait until it is fresh, propose a change.

mod agreed;
mod change;
mod door;
mod proposer;
mod route;
mod service;

pub use agreed::{AgreedLog, PROPOSE_WITHIN, Stale};
pub use change::Change;
pub use door::LeaderDoor;
pub use proposer::{ProposeError, Proposer};
pub use route::Routes;
pub use service::ProposeService;
