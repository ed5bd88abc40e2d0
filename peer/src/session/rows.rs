//! Rows that hubs ask for: wait for their fence, then answer beside the feed. Owns their bounds.
//!
//! A read runs inline in a task of its own: it works on memory, and the runtime spreads tasks over threads; a
//! simulation with one thread runs the same code. Only files are read where waiting is allowed. Never delays the feed,
//! never knows who may see which row.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use loop_proto::v1;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};

use super::{
    content::Content,
    decode::{Read, Wanted},
    departures::Departures,
    outbox::Outbox,
};
use crate::{
    backend::{Backend, BackendError, ForumPage},
    io::Blocking,
    limits::Limits,
    replica::Replica,
};

/// Reads waiting or running at once.
const READS_MAX: usize = 1024;
/// Kilobytes of requests among them.
const READ_KILOBYTES_MAX: usize = 64 * 1024;
/// Longest wait for a fence.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Files read at once: each may be 8 MiB.
const FILES_MAX: usize = 4;

/// What every read needs.
pub struct Reader {
    backend: Arc<dyn Backend>,
    departures: Arc<Departures>,
    content: Content,
    file_turns: Semaphore,
    limits: Limits,
    blocking: Blocking,
    broken: mpsc::Sender<String>,
    answered: AtomicU64,
}

impl Reader {
    /// `broken` is told when the backend cannot go on.
    pub fn new(
        backend: Arc<dyn Backend>,
        departures: Arc<Departures>,
        content: Content,
        limits: Limits,
        blocking: Blocking,
        broken: mpsc::Sender<String>,
    ) -> Self {
        let file_turns = Semaphore::new(FILES_MAX);
        let answered = AtomicU64::new(0);
        Self { backend, departures, content, file_turns, limits, blocking, broken, answered }
    }

    /// Reads answered since the process began.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Published files on this machine.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Answers with what is applied, which is at least everything up to `as_of`.
    async fn answer(&self, read: Read, as_of: u64, departed: u64, outbox: &Outbox) {
        let found = match read.wanted {
            Wanted::Forum { forum, before, limit } => {
                self.backend.forum_rows(forum, before, limit).map(|page| Some(page_reply(page)))
            }
            Wanted::User(id) => {
                self.backend.user(id).map(|user| Some(v1::RowsReply { user, ..Default::default() }))
            }
            wanted => return self.answer_content(read.id, wanted, outbox).await,
        };
        // Rows that went meanwhile would be missing from the answer.
        let found = self.unless_broken(found).filter(|_| self.departures.so_far() == departed);
        let reply = match found {
            Some(reply) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                v1::RowsReply { id: read.id, as_of, ..reply }
            }
            None => refused(read.id),
        };
        // A closed outbox means the connection is gone, and with it whoever asked.
        let _ = outbox.send(v1::peer_to_hub::Kind::Rows(reply)).await;
    }

    /// Files are no rows: no position of the log says anything about them.
    async fn answer_content(&self, id: u64, wanted: Wanted, outbox: &Outbox) {
        // Held until the reply has left, so that only a few files are in memory at once.
        let Ok(_turn) = self.file_turns.acquire().await else { return };
        let content = self.content.clone();
        let found = match wanted {
            Wanted::Part(part) => {
                let bytes = self.blocking.run(move || content.part(&part)).await.flatten();
                bytes.map(|content| v1::RowsReply { id, content, ..Default::default() })
            }
            Wanted::Keep(piece) if self.has_room(piece.size) => {
                let kept = self.blocking.run(move || content.keep(&piece)).await.flatten();
                kept.map(|kept| v1::RowsReply { id, kept, ..Default::default() })
            }
            _ => None,
        };
        if found.is_some() {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        // A closed outbox means the connection is gone, and with it whoever asked.
        let _ = outbox.send(v1::peer_to_hub::Kind::Rows(found.unwrap_or_else(|| refused(id)))).await;
    }

    /// Within what the volunteer gives of the disk as a whole; the store has a bound of its own.
    fn has_room(&self, size: u64) -> bool {
        let used = self.backend.disk_bytes().saturating_add(self.content.store.bytes());
        self.limits.disk_bytes == 0 || used.saturating_add(size) <= self.limits.disk_bytes
    }

    fn unless_broken(&self, found: Result<Option<v1::RowsReply>, BackendError>) -> Option<v1::RowsReply> {
        match found {
            Ok(reply) => reply,
            Err(BackendError::Unavailable(why)) => {
                tracing::debug!(why, "cannot answer a read now");
                None
            }
            Err(error @ BackendError::Fatal(_)) => {
                // One word is enough: the process ends by it.
                let _ = self.broken.try_send(error.to_string());
                None
            }
        }
    }
}

