//! The acknowledgement mark: how far the log has ever been acknowledged, kept beside the log.
//!
//! Why: an engine that finds damage at the end of its log cannot tell it from a write the power cut short, and
//! drops it. If that tail had been acknowledged, dropping it silently could undo a commit. The mark is written
//! after each sync of the log, without a sync of its own, so it never promises more than the log holds; when it
//! reaches the disk (by itself within seconds, at once if only the process died), a shorter log is noticed.

use std::{io, sync::Arc};

use super::{
    disk::{Dir, File, read_exact_at},
    error::{Corruption, LogError},
};

const NAME: &str = "acknowledged";
const MAGIC: [u8; 4] = *b"ACK1";
/// Magic, index, checksum: within one disk sector, so a torn mark is not to be feared.
const SIZE: usize = 4 + 8 + 4;

/// The open mark.
pub(crate) struct Mark {
    file: Arc<dyn File>,
    next: u64,
}

impl Mark {
    /// Opens or makes the mark of a log that ends before `next`; an error if more has been acknowledged.
    pub fn open(dir: &dyn Dir, next: u64) -> Result<Self, LogError> {
        let io = |what| LogError::io(dir.path(), what);
        let exists = dir.list().map_err(io("list the directory"))?.iter().any(|name| name == NAME);
        if !exists {
            let file = dir.create(NAME).map_err(io("create the acknowledgement mark"))?;
            file.write_at(&encode(next), 0).map_err(io("write the acknowledgement mark"))?;
            file.sync_all().map_err(io("sync the acknowledgement mark"))?;
            dir.sync().map_err(io("sync the directory"))?;
            return Ok(Self { file, next });
        }
        let file = dir.open(NAME).map_err(io("open the acknowledgement mark"))?;
        let acknowledged = match read(&*file) {
            Ok(acknowledged) => acknowledged,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(error) => return Err(io("read the acknowledgement mark")(error)),
        };
        if let Some(acknowledged) = acknowledged.filter(|acknowledged| *acknowledged > next) {
            return Err(LogError::Corrupt(Corruption {
                dir: dir.path().to_owned(),
                index: Some(next),
                place: "end of the log".into(),
                what: format!("entries {next} to {} were acknowledged and are missing", acknowledged - 1),
            }));
        }
        let mut mark = Self { file, next: 0 };
        mark.write(next).map_err(io("write the acknowledgement mark"))?;
        Ok(mark)
    }

    /// Notes that everything before `next` is synced.
    pub fn raise(&mut self, next: u64) -> io::Result<()> {
        if next > self.next { self.write(next) } else { Ok(()) }
    }

    /// To be called before entries from `next` on are given up: a mark above a log that was cut on purpose would
    /// be a false alarm.
    pub fn lower(&mut self, next: u64) -> io::Result<()> {
        if next >= self.next {
            return Ok(());
        }
        self.write(next)?;
        self.file.sync_data()
    }

    fn write(&mut self, next: u64) -> io::Result<()> {
        self.next = next;
        self.file.write_at(&encode(next), 0)
    }
}

fn encode(next: u64) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..12].copy_from_slice(&next.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The stored mark; `None` if the bytes are not one.
fn read(file: &dyn File) -> io::Result<Option<u64>> {
    let mut bytes = [0; SIZE];
    read_exact_at(file, &mut bytes, 0)?;
    let mut index = [0; 8];
    index.copy_from_slice(&bytes[4..12]);
    let next = u64::from_be_bytes(index);
    Ok((encode(next) == bytes).then_some(next))
}

#[cfg(test)]
mod tests {
    use super::{super::disk::RealDir, *};

    #[test]
    fn a_log_shorter_than_its_mark_is_refused_and_the_first_missing_entry_named() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temp.path()).unwrap();
        Mark::open(&dir, 0).unwrap().raise(10).unwrap();
        let message = match Mark::open(&dir, 7) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("opened a log that lost entries"),
        };
        assert!(message.contains("at entry 7") && message.contains("7 to 9"), "{message}");
        assert!(Mark::open(&dir, 10).is_ok());
    }

    #[test]
    fn a_log_cut_on_purpose_is_no_loss() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temp.path()).unwrap();
        let mut mark = Mark::open(&dir, 0).unwrap();
        mark.raise(10).unwrap();
        mark.lower(4).unwrap();
        mark.raise(3).unwrap();
        assert!(Mark::open(&dir, 3).is_err());
        assert!(Mark::open(&dir, 4).is_ok());
    }

    #[test]
    fn an_unreadable_mark_says_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temp.path()).unwrap();
        drop(Mark::open(&dir, 5).unwrap());
        dir.open(NAME).unwrap().write_at(b"x", 6).unwrap();
        assert!(Mark::open(&dir, 0).is_ok());
        dir.open(NAME).unwrap().set_size(3).unwrap();
        assert!(Mark::open(&dir, 0).is_ok());
    }
}
