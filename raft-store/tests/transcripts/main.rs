//! What the hubs agree on, told as stories: each command, its outcome, what happened. `UPDATE_EXPECT=1` rewrites the
//! transcripts; commit them only when you know why they changed.

mod bounds;
mod closing;
mod content;
mod copies;
#[path = "../executor/mod.rs"]
mod executor;
mod failover;
mod interruptions;
mod invitations;
mod open_messages;
mod replicas;
mod retention;
mod sessions;
mod story;
mod upgrade;
mod writes;
