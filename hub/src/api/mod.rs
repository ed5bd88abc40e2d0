//! What a hub offers over gRPC to operators and to other hubs, and to its HTTP server.

pub mod admin;
mod gateway;
mod hub_service;
mod realtime_door;

pub use gateway::HubGateway;
pub use hub_service::HubGrpc;
pub use realtime_door::RealtimeDoor;
