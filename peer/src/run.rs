//! The peer as a whole: configuration, io and backend in, a running peer until shutdown.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{backend::Backend, config::Config, identity::IdentityError, io::Io, session::Session};

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
    /// The volunteer's own folder of files.
    #[error("--static-dir: {0}")]
    StaticDir(std::io::Error),
}

/// Runs a peer until `shutdown` is cancelled (`Ok`) or it cannot go on. The backend is flushed and closed either way.
pub async fn run(
    config: Config,
    io: Io,
    backend: Arc<dyn Backend>,
    shutdown: CancellationToken,
) -> Result<(), PeerError> {
    let ended = Session::new(config, io, shutdown).run(Arc::clone(&backend)).await;
    backend.close();
    ended
}
