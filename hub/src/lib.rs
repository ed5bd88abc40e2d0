//! A hub: takes requests, agrees on them with the other hubs, has them executed by peers.
//!
//! Never keeps forum history. Each folder is a room: it may use those listed before it in ARCHITECTURE.md, and none after.

pub mod config;
pub mod outside;

mod error;
mod group;
mod log;
mod mesh;
mod raft;

mod applied;
mod breaches;
mod calls;
mod content;
mod identity;
mod membership;
pub mod placement;
mod transfer;
mod windows;

mod api;
mod health;
pub mod leader;
mod peers;
mod projection;
pub mod run;
mod sizes;
mod telemetry;
