//! A hub's disk: keeps what was synced, and of the rest, at a power cut, whatever chance leaves.
//!
//! Owns the bytes; the formats on it are the real ones. A write that was not synced is lost, kept, or kept in some of
//! its sectors; a name that was not synced is lost or kept. Never loses or changes what was synced unless told to.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use loop_raft_store::log_store::disk::{Dir, File};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};

/// What a disk writes whole or not at all, bytes.
const SECTOR: usize = 512;

/// One machine's disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Platter>>);

struct Platter {
    dirs: BTreeMap<PathBuf, Names>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    /// Counts power cuts: what was opened before one is dead.
    generation: u64,
    knobs: Knobs,
    rng: StdRng,
    counts: Counts,
}

/// What is wrong with a disk at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Knobs {
    /// On top of what a sync takes anyway.
    pub slow: Duration,
    /// Syncs fail from here on, and what they were to make last is lost.
    pub failing: bool,
    /// No write that needs room succeeds.
    pub full: bool,
}

/// What has happened on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes lost by power cuts.
    pub lost: u64,
    /// Writes of which some sectors were kept.
    pub torn: u64,
}

#[derive(Default)]
struct Names {
    live: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<Renaming>,
}

enum Renaming {
    Set(String, u64),
    Gone(String),
}

fn rename(names: &mut BTreeMap<String, u64>, change: &Renaming) {
    match change {
        Renaming::Set(name, file) => drop(names.insert(name.clone(), *file)),
        Renaming::Gone(name) => drop(names.remove(name)),
    }
}

impl Names {
    fn change(&mut self, change: Renaming) {
        rename(&mut self.live, &change);
        self.pending.push(change);
    }
}

#[derive(Default, Clone)]
struct Bytes {
    /// Up to the last byte ever written; zeros follow up to `size`.
    written: Vec<u8>,
    size: u64,
}

#[derive(Default)]
struct Content {
    live: Bytes,
    durable: Bytes,
    pending: Vec<Edit>,
}

#[derive(Clone)]
enum Edit {
    Write(u64, Vec<u8>),
    Size(u64),
}

impl Bytes {
    fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Size(size) => {
                self.size = *size;
                self.written.truncate(usize::try_from(*size).unwrap_or(usize::MAX));
            }
            Edit::Write(at, bytes) => {
                let start = usize::try_from(*at).expect("a file that fits into memory");
                let end = start + bytes.len();
                if self.written.len() < end {
                    self.written.resize(end, 0);
                }
                self.written[start..end].copy_from_slice(bytes);
                self.size = self.size.max(end as u64);
            }
        }
    }
}

impl Content {
    fn edit(&mut self, edit: Edit) {
        self.live.apply(&edit);
        self.pending.push(edit);
    }

    fn sync(&mut self) {
        for edit in self.pending.drain(..) {
            self.durable.apply(&edit);
        }
    }
}

/// The sectors of a write that were kept, each as a write of its own.
fn tear(at: u64, bytes: &[u8], rng: &mut StdRng) -> Vec<Edit> {
    let mut kept = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        // Sectors are the disk's: the first piece ends where one does.
        let offset = usize::try_from(at).unwrap_or(0) + start;
        let end = (start + SECTOR - offset % SECTOR).min(bytes.len());
        if rng.random_bool(0.5) {
            kept.push(Edit::Write(at + start as u64, bytes[start..end].to_vec()));
        }
        start = end;
    }
    kept
}

