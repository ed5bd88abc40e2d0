//! What an operator must be told: whether this hub would serve a call now, how well the forums are kept, and what to do
//! about what is not well.
//!
//! Owns what this hub has seen of that. Soft state: every hub has its own, none of it is in the log, and nothing is
//! decided from it.

mod below;
mod census;
mod duties;
mod gauges;
mod problems;
mod report;
mod seen;

pub use seen::Health;
