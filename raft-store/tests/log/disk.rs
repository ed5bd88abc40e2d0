//! The log on a disk that is handed in: without a thread, and with a disk that fails.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures::FutureExt;
use loop_raft_store::{
    log_store::{
        self, Engine, LogStore, Sink,
        disk::{Dir, File, RealDir},
    },
    raft_types::{LeaderId, Vote},
};
use openraft::storage::RaftLogStorage;

use crate::support::{Model, append, config, durable, entry, log_id, open, read};

/// A real directory whose syncs are counted, and fail on demand.
struct Disk {
    real: RealDir,
    switches: Arc<Switches>,
}

#[derive(Default)]
struct Switches {
    failing: AtomicBool,
    syncs: AtomicU64,
    files: Mutex<BTreeMap<String, OnDisk>>,
}

/// What a power cut leaves of a file.
#[derive(Default)]
struct OnDisk {
    bytes: Vec<u8>,
    /// A sync failed: the system has dropped what was to be written, and later syncs mean nothing.
    dropped: bool,
}

struct DiskFile {
    name: String,
    real: Arc<dyn File>,
    switches: Arc<Switches>,
}

impl Switches {
    fn sync(&self, name: &str, real: &dyn File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let mut files = self.files.lock().unwrap();
        let on_disk = files.entry(name.to_owned()).or_default();
        if self.failing.load(Ordering::Relaxed) {
            on_disk.dropped = true;
            return Err(io::Error::other("input/output error"));
        }
        if !on_disk.dropped {
            on_disk.bytes = vec![0; real.size()? as usize];
            real.read_at(&mut on_disk.bytes, 0)?;
        }
        Ok(())
    }

    /// The power goes: files are what they were on the disk.
    fn cut_power(&self, dir: &Path) {
        for (name, on_disk) in self.files.lock().unwrap().iter() {
            std::fs::write(dir.join(name), &on_disk.bytes).unwrap();
        }
    }
}

impl Disk {
    fn file(&self, name: &str, real: Arc<dyn File>) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile { name: name.to_owned(), real, switches: self.switches.clone() }))
    }
}

impl Dir for Disk {
    fn path(&self) -> &Path {
        self.real.path()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.real.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(name, self.real.create(name)?)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.file(name, self.real.open(name)?)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.switches.files.lock().unwrap().remove(name);
        self.real.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.switches.files.lock().unwrap();
        if let Some(on_disk) = files.remove(from) {
            files.insert(to.to_owned(), on_disk);
        }
        self.real.rename(from, to)
    }
    fn sync(&self) -> io::Result<()> {
        self.real.sync()
    }
}

impl File for DiskFile {
    fn size(&self) -> io::Result<u64> {
        self.real.size()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.real.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.real.write_at(bytes, offset)
    }
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.real.set_size(size)
    }
    fn reserve(&self, size: u64) -> io::Result<()> {
        self.real.reserve(size)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.switches.sync(&self.name, &*self.real)?;
        self.real.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.switches.sync(&self.name, &*self.real)?;
        self.real.sync_all()
    }
}

fn open_on_disk(dir: &Path, sink: Sink) -> (LogStore, Arc<Switches>) {
    let switches = Arc::new(Switches::default());
    (open_with(dir, sink, &switches), switches)
}

fn open_with(dir: &Path, sink: Sink, switches: &Arc<Switches>) -> LogStore {
    let disk = Disk { real: RealDir::open(dir).unwrap(), switches: switches.clone() };
    log_store::open_on(config(dir, Engine::Segment), Arc::new(disk), sink).unwrap()
}

