//! The realtime gateway: Socket.IO clients of all generations, who of them is there, and messages between them, over all hubs.
//!
//! Owns what clients are told (`core`, purely), their sessions, and the door at `/socket.io/`. Never knows how hubs reach one
//! another: what they are to be told is asked for, and what they say is handed in. Nothing here is kept.

mod clients;
pub mod core;
mod door;
mod gateway;
mod measure;
mod sessions;
mod settings;

pub use door::Door;
pub use gateway::{Forward, Realtime};
pub use settings::Settings;
