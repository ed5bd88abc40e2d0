//! A real peer process's session against a hub whose every word the test speaks, over real sockets.

mod backend;
mod hub;

mod binary;
mod connecting;
mod content;
mod giving;
mod hostile;
mod joining;
mod serving;
mod starting_over;

use std::sync::Arc;

use backend::MemoryBackend;
use hub::{Hub, SOON};
use loop_peer::{
    PeerError,
    config::{Config, Flags},
    io::Io,
};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running peer.
struct Peer {
    backend: Arc<MemoryBackend>,
    dir: Arc<tempfile::TempDir>,
    shutdown: CancellationToken,
    _stops_with_the_test: DropGuard,
    task: JoinHandle<Result<(), PeerError>>,
}

impl Peer {
    /// With a fresh data folder, knowing `hubs`.
    fn start(hubs: &[&Hub]) -> Self {
        Self::start_with(hubs, Arc::new(tempfile::tempdir().unwrap()), MemoryBackend::new(0), |_| {})
    }

    fn start_with(
        hubs: &[&Hub],
        dir: Arc<tempfile::TempDir>,
        backend: MemoryBackend,
        change: impl FnOnce(&mut Flags),
    ) -> Self {
        let mut flags = Flags {
            hub: hubs.iter().map(|hub| hub.addr.clone()).collect(),
            data_dir: Some(dir.path().to_owned()),
            join_token: Some("let me in".into()),
            ..Flags::default()
        };
        change(&mut flags);
        let config = Config::read(flags, "testing").unwrap();
        Self::run(config, dir, Arc::new(backend))
    }

    /// The next process on the same data folder, with what the one before had on disk.
    async fn restarted(self, hubs: &[&Hub]) -> Self {
        let (dir, backend) = (Arc::clone(&self.dir), Arc::clone(&self.backend));
        self.stop().await.unwrap();
        Self::start_with(hubs, dir, backend.reopened(), |_| {})
    }

    fn run(config: Config, dir: Arc<tempfile::TempDir>, backend: Arc<MemoryBackend>) -> Self {
        let shutdown = CancellationToken::new();
        let running = loop_peer::run(config, Io::real(), backend.clone(), shutdown.clone());
        Self {
            backend,
            dir,
            _stops_with_the_test: shutdown.clone().drop_guard(),
            shutdown,
            task: tokio::spawn(running),
        }
    }

    async fn stop(self) -> Result<(), PeerError> {
        self.shutdown.cancel();
        self.ended().await
    }

    async fn ended(self) -> Result<(), PeerError> {
        tokio::time::timeout(SOON, self.task).await.expect("the peer does not stop").unwrap()
    }
}
