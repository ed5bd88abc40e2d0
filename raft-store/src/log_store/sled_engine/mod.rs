//! The log in sled 0.34.
//!
//! sled's own flush does not make anything durable (it starts writeback of the data, and no more); so after it we
//! sync sled's file through a descriptor of our own. A tree holds 65,536 indexes; purging drops whole trees, since
//! removing single keys costs seconds and memory. sled replays its own log in order, so that what survives a crash
//! is a prefix of what was done.

mod damage;
mod frame;
mod guard;

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::RwLock;
use sled::{Db, IVec, Tree};

use self::{
    damage::corrupt,
    frame::{Damage, Decoder, Key, frame_key, last_key},
    guard::guarded,
};
use super::{
    disk::sync_dir,
    engine::{EngineReader, LogEngine, Meta, Record, Recovered, decode_meta, encode_meta},
    error::{Corruption, LogError},
};

/// Indexes to a tree.
const TREE_INDEXES: u64 = 65_536;
/// Keys removed in one batch; larger ones stall writers and cost memory.
const REMOVES_MAX: usize = 64;
/// sled frees its lock a moment after the last handle is dropped.
const LOCK_RETRIES: u32 = 40;
const LOCK_RETRY: Duration = Duration::from_millis(50);

const META_TREE: &str = "meta";
const META_KEY: &str = "meta";
/// There while entries from the stored index on are being removed.
const TRUNCATE_KEY: &str = "truncate";

/// Where sled lives in the log's directory.
fn sled_dir(dir: &Path) -> PathBuf {
    dir.join("sled")
}

/// Whether a log of this engine is in `dir`.
pub(super) fn exists(dir: &Path) -> bool {
    sled_dir(dir).exists()
}

fn tree_name(number: u64) -> String {
    format!("log-{number}")
}

/// The trees that hold entries, by number.
type Trees = Arc<RwLock<BTreeMap<u64, Tree>>>;

/// The writing half.
pub(super) struct SledEngine {
    dir: PathBuf,
    db: Db,
    /// sled's file, opened by us to sync it.
    file: fs::File,
    meta_tree: Tree,
    trees: Trees,
    first_kept: u64,
    dirty: bool,
}

impl SledEngine {
    /// Opens the log in `dir`, which may be empty, and checks every entry.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<(Self, Recovered), LogError> {
        let db = open_db(dir, cache_bytes)?;
        guarded(dir, || Self::load(dir, db))
    }

    fn load(dir: &Path, db: Db) -> Result<(Self, Recovered), LogError> {
        let io = |what| LogError::io(dir, what);
        let file = fs::File::open(sled_dir(dir).join("db")).map_err(io("open sled's file"))?;
        let sled = |error| sled_error(dir, None, error);
        let meta_tree = db.open_tree(META_TREE).map_err(sled)?;
        let mut trees = BTreeMap::new();
        for name in db.tree_names() {
            let name = String::from_utf8_lossy(&name).into_owned();
            if let Some(number) = name.strip_prefix("log-").and_then(|number| number.parse().ok()) {
                trees.insert(number, db.open_tree(&name).map_err(sled)?);
            }
        }
        let trees = Arc::new(RwLock::new(trees));
        let mut engine = Self { dir: dir.to_owned(), db, file, meta_tree, trees, first_kept: 0, dirty: true };
        let recovered = engine.recover()?;
        engine.do_sync()?;
        sync_files(&sled_dir(dir)).and_then(|()| sync_dir(dir)).map_err(io("sync the directory"))?;
        Ok((engine, recovered))
    }

    /// Finishes what a crash interrupted, then reads everything.
    fn recover(&mut self) -> Result<Recovered, LogError> {
        let meta = match self.meta_tree.get(META_KEY).map_err(|error| self.sled(error))? {
            None => Meta::default(),
            Some(bytes) => read_meta(&bytes).ok_or_else(|| self.damaged_meta())?,
        };
        if let Some(next) = self.meta_tree.get(TRUNCATE_KEY).map_err(|error| self.sled(error))? {
            let next = next.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| self.damaged_meta())?;
            self.do_truncate(next)?;
        }
        let first = meta.first_kept();
        self.first_kept = first;
        let mut next = first;
        let reader = self.sled_reader();
        reader.walk(first..u64::MAX, |record| {
            next = record.index + 1;
            true
        })?;
        self.do_release()?;
        Ok(Recovered { meta, first, next })
    }

    fn damaged_meta(&self) -> LogError {
        LogError::Corrupt(Corruption {
            dir: self.dir.clone(),
            index: None,
            place: "vote and positions".into(),
            what: "they do not read back as written".into(),
        })
    }

    fn sled(&self, error: sled::Error) -> LogError {
        sled_error(&self.dir, None, error)
    }

    fn sled_reader(&self) -> SledReader {
        SledReader { dir: self.dir.clone(), trees: self.trees.clone() }
    }

    fn tree(&self, number: u64) -> Result<Tree, LogError> {
        if let Some(tree) = self.trees.read().get(&number) {
            return Ok(tree.clone());
        }
        let tree = self.db.open_tree(tree_name(number)).map_err(|error| self.sled(error))?;
        self.trees.write().insert(number, tree.clone());
        Ok(tree)
    }

    fn drop_tree(&self, number: u64) -> Result<(), LogError> {
        self.trees.write().remove(&number);
        self.db.drop_tree(tree_name(number)).map_err(|error| self.sled(error))?;
        Ok(())
    }

    /// Removes entries from `next` on from the tree they begin in: from the end backwards, and with the last batch
    /// the frame that `next` lies within is cut.
    fn truncate_tree(&self, tree: &Tree, next: u64) -> Result<(), LogError> {
        let sled = |error| self.sled(error);
        let mut batch = sled::Batch::default();
        let mut removes = 0;
        for key in tree.range(frame_key(next)..).keys().rev() {
            batch.remove(key.map_err(sled)?);
            removes += 1;
            if removes == REMOVES_MAX {
                tree.apply_batch(std::mem::take(&mut batch)).map_err(sled)?;
                removes = 0;
            }
        }
        if let Some((key, value)) = tree.range(..frame_key(next)).next_back().transpose().map_err(sled)?
            && let Some(Key::Frame(_)) = Key::parse(&key)
        {
            let mut kept = Vec::new();
            decode_one(&self.dir, &key, &value, &mut |record| {
                if record.index < next {
                    kept.push(record);
                }
            })?;
            frame::encode(&kept, |key, value| batch.insert(key, value));
        }
        tree.apply_batch(batch).map_err(sled)
    }
}

