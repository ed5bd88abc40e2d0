//! What lies where in a hub's data folder: the hub writes it, and whoever starts hubs looks at it before.

/// The folder of the Raft log.
pub const LOG_FOLDER: &str = "log";

/// The file in the log's folder of a hub that was taken out of its group.
pub const TAKEN_OUT: &str = "taken-out";
