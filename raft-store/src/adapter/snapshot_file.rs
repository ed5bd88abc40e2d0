//! The newest snapshot, in a file.
//!
//! Layout: magic with version, length and checksum of the meta, the meta (an encoded `v1.SnapshotMeta`, which holds
//! length and checksum of the data), the data. Written beside the old one, synced, then renamed over it: at any
//! moment there is one whole snapshot or none.

use std::{
    fmt,
    io::{self, ErrorKind},
    sync::Arc,
};

use bytes::Bytes;
use loop_proto::v1;
use parking_lot::Mutex;
use prost::Message;

use crate::{
    log_store::{
        REPLACE,
        disk::{self, Dir, File, read_exact_at},
    },
    raft_codec::{snapshot_data_matches, snapshot_meta_from_proto, snapshot_meta_to_proto},
    raft_types::{LogId, SnapshotMeta},
};

const NAME: &str = "current.snapshot";
const NEW_NAME: &str = "new.snapshot";
const MAGIC: &[u8; 8] = b"LOOPSNP\x01";
/// Magic, length and checksum of the meta.
const HEAD_BYTES: usize = 16;
/// Written in pieces, so that a simulated or slow disk is not handed one huge write.
const PIECE: usize = 1 << 20;

/// The file, and how far what is in it reaches.
pub(super) struct SnapshotFile {
    dir: Arc<dyn Dir>,
    /// Held while the file is written or read, too.
    current: Mutex<Option<LogId>>,
}

impl SnapshotFile {
    /// Looks into the directory; removes what an interrupted write left.
    pub fn open(dir: Arc<dyn Dir>) -> io::Result<Self> {
        if dir.list()?.iter().any(|name| name == NEW_NAME) {
            dir.remove(NEW_NAME)?;
        }
        // The one found may have got its name in the moment the disk failed.
        dir.sync()?;
        let file = Self { dir, current: Mutex::new(None) };
        let covered = file.load()?.and_then(|(meta, _)| meta.last_log_id);
        *file.current.lock() = covered;
        Ok(file)
    }

    /// An error that names the file and says what to do.
    pub fn unusable(&self, why: impl fmt::Display) -> io::Error {
        let dir = self.dir.path().display();
        let message = format!(
            "the snapshot {dir}/{NAME} is unusable: {why}. This hub must not serve from it. Keep {dir} and the log's \
             directory aside if you want to know why, and replace this hub: {REPLACE}"
        );
        io::Error::new(ErrorKind::InvalidData, message)
    }

    /// Makes this the current snapshot, unless the current one reaches further.
    pub fn save(&self, meta: &SnapshotMeta, data: &[u8]) -> io::Result<()> {
        let mut current = self.current.lock();
        if *current > meta.last_log_id {
            return Ok(());
        }
        let meta_bytes = snapshot_meta_to_proto(meta, data).encode_to_vec();
        let mut head = MAGIC.to_vec();
        head.extend((meta_bytes.len() as u32).to_be_bytes());
        head.extend(crc32fast::hash(&meta_bytes).to_be_bytes());
        head.extend(meta_bytes);
        disk::replace(&*self.dir, NEW_NAME, NAME, |file| {
            file.write_at(&head, 0)?;
            let mut offset = head.len() as u64;
            for piece in data.chunks(PIECE) {
                file.write_at(piece, offset)?;
                offset += piece.len() as u64;
            }
            Ok(())
        })?;
        *current = meta.last_log_id;
        Ok(())
    }

    /// The current snapshot, checked.
    pub fn load(&self) -> io::Result<Option<(SnapshotMeta, Bytes)>> {
        let _written_by_nobody = self.current.lock();
        if !self.dir.list()?.iter().any(|name| name == NAME) {
            return Ok(None);
        }
        let file = self.dir.open(NAME)?;
        match self.read(&*file) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.unusable("it is cut short")),
            result => result.map(Some),
        }
    }

    fn read(&self, file: &dyn File) -> io::Result<(SnapshotMeta, Bytes)> {
        let size = file.size()?;
        let mut head = [0; HEAD_BYTES];
        read_exact_at(file, &mut head, 0)?;
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (meta_len, meta_crc) = (u64::from(number(8)), number(12));
        if !head.starts_with(MAGIC) {
            return Err(self.unusable("it is of another format"));
        }
        let data_at = HEAD_BYTES as u64 + meta_len;
        let Some(data_len) = size.checked_sub(data_at) else {
            return Err(self.unusable("it is cut short"));
        };
        let mut meta = vec![0; meta_len as usize];
        read_exact_at(file, &mut meta, HEAD_BYTES as u64)?;
        if crc32fast::hash(&meta) != meta_crc {
            return Err(self.unusable("the checksum of its meta does not match"));
        }
        let meta = v1::SnapshotMeta::decode(&meta[..]).map_err(|error| self.unusable(error))?;
        let mut data = vec![0; usize::try_from(data_len).map_err(io::Error::other)?];
        read_exact_at(file, &mut data, data_at)?;
        if !snapshot_data_matches(&meta, &data) {
            return Err(self.unusable("the checksum of its data does not match"));
        }
        let meta = snapshot_meta_from_proto(&meta).map_err(|error| self.unusable(error))?;
        Ok((meta, Bytes::from(data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log_store::disk::RealDir,
        raft_types::{LeaderId, StoredMembership},
    };

    fn meta(index: u64) -> SnapshotMeta {
        let last_log_id = Some(LogId::new(LeaderId { term: 1, node_id: 1 }, index));
        SnapshotMeta { last_log_id, last_membership: StoredMembership::default() }
    }

    fn open(path: &std::path::Path) -> io::Result<SnapshotFile> {
        SnapshotFile::open(Arc::new(RealDir::open(path).unwrap()))
    }

    #[test]
    fn the_newest_snapshot_is_found_again_and_never_replaced_by_an_older_one() {
        let temp = tempfile::tempdir().unwrap();
        let file = open(temp.path()).unwrap();
        assert!(file.load().unwrap().is_none());
        file.save(&meta(5), b"five").unwrap();
        file.save(&meta(9), &vec![9; PIECE * 2 + 1]).unwrap();
        file.save(&meta(7), b"seven").unwrap();
        drop(file);
        // An interrupted write leaves this.
        std::fs::write(temp.path().join(NEW_NAME), b"half").unwrap();
        let file = open(temp.path()).unwrap();
        let (found, data) = file.load().unwrap().unwrap();
        assert_eq!((found, data.len()), (meta(9), PIECE * 2 + 1));
        file.save(&meta(8), b"eight").unwrap();
        assert_eq!(file.load().unwrap().unwrap().0, meta(9));
    }

    #[test]
    fn a_damaged_or_short_snapshot_is_refused_with_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        open(temp.path()).unwrap().save(&meta(5), b"some data").unwrap();
        let path = temp.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            std::fs::write(&path, damaged).unwrap();
            let message = open(temp.path()).err().unwrap().to_string();
            assert!(message.contains(NAME) && message.contains("aside"), "byte {at}: {message}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(open(temp.path()).is_err(), "cut at {at}");
        }
        std::fs::write(&path, whole).unwrap();
        open(temp.path()).unwrap();
    }
}
