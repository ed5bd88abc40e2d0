//! A hub: takes requests, agrees on them with the other hubs, has them executed by peers.
//!
//! Never keeps forum history.

pub mod run;
pub mod config;
pub mod io;

pub mod http;
pub mod gateway;
mod writes;
mod reads;
mod waiters;
mod placement;

mod hub;
mod feed;
mod presence;
mod peer_service;
mod leader;

mod proposer;
mod raft_node;
mod membership;
mod group;
mod link;
mod channel;
mod hub_service;
mod admin_service;
