//! The load driver's parts: due times, clients, workloads, what comes out of them.
//!
//! It measures from outside, through the doors that browsers, peers and hubs use. Never knows how the parts inside are
//! made, and never judges a figure.

mod clients;
pub mod cpu;
pub mod crowd;
mod door;
mod etcd;
mod figures;
mod grpc;
pub mod hot;
mod http;
mod http_read;
mod http_write;
pub mod migrate;
mod node;
mod peer;
mod proposals;
pub mod reads;
pub mod report;
mod schedule;
mod small;
pub mod suite;
pub mod system;
mod visibility;
mod visitor;
pub mod watch;

pub use figures::{Figures, Summary};
pub use schedule::{Pace, Schedule, Span};
