//! A whole system on one machine, as real processes: hubs and peers that talk over loopback.
//!
//! Owns which processes there are, with which flags, where they keep data and logs, when they count as ready and how
//! they stop. Used by `loop-local`, by tests that kill processes, and by the load driver.
//! Never knows what the processes say to one another.

mod cluster;
mod config;
mod error;
mod files;
mod launch;
mod layout;
mod ports;
mod process;
mod ready;
mod replace;
mod trouble;

pub use cluster::{LocalCluster, Member, Who};
pub use config::{LocalConfig, Port};
pub use error::LocalError;
pub use launch::Launch;
pub use process::{Signal, Stopped};
pub use trouble::{NotRunning, Trouble, WayBack};
