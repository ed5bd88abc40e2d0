//! A peer's life with the hubs: joins once, then holds a work stream to one of them, over and over.
//! Owns which hub, when, and what is kept between connections. Never knows rows, nor what a request means.

mod audits;
mod check;
mod content;
mod content_store;
mod decode;
mod departures;
mod download;
mod driver;
mod gauge;
mod giving;
mod hubs;
mod link;
mod mark;
mod outbox;
mod parts;
mod peer;
mod rows;
mod seeding;
mod sizes;
mod start_over;
mod static_files;
mod throttle;
mod timers;
mod work;

use std::{sync::Arc, time::Duration};

use loop_proto::{ids::PeerId, v1};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::Backend,
    config::{Config, HubAddr},
    error::PeerError,
    identity::{Identity, Secret},
    io::Io,
    replica::Input,
};
use audits::{AUDITS_MAX, Reported};
pub use check::{Report, check};
use content::Content;
use content_store::ContentStore;
use departures::Departures;
use download::Courier;
use driver::{DriveError, Driver};
use giving::Giving;
use hubs::Hubs;
use link::{Link, LinkError, WorkStream};
use mark::Mark;
use parts::Folder;
use peer::Peer;
use rows::Reader;
use seeding::Seeding;
use start_over::Attempt;
use static_files::StaticFiles;
use throttle::Throttle;
use work::{Ended, Worker};

/// Work streams that break before a single record, in a row, after which records are polled instead.
const EARLY_BREAKS_MAX: u32 = 3;
/// A stream that lived this long works, even if no record came.
const LIVED: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_secs(5);
/// Polls between two attempts at a work stream.
const POLLS_PER_ATTEMPT: u32 = 6;

/// The whole session; lives as long as the process.
pub struct Session {
    config: Config,
    io: Io,
    hubs: Hubs,
    shutdown: CancellationToken,
}

impl Session {
    /// Nothing is dialled yet.
    pub fn new(config: Config, io: Io, shutdown: CancellationToken) -> Self {
        let mut rng = StdRng::from_seed(io.seed);
        let hubs = Hubs::new(&config, rng.random());
        Self { config, io, hubs, shutdown }
    }

    /// Runs until shutdown (`Ok`) or until the process cannot go on.
    pub async fn run(mut self, backend: Arc<dyn Backend>) -> Result<(), PeerError> {
        let folder = self.config.static_dir.as_deref().map(StaticFiles::new).transpose();
        let folder = folder.map_err(PeerError::StaticDir)?;
        let Some((me, identity)) = self.identify().await? else { return Ok(()) };
        let (broken_tx, mut broken) = mpsc::channel(1);
        let mut peer = self.assemble(me, identity, backend, folder, broken_tx)?;
        let ended = self.serve(&mut peer, &mut broken).await;
        let courier = Arc::clone(&peer.courier);
        drop(peer);
        courier.end().await;
        ended
    }

    /// One connection after another, until shutdown.
    async fn serve(&mut self, peer: &mut Peer, broken: &mut mpsc::Receiver<String>) -> Result<(), PeerError> {
        let mut early_breaks = 0;
        while !self.shutdown.is_cancelled() {
            let hub = self.hubs.take();
            let went = self.connection(peer, &hub, broken).await?;
            early_breaks = match went {
                Went::Early => early_breaks + 1,
                Went::Well => 0,
                Went::Unreached => early_breaks,
            };
            if early_breaks >= EARLY_BREAKS_MAX {
                self.poll(peer, &hub).await?;
            }
            let pause = self.hubs.pause();
            self.sleep(pause).await;
        }
        Ok(())
    }

    fn assemble(
        &self,
        me: PeerId,
        identity: Identity,
        backend: Arc<dyn Backend>,
        folder: Option<StaticFiles>,
        broken: mpsc::Sender<String>,
    ) -> Result<Peer, PeerError> {
        let blocking = self.io.blocking;
        let departures = Arc::<Departures>::default();
        let store = ContentStore::open(&self.config.data_dir, self.config.content_bytes);
        let content = Content { store: Arc::new(store.map_err(PeerError::Content)?), folder };
        let (backed, limits) = (Arc::clone(&backend), self.config.limits);
        let reader = Reader::new(backed, Arc::clone(&departures), content, limits, blocking, broken.clone());
        let hub = watch::Sender::new(None);
        let courier = Arc::new(Courier {
            io: self.io.clone(),
            backend: Arc::clone(&backend),
            folder: Folder::within(&self.config.data_dir),
            limits: self.config.limits,
            throttle: Throttle::new(self.config.limits.bytes_per_second),
            hub: hub.subscribe(),
            ending: self.shutdown.child_token(),
            jobs: TaskTracker::new(),
            me,
            secret: identity.secret,
        });
        let (seeding, reports) = Seeding::new(Arc::clone(&courier), broken);
        let driver = Driver::new(me, Arc::clone(&backend), Arc::clone(&seeding), departures);
        let peer = Peer {
            me,
            backend,
            driver: driver.map_err(|error| PeerError::Backend(error.to_string()))?,
            reader: Arc::new(reader),
            giving: Giving::new(Arc::clone(&courier)),
            courier,
            seeding,
            reports,
            audits: mpsc::channel(AUDITS_MAX),
            reported: Reported::default(),
            hub,
            mark: Mark::within(&self.config.data_dir),
            has_answered: false,
            has_lost: false,
        };
        start_over::clean(&peer).map_err(PeerError::Checkpoints)?;
        Ok(peer)
    }

