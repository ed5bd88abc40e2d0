//! How much a peer takes from its hubs.

/// Answers of all forums that may be on their way at once; with facts of some kilobytes, megabytes.
pub const UNCONFIRMED_MAX: usize = 4096;
/// Open tasks a hub may have described to this peer.
pub const OPEN_TASKS_MAX: usize = 65_536;
/// The same, in bytes on the wire.
pub const OPEN_TASK_BYTES_MAX: usize = 256 << 20;

/// Forums a hub may give to this peer.
pub const FORUMS_MAX: usize = 1 << 18;
