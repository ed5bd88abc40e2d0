//! Why a hub could not start, or had to stop.

use std::{io, net::SocketAddr};

/// Why a hub could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A port cannot be bound.
    #[error("cannot listen on {addr} ({flag}): {error}; is another process using it?")]
    Listen {
        /// The flag that says which address.
        flag: &'static str,
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        error: io::Error,
    },
    /// The data folder cannot be used.
    #[error("cannot open the data in {dir}: {error}")]
    Data {
        /// The folder.
        dir: String,
        /// The reason, and what to do.
        error: io::Error,
    },
    /// The group cannot be formed or entered.
    #[error("cannot form or enter the group: {0}")]
    Group(String),
    /// Raft has stopped: disk, corruption or a broken invariant. The hub must not go on.
    #[error("Raft has stopped: {0}")]
    Fatal(String),
    /// A server has failed.
    #[error("a server has failed: {0}")]
    Serve(String),
}
