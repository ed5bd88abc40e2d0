//! A hub: takes requests, agrees on them with the other hubs, has them executed by peers.
//!
//! Never keeps forum history.

pub mod gateway;
pub mod http;
