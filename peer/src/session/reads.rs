//! Reads: wait for their fence, then answer beside the feed. Owns their bounds.
//!
//! A read runs inline in a task of its own: it works on memory, and the runtime spreads tasks over threads; a
//! simulation with one thread runs the same code. Only files are read where waiting is allowed. Never delays the feed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use loop_proto::{ids::ForumEpoch, v1};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{
    decode::Read, departures::Departures, driver::encode_facts, outbox::Outbox, static_files::StaticFiles,
    user_ids::UserIdPool,
};
use crate::{
    backend::{Backend, BackendError, Execution},
    io::Blocking,
    replica::Replica,
};

/// Reads waiting or running at once.
const READS_MAX: usize = 1024;
/// Kilobytes of requests among them.
const READ_KILOBYTES_MAX: usize = 64 * 1024;
/// Longest wait for a fence, and for user ids.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Files read at once: each may be 8 MiB.
const FILES_MAX: usize = 4;

/// What every read needs.
pub struct Reader {
    backend: Arc<dyn Backend>,
    ids: Arc<UserIdPool>,
    departures: Arc<Departures>,
    files: Option<StaticFiles>,
    file_turns: Semaphore,
    blocking: Blocking,
    broken: mpsc::Sender<String>,
    answered: AtomicU64,
}

impl Reader {
    /// `broken` is told when the backend cannot go on.
    pub fn new(
        backend: Arc<dyn Backend>,
        ids: Arc<UserIdPool>,
        departures: Arc<Departures>,
        files: Option<StaticFiles>,
        blocking: Blocking,
        broken: mpsc::Sender<String>,
    ) -> Self {
        let file_turns = Semaphore::new(FILES_MAX);
        Self { backend, ids, departures, files, file_turns, blocking, broken, answered: AtomicU64::new(0) }
    }

    /// Reads answered since the process began.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    async fn answer(&self, read: Read, epoch: ForumEpoch, departed: u64, outbox: &Outbox) {
        let forum_id = read.work.forum.map_or(0, |forum| forum.get());
        let mut reply = v1::ReadReply { read_id: read.id, forum_id, epoch: epoch.0, ..Default::default() };
        if read.work.request.endpoint() == v1::Endpoint::Static {
            // Held until the file has left, so that only a few are in memory at once.
            let Ok(_turn) = self.file_turns.acquire().await else { return };
            reply.body = self.file(read).await;
            self.answered.fetch_add(1, Ordering::Relaxed);
            let _ = outbox.send(v1::peer_to_hub::Kind::ReadReply(reply)).await;
            return;
        }
        let made = self.render(&read).await;
        // Rows that went meanwhile would be missing from the answer.
        if let Some(made) = made.filter(|_| self.departures.so_far() == departed) {
            self.answered.fetch_add(1, Ordering::Relaxed);
            reply.body = Some(made.body);
            reply.forum_facts = encode_facts(made.forum_facts);
            reply.directory_facts = encode_facts(made.directory_facts);
            reply.sessions = made.session.into_iter().collect();
        }
        // A closed outbox means the connection is gone, and with it whoever asked.
        let _ = outbox.send(v1::peer_to_hub::Kind::ReadReply(reply)).await;
    }

    async fn file(&self, read: Read) -> Option<v1::ResponseBody> {
        let files = self.files.clone()?;
        self.blocking.run(move || files.answer(&read.work.request)).await
    }

    async fn render(&self, read: &Read) -> Option<Execution> {
        let until = Instant::now() + WAIT_MAX;
        let mut grants = self.ids.grants();
        loop {
            let mut taker = self.ids.taker();
            match self.backend.read(&read.work, read.receipt.as_ref(), &mut taker) {
                Ok(made) => return Some(made),
                Err(BackendError::Unavailable(_)) if taker.ran_dry() => {
                    tokio::time::timeout_at(until, grants.changed()).await.ok()?.ok()?;
                }
                Err(BackendError::Unavailable(why)) => {
                    tracing::debug!(why, "cannot answer a read now");
                    return None;
                }
                Err(error @ BackendError::Fatal(_)) => {
                    let _ = self.broken.try_send(error.to_string());
                    return None;
                }
            }
        }
    }
}

struct Parked {
    read: Read,
    until: Instant,
    room: OwnedSemaphorePermit,
}

/// The reads of one connection. Dropping it ends them.
pub struct Reads {
    reader: Arc<Reader>,
    outbox: Outbox,
    room: Arc<Semaphore>,
    /// By fence, then by arrival.
    parked: BTreeMap<(u64, u64), Parked>,
    arrivals: u64,
    /// Not later than the first of the parked ones runs out of time.
    wake: Option<Instant>,
    jobs: JoinSet<()>,
}

impl Reads {
    /// None yet.
    pub fn new(reader: Arc<Reader>, outbox: Outbox) -> Self {
        let room = Arc::new(Semaphore::new(READ_KILOBYTES_MAX));
        Self { reader, outbox, room, parked: BTreeMap::new(), arrivals: 0, wake: None, jobs: JoinSet::new() }
    }

