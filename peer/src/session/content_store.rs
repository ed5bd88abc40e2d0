//! Published files on this machine's disk, each under the hash of its bytes. Owns the folder, how much may be in it, and
//! that nothing leaves it whose hash is wrong. Everything here waits for the disk; never knows paths or hubs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::UNIX_EPOCH,
};

use loop_proto::content::{ContentHash, FILE_BYTES_MAX};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::decode::ContentPiece;

/// Files on their way at once; the one begun first makes room.
const PARTS_MAX: usize = 4;
/// A file that nobody counts on stays so long: it may just have been stored, and be published in a moment.
const SPARED_MS: u64 = 3_600_000;

/// Why a piece is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It would be more than `--content-mib`.
    #[error("no room: --content-mib")]
    Full,
    /// It does not follow what has come of the file.
    #[error("not the next piece")]
    OutOfOrder,
    /// All bytes have come, and they are not those of the hash.
    #[error("the bytes are not those of the hash")]
    WrongHash,
    /// The disk's reason.
    #[error("disk: {0}")]
    Disk(#[from] io::Error),
}

/// The folder.
pub struct ContentStore {
    dir: PathBuf,
    bytes_max: u64,
    inside: Mutex<Inside>,
    /// What [`Inside`] adds up to, for those who may not wait for the disk.
    bytes: AtomicU64,
}

#[derive(Default)]
struct Inside {
    whole: BTreeMap<ContentHash, u64>,
    /// Begun and not whole, oldest first, with the size each will have.
    parts: Vec<(ContentHash, u64)>,
}

impl Inside {
    fn bytes(&self) -> u64 {
        self.whole.values().sum::<u64>() + self.parts.iter().map(|(_, size)| size).sum::<u64>()
    }
}