    async fn sleep(&self, pause: Duration) {
        let _ = tokio::time::timeout(pause, self.shutdown.cancelled()).await;
    }

    /// The identity on disk, or a new one that has joined. `None`: shut down before that.
    async fn identify(&mut self) -> Result<Option<(PeerId, Identity)>, PeerError> {
        let dir = self.config.data_dir.clone();
        let mut identity = match Identity::load(&dir)? {
            Some(identity) => identity,
            None => {
                // Another stream of the same seed than the jitter's.
                let mut seed = self.io.seed;
                seed[0] ^= 0x5a;
                let fresh = Identity { secret: Secret::generate(seed), peer_id: None, joined_at_ms: 0 };
                fresh.store(&dir)?;
                fresh
            }
        };
        if let Some(me) = identity.peer_id {
            return Ok(Some((me, identity)));
        }
        if self.config.join_token.is_none() {
            return Err(PeerError::NoToken);
        }
        let Some(me) = self.join(&identity).await? else { return Ok(None) };
        identity.peer_id = Some(me);
        identity.joined_at_ms = (self.io.wall_ms)();
        identity.store(&dir)?;
        tracing::info!(peer = %me, "joined");
        Ok(Some((me, identity)))
    }

    async fn join(&mut self, identity: &Identity) -> Result<Option<PeerId>, PeerError> {
        loop {
            let hub = self.hubs.take();
            let attempt = async {
                let mut link = Link::dial(&self.io, &hub).await?;
                link.join(&self.config, &identity.secret).await
            };
            let shutdown = self.shutdown.clone();
            let joined = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(None),
                joined = attempt => joined,
            };
            match joined {
                Ok(me) => {
                    self.hubs.worked();
                    return Ok(Some(me));
                }
                Err(error) if error.is_denial() => {
                    return Err(PeerError::Refused { hub: hub.to_string(), why: error.to_string() });
                }
                Err(error) => self.report(&hub, "cannot join", &error),
            }
            let pause = self.hubs.pause();
            self.sleep(pause).await;
        }
    }

    /// One work stream, from dialling to its end.
    async fn connection(
        &mut self,
        peer: &mut Peer,
        hub: &HubAddr,
        broken: &mut mpsc::Receiver<String>,
    ) -> Result<Went, PeerError> {
        let cursor = peer.backend.durable_cursor();
        let hello = v1::Hello {
            peer_id: peer.me.get(),
            secret: peer.courier.secret.expose().to_vec().into(),
            cursor,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            restarted: !peer.has_answered,
            started_over: peer.mark.is_set(),
            limits: Some(self.config.limits.into()),
        };
        let opening = async {
            let mut link = Link::dial(&self.io, hub).await?;
            Ok::<_, LinkError>(link.work(hello).await)
        };
        let shutdown = self.shutdown.clone();
        let opened = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(Went::Well),
            opened = opening => opened,
        };
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.report(hub, "no work stream", &error);
                return Ok(if error.is_cut() { Went::Early } else { Went::Unreached });
            }
            Err(error) => {
                self.report(hub, "no connection", &error);
                return Ok(Went::Unreached);
            }
        };
        self.learn(&stream.welcome.hubs);
        tracing::info!(hub = %stream.hub, addr = %hub, cursor, newest = stream.welcome.newest, "connected");
        peer.hub.send_replace(Some(hub.clone()));
        let went = self.converse(peer, hub, stream, cursor, broken).await;
        peer.hub.send_replace(None);
        went
    }

    /// What follows a greeting: work, or a new beginning if too much is gone for it.
    async fn converse(
        &mut self,
        peer: &mut Peer,
        hub: &HubAddr,
        stream: WorkStream,
        cursor: u64,
        broken: &mut mpsc::Receiver<String>,
    ) -> Result<Went, PeerError> {
        let trimmed_through = stream.welcome.trimmed_through;
        if trimmed_through > cursor {
            drop(stream);
            return self.start_over(peer, hub, cursor, trimmed_through).await;
        }
        peer.mark.clear().map_err(PeerError::Checkpoints)?;
        let since = Instant::now();
        let mut worker = Worker::new(peer, hub, &stream, cursor);
        let ended = worker.run(stream, broken, &self.shutdown).await;
        let well = worker.fed || since.elapsed() >= LIVED;
        if let Some(hubs) = worker.newer_hubs.take() {
            self.learn(&hubs);
        }
        self.after(hub, ended, well)
    }

    async fn start_over(
        &mut self,
        peer: &mut Peer,
        hub: &HubAddr,
        cursor: u64,
        trimmed_through: u64,
    ) -> Result<Went, PeerError> {
        tracing::warn!(
            cursor,
            trimmed_through,
            "the hubs no longer have the records after this peer's cursor"
        );
        let shutdown = self.shutdown.clone();
        let attempt = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(Went::Well),
            attempt = start_over::attempt(peer, trimmed_through, &shutdown) => attempt,
        };
        match attempt {
            Attempt::Done => {
                self.hubs.worked();
                Ok(Went::Well)
            }
            Attempt::Failed(why) => {
                tracing::warn!(addr = %hub, why, "cannot get all users; trying again");
                Ok(Went::Unreached)
            }
            Attempt::Fatal(why) => Err(PeerError::Backend(why)),
        }
    }

    fn learn(&mut self, addrs: &[String]) {
        let left_out = self.hubs.learn(&self.config, addrs);
        if left_out > 0 {
            tracing::debug!(
                left_out,
                "hub addresses not used: malformed, or --insecure-plaintext is not given"
            );
        }
    }

    fn after(&mut self, hub: &HubAddr, ended: Ended, well: bool) -> Result<Went, PeerError> {
        if well {
            self.hubs.worked();
        }
        match ended {
            Ended::Shutdown => {
                tracing::info!(addr = %hub, "disconnected: shutting down");
                return Ok(Went::Well);
            }
            Ended::GoAway(reason) => {
                tracing::info!(addr = %hub, reason, "disconnected: the hub sent us away")
            }
            Ended::Elsewhere(why) => {
                tracing::info!(addr = %hub, why, "disconnected");
                return Ok(Went::Unreached);
            }
            Ended::Broken(why) => tracing::info!(addr = %hub, why, "disconnected"),
            Ended::Backend(error) => return Err(PeerError::Backend(error)),
        }
        Ok(if well { Went::Well } else { Went::Early })
    }

    /// Keeps the copy up while streams are cut: applies facts, executes nothing. Ends after some polls, so that a
    /// stream is tried again, or when the hub does not answer.
    async fn poll(&mut self, peer: &mut Peer, hub: &HubAddr) -> Result<(), PeerError> {
        let mut after = peer.backend.durable_cursor();
        tracing::warn!(addr = %hub, "work streams break at once; polling for records, executing nothing");
        let pushed = peer.driver.push(Input::Polling { cursor: after });
        self.carry_out(peer, pushed.map_err(DriveError::from))?;
        let shutdown = self.shutdown.clone();
        for _ in 0..POLLS_PER_ATTEMPT {
            let until = Instant::now() + POLL_EVERY;
            let fetched = async {
                let mut link = Link::dial(&self.io, hub).await?;
                link.fetch(peer.me, &peer.courier.secret, after, POLL_EVERY).await
            };
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                fetched = fetched => fetched,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.report(hub, "cannot poll", &error);
                    break;
                }
            };
            let pushed = match decode::batch(&batch) {
                Ok((entries, through)) => peer.driver.push(Input::Records { entries, through }),
                Err(error) => {
                    tracing::warn!(addr = %hub, %error, "poll dropped");
                    break;
                }
            };
            if let Err(violation) = pushed {
                tracing::warn!(addr = %hub, %violation, "poll dropped");
                break;
            }
            self.carry_out(peer, Ok(()))?;
            after = batch.through;
            if batch.records.is_empty() {
                let _ = tokio::time::timeout_at(until, shutdown.cancelled()).await;
            }
        }
        let pushed = peer.driver.push(Input::Disconnected);
        self.carry_out(peer, pushed.map_err(DriveError::from))
    }

    /// While polling nothing is sent; what the driver leaves to us is dropped.
    fn carry_out(&self, peer: &mut Peer, pushed: Result<(), DriveError>) -> Result<(), PeerError> {
        let mut step = pushed.and_then(|()| peer.driver.next());
        while let Ok(Some(_)) = step {
            step = peer.driver.next();
        }
        step.map(drop).map_err(|error| PeerError::Backend(error.to_string()))
    }

    fn report(&self, hub: &HubAddr, what: &str, error: &LinkError) {
        if error.is_denial() {
            tracing::warn!(addr = %hub, "{what}: {error}; has this peer joined this group of hubs?");
        } else if self.hubs.failures() == 0 {
            tracing::info!(addr = %hub, "{what}: {error}");
        } else {
            tracing::debug!(addr = %hub, "{what}: {error}");
        }
    }
}

enum Went {
    /// It worked, whatever ended it.
    Well,
    /// The stream broke before it was of any use.
    Early,
    /// There was none.
    Unreached,
}