    /// Reads not answered yet.
    pub fn count(&self) -> usize {
        self.parked.len() + self.jobs.len()
    }

    /// What waits or runs, and the most that may.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 2] {
        let kilobytes = READ_KILOBYTES_MAX - self.room.available_permits();
        [("reads", (self.count(), READS_MAX)), ("read_kilobytes", (kilobytes, READ_KILOBYTES_MAX))]
    }

    /// When to call [`Self::expire`].
    pub fn deadline(&self) -> Option<Instant> {
        self.wake
    }

    /// Takes a read of `bytes` on the wire. Gives back a reply if it cannot be answered here.
    pub fn accept(&mut self, read: Read, bytes: usize, replica: &Replica) -> Option<v1::ReadReply> {
        while self.jobs.try_join_next().is_some() {}
        let kilobytes = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(kilobytes);
        let Ok(room) =
            room.map_err(drop).and_then(|room| if self.count() < READS_MAX { Ok(room) } else { Err(()) })
        else {
            return Some(cannot(&read));
        };
        if replica.applied() < read.fence {
            self.arrivals += 1;
            let until = Instant::now() + WAIT_MAX;
            self.wake.get_or_insert(until);
            self.parked.insert((read.fence, self.arrivals), Parked { read, until, room });
            return None;
        }
        self.start(read, room, replica)
    }

    /// Starts those whose fence is applied now. Gives back replies for those that cannot be answered here.
    pub fn release(&mut self, replica: &Replica) -> Vec<v1::ReadReply> {
        let mut refused = Vec::new();
        while let Some(first) = self.parked.first_entry() {
            if first.key().0 > replica.applied() {
                break;
            }
            let Parked { read, room, .. } = first.remove();
            refused.extend(self.start(read, room, replica));
        }
        refused
    }

    /// Gives up those that have waited too long.
    pub fn expire(&mut self, now: Instant) -> Vec<v1::ReadReply> {
        let late: Vec<_> =
            self.parked.iter().filter(|(_, parked)| parked.until <= now).map(|(key, _)| *key).collect();
        let refused =
            late.iter().filter_map(|key| self.parked.remove(key)).map(|parked| cannot(&parked.read));
        let refused = refused.collect();
        self.wake = self.parked.values().map(|parked| parked.until).min();
        refused
    }

    fn start(&mut self, read: Read, room: OwnedSemaphorePermit, replica: &Replica) -> Option<v1::ReadReply> {
        let static_file = read.work.request.endpoint() == v1::Endpoint::Static;
        let epoch = match read.work.forum {
            Some(forum) if !static_file => match replica.epoch_of(forum) {
                Some(epoch) => epoch,
                None => return Some(cannot(&read)),
            },
            _ => read.epoch,
        };
        let (reader, outbox) = (Arc::clone(&self.reader), self.outbox.clone());
        let departed = reader.departures.so_far();
        self.jobs.spawn(async move {
            let _room = room;
            reader.answer(read, epoch, departed, &outbox).await;
        });
        None
    }
}

/// "Ask another."
fn cannot(read: &Read) -> v1::ReadReply {
    let forum_id = read.work.forum.map_or(0, |forum| forum.get());
    v1::ReadReply { read_id: read.id, forum_id, epoch: read.epoch.0, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use loop_proto::ids::{ForumId, HubTime};

    use super::*;
    use crate::backend::{
        Work,
        embedded::{EmbeddedBackend, EmbeddedConfig},
    };

    fn read(id: u64) -> Read {
        let request = v1::ClientRequest {
            endpoint: v1::Endpoint::FastSearchChat.into(),
            base_url: "http://h".to_owned(),
            ..Default::default()
        };
        let forum = ForumId::new(178);
        let work = Work { forum, request, session: None, message_id: None, now: HubTime(1) };
        Read { id, epoch: ForumEpoch(1), fence: 0, work, receipt: None }
    }

    #[tokio::test]
    async fn a_read_during_which_rows_went_is_left_to_another_peer() {
        let dir = tempfile::tempdir().unwrap();
        let backend = Arc::new(EmbeddedBackend::open(EmbeddedConfig::new(dir.path())).unwrap());
        let departures = Arc::<Departures>::default();
        let (broken, _told) = mpsc::channel(1);
        let ids = Arc::new(UserIdPool::new());
        let blocking = Blocking::default();
        let reader = Reader::new(backend, ids, Arc::clone(&departures), None, blocking, broken);
        let (outbox, stream) = Outbox::new();
        let mut stream = std::pin::pin!(stream);

        let began = departures.so_far();
        reader.answer(read(1), ForumEpoch(1), began, &outbox).await;
        departures.announce();
        reader.answer(read(2), ForumEpoch(1), began, &outbox).await;
        reader.answer(read(3), ForumEpoch(1), departures.so_far(), &outbox).await;
        for answered in [true, false, true] {
            let Some(v1::peer_to_hub::Kind::ReadReply(reply)) = stream.next().await.unwrap().kind else {
                panic!("a read is answered by a reply");
            };
            assert_eq!(reply.body.is_some(), answered, "{reply:?}");
        }
    }
}
