//! The files of copies on their way: what has come of one, and those that are kept to be given. Owns names, what is
//! on disk, and what may be left lying about. Everything here waits for the disk; never knows who sent what.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use loop_proto::v1;
use prost::Message;
use sha2::{Digest, Sha256};

/// Longest piece of a copy on the wire, bytes.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;
/// A header is some hundred bytes.
const HEADER_BYTES_MAX: u64 = 64 << 10;

/// Names a copy: forum (0: the directory) and the invitation it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyName {
    /// 0: the directory.
    pub forum_id: u32,
    /// 0 for the directory.
    pub invitation_id: u64,
}

/// The folder of all of them.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Inside the data folder; made when the first file is.
    pub fn within(data_dir: &Path) -> Self {
        Self(data_dir.join("checkpoints"))
    }

    /// What comes of a copy.
    pub fn part(&self, name: CopyName) -> Part {
        let CopyName { forum_id, invitation_id } = name;
        let stem = format!("f{forum_id}-{invitation_id}");
        Part {
            dir: self.0.clone(),
            file: format!("{stem}.part").into(),
            header: format!("{stem}.header").into(),
        }
    }

    /// Where a copy to give is made, and where it lies when it is whole.
    pub fn to_give(&self, name: CopyName) -> io::Result<(PathBuf, PathBuf)> {
        fs::create_dir_all(&self.0)?;
        let CopyName { forum_id, invitation_id } = name;
        let whole = self.0.join(format!("give-f{forum_id}-{invitation_id}.sql"));
        Ok((whole.with_extension("new"), whole))
    }

    /// Removes all that a process before this one left, but for the parts that are still wanted.
    pub fn clean(&self, wanted: &[CopyName]) -> io::Result<()> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let keep: Vec<Part> = wanted.iter().map(|name| self.part(*name)).collect();
        for entry in entries {
            let name = PathBuf::from(entry?.file_name());
            if !keep.iter().any(|part| part.file == name || part.header == name) {
                remove(&self.0.join(name))?;
            }
        }
        Ok(())
    }
}

/// What has come of a copy: its bytes so far, and beside them what they are the beginning of.
#[derive(Clone, Debug)]
pub struct Part {
    dir: PathBuf,
    file: PathBuf,
    header: PathBuf,
}

impl Part {
    /// The file of its bytes.
    pub fn path(&self) -> PathBuf {
        self.dir.join(&self.file)
    }

    /// The copy it is the beginning of, and how many bytes there are; `None`: nothing to go on from.
    pub fn so_far(&self) -> Option<(v1::CheckpointHeader, u64)> {
        let mut bytes = Vec::new();
        let header = File::open(self.dir.join(&self.header)).ok()?;
        header.take(HEADER_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let header = v1::CheckpointHeader::decode(&bytes[..]).ok()?;
        let done = fs::metadata(self.path()).ok()?.len();
        (done <= header.bytes && header.sha256.len() == 32).then_some((header, done))
    }

    /// Begins anew with the copy `header` describes.
    pub fn begin(&self, header: &v1::CheckpointHeader) -> io::Result<File> {
        fs::create_dir_all(&self.dir)?;
        self.remove()?;
        // The bytes first: a header without them would only mean a copy that begins at 0.
        let file = create(&self.path())?;
        create(&self.dir.join(&self.header))?.write_all(&header.encode_to_vec())?;
        Ok(file)
    }

    /// Goes on after what there is.
    pub fn append(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.path())
    }

    /// Whether the bytes are those the header promises.
    pub fn is_intact(&self, header: &v1::CheckpointHeader) -> io::Result<bool> {
        let mut file = File::open(self.path())?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => digest.update(&buffer[..read]),
            }
        }
        Ok(digest.finalize()[..] == header.sha256[..])
    }

    /// Nothing of it is left.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.dir.join(&self.header))?;
        remove(&self.path())
    }
}

/// Up to [`CHUNK_BYTES_MAX`] bytes of a file from `offset` on; none: its end.
pub fn read_at(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// Empty, and its owner's only.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)
}

/// Whether it was there or not.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: CopyName = CopyName { forum_id: 7, invitation_id: 9 };

    fn header(bytes: &[u8]) -> v1::CheckpointHeader {
        let sha256 = Sha256::digest(bytes).to_vec().into();
        v1::CheckpointHeader { forum_id: 7, bytes: bytes.len() as u64, sha256, ..Default::default() }
    }

    #[test]
    fn what_has_come_is_found_again_and_known_to_be_whole_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let part = Folder::within(dir.path()).part(NAME);
        assert_eq!(part.so_far(), None);
        let header = header(b"whole");
        part.begin(&header).unwrap().write_all(b"who").unwrap();
        assert_eq!(part.so_far(), Some((header.clone(), 3)));
        assert!(!part.is_intact(&header).unwrap());
        part.append().unwrap().write_all(b"le").unwrap();
        assert!(part.is_intact(&header).unwrap());
        part.append().unwrap().write_all(b"more than it can be").unwrap();
        assert_eq!(part.so_far(), None);
        part.remove().unwrap();
        part.remove().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("checkpoints")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_process_before_left_goes_but_for_what_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::within(dir.path());
        folder.clean(&[]).unwrap();
        let other = CopyName { forum_id: 8, invitation_id: 9 };
        for name in [NAME, other] {
            folder.part(name).begin(&header(b"x")).unwrap();
        }
        let (new, whole) = folder.to_give(NAME).unwrap();
        fs::write(&new, "x").unwrap();
        fs::write(&whole, "x").unwrap();
        folder.clean(&[NAME]).unwrap();
        assert!(folder.part(NAME).so_far().is_some() && folder.part(other).so_far().is_none());
        assert_eq!(fs::read_dir(dir.path().join("checkpoints")).unwrap().count(), 2);
    }
}
