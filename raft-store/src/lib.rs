//! What the hub group agrees on, and the log that keeps it.
//!
//! Never knows HTTP, MySQL or peers' sockets. Without the feature `raft` there is [`machine`] alone: what operators'
//! tools and tests need to read a snapshot or try a history, and nothing asynchronous.

#[cfg(feature = "raft")]
pub mod adapter;
#[cfg(feature = "raft")]
pub mod log_store;
pub mod machine;
#[cfg(feature = "raft")]
pub mod raft_codec;
#[cfg(feature = "raft")]
pub mod raft_node;
#[cfg(feature = "raft")]
pub mod raft_types;
