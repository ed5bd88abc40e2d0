//! The HTTP edge: AtomJump's URLs in, its answers out, static files, health and metrics.
//!
//! Owns HTTP syntax, sessions in and out of requests, JSONP, time-outs and bounds towards clients. Never knows what a
//! task, a record or an epoch is: behind the [`Gateway`](crate::gateway::Gateway) that is the cluster's business.
//! The rule which forum a request belongs to is written down in [`shim`].

mod config;
mod listener;
mod server;
mod timed_io;
mod service;
pub mod shim;
mod route;
mod base_url;
mod session;
mod request_id;
mod jsonp;
mod body;
mod answer;
mod pages;
mod statics;
mod static_dir;
mod file_cache;
mod files;
mod dates;
mod measure;

pub use config::HttpConfig;
pub use listener::{Io, Listener, Outside};
pub use server::serve;
