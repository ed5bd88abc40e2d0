//! A hub: takes requests, agrees on them with the other hubs, has them executed by peers.
//!
//! Never keeps forum history.

pub mod config;
mod content;
pub mod io;
pub mod run;

mod calls;
pub mod gateway;
pub mod http;
mod peer_rows;
mod placement;
mod waiters;
mod windows;

mod feed;
mod health;
mod hub;
pub mod leader;
pub mod liveness;
mod peer_service;
mod presence;
mod relay;
pub mod traffic;

mod admin_service;
mod audits;
mod callers;
mod changes;
mod channel;
mod group;
pub mod group_secret;
mod hub_service;
mod link;
mod membership;
mod proposer;
mod queue;
mod raft_node;
pub mod sizes;
mod telemetry;

pub mod hubctl;
pub mod local;
