//! Reads all segment files in order and finds out what the log holds.
//!
//! Only the last file may end in an unfinished write; it is cut there, and written anew. Everything else that does not
//! read back as written is damage and refused.

use std::{io, sync::Arc};

use super::{
    super::{
        disk::{self, Dir, File, read_exact_at},
        engine::{Meta, decode_meta},
        error::{Corruption, LogError},
    },
    index::{Index, Place, copy_name, segment_name, segment_number},
    record::{self, GROUP_MAGIC, HEADER, Kind},
};

/// What the files hold.
pub(super) struct Replay {
    pub index: Index,
    pub meta: Meta,
    /// Number and length of the last file, now complete.
    pub last: Option<(u32, u64)>,
}

/// Reads all files of `dir`.
pub(super) fn replay(dir: &dyn Dir) -> Result<Replay, LogError> {
    let io = |what| LogError::io(dir.path(), what);
    let mut numbers: Vec<u32> = dir
        .list()
        .map_err(io("list the directory"))?
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    let mut replay = Replay { index: Index::default(), meta: Meta::default(), last: None };
    for (i, &number) in numbers.iter().enumerate() {
        let file = dir.open(&segment_name(number)).map_err(io("open a segment"))?;
        let len = file.size().map_err(io("measure a segment"))?;
        let mut one = Segment { dir, number, file: &*file, len, is_last: i + 1 == numbers.len() };
        let (end, is_last) = (one.replay(&mut replay)?, one.is_last);
        if end == 0 {
            // Begun, but not to the end of its head: nothing was ever acknowledged from it.
            dir.remove(&segment_name(number)).map_err(io("remove a segment"))?;
            dir.sync().map_err(io("sync the directory"))?;
            continue;
        }
        // A file that is not the last was synced when it was finished.
        let file = if is_last { write_anew(dir, number, &*file, end)? } else { file };
        replay.index.files.insert(number, file);
        replay.last = Some((number, end));
    }
    replay.check_ends(dir)?;
    Ok(replay)
}

/// Puts a copy of the file's first `end` bytes in its place. If a sync had failed, what was read of it is in memory only:
/// the system takes it for written, no further sync of this file would write it, and the next power cut would take it.
fn write_anew(dir: &dyn Dir, number: u32, file: &dyn File, end: u64) -> Result<Arc<dyn File>, LogError> {
    let copy = |to: &dyn File| {
        let mut buffer = vec![0; Window::PIECE];
        let mut at = 0;
        while at < end {
            let piece = &mut buffer[..(Window::PIECE as u64).min(end - at) as usize];
            read_exact_at(file, piece, at)?;
            to.write_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    };
    disk::replace(dir, &copy_name(number), &segment_name(number), copy)
        .map_err(LogError::io(dir.path(), "write the last segment anew"))
}

impl Replay {
    /// The oldest entry must follow what was purged.
    fn check_ends(&mut self, dir: &dyn Dir) -> Result<(), LogError> {
        let first_kept = self.meta.first_kept();
        self.index.purge(first_kept);
        if self.index.first > first_kept && !self.index.places.is_empty() {
            return Err(LogError::Corrupt(Corruption {
                dir: dir.path().to_owned(),
                index: Some(first_kept),
                place: "start of the log".into(),
                what: format!("entries {first_kept} to {} are missing", self.index.first - 1),
            }));
        }
        if self.index.places.is_empty() {
            self.index.first = first_kept;
        }
        Ok(())
    }
}

/// One file.
struct Segment<'a> {
    dir: &'a dyn Dir,
    number: u32,
    file: &'a dyn File,
    len: u64,
    is_last: bool,
}