impl Platter {
    fn cut_power(&mut self) {
        self.generation += 1;
        for names in self.dirs.values_mut() {
            // In order: a file system journals its directories.
            let kept = self.rng.random_range(0..=names.pending.len());
            names.pending.drain(..).take(kept).for_each(|change| rename(&mut names.durable, &change));
            names.live = names.durable.clone();
        }
        for content in self.files.values_mut() {
            let pending = std::mem::take(&mut content.pending);
            let fate = self.rng.random_range(0..3_u32);
            let kept = self.rng.random_range(0..=pending.len());
            for (number, edit) in pending.iter().enumerate() {
                match (fate, edit) {
                    (0, _) => self.counts.lost += 1,
                    (1, _) if number < kept => content.durable.apply(edit),
                    (_, Edit::Write(at, bytes)) if fate == 2 || number == kept => {
                        self.counts.torn += 1;
                        tear(*at, bytes, &mut self.rng).iter().for_each(|edit| content.durable.apply(edit));
                    }
                    (2, Edit::Size(_)) if self.rng.random_bool(0.5) => content.durable.apply(edit),
                    _ => self.counts.lost += 1,
                }
            }
            content.live = content.durable.clone();
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            dirs: BTreeMap::new(),
            files: BTreeMap::new(),
            next_file: 1,
            generation: 0,
            knobs: Knobs::default(),
            rng: StdRng::seed_from_u64(seed),
            counts: Counts::default(),
        })))
    }

    /// A directory on it. The one who opened it before must be gone.
    pub fn dir(&self, path: &Path) -> Arc<dyn Dir> {
        let generation = {
            let mut platter = self.0.lock();
            platter.dirs.entry(path.to_owned()).or_default();
            platter.generation
        };
        Arc::new(SimDir { disk: self.clone(), path: path.to_owned(), generation })
    }

    /// The machine goes down: what was not synced is at chance's mercy, and what is open can be used no more.
    pub fn cut_power(&self) {
        self.0.lock().cut_power();
    }

    /// The process ends and the machine stays up: everything written is there, and what is open can be used no more.
    pub fn end_process(&self) {
        self.0.lock().generation += 1;
    }

    /// Sets what is wrong with it.
    pub fn set(&self, knobs: Knobs) {
        self.0.lock().knobs = knobs;
    }

    /// What has happened on it.
    pub fn counts(&self) -> Counts {
        self.0.lock().counts
    }

    /// Turns one bit of what is durable over, in a file whose name ends in `suffix`. False: there was none.
    pub fn flip_bit(&self, suffix: &str) -> bool {
        let mut platter = self.0.lock();
        let platter = &mut *platter;
        let names = platter.dirs.values().flat_map(|names| &names.durable);
        let found: Vec<u64> =
            names.filter(|(name, _)| name.ends_with(suffix)).map(|(_, file)| *file).collect();
        let sizes: usize = found.iter().map(|file| platter.files[file].durable.written.len()).sum();
        if sizes == 0 {
            return false;
        }
        let mut at = platter.rng.random_range(0..sizes);
        for file in found {
            let content = platter.files.get_mut(&file).expect("a file that has a name");
            let length = content.durable.written.len();
            if at < length {
                let bit = 1 << platter.rng.random_range(0..8_u32);
                content.durable.written[at] ^= bit;
                // What is in memory of the file goes with the process that reads it next.
                if let Some(byte) = content.live.written.get_mut(at) {
                    *byte ^= bit;
                }
                return true;
            }
            at -= length;
        }
        false
    }
}

struct SimDir {
    disk: SimDisk,
    path: PathBuf,
    generation: u64,
}

struct SimFile {
    disk: SimDisk,
    file: u64,
    generation: u64,
}

fn stale() -> io::Error {
    io::Error::other("the machine was restarted since this was opened")
}

impl SimDir {
    fn with<T>(&self, act: impl FnOnce(&mut Platter, &Path) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.disk.0.lock();
        if platter.generation != self.generation {
            return Err(stale());
        }
        act(&mut platter, &self.path)
    }

    fn file(&self, file: u64) -> Arc<dyn File> {
        Arc::new(SimFile { disk: self.disk.clone(), file, generation: self.generation })
    }
}

fn names<'a>(platter: &'a mut Platter, path: &Path) -> &'a mut Names {
    platter.dirs.get_mut(path).expect("made when it was opened")
}