impl ContentStore {
    /// Finds what is there. The folder is made when the first file comes.
    pub fn open(data_dir: &Path, bytes_max: u64) -> io::Result<Self> {
        let dir = data_dir.join("content");
        let mut inside = Inside::default();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if let Some(hash) = ContentHash::from_hex(name) {
                inside.whole.insert(hash, entry.metadata()?.len());
            } else if name.ends_with(".part") {
                fs::remove_file(entry.path())?;
            }
        }
        let bytes = AtomicU64::new(inside.bytes());
        Ok(Self { dir, bytes_max, inside: Mutex::new(inside), bytes })
    }

    /// Bytes in the folder, and those that are on their way into it.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The file, if it is there and its bytes are still those of the hash. A damaged one goes.
    pub fn read(&self, hash: ContentHash) -> Option<Vec<u8>> {
        self.inside.lock().whole.get(&hash)?;
        let mut bytes = Vec::new();
        let read = File::open(self.path(hash))
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match &read {
            Ok(_) if is(&bytes, hash) => return Some(bytes),
            // It may be as good as ever: this process has too many files open, or the disk a bad moment.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%hash, %error, "a published file cannot be read now");
                return None;
            }
            _ => {}
        }
        tracing::warn!(%hash, ?read, "a published file is damaged on this disk and goes: hubs get it from another peer");
        if let Err(error) = self.drop_whole(&mut self.inside.lock(), hash) {
            tracing::warn!(%hash, %error, "it cannot be removed");
        }
        None
    }

    /// Takes a piece; whether the file is whole now. A piece without data at the beginning of a file only asks.
    pub fn keep(&self, piece: &ContentPiece) -> Result<bool, NotKept> {
        let ContentPiece { hash, size, offset, ref data, .. } = *piece;
        if offset == 0 && self.read(hash).is_some() {
            return Ok(true);
        }
        let mut inside = self.inside.lock();
        if offset == 0 {
            self.begin(&mut inside, hash, size)?;
            if data.is_empty() && size > 0 {
                return Ok(false);
            }
        }
        let through = offset + data.len() as u64;
        let begun = inside.parts.contains(&(hash, size));
        if !begun || through > size || fs::metadata(self.part(hash))?.len() != offset {
            return Err(NotKept::OutOfOrder);
        }
        OpenOptions::new().append(true).open(self.part(hash))?.write_all(data)?;
        if through < size {
            return Ok(false);
        }
        self.finish(&mut inside, hash, size).map(|()| true)
    }

    /// Puts a whole file there.
    pub fn put(&self, hash: ContentHash, bytes: Vec<u8>) -> Result<(), NotKept> {
        let size = bytes.len() as u64;
        let piece = ContentPiece { hash, size, offset: 0, data: bytes.into(), path: String::new() };
        self.keep(&piece).map(drop)
    }

    /// Removes files that are not among `kept`, those that have just come excepted. How many.
    pub fn retain(&self, kept: &BTreeSet<ContentHash>, now_ms: u64) -> io::Result<usize> {
        let mut inside = self.inside.lock();
        let others: Vec<ContentHash> =
            inside.whole.keys().filter(|hash| !kept.contains(*hash)).copied().collect();
        let mut removed = 0;
        for hash in others {
            let modified = fs::metadata(self.path(hash)).and_then(|meta| meta.modified()).ok();
            let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            let age_ms = u128::from(now_ms).saturating_sub(since.as_millis());
            if age_ms > u128::from(SPARED_MS) {
                self.drop_whole(&mut inside, hash)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn begin(&self, inside: &mut Inside, hash: ContentHash, size: u64) -> Result<(), NotKept> {
        inside.parts.retain(|(begun, _)| *begun != hash);
        while inside.parts.len() >= PARTS_MAX {
            let (oldest, _) = inside.parts.remove(0);
            fs::remove_file(self.part(oldest))?;
        }
        self.count(inside);
        if inside.bytes().saturating_add(size) > self.bytes_max {
            return Err(NotKept::Full);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(self.part(hash))?;
        inside.parts.push((hash, size));
        self.count(inside);
        Ok(())
    }

    /// All bytes have come: it gets its name once its hash is right and it is on disk.
    fn finish(&self, inside: &mut Inside, hash: ContentHash, size: u64) -> Result<(), NotKept> {
        inside.parts.retain(|(begun, _)| *begun != hash);
        self.count(inside);
        let part = self.part(hash);
        if !is(&fs::read(&part)?, hash) {
            fs::remove_file(&part)?;
            return Err(NotKept::WrongHash);
        }
        File::open(&part)?.sync_all()?;
        fs::rename(&part, self.path(hash))?;
        File::open(&self.dir)?.sync_all()?;
        inside.whole.insert(hash, size);
        self.count(inside);
        Ok(())
    }

    fn drop_whole(&self, inside: &mut Inside, hash: ContentHash) -> io::Result<()> {
        inside.whole.remove(&hash);
        self.count(inside);
        match fs::remove_file(self.path(hash)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn count(&self, inside: &Inside) {
        self.bytes.store(inside.bytes(), Ordering::Relaxed);
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        self.dir.join(hash.to_string())
    }

    fn part(&self, hash: ContentHash) -> PathBuf {
        self.dir.join(format!("{hash}.part"))
    }
}

/// Whether these bytes have this hash.
pub fn is(bytes: &[u8], hash: ContentHash) -> bool {
    Sha256::digest(bytes)[..] == hash.0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn hash_of(bytes: &[u8]) -> ContentHash {
        ContentHash(Sha256::digest(bytes).into())
    }

    fn piece(whole: &[u8], offset: usize, data: &[u8]) -> ContentPiece {
        let (hash, size) = (hash_of(whole), whole.len() as u64);
        let data = data.to_vec().into();
        ContentPiece { hash, size, offset: offset as u64, data, path: "/x".into() }
    }

    fn store(bytes_max: u64) -> (tempfile::TempDir, ContentStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = ContentStore::open(dir.path(), bytes_max).unwrap();
        (dir, store)
    }

    #[test]
    fn a_file_comes_in_pieces_is_read_again_and_is_its_owners_only() {
        let (dir, store) = store(100);
        assert!(!dir.path().join("content").exists(), "nothing came, nothing is made");
        assert!(!store.keep(&piece(b"whole", 0, b"")).unwrap(), "it is not there, and would be taken");
        assert!(!store.keep(&piece(b"whole", 0, b"who")).unwrap());
        assert_eq!(store.read(hash_of(b"whole")), None);
        assert!(store.keep(&piece(b"whole", 3, b"le")).unwrap());
        assert!(store.keep(&piece(b"whole", 0, b"")).unwrap(), "it is there");
        assert!(store.keep(&piece(b"", 0, b"")).unwrap(), "an empty file is one");
        let path = store.path(hash_of(b"whole"));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let again = ContentStore::open(dir.path(), 100).unwrap();
        assert_eq!((again.read(hash_of(b"whole")).unwrap(), again.bytes()), (b"whole".to_vec(), 5));
    }

    #[test]
    fn wrong_bytes_and_pieces_out_of_order_are_not_kept() {
        let (_dir, store) = store(100);
        store.keep(&piece(b"whole", 0, b"")).unwrap();
        assert!(matches!(store.keep(&piece(b"whole", 0, b"wrong")), Err(NotKept::WrongHash)));
        assert!(matches!(
            store.keep(&piece(b"whole", 3, b"le")),
            Err(NotKept::Disk(_) | NotKept::OutOfOrder)
        ));
        store.keep(&piece(b"whole", 0, b"who")).unwrap();
        assert!(matches!(store.keep(&piece(b"whole", 2, b"ole")), Err(NotKept::OutOfOrder)));
        assert!(matches!(store.keep(&piece(b"whole", 3, b"lex")), Err(NotKept::OutOfOrder)));
        assert_eq!(store.read(hash_of(b"whole")), None);
        assert!(store.keep(&piece(b"whole", 3, b"le")).unwrap());
    }

    #[test]
    fn a_file_that_was_damaged_on_disk_is_noticed_goes_and_is_taken_again() {
        let (_dir, store) = store(100);
        store.put(hash_of(b"whole"), b"whole".to_vec()).unwrap();
        fs::write(store.path(hash_of(b"whole")), "whoLe").unwrap();
        assert_eq!(store.read(hash_of(b"whole")), None);
        assert_eq!(store.bytes(), 0);
        assert!(!store.path(hash_of(b"whole")).exists());
        store.put(hash_of(b"whole"), b"whole".to_vec()).unwrap();
        assert!(store.read(hash_of(b"whole")).is_some());
    }

    #[test]
    fn bytes_are_bounded_those_on_their_way_too_and_what_was_begun_and_left_makes_room() {
        let (dir, store) = store(20);
        store.put(hash_of(b"0123456789"), b"0123456789".to_vec()).unwrap();
        assert!(matches!(store.keep(&piece(b"01234567890", 0, b"")), Err(NotKept::Full)));
        for n in 0..10u8 {
            store.keep(&piece(&[n; 2], 0, &[n])).unwrap();
        }
        assert!(store.bytes() <= 20);
        assert_eq!(fs::read_dir(dir.path().join("content")).unwrap().count(), 1 + PARTS_MAX);
        let again = ContentStore::open(dir.path(), 20).unwrap();
        assert_eq!(again.bytes(), 10, "parts do not outlive the process");
        assert!(
            ContentStore::open(dir.path(), 0).unwrap().keep(&piece(b"x", 0, b"x")).is_err(),
            "0: keeps none"
        );
    }

    #[test]
    fn what_nobody_counts_on_goes_after_a_while() {
        let (_dir, store) = store(100);
        let (kept, other) = (hash_of(b"kept"), hash_of(b"other"));
        store.put(kept, b"kept".to_vec()).unwrap();
        store.put(other, b"other".to_vec()).unwrap();
        let wanted = BTreeSet::from([kept]);
        let modified = fs::metadata(store.path(other)).unwrap().modified().unwrap();
        let came_ms = u64::try_from(modified.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        assert_eq!(store.retain(&wanted, came_ms + SPARED_MS).unwrap(), 0, "it may be published in a moment");
        assert_eq!(store.retain(&wanted, came_ms + SPARED_MS + 1000).unwrap(), 1);
        assert!(store.read(kept).is_some() && store.read(other).is_none());
    }
}
