//! What the hub group agrees on, and the log that keeps it.
//!
//! Never knows HTTP, MySQL or peers' sockets.

pub mod machine;