/// What the trait asks for, unguarded.
impl SledEngine {
    fn do_append(&mut self, records: &[Record]) -> Result<(), LogError> {
        self.dirty = true;
        for records in records.chunk_by(|a, b| a.index / TREE_INDEXES == b.index / TREE_INDEXES) {
            let mut batch = sled::Batch::default();
            frame::encode(records, |key, value| batch.insert(key, value));
            let tree = self.tree(records[0].index / TREE_INDEXES)?;
            tree.apply_batch(batch).map_err(|error| self.sled(error))?;
        }
        Ok(())
    }

    fn do_truncate(&mut self, next: u64) -> Result<(), LogError> {
        self.dirty = true;
        let sled = |error| sled_error(&self.dir, None, error);
        // Removing takes several steps; the note lets a restart finish them.
        self.meta_tree.insert(TRUNCATE_KEY, &next.to_be_bytes()).map_err(sled)?;
        let home = next / TREE_INDEXES;
        let above: Vec<u64> = self.trees.read().range(home + 1..).map(|(number, _)| *number).collect();
        for number in above.into_iter().rev() {
            self.drop_tree(number)?;
        }
        let tree = self.trees.read().get(&home).cloned();
        if let Some(tree) = tree {
            self.truncate_tree(&tree, next)?;
        }
        self.meta_tree.remove(TRUNCATE_KEY).map_err(sled)?;
        Ok(())
    }

    fn do_save_meta(&mut self, meta: &Meta) -> Result<(), LogError> {
        self.dirty = true;
        self.first_kept = meta.first_kept();
        self.meta_tree.insert(META_KEY, write_meta(meta)).map_err(|error| self.sled(error))?;
        Ok(())
    }

    fn do_sync(&mut self) -> Result<(), LogError> {
        if self.dirty {
            self.db.flush().map_err(|error| self.sled(error))?;
            self.file.sync_data().map_err(LogError::io(&self.dir, "sync sled's file"))?;
            self.dirty = false;
        }
        Ok(())
    }

    fn do_release(&mut self) -> Result<(), LogError> {
        let home = self.first_kept / TREE_INDEXES;
        let gone: Vec<u64> = self.trees.read().range(..home).map(|(number, _)| *number).collect();
        for number in gone {
            self.drop_tree(number)?;
            self.dirty = true;
        }
        Ok(())
    }
}

impl LogEngine for SledEngine {
    fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        guarded(&self.dir.clone(), || self.do_append(records))
    }

    fn truncate(&mut self, next: u64) -> Result<(), LogError> {
        guarded(&self.dir.clone(), || self.do_truncate(next))
    }

    fn save_meta(&mut self, meta: &Meta) -> Result<(), LogError> {
        guarded(&self.dir.clone(), || self.do_save_meta(meta))
    }

    fn flush(&mut self) -> Result<(), LogError> {
        // Staged writes sit in sled until the next sync; what is not waited for may be lost with the process.
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        guarded(&self.dir.clone(), || self.do_sync())
    }

    fn release(&mut self) -> Result<(), LogError> {
        guarded(&self.dir.clone(), || self.do_release())
    }

    fn reader(&self) -> Arc<dyn EngineReader> {
        Arc::new(self.sled_reader())
    }
}

/// The reading half.
struct SledReader {
    dir: PathBuf,
    trees: Trees,
}

