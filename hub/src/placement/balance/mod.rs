//! Which forum should be where: a pure plan from what is agreed and what everybody has to do.
//!
//! Owns the rules and their order. Never proposes, waits or remembers: whatever depends on time comes in with
//! [`Load`], and what was planned before shows in the state as open invitations. The same input gives the same plan.
//!
//! The rules, most urgent first:
//! 1. A replaced copy is taken back where too few live ones are left. A forum with one live copy gets another.
//! 2. Replicas on peers that are drained, removed or lost get a successor; forums with too few replicas get more.
//!    Those with the fewest healthy copies come first.
//! 3. A replaced copy is let go once its successor's was confirmed and has been for a while.
//! 4. A busy forum gets one more replica while there are peers with less to do, then its peers are relieved.
//! 5. A forum with more replicas than it should have loses one.
//! 6. Replicas move from the fullest peers to the emptiest, until all are within a tenth of even; new peers are tried with
//!    additional copies; primaries go to peers that are counted on, then from the fullest to the emptiest.
//!
//! A live complete copy is never taken away while fewer than the wanted number of others are live, confirmed, and on peers
//! that are counted on.

mod blocked;
mod busy;
mod copies;
mod even;
mod heat;
mod load;
mod needs;
mod obstacles;
mod plan;
mod planner;
mod policy;
mod refusals;
#[cfg(test)]
mod safety_tests;
mod standing;
mod step;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use blocked::{Blocked, BlockedForum, Obstacle};
pub use heat::Heat;
pub use load::{Load, PeerLoad};
pub use plan::{Plan, plan};
pub use policy::Policy;
pub use refusals::Outcomes;
pub use standing::Patience;
pub use step::{Action, Step, Why};
pub(crate) use view::spread;

pub use crate::mesh::traffic::ForumRate;
