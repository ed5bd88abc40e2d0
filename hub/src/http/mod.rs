//! The HTTP edge: AtomJump's URLs in, its answers out, static files, health and metrics.
//!
//! Owns HTTP syntax, sessions in and out of requests, JSONP, time-outs and bounds towards clients. Never knows what a
//! task, a record or an epoch is: behind the [`Gateway`](crate::gateway::Gateway) that is the cluster's business.

mod base_url;
mod config;
mod dates;
mod jsonp;
mod listener;
mod request_id;
mod route;
mod session;
pub mod shim;

pub use config::HttpConfig;
pub use listener::{Io, Listener, Outside};
