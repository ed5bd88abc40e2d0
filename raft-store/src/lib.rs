//! What the hub group agrees on, and the log that keeps it.
//!
//! Never knows HTTP, MySQL or peers' sockets.

pub mod machine;
pub mod raft_types;
pub mod raft_codec;
pub mod log_store;
pub mod adapter;
