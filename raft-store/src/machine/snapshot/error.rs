//! Which layouts there are, and why bytes are none that can be read.

/// The layout this version writes.
pub const VERSION: u32 = 4;
/// The oldest layout it reads. Those before it do not say whether anything was ever written into a forum.
pub const OLDEST_VERSION: u32 = 4;

/// Why bytes are not a snapshot this version can go on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// Not a snapshot at all.
    #[error("these bytes are not a hub snapshot")]
    Foreign,
    /// Written by another version.
    #[error("snapshot version {found}, this hub reads versions {OLDEST_VERSION} to {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// Bytes are missing or changed.
    #[error("the snapshot is damaged: its checksum is wrong")]
    Checksum,
    /// A frame cannot be read or does not fit the others.
    #[error("the snapshot is damaged: {0}")]
    Content(&'static str),
}
