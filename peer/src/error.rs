//! Why a peer stops, and what to do about it.

use crate::identity::IdentityError;

/// Why a peer cannot run, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The identity file.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// First start without a token.
    #[error(
        "this peer has not joined yet: pass --join-token (or LOOP_PEER_JOIN_TOKEN) once; the hubs' operator has it"
    )]
    NoToken,
    /// The hubs refuse to let it join.
    #[error(
        "hub {hub} does not let this peer join: {why}. Check --join-token, --name, --owner and --network"
    )]
    Refused {
        /// Which hub.
        hub: String,
        /// What it said.
        why: String,
    },
    /// Disk or database.
    #[error("{0}; stopping, so that nothing is answered that is not kept")]
    Backend(String),
    /// The folder of copies on their way.
    #[error("the folder `checkpoints` in --data-dir: {0}")]
    Checkpoints(std::io::Error),
    /// The folder of published files.
    #[error("the folder `content` in --data-dir: {0}")]
    Content(std::io::Error),
    /// The folder of files to serve.
    #[error("--static-dir: {0}")]
    StaticDir(std::io::Error),
}
