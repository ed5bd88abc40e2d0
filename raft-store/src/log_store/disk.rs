//! The little of a file system that the log and the snapshots need, as traits, so that a simulation can supply
//! a disk that loses what was not synced. Also the real one.
//!
//! Rule for users: a new or removed name lasts only after [`Dir::sync`]; bytes only after a sync of their file.

use std::{
    fs, io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// One directory of files. Names are plain file names.
pub trait Dir: Send + Sync {
    /// Where it is, for messages.
    fn path(&self) -> &Path;
    /// The names of its files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new, empty file. Fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// An existing file, to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Renames a file, replacing `to`, at once or not at all.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes the present set of names last.
    fn sync(&self) -> io::Result<()>;
    /// How long the next sync of a file takes, where that is for somebody else to wait: a simulated disk cannot hold
    /// up its caller. A real one does, and says zero.
    fn sync_takes(&self) -> Duration {
        Duration::ZERO
    }
}

/// One open file.
pub trait File: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`, extending the file as needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends with zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Extends with zeros to `size` and reserves the space, where the file system can.
    fn reserve(&self, size: u64) -> io::Result<()>;
    /// Makes contents last, and the length as far as reading them needs it.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes contents and all metadata last.
    fn sync_all(&self) -> io::Result<()>;
}

/// Reads exactly `buffer.len()` bytes.
pub(crate) fn read_exact_at(file: &dyn File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                buffer = &mut buffer[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

/// Puts a file with the contents that `write` gives it in the place of `name`, at once or not at all, so that it lasts.
/// `new_name` is what it is called before; an unfinished one of that name goes.
pub(crate) fn replace(
    dir: &dyn Dir,
    new_name: &str,
    name: &str,
    write: impl FnOnce(&dyn File) -> io::Result<()>,
) -> io::Result<Arc<dyn File>> {
    if dir.list()?.iter().any(|found| found == new_name) {
        dir.remove(new_name)?;
    }
    let file = dir.create(new_name)?;
    write(&*file)?;
    file.sync_all()?;
    dir.rename(new_name, name)?;
    dir.sync()?;
    Ok(file)
}

/// A directory of this machine, locked against a second user for as long as it is open.
#[derive(Debug)]
pub struct RealDir {
    path: PathBuf,
    // Held for its lock.
    _lock: fs::File,
}

/// The name of the lock file; it stays when the directory is closed.
const LOCK: &str = "lock";

impl RealDir {
    /// Opens the directory, making it and its parents where they are missing. `ResourceBusy` if it is in use.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_dirs(path)?;
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Makes a directory and its missing parents so that all of them last.
fn make_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_dirs(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync_dir(parent.unwrap_or(Path::new(".")))
}

/// Makes the present names of a directory last.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl Dir for RealDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in fs::read_dir(&self.path)? {
            let item = item?;
            if let (true, Ok(name)) = (item.file_type()?.is_file(), item.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file =
            fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(&self.0, FallocateFlags::empty(), 0, size) {
            Ok(()) => Ok(()),
            // Some file systems cannot; then appends extend the file, which only costs time.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.0.set_len(size),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_at_a_time() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b");
        let first = RealDir::open(&path).unwrap();
        assert_eq!(RealDir::open(&path).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(first);
        RealDir::open(&path).unwrap();
    }

    #[test]
    fn a_reserved_file_reads_as_zeros() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RealDir::open(temp.path()).unwrap();
        let file = dir.create("f").unwrap();
        file.reserve(8192).unwrap();
        assert_eq!(file.size().unwrap(), 8192);
        let mut bytes = [1; 16];
        read_exact_at(&*file, &mut bytes, 8176).unwrap();
        assert_eq!(bytes, [0; 16]);
        assert!(read_exact_at(&*file, &mut bytes, 8177).is_err());
    }
}
