//! The peer as a whole: configuration, io and backend in, a running peer until shutdown.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{backend::Backend, config::Config, error::PeerError, io::Io, session::Session};

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
