//! One client call each, from request to answer.

mod parts;
mod read;
pub mod waiters;
mod watch;
pub mod watchers;
mod write;

pub use parts::Calls;
pub use write::WAITING_MAX;
