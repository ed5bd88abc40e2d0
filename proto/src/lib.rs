//! The vocabulary hubs and peers share: the wire contract, ids, PHP's request parameters.
//!
//! Depends on nothing of ours. Never knows who sends a message or why.

pub mod breakage;
pub mod content;
pub mod hub_folder;
pub mod ids;
pub mod php_params;

/// The wire contract, generated from `loop/p2p/v1/*.proto`, where every field is described.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    // `loop` is a Rust keyword, so prost escapes the file name.
    include!(concat!(env!("OUT_DIR"), "/r#loop.p2p.v1.rs"));

    /// All file descriptors, for gRPC reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
