//! What the hub group agrees on, and the log that keeps it.
//!
//! Never knows HTTP, MySQL or peers' sockets.

pub mod adapter;
pub mod log_store;
pub mod machine;
pub mod raft_codec;
pub mod raft_types;
