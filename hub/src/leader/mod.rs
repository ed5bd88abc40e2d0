//! What only the leading hub does: moves primaries away from peers that do not answer, brings migrations to their end,
//! has new copies compared, tells the log who comes and goes, closes forums in which there is nothing, trims the log.
//!
//! Holds nothing that a new leader could not find out by itself. Only decisions are proposed.

mod attendance;
mod balancing;
mod board;
mod closing;
mod confirming;
mod context;
mod duties;
mod migrations;
mod takeover;
mod trim;
mod watch;

pub use board::{PlanBoard, Planned};
pub use confirming::take_away;
pub use context::LeaderContext;
pub use duties::run;
