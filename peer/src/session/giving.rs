//! Giving copies: a hub asks, this peer writes its copy to a file and sends it from there. Owns the files, how many
//! there are, and how many are sent at once. Never decides who may have one: hubs do.
//!
//! A file is kept for a while, because whoever gets it may come back for the rest of exactly that one.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use loop_proto::{ids::ForumId, v1};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    download::{Courier, DIRECTORY},
    link::Link,
    outbox::Outbox,
    parts::{self, CopyName},
};
use crate::{backend::Scope, config::HubAddr};

/// Copies given at once.
const AT_ONCE: usize = 4;
/// Files kept; each may be as large as a forum.
const KEPT_MAX: usize = 4;
/// A file nobody asked for this long goes.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Pieces read ahead of the line.
const AHEAD: usize = 4;
/// How long to wait for the record the copy must contain.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);

/// A copy that lies ready.
struct Ready {
    header: v1::CheckpointHeader,
    /// Open, so that it can still be read when it has been removed for another one's sake.
    file: File,
    path: PathBuf,
}

impl Drop for Ready {
    fn drop(&mut self) {
        // A later one may lie there by now; both are made whole before they get their name, and either may go.
        let _ = fs::remove_file(&self.path);
    }
}

type Making = Arc<tokio::sync::Mutex<Option<Arc<Ready>>>>;

struct Kept {
    making: Making,
    used_at: Instant,
}

/// All copies this peer gives.
pub struct Giving {
    courier: Arc<Courier>,
    kept: Mutex<BTreeMap<CopyName, Kept>>,
    turns: Arc<Semaphore>,
    applied: watch::Sender<u64>,
}