impl Dir for SimDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.with(|platter, path| Ok(names(platter, path).live.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = self.with(|platter, path| {
            if platter.knobs.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if names(platter, path).live.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = platter.next_file;
            platter.next_file += 1;
            platter.files.insert(file, Content::default());
            names(platter, path).change(Renaming::Set(name.to_owned(), file));
            Ok(file)
        })?;
        Ok(self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let found = self.with(|platter, path| Ok(names(platter, path).live.get(name).copied()))?;
        found.map(|file| self.file(file)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|platter, path| {
            names(platter, path).change(Renaming::Gone(name.to_owned()));
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|platter, path| {
            let names = names(platter, path);
            let file = names.live.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
            names.change(Renaming::Set(to.to_owned(), file));
            names.change(Renaming::Gone(from.to_owned()));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|platter, path| {
            if platter.knobs.failing {
                return Err(io::Error::other("input/output error"));
            }
            let names = names(platter, path);
            for change in names.pending.drain(..) {
                rename(&mut names.durable, &change);
            }
            Ok(())
        })
    }

    fn sync_takes(&self) -> Duration {
        let mut platter = self.disk.0.lock();
        // Some disks are slower than others, all of them sometimes; a whole number of steps of the simulation.
        let usual = if platter.rng.random_bool(0.05) { 20 } else { 3 };
        Duration::from_millis(platter.rng.random_range(1..=usual)) + platter.knobs.slow
    }
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut Content, &Knobs) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.disk.0.lock();
        if platter.generation != self.generation {
            return Err(stale());
        }
        let knobs = platter.knobs;
        act(platter.files.get_mut(&self.file).expect("files are never taken away while open"), &knobs)
    }
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|content, _| Ok(content.live.size))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|content, _| {
            let left = content.live.size.saturating_sub(offset);
            let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.live.written.len());
            let there = count.min(content.live.written.len() - start);
            buffer[..there].copy_from_slice(&content.live.written[start..start + there]);
            buffer[there..count].fill(0);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|content, knobs| {
            if knobs.full && offset + bytes.len() as u64 > content.live.size {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.edit(Edit::Write(offset, bytes.to_vec()));
            Ok(())
        })
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.with(|content, _| {
            content.edit(Edit::Size(size));
            Ok(())
        })
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        self.with(|content, knobs| {
            if knobs.full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if content.live.size < size {
                content.edit(Edit::Size(size));
            }
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|content, knobs| {
            if knobs.failing {
                // The system has dropped the dirty pages: a later sync would succeed and mean nothing.
                content.pending.clear();
                return Err(io::Error::other("input/output error"));
            }
            content.sync();
            Ok(())
        })?;
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &dyn Dir, name: &str) -> Option<Vec<u8>> {
        let file = dir.open(name).ok()?;
        let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        Some(bytes)
    }

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_anything_of_the_rest() {
        let (mut lost, mut kept, mut torn, mut unnamed) = (0, 0, 0, 0);
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let dir = disk.dir(Path::new("/d"));
            let file = dir.create("synced").unwrap();
            file.write_at(&[1; 2000], 0).unwrap();
            file.sync_data().unwrap();
            dir.sync().unwrap();
            file.write_at(&[2; 2000], 2000).unwrap();
            dir.create("new").unwrap();
            disk.cut_power();
            assert!(file.write_at(b"x", 0).is_err(), "what was open before is dead");
            let dir = disk.dir(Path::new("/d"));
            let bytes = read(&*dir, "synced").unwrap();
            assert!(bytes[..2000] == [1; 2000]);
            let twos = bytes[2000..].iter().filter(|byte| **byte == 2).count();
            match twos {
                0 => lost += 1,
                2000 => kept += 1,
                _ => torn += 1,
            }
            unnamed += u32::from(dir.open("new").is_err());
        }
        assert!(lost > 0 && kept > 0 && torn > 0, "{lost} {kept} {torn}");
        assert!(unnamed > 0 && unnamed < 200, "{unnamed}");
    }

    #[test]
    fn a_failed_sync_loses_what_it_was_for() {
        let disk = SimDisk::new(1);
        let dir = disk.dir(Path::new("/d"));
        let file = dir.create("f").unwrap();
        dir.sync().unwrap();
        disk.set(Knobs { failing: true, ..Knobs::default() });
        file.write_at(b"abc", 0).unwrap();
        assert!(file.sync_data().is_err());
        disk.set(Knobs::default());
        file.sync_data().unwrap();
        disk.cut_power();
        assert_eq!(read(&*disk.dir(Path::new("/d")), "f").unwrap(), b"");
    }

    #[test]
    fn a_full_disk_takes_nothing_new_and_a_flipped_bit_stays() {
        let disk = SimDisk::new(1);
        let dir = disk.dir(Path::new("/d"));
        assert!(!disk.flip_bit(".seg"));
        let file = dir.create("1.seg").unwrap();
        file.reserve(10).unwrap();
        disk.set(Knobs { full: true, ..Knobs::default() });
        file.write_at(b"abc", 7).unwrap();
        assert!(file.write_at(b"abc", 8).is_err() && dir.create("2.seg").is_err());
        file.sync_all().unwrap();
        dir.sync().unwrap();
        assert!(disk.flip_bit(".seg"));
        let bytes = read(&*dir, "1.seg").unwrap();
        assert_ne!(bytes, [0, 0, 0, 0, 0, 0, 0, b'a', b'b', b'c']);
    }
}
