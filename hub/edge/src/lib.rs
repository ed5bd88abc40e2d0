//! The HTTP edge: AtomJump's URLs in, its answers out, static files, health and metrics.
//!
//! Owns HTTP syntax, sessions in and out of requests, JSONP, time-outs and bounds towards clients. Never knows what a
//! task, a record or an epoch is: behind the [`Gateway`](gateway::Gateway) that is the cluster's business.
//! The rule which forum a request belongs to is written down in [`shim`].

mod answer;
mod answer_body;
mod base_url;
mod body;
mod config;
mod dates;
mod file_cache;
mod files;
pub mod gateway;
mod jsonp;
mod measure;
mod mount;
mod outside;
mod pages;
mod readiness;
mod request_id;
mod route;
mod server;
mod service;
mod session;
pub mod shim;
mod static_dir;
mod statics;
mod timed_io;
mod watching;

pub use config::HttpConfig;
pub use mount::Mount;
pub use outside::Outside;
pub use server::serve;
pub use statics::is_hubs_own;
