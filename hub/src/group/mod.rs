//! The hubs that form a group: who they are, how to reach them, and when this one last heard what they have agreed.

mod freshness;
mod hubs;

pub use freshness::Freshness;
pub use hubs::Group;
