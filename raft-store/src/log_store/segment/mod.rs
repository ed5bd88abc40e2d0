//! The log as append-only files of our own.
//!
//! Files `0000000001.seg`, … of a fixed, reserved size. Each begins with the meta as it was then, so that older
//! files can go. A file is written in groups; a group begins with a record that is written only after everything
//! before it was synced. That is what tells a write cut short by a power cut (no group begins after it: dropped)
//! from damage to what was durable (one does: refused). A file that is not the last is complete to its end.

mod index;
mod record;
mod recover;

use std::{ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use loop_proto::breakage::{self, Breakage};
use parking_lot::RwLock;

use self::{
    index::{Index, Place, segment_name, segment_number},
    record::{HEADER, Kind},
};
use super::{
    disk::{Dir, File, read_exact_at},
    engine::{EngineReader, LogEngine, Meta, Record, Recovered, encode_meta},
    error::{Corruption, LogError},
};

/// Where a file's records must stay below, so that offsets fit 32 bits with room for one more record.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const SEGMENT_BYTES_MIN: u64 = 4 << 10;
/// Largest entry; far above what a hub proposes.
const ENTRY_BYTES_MAX: usize = 1 << 30;

/// Whether the name is a segment file's.
pub(super) fn is_segment_name(name: &str) -> bool {
    segment_number(name).is_some()
}

/// The file being written.
struct Current {
    number: u32,
    file: Arc<dyn File>,
    /// Bytes in the file.
    written: u64,
    /// Bytes to go after them.
    staged: Vec<u8>,
    /// A group has begun that is not synced yet.
    in_group: bool,
    /// Something besides the file's head has been staged.
    used: bool,
}

impl Current {
    fn end(&self) -> u64 {
        self.written + self.staged.len() as u64
    }
}

/// The writing half.
pub(super) struct SegmentEngine {
    dir: Arc<dyn Dir>,
    segment_bytes: u64,
    current: Current,
    meta: Meta,
    index: Arc<RwLock<Index>>,
}

impl SegmentEngine {
    /// Opens the log in `dir`, which may be empty, and checks every record.
    pub fn open(dir: Arc<dyn Dir>, segment_bytes: u64) -> Result<(Self, Recovered), LogError> {
        let segment_bytes = segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let recover::Replay { mut index, meta, last } = recover::replay(&*dir)?;
        let (number, previous) = last.map_or((1, 0), |(number, len)| (number + 1, len));
        let current = begin_segment(&*dir, segment_bytes, number, previous, index.next(), &meta)?;
        index.files.insert(number, current.file.clone());
        let recovered = Recovered { meta: meta.clone(), first: index.first, next: index.next() };
        let index = Arc::new(RwLock::new(index));
        let mut engine = Self { dir, segment_bytes, current, meta, index };
        engine.release()?;
        Ok((engine, recovered))
    }

    fn io(&self, what: &'static str) -> impl FnOnce(std::io::Error) -> LogError {
        LogError::io(self.dir.path(), what)
    }

    /// Stages one record, beginning a file and a group as needed; returns where it will lie.
    fn stage(&mut self, kind: Kind, index: u64, payload: &[u8]) -> Result<(u32, u64), LogError> {
        let size = (HEADER * 2 + record::GROUP_MAGIC.len() + payload.len()) as u64;
        if self.current.used && self.current.end() + size > self.segment_bytes {
            self.roll()?;
        }
        let current = &mut self.current;
        if !current.in_group {
            let at = current.end();
            record::put(&mut current.staged, Kind::Group, at, record::GROUP_MAGIC);
            current.in_group = true;
        }
        let at = current.end();
        record::put(&mut current.staged, kind, index, payload);
        current.used = true;
        Ok((current.number, at))
    }

    /// Completes the current file and begins the next.
    fn roll(&mut self) -> Result<(), LogError> {
        self.flush()?;
        let current = &self.current;
        // Cut to what is in it, so that anything missing from it later is noticed.
        current.file.set_size(current.written).map_err(self.io("cut a finished segment"))?;
        current.file.sync_all().map_err(self.io("sync a finished segment"))?;
        let (number, next) = (current.number + 1, self.index.read().next());
        self.current =
            begin_segment(&*self.dir, self.segment_bytes, number, current.written, next, &self.meta)?;
        self.index.write().files.insert(number, self.current.file.clone());
        Ok(())
    }
}

/// Makes a new file whose head is durable.
fn begin_segment(
    dir: &dyn Dir,
    segment_bytes: u64,
    number: u32,
    previous_len: u64,
    next: u64,
    meta: &Meta,
) -> Result<Current, LogError> {
    let io = |what| LogError::io(dir.path(), what);
    let mut head = Vec::new();
    record::put(&mut head, Kind::Head, next, &record::encode_head(number, previous_len, &encode_meta(meta)));
    let file = dir.create(&segment_name(number)).map_err(io("create a segment"))?;
    file.reserve(segment_bytes).map_err(io("reserve a segment"))?;
    file.write_at(&head, 0).map_err(io("write a segment"))?;
    file.sync_all().map_err(io("sync a segment"))?;
    dir.sync().map_err(io("sync the directory"))?;
    let written = head.len() as u64;
    Ok(Current { number, file, written, staged: Vec::new(), in_group: false, used: false })
}

impl LogEngine for SegmentEngine {
    fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        for record in records {
            if record.bytes.len() > ENTRY_BYTES_MAX {
                return Err(LogError::TooLarge { index: record.index, bytes: record.bytes.len() });
            }
            let (segment, offset) = self.stage(Kind::Entry, record.index, &record.bytes)?;
            // Both fit: the file is below 1 GiB where a record begins, and the record below 1 GiB.
            let place = Place { segment, offset: offset as u32, len: record.bytes.len() as u32 };
            self.index.write().push(record.index, place);
        }
        Ok(())
    }

    fn truncate(&mut self, next: u64) -> Result<(), LogError> {
        self.stage(Kind::Truncate, next, &[])?;
        self.index.write().truncate(next);
        Ok(())
    }

    fn save_meta(&mut self, meta: &Meta) -> Result<(), LogError> {
        self.meta = meta.clone();
        self.stage(Kind::Meta, 0, &encode_meta(meta))?;
        self.index.write().purge(meta.first_kept());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        let current = &mut self.current;
        if !current.staged.is_empty() {
            let result = current.file.write_at(&current.staged, current.written);
            current.written += current.staged.len() as u64;
            // A group may have been large; keep no more than an ordinary one needs.
            current.staged.clear();
            current.staged.shrink_to(1 << 20);
            result.map_err(self.io("write a segment"))?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.flush()?;
        if self.current.in_group && !breakage::is_on(Breakage::LostSync) {
            self.current.file.sync_data().map_err(self.io("sync a segment"))?;
            self.current.in_group = false;
        }
        Ok(())
    }

    fn release(&mut self) -> Result<(), LogError> {
        let gone: Vec<u32> = {
            let index = self.index.read();
            // Only from the front: a later file's truncations concern entries of earlier ones.
            let oldest = index.places.front().map_or(self.current.number, |place| place.segment);
            index.files.range(..oldest).map(|(number, _)| *number).collect()
        };
        for number in &gone {
            self.dir.remove(&segment_name(*number)).map_err(self.io("remove a segment"))?;
            self.index.write().files.remove(number);
        }
        if gone.is_empty() { Ok(()) } else { self.dir.sync().map_err(self.io("sync the directory")) }
    }

    fn reader(&self) -> Arc<dyn EngineReader> {
        Arc::new(SegmentReader { dir: self.dir.path().to_owned(), index: self.index.clone() })
    }
}

/// The reading half.
struct SegmentReader {
    dir: std::path::PathBuf,
    index: Arc<RwLock<Index>>,
}

/// Entries of one file, one behind the other, read at once.
struct Run {
    file: Arc<dyn File>,
    first: u64,
    places: Vec<Place>,
}

impl SegmentReader {
    /// What to read for `range`, without reading it.
    fn plan(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Run>, LogError> {
        let index = self.index.read();
        let mut runs: Vec<Run> = Vec::new();
        let mut bytes = 0;
        for at in range.clone() {
            let place = at.checked_sub(index.first).and_then(|i| index.places.get(i as usize)).copied();
            let Some(place) = place else {
                return match runs.is_empty() {
                    true => Err(corrupt(&self.dir, at, "index".into(), "it is missing")),
                    false => Ok(runs),
                };
            };
            bytes += place.len as usize;
            if bytes > max_bytes && !runs.is_empty() {
                break;
            }
            match runs
                .last_mut()
                .filter(|run| run.places.last().is_some_and(|last| last.segment == place.segment))
            {
                Some(run) => run.places.push(place),
                None => {
                    let Some(file) = index.files.get(&place.segment).cloned() else {
                        return Err(corrupt(
                            &self.dir,
                            at,
                            segment_name(place.segment),
                            "the file is missing",
                        ));
                    };
                    runs.push(Run { file, first: at, places: vec![place] });
                }
            }
        }
        Ok(runs)
    }
}

impl EngineReader for SegmentReader {
    fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let mut records = Vec::new();
        for run in self.plan(range, max_bytes)? {
            let (Some(front), Some(back)) = (run.places.first(), run.places.last()) else { continue };
            let start = front.offset as usize;
            // Other records, such as a group's, may lie between: they are read and passed over.
            let mut bytes = vec![0; back.offset as usize + HEADER + back.len as usize - start];
            read_exact_at(&*run.file, &mut bytes, start as u64)
                .map_err(LogError::io(&self.dir, "read a segment"))?;
            let bytes = Bytes::from(bytes);
            for (index, place) in (run.first..).zip(&run.places) {
                let at = place.offset as usize - start;
                let whole = bytes.slice(at..at + HEADER + place.len as usize);
                match record::parse(&whole) {
                    Some((Kind::Entry, found, _)) if found == index => {}
                    _ => {
                        let place = format!("{}, offset {}", segment_name(place.segment), place.offset);
                        return Err(corrupt(&self.dir, index, place, "its checksum does not match"));
                    }
                }
                records.push(Record { index, bytes: whole.slice(HEADER..) });
            }
        }
        Ok(records)
    }
}

fn corrupt(dir: &Path, index: u64, place: String, what: &str) -> LogError {
    Corruption { dir: dir.to_owned(), index: Some(index), place, what: what.into() }.into()
}