fn page_reply(page: ForumPage) -> v1::RowsReply {
    let ForumPage { forum, subscriptions, messages, complete } = page;
    v1::RowsReply { forum, subscriptions, messages, complete, ..Default::default() }
}

/// "Ask another."
fn refused(id: u64) -> v1::RowsReply {
    v1::RowsReply { id, refused: true, ..Default::default() }
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
    pub fn accept(&mut self, read: Read, bytes: usize, replica: &Replica) -> Option<v1::RowsReply> {
        while self.jobs.try_join_next().is_some() {}
        let kilobytes = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(kilobytes);
        let Ok(room) =
            room.map_err(drop).and_then(|room| if self.count() < READS_MAX { Ok(room) } else { Err(()) })
        else {
            return Some(refused(read.id));
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
    pub fn release(&mut self, replica: &Replica) -> Vec<v1::RowsReply> {
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
    pub fn expire(&mut self, now: Instant) -> Vec<v1::RowsReply> {
        let late: Vec<_> =
            self.parked.iter().filter(|(_, parked)| parked.until <= now).map(|(key, _)| *key).collect();
        let refused =
            late.iter().filter_map(|key| self.parked.remove(key)).map(|parked| refused(parked.read.id));
        let refused = refused.collect();
        self.wake = self.parked.values().map(|parked| parked.until).min();
        refused
    }

    fn start(&mut self, read: Read, room: OwnedSemaphorePermit, replica: &Replica) -> Option<v1::RowsReply> {
        if let Wanted::Forum { forum, .. } = read.wanted
            && replica.epoch_of(forum).is_none()
        {
            return Some(refused(read.id));
        }
        let (reader, outbox) = (Arc::clone(&self.reader), self.outbox.clone());
        // Both before the rows are looked at: what follows may be in them or not.
        let (as_of, departed) = (replica.applied(), reader.departures.so_far());
        self.jobs.spawn(async move {
            let _room = room;
            reader.answer(read, as_of, departed, &outbox).await;
        });
        None
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use loop_proto::ids::ForumId;

    use super::{super::content_store::ContentStore, *};
    use crate::backend::embedded::{EmbeddedBackend, EmbeddedConfig};

    fn read(id: u64) -> Read {
        let forum = ForumId::new(178).unwrap();
        Read { id, fence: 0, wanted: Wanted::Forum { forum, before: None, limit: 10 } }
    }

    #[tokio::test]
    async fn a_read_during_which_rows_went_is_left_to_another_peer() {
        let dir = tempfile::tempdir().unwrap();
        let backend = Arc::new(EmbeddedBackend::open(EmbeddedConfig::new(dir.path())).unwrap());
        let departures = Arc::<Departures>::default();
        let (broken, _told) = mpsc::channel(1);
        let reader = Reader::new(
            backend,
            Arc::clone(&departures),
            Content { store: Arc::new(ContentStore::open(dir.path(), 0).unwrap()), folder: None },
            Limits::default(),
            Blocking::default(),
            broken,
        );
        let (outbox, stream) = Outbox::new();
        let mut stream = std::pin::pin!(stream);

        let began = departures.so_far();
        reader.answer(read(1), 5, began, &outbox).await;
        departures.announce();
        reader.answer(read(2), 5, began, &outbox).await;
        reader.answer(read(3), 5, departures.so_far(), &outbox).await;
        for answered in [true, false, true] {
            let Some(v1::peer_to_hub::Kind::Rows(reply)) = stream.next().await.unwrap().kind else {
                panic!("a read is answered by a reply");
            };
            assert_eq!((!reply.refused, reply.complete), (answered, answered), "{reply:?}");
        }
    }
}
