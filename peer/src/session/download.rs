//! One copy over the line: asked for at the hub, written beside the rows, resumed where it broke, checked when whole.
//! Owns what a copy may look like on the wire. Never installs, never decides what to do after a failure.

use std::{fs::File, io, io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use loop_proto::{ids::PeerId, v1};
use tokio::{sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Streaming;

use super::{
    gauge::Gauge,
    link::{Link, Quoted},
    parts::{CHUNK_BYTES_MAX, CopyName, Folder, Part},
    throttle::Throttle,
};
use crate::{backend::Backend, config::HubAddr, identity::Secret, io::Io, limits::Limits};

/// The directory's copy.
pub const DIRECTORY: CopyName = CopyName { forum_id: 0, invitation_id: 0 };

/// How long what is under way may take to stop.
const ENDED_WITHIN: Duration = Duration::from_secs(1);
/// How long the first piece may take: another peer makes a file of the whole forum before it.
const FIRST_WITHIN: Duration = Duration::from_secs(600);
/// How long any other may take. The other side may be as slow as its limit says.
const NEXT_WITHIN: Duration = Duration::from_secs(60);

/// What everybody who moves copies needs.
pub struct Courier {
    /// Sockets and threads.
    pub io: Io,
    /// Where rows are.
    pub backend: Arc<dyn Backend>,
    /// Where files are.
    pub folder: Folder,
    /// What this machine gives.
    pub limits: Limits,
    /// How fast copies travel.
    pub throttle: Throttle,
    /// The hub this peer is connected to; `None`: on none.
    pub hub: watch::Receiver<Option<HubAddr>>,
    /// The process is ending: everything stops, and what has come stays for the next one.
    pub ending: CancellationToken,
    /// All that moves copies now.
    pub jobs: TaskTracker,
    /// Who this peer is.
    pub me: PeerId,
    /// How it proves that.
    pub secret: Secret,
}

/// Why a copy is not there.
#[derive(Debug)]
pub enum Failure {
    /// This peer may not take it.
    Refused(v1::RejectReason),
    /// All bytes came, and they are not those that were promised. Nothing of it is left.
    Damaged,
    /// Anything that trying again may heal.
    Broken {
        /// For an operator.
        why: String,
        /// Some bytes came.
        progressed: bool,
    },
}

impl Failure {
    fn broken(why: impl Into<String>) -> Self {
        Self::Broken { why: why.into(), progressed: false }
    }

    fn disk(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Refused(v1::RejectReason::DiskFull)
            }
            _ => Self::broken(format!("disk: {error}")),
        }
    }
}

impl Courier {
    /// Ends all that moves copies, and waits a moment for it: the backend is about to be closed.
    pub async fn end(&self) {
        self.ending.cancel();
        self.jobs.close();
        if timeout(ENDED_WITHIN, self.jobs.wait()).await.is_err() {
            tracing::warn!("a copy is still being moved; it is left to itself");
        }
    }

    /// Fetches what is still missing of a copy. On return all of it is in its part's file, and intact.
    pub async fn fetch(&self, name: CopyName, gauge: &Arc<Gauge>) -> Result<v1::CheckpointHeader, Failure> {
        let part = self.folder.part(name);
        let so_far = self.disk({
            let part = part.clone();
            move || Ok(part.so_far())
        });
        let so_far = so_far.await?;
        let header = match so_far {
            Some((header, done)) if done == header.bytes => header,
            so_far => self.receive(name, &part, so_far, gauge).await?,
        };
        let intact = self.io.blocking.run_aside({
            let (part, header) = (part.clone(), header.clone());
            move || part.is_intact(&header)
        });
        if settled(intact.await)? {
            return Ok(header);
        }
        self.disk(move || part.remove()).await?;
        Err(Failure::Damaged)
    }