impl Segment<'_> {
    fn corrupt(&self, replay: &Replay, offset: u64, what: &str) -> LogError {
        LogError::Corrupt(Corruption {
            dir: self.dir.path().to_owned(),
            index: Some(replay.index.next()),
            place: format!("{}, offset {offset}", segment_name(self.number)),
            what: what.into(),
        })
    }

    fn io(&self, what: &'static str) -> impl FnOnce(io::Error) -> LogError {
        LogError::io(self.dir.path(), what)
    }

    /// Takes in the file's records; returns where they end.
    fn replay(&mut self, replay: &mut Replay) -> Result<u64, LogError> {
        let mut window = Window::new(self.file, self.len);
        let mut offset = 0;
        loop {
            if offset == self.len && offset > 0 {
                return Ok(offset);
            }
            let whole = window.record(offset).map_err(self.io("read a segment"))?;
            let Some((kind, index, payload)) = whole.and_then(record::parse) else {
                return self.end(replay, offset);
            };
            let size = (HEADER + payload.len()) as u64;
            self.take(replay, offset, kind, index, payload)?;
            offset += size;
        }
    }

    /// Decides what it means that no record can be read at `offset`.
    fn end(&self, replay: &Replay, offset: u64) -> Result<u64, LogError> {
        if !self.is_last {
            return Err(self.corrupt(replay, offset, "a record of a finished file is damaged or missing"));
        }
        match self.later_group(offset).map_err(self.io("read a segment"))? {
            Some(_) => Err(self.corrupt(
                replay,
                offset,
                "its checksum does not match, and later ones were written after it was durable",
            )),
            None => Ok(offset),
        }
    }

    fn take(
        &self,
        replay: &mut Replay,
        offset: u64,
        kind: Kind,
        index: u64,
        payload: &[u8],
    ) -> Result<(), LogError> {
        if (kind == Kind::Head) != (offset == 0) {
            return Err(self.corrupt(replay, offset, "a head is where none belongs, or missing"));
        }
        match kind {
            Kind::Head => return self.take_head(replay, index, payload),
            Kind::Group if index == offset => {}
            Kind::Group => return Err(self.corrupt(replay, offset, "a group is in the wrong place")),
            Kind::Entry => {
                if index != replay.index.next() && !replay.index.places.is_empty() {
                    return Err(self.corrupt(replay, offset, &format!("entry {index} follows instead")));
                }
                let (Ok(at), Ok(len)) = (u32::try_from(offset), u32::try_from(payload.len())) else {
                    return Err(self.corrupt(replay, offset, "the file is too large"));
                };
                replay.index.push(index, Place { segment: self.number, offset: at, len });
            }
            Kind::Meta => {
                replay.meta = decode_meta(payload)
                    .ok_or_else(|| self.corrupt(replay, offset, "the meta is of another format"))?;
                replay.index.purge(replay.meta.first_kept());
            }
            Kind::Truncate => replay.index.truncate(index),
        }
        Ok(())
    }

    fn take_head(&self, replay: &mut Replay, next: u64, payload: &[u8]) -> Result<(), LogError> {
        let wrong = |replay: &Replay, what| Err(self.corrupt(replay, 0, what));
        let Some(head) = record::decode_head(payload) else {
            return wrong(replay, "the file is of another format");
        };
        if head.number != self.number {
            return wrong(replay, "the file has another file's number");
        }
        match replay.last {
            None => {
                replay.meta = match decode_meta(head.meta) {
                    Some(meta) => meta,
                    None => return wrong(replay, "the meta is of another format"),
                };
                replay.index.first = next;
            }
            Some((number, _)) if number + 1 != self.number => {
                return wrong(replay, "the file before it is missing");
            }
            Some((_, len)) if len != head.previous_len => {
                return wrong(replay, "the file before it has another length");
            }
            Some(_) if replay.index.next() != next => return wrong(replay, "entries before it are missing"),
            Some(_) => {}
        }
        Ok(())
    }

    /// The offset of a whole group record after `offset`. Its being there proves that all before it was durable.
    fn later_group(&self, offset: u64) -> io::Result<Option<u64>> {
        const CHUNK: usize = 64 << 10;
        let size = HEADER + GROUP_MAGIC.len();
        let mut buffer = vec![0; CHUNK + size];
        let mut start = offset;
        while start < self.len {
            // Chunks overlap by a record, so that none is missed between two.
            let len = buffer.len().min((self.len - start) as usize);
            let chunk = &mut buffer[..len];
            read_exact_at(self.file, chunk, start)?;
            if chunk.iter().any(|byte| *byte != 0) {
                for at in 0..len.saturating_sub(size - 1) {
                    if chunk[at + HEADER..].starts_with(GROUP_MAGIC)
                        && let Some((Kind::Group, index, _)) = record::parse(&chunk[at..at + size])
                        && index == start + at as u64
                        && index > offset
                    {
                        return Ok(Some(index));
                    }
                }
            }
            start += CHUNK as u64;
        }
        Ok(None)
    }
}

/// A file read from front to back in large pieces.
struct Window<'a> {
    file: &'a dyn File,
    file_len: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    const PIECE: usize = 256 << 10;

    fn new(file: &'a dyn File, file_len: u64) -> Self {
        Self { file, file_len, start: 0, bytes: Vec::new() }
    }

    /// The bytes of the record at `offset` as its header tells their number; `None` if the file ends before.
    fn record(&mut self, offset: u64) -> io::Result<Option<&[u8]>> {
        let Some(header) = self.bytes(offset, HEADER)? else { return Ok(None) };
        let Some(header) = header.first_chunk::<HEADER>() else { return Ok(None) };
        let size = HEADER + record::payload_len(header) as usize;
        self.bytes(offset, size)
    }

    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.file_len) {
            return Ok(None);
        }
        let held = self.start..self.start + self.bytes.len() as u64;
        if !(held.start <= offset && offset + len as u64 <= held.end) {
            let piece = (len.max(Self::PIECE) as u64).min(self.file_len - offset);
            self.bytes.resize(piece as usize, 0);
            self.start = offset;
            read_exact_at(self.file, &mut self.bytes, offset)?;
        }
        let at = (offset - self.start) as usize;
        Ok(Some(&self.bytes[at..at + len]))
    }
}