impl SledReader {
    /// Gives the consecutive entries of `range` to `found` until it says no or there are no more. Entries missing
    /// before a later one, and damaged ones, are an error.
    fn walk(&self, range: Range<u64>, mut found: impl FnMut(Record) -> bool) -> Result<(), LogError> {
        let mut next = range.start;
        let mut go_on = range.start < range.end;
        let trees = self.trees.read().clone();
        for (number, tree) in trees.range(range.start / TREE_INDEXES..) {
            if !go_on {
                break;
            }
            let begin = self.first_key(tree, next.max(number * TREE_INDEXES))?;
            let mut decoder = Decoder::default();
            for item in tree.range(begin..) {
                let (key, value) = item.map_err(|error| sled_error(&self.dir, Some(next), error))?;
                let mut gap = None;
                self.decode(&mut decoder, &key, &value, &mut |record| {
                    if go_on && record.index >= next {
                        if record.index > next {
                            gap = Some((next, record.index - 1));
                        }
                        next = record.index + 1;
                        go_on = gap.is_none() && found(record) && next < range.end;
                    }
                })?;
                if let Some((from, to)) = gap {
                    return Err(corrupt(
                        &self.dir,
                        Some(from),
                        format!("entries {from} to {to} are missing"),
                    ));
                }
                if !go_on {
                    return Ok(());
                }
            }
            if let Some(index) = decoder.expected() {
                return Err(corrupt(&self.dir, Some(index), "its last part is missing".into()));
            }
        }
        Ok(())
    }

    /// The key at or before which entry `index` begins, if the tree has it.
    fn first_key(&self, tree: &Tree, index: u64) -> Result<IVec, LogError> {
        let before = tree.range(..=last_key(index)).next_back().transpose();
        let before = before.map_err(|error| sled_error(&self.dir, Some(index), error))?;
        Ok(match before.and_then(|(key, _)| Some((Key::parse(&key)?, key))) {
            // Parts of this very entry begin with the first; of an earlier one, nothing is wanted.
            Some((Key::Frame(_), key)) => key,
            _ => IVec::from(&frame_key(index)),
        })
    }

    fn decode(
        &self,
        decoder: &mut Decoder,
        key: &[u8],
        value: &[u8],
        found: &mut impl FnMut(Record),
    ) -> Result<(), LogError> {
        let Some(parsed) = Key::parse(key) else {
            return Err(corrupt(&self.dir, None, "a key is of another format".into()));
        };
        decoder
            .take(parsed, value, found)
            .map_err(|Damage(at, what)| corrupt(&self.dir, Some(at), what.into()))
    }
}

impl EngineReader for SledReader {
    fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let start = range.start;
        guarded(&self.dir, || {
            self.walk(range, |record| {
                bytes += record.bytes.len();
                let fits = bytes <= max_bytes || records.is_empty();
                if fits {
                    records.push(record);
                }
                fits
            })
        })
        .map_err(|error| name_entry(error, start))?;
        Ok(records)
    }
}

/// Decodes a single frame.
fn decode_one(dir: &Path, key: &[u8], value: &[u8], found: &mut impl FnMut(Record)) -> Result<(), LogError> {
    SledReader { dir: dir.to_owned(), trees: Trees::default() }.decode(
        &mut Decoder::default(),
        key,
        value,
        found,
    )
}

fn write_meta(meta: &Meta) -> Vec<u8> {
    let mut bytes = encode_meta(meta);
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_be_bytes());
    bytes
}

fn read_meta(bytes: &[u8]) -> Option<Meta> {
    let (bytes, crc) = bytes.split_last_chunk::<4>()?;
    (crc32fast::hash(bytes) == u32::from_be_bytes(*crc)).then(|| decode_meta(bytes))?
}

fn open_db(dir: &Path, cache_bytes: u64) -> Result<Db, LogError> {
    let config = sled::Config::new().path(sled_dir(dir)).cache_capacity(cache_bytes).flush_every_ms(None);
    let mut retries = 0;
    loop {
        let opened = guarded(dir, || config.open().map_err(|error| sled_error(dir, None, error)));
        match opened {
            // Our own lock on the directory is held, so this can only be a handle that is going away.
            Err(LogError::Io { why, .. }) if why.contains("lock") && retries < LOCK_RETRIES => {
                retries += 1;
                thread::sleep(LOCK_RETRY);
            }
            opened => return opened,
        }
    }
}

/// Syncs all files of a directory, and their names: sled does neither when it makes them.
fn sync_files(dir: &Path) -> std::io::Result<()> {
    for item in fs::read_dir(dir)? {
        let item = item?;
        match item.file_type()? {
            kind if kind.is_dir() => sync_files(&item.path())?,
            _ => fs::File::open(item.path())?.sync_all()?,
        }
    }
    sync_dir(dir)
}

/// Names the entry being read where the damage itself does not.
fn name_entry(error: LogError, index: u64) -> LogError {
    match error {
        LogError::Corrupt(damage) => {
            LogError::Corrupt(Corruption { index: damage.index.or(Some(index)), ..damage })
        }
        error => error,
    }
}

fn sled_error(dir: &Path, index: Option<u64>, error: sled::Error) -> LogError {
    match error {
        sled::Error::Io(error) => LogError::io(dir, "use sled")(error),
        sled::Error::Corruption { .. } => corrupt(dir, index, "sled finds damage".into()),
        error => corrupt(dir, index, format!("sled gave up: {error}")),
    }
}