    async fn receive(
        &self,
        name: CopyName,
        part: &Part,
        so_far: Option<(v1::CheckpointHeader, u64)>,
        gauge: &Arc<Gauge>,
    ) -> Result<v1::CheckpointHeader, Failure> {
        let mut hub = self.hub.clone();
        let hub = hub.wait_for(Option::is_some).await.ok().and_then(|hub| hub.clone());
        let hub = hub.ok_or_else(|| Failure::broken("the peer is stopping"))?;
        let (sha256, offset) =
            so_far.as_ref().map_or((Bytes::new(), 0), |(header, done)| (header.sha256.clone(), *done));
        let request = v1::FetchCheckpointRequest {
            peer_id: self.me.get(),
            secret: self.secret.expose().to_vec().into(),
            forum_id: name.forum_id,
            invitation_id: name.invitation_id,
            offset,
            sha256,
        };
        // A line of its own: what is fetched must not stand in the way of what is answered.
        let mut link =
            Link::dial(&self.io, &hub).await.map_err(|error| Failure::broken(error.to_string()))?;
        let chunks = timeout(FIRST_WITHIN, link.fetch_checkpoint(request)).await;
        let chunks = chunks.map_err(|_| Failure::broken("no answer"))?;
        let mut chunks = chunks.map_err(|error| Failure::broken(error.to_string()))?;
        let first = next(&mut chunks, FIRST_WITHIN).await?;
        let (header, file, done) = self.begin(name, part, so_far, first).await?;
        gauge.set(done, header.bytes);
        let (mut file, mut done, began) = (file, done, done);
        while done < header.bytes {
            let step = match next(&mut chunks, NEXT_WITHIN).await {
                Ok(chunk) => self.write(file, chunk, done, header.bytes).await,
                Err(failure) => Err(failure),
            };
            (file, done) = step.map_err(|failure| match failure {
                Failure::Broken { why, .. } => Failure::Broken { why, progressed: done > began },
                other => other,
            })?;
            gauge.set(done, header.bytes);
        }
        Ok(header)
    }

    /// Takes the first piece, which says what comes and from where on.
    async fn begin(
        &self,
        name: CopyName,
        part: &Part,
        so_far: Option<(v1::CheckpointHeader, u64)>,
        first: v1::CheckpointChunk,
    ) -> Result<(v1::CheckpointHeader, File, u64), Failure> {
        let Some(header) = first.header else { return Err(Failure::broken("a copy without a header")) };
        check(name, &header)?;
        if name != DIRECTORY
            && let Some(reason) = self.limits.refuse_copy(header.bytes, self.backend.disk_bytes())
        {
            return Err(Failure::Refused(reason));
        }
        let known = so_far.filter(|(known, done)| *known == header && *done == first.offset);
        let part = part.clone();
        let (opened, done) = match (known, first.offset) {
            (Some((_, done)), _) if done > 0 => (self.disk(move || part.append()).await?, done),
            (_, 0) => {
                let header = header.clone();
                (self.disk(move || part.begin(&header)).await?, 0)
            }
            _ => return Err(Failure::broken("a copy that goes on where nothing was")),
        };
        Ok((header, opened, done))
    }

    async fn write(
        &self,
        mut file: File,
        chunk: v1::CheckpointChunk,
        done: u64,
        total: u64,
    ) -> Result<(File, u64), Failure> {
        let data = chunk.data;
        let after = done + data.len() as u64;
        if data.is_empty() || data.len() > CHUNK_BYTES_MAX || after > total {
            return Err(Failure::broken("a piece of a copy that cannot be"));
        }
        self.throttle.pass(data.len()).await;
        let written = self.disk(move || file.write_all(&data).map(|()| file));
        Ok((written.await?, after))
    }

    async fn disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        settled(self.io.blocking.run(work).await)
    }
}

/// What work on the disk gave; `None`: it could not end.
fn settled<T>(done: Option<io::Result<T>>) -> Result<T, Failure> {
    done.ok_or_else(|| Failure::broken("the process is ending"))?.map_err(|error| Failure::disk(&error))
}

async fn next(
    chunks: &mut Streaming<v1::CheckpointChunk>,
    within: Duration,
) -> Result<v1::CheckpointChunk, Failure> {
    match timeout(within, chunks.message()).await {
        Ok(Ok(Some(chunk))) => Ok(chunk),
        Ok(Ok(None)) => Err(Failure::broken("it ended too soon")),
        Ok(Err(status)) => Err(Failure::broken(Quoted(status.message()).to_string())),
        Err(_) => Err(Failure::broken(format!("nothing came for {} s", within.as_secs()))),
    }
}

fn check(name: CopyName, header: &v1::CheckpointHeader) -> Result<(), Failure> {
    let fits = header.forum_id == name.forum_id
        && header.cursor >= name.invitation_id
        && header.sha256.len() == 32
        && header.digest.len() == 32;
    if fits { Ok(()) } else { Err(Failure::broken("the header of another copy")) }
}
