//! Raft among the hubs, over gRPC. Owns its configuration and its wire; what is agreed on is the machine's.

mod client;
mod node;
mod service;

pub use loop_raft_store::raft_node::HubRaftNode;
pub use node::{has_leader, open_log_dir, start};
pub use service::RaftGrpc;