/// Goal: in a simulation nothing happens beside the caller. Method: without a runtime, every call is ready at once.
#[test]
fn without_a_thread_everything_is_done_when_the_call_returns() {
    let temp = tempfile::tempdir().unwrap();
    let (mut store, switches) = open_on_disk(temp.path(), Sink::Inline);
    let mut model = Model::new();
    for _ in 0..100 {
        let before = switches.syncs.load(Ordering::Relaxed);
        let (callback, durable) = durable();
        let entries = model.new_entries(&[300; 7]);
        store.append(entries.clone(), callback).now_or_never().expect("at once").unwrap();
        durable.now_or_never().expect("durable on return").unwrap();
        assert!(switches.syncs.load(Ordering::Relaxed) > before);
        model.entries.extend(entries);
    }
    store.truncate_after(Some(log_id(1, 650))).now_or_never().expect("at once").unwrap();
    model.entries.truncate(651);
    store.purge(log_id(1, 99)).now_or_never().expect("at once").unwrap();
    model.entries.drain(..100);
    // Older than the cache: from the files.
    let found = read(&store, 0, u64::MAX).now_or_never().expect("at once").unwrap();
    assert!(found == model.entries);
    assert!(store.metrics().cold_reads > 0);
    drop(store);
    let (store, _) = open_on_disk(temp.path(), Sink::Inline);
    let found = read(&store, 0, u64::MAX).now_or_never().expect("at once").unwrap();
    assert!(found == model.entries);
}

/// Goal: after a failed sync nothing is acknowledged any more, since nobody knows what is on the disk; after
/// reopening, what was acknowledged is there.
#[tokio::test]
async fn a_failed_sync_stops_the_log_for_good() {
    for sink in [Sink::Thread, Sink::Inline, Sink::Task] {
        let temp = tempfile::tempdir().unwrap();
        let (mut store, switches) = open_on_disk(temp.path(), sink);
        append(&mut store, vec![entry(1, 0, 100), entry(1, 1, 100)]).await.unwrap();
        switches.failing.store(true, Ordering::Relaxed);
        let failed = append(&mut store, vec![entry(1, 2, 100)]).await.unwrap_err().to_string();
        assert!(failed.contains("input/output error") && failed.contains("sync"), "{failed}");
        switches.failing.store(false, Ordering::Relaxed);
        let vote = Vote { leader_id: LeaderId { term: 2, node_id: 1 }, committed: false };
        for stopped in [
            store.save_vote(&vote).await.unwrap_err(),
            append(&mut store, vec![entry(1, 3, 100)]).await.unwrap_err(),
            read(&store, 0, 1).await.unwrap_err(),
        ] {
            assert!(stopped.to_string().contains("stopped"), "{stopped}");
        }
        drop(store);
        // A task ends, and lets go of the directory, at its next turn.
        tokio::task::yield_now().await;
        let store = open(temp.path(), Engine::Segment).unwrap();
        let found = read(&store, 0, u64::MAX).await.unwrap();
        assert!(found.starts_with(&[entry(1, 0, 100), entry(1, 1, 100)]), "{sink:?}");
    }
}

/// After a failed sync the system shows what it has not written, and takes it for written. A hub that started again
/// counted on such entries, told the leader so, and lost them with the next power cut.
#[tokio::test]
async fn what_a_failed_sync_left_in_memory_lasts_once_it_was_read() {
    let temp = tempfile::tempdir().unwrap();
    let (mut store, switches) = open_on_disk(temp.path(), Sink::Inline);
    append(&mut store, vec![entry(1, 0, 100), entry(1, 1, 100)]).await.unwrap();
    switches.failing.store(true, Ordering::Relaxed);
    append(&mut store, vec![entry(1, 2, 100)]).await.unwrap_err();
    switches.failing.store(false, Ordering::Relaxed);
    drop(store);

    let mut store = open_with(temp.path(), Sink::Inline, &switches);
    let shown = read(&store, 0, u64::MAX).await.unwrap();
    assert_eq!(shown, (0..3).map(|index| entry(1, index, 100)).collect::<Vec<_>>());
    append(&mut store, vec![entry(1, 3, 100)]).await.unwrap();
    drop(store);
    switches.cut_power(temp.path());
    let store = open_with(temp.path(), Sink::Inline, &switches);
    let left = read(&store, 0, u64::MAX).await.unwrap();
    assert_eq!(left, (0..4).map(|index| entry(1, index, 100)).collect::<Vec<_>>());
}