impl Giving {
    /// None yet.
    pub fn new(courier: Arc<Courier>) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Self { courier, kept: Mutex::default(), turns, applied: watch::Sender::new(0) })
    }

    /// Everything up to here is applied.
    pub fn applied(&self, through: u64) {
        self.applied.send_if_modified(|applied| {
            let moved = *applied != through;
            *applied = through;
            moved
        });
    }

    /// Gives what is asked for, or says on `outbox` why not.
    pub fn give(self: &Arc<Self>, asked: v1::ExportRequest, hub: HubAddr, outbox: Outbox) {
        let giving = Arc::clone(self);
        let turn = Arc::clone(&self.turns).try_acquire_owned();
        self.courier.jobs.spawn(async move {
            let given = match turn {
                Ok(_turn) => tokio::select! {
                    biased;
                    () = giving.courier.ending.cancelled() => return,
                    given = giving.carry_out(&asked, &hub) => given,
                },
                Err(_) => Err("gives as many copies at once as it may".to_owned()),
            };
            if let Err(reason) = given {
                tracing::info!(forum = asked.forum_id, reason, "a copy was not given");
                refuse(&outbox, asked.relay_id, reason).await;
            }
        });
    }

    /// Files kept, and the most that may be.
    pub fn held(&self) -> (usize, usize) {
        (self.kept.lock().len(), KEPT_MAX)
    }

    /// Removes files nobody has asked for lately.
    pub fn expire(&self, now: Instant) {
        self.kept.lock().retain(|_, kept| now.duration_since(kept.used_at) < KEPT_FOR);
    }

    async fn carry_out(&self, asked: &v1::ExportRequest, hub: &HubAddr) -> Result<(), String> {
        let mut applied = self.applied.subscribe();
        let far_enough = timeout(APPLIED_WITHIN, applied.wait_for(|applied| *applied >= asked.invitation_id));
        if !matches!(far_enough.await, Ok(Ok(_))) {
            return Err("has not come that far in the log".to_owned());
        }
        let ready = self.ready(asked).await?;
        let header = &ready.header;
        let resumes = asked.sha256 == header.sha256 && asked.offset <= header.bytes;
        let offset = if resumes { asked.offset } else { 0 };
        let (pieces, outbound) = mpsc::channel(AHEAD);
        let mut link = Link::dial(&self.courier.io, hub).await.map_err(|error| error.to_string())?;
        let reading = self.read(asked.relay_id, Arc::clone(&ready), offset, pieces);
        let sending = link.give_checkpoint(ReceiverStream::new(outbound));
        match tokio::join!(reading, sending) {
            // The hub ended the call because it needs no more of it; it need not be told what it knows.
            (_, Err(error)) => {
                tracing::debug!(forum = asked.forum_id, %error, "giving a copy ended early");
                Ok(())
            }
            (Err(error), Ok(())) => Err(format!("cannot read its copy: {error}")),
            (Ok(()), Ok(())) => Ok(()),
        }
    }

    /// The file for this request: the one that is kept, or a new one.
    async fn ready(&self, asked: &v1::ExportRequest) -> Result<Arc<Ready>, String> {
        let name = CopyName { forum_id: asked.forum_id, invitation_id: asked.invitation_id };
        let making = self.keep(name);
        let mut made = making.lock().await;
        // The directory's copy is for any position: an old one serves only whoever has its beginning.
        let serves = |ready: &&Arc<Ready>| name != DIRECTORY || ready.header.sha256 == asked.sha256;
        if let Some(ready) = made.as_ref().filter(serves) {
            return Ok(Arc::clone(ready));
        }
        *made = None;
        let ready = Arc::new(self.make(name).await?);
        *made = Some(Arc::clone(&ready));
        Ok(ready)
    }

    /// Notes that this copy was asked for, and lets the one go that was not for the longest time.
    fn keep(&self, name: CopyName) -> Making {
        let mut kept = self.kept.lock();
        let used_at = Instant::now();
        let entry = kept.entry(name).or_insert_with(|| Kept { making: Making::default(), used_at });
        entry.used_at = used_at;
        let making = Arc::clone(&entry.making);
        while kept.len() > KEPT_MAX {
            let oldest =
                kept.iter().filter(|(known, _)| **known != name).min_by_key(|(_, kept)| kept.used_at);
            let Some(oldest) = oldest.map(|(known, _)| *known) else { break };
            kept.remove(&oldest);
        }
        making
    }

    async fn make(&self, name: CopyName) -> Result<Ready, String> {
        let (backend, folder) = (Arc::clone(&self.courier.backend), self.courier.folder.clone());
        let scope = ForumId::new(name.forum_id).map_or(Scope::Directory, Scope::Forum);
        let made = self.courier.io.blocking.run_aside(move || {
            let (new, path) = folder.to_give(name).map_err(|error| error.to_string())?;
            let header = backend.export(scope, name.invitation_id, &new, &|_| {});
            let header = header.map_err(|error| {
                let _ = parts::remove(&new);
                error.to_string()
            })?;
            let open = || -> io::Result<Ready> {
                fs::rename(&new, &path)?;
                Ok(Ready { header, file: File::open(&path)?, path })
            };
            open().map_err(|error| error.to_string())
        });
        made.await.ok_or("the process is ending")?
    }

    async fn read(
        &self,
        relay_id: u64,
        ready: Arc<Ready>,
        mut offset: u64,
        pieces: mpsc::Sender<v1::GivenChunk>,
    ) -> io::Result<()> {
        let first = v1::CheckpointChunk { header: Some(ready.header.clone()), offset, ..Default::default() };
        let first = v1::GivenChunk {
            peer_id: self.courier.me.get(),
            secret: self.courier.secret.expose().to_vec().into(),
            relay_id,
            chunk: Some(first),
        };
        if pieces.send(first).await.is_err() {
            return Ok(());
        }
        while offset < ready.header.bytes {
            let reading = Arc::clone(&ready);
            let read = self.courier.io.blocking.run(move || parts::read_at(&reading.file, offset)).await;
            let data = read.ok_or(io::ErrorKind::Interrupted)??;
            if data.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.courier.throttle.pass(data.len()).await;
            let length = data.len() as u64;
            let chunk = v1::CheckpointChunk { header: None, offset, data: data.into() };
            let piece = v1::GivenChunk { chunk: Some(chunk), ..Default::default() };
            if pieces.send(piece).await.is_err() {
                return Ok(());
            }
            offset += length;
        }
        Ok(())
    }
}

/// Says that nothing will come.
pub async fn refuse(outbox: &Outbox, relay_id: u64, reason: impl Into<String>) {
    let refused = v1::ExportRefused { relay_id, reason: reason.into() };
    // A closed outbox means the connection is gone, and with it the relay.
    let _ = outbox.send(v1::peer_to_hub::Kind::ExportRefused(refused)).await;
}
