//! Which peers hold which forum: where new ones go, and what is to be moved. Decides only; the log makes it so.

pub mod balance;
mod choose;
pub mod liveness;
mod policy;

pub use choose::Placement;
pub use policy::policy;
