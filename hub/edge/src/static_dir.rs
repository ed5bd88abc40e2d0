//! The operator's own files. Serves what lies in one folder and nothing else.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::HeaderValue;
use loop_proto::content;
use tokio::sync::Semaphore;

use super::{
    dates,
    files::{self, File},
};

/// Reads at once. More would only queue at the disk.
const READS_MAX: usize = 16;

/// A folder.
pub struct StaticDir {
    root: Arc<PathBuf>,
    bytes_max: usize,
    reads: Semaphore,
}

/// A file's identity on disk, to tell whether what is in memory is still right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    path: PathBuf,
    modified: u64,
    length: usize,
}

impl Found {
    /// nginx's form: time and length.
    pub fn etag(&self) -> HeaderValue {
        let tag = format!("\"{:x}-{:x}\"", self.modified, self.length);
        HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }
}

impl StaticDir {
    /// Opens `root`, which must exist. Longer files than `bytes_max` are not served.
    pub fn open(root: &Path, bytes_max: usize) -> io::Result<Self> {
        let root = Arc::new(fs::canonicalize(root)?);
        Ok(Self { root, bytes_max, reads: Semaphore::new(READS_MAX) })
    }

    /// The file a clean path (see [`is_clean`]) names, if there is one.
    pub async fn find(&self, path: &str) -> Option<Found> {
        let (root, bytes_max) = (self.root.clone(), self.bytes_max);
        let path = path.trim_start_matches('/').to_owned();
        let _turn = self.reads.acquire().await.ok()?;
        tokio::task::spawn_blocking(move || find(&root, &path, bytes_max)).await.ok()?
    }

    /// Its content.
    pub async fn read(&self, found: &Found) -> Option<File> {
        let (found, bytes_max) = (found.clone(), self.bytes_max);
        let _turn = self.reads.acquire().await.ok()?;
        tokio::task::spawn_blocking(move || read(&found, bytes_max)).await.ok()?
    }
}

fn find(root: &Path, path: &str, bytes_max: usize) -> Option<Found> {
    // Symbolic links are followed, and must not lead out.
    let path = fs::canonicalize(root.join(path)).ok()?;
    let inside = path.strip_prefix(root).ok()?;
    let hidden = inside.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
    let meta = fs::metadata(&path).ok()?;
    let length = usize::try_from(meta.len()).ok()?;
    if hidden || !meta.is_file() || length > bytes_max {
        return None;
    }
    let modified = meta.modified().ok().and_then(dates::seconds).unwrap_or(0);
    Some(Found { path, modified, length })
}

fn read(found: &Found, bytes_max: usize) -> Option<File> {
    let mut body = Vec::with_capacity(found.length);
    // It may have grown since it was looked at.
    fs::File::open(&found.path).ok()?.take(bytes_max as u64).read_to_end(&mut body).ok()?;
    Some(File {
        content_type: files::type_of(found.path.to_str()?),
        etag: found.etag(),
        last_modified: Some(found.modified),
        cache_control: HeaderValue::from_static("public, max-age=300"),
        inert: false,
        body: body.into(),
    })
}

/// Whether a decoded path can name a file at all.
pub fn is_clean(path: &str) -> bool {
    content::is_clean(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_clean() {
        for bad in ["/", "", "/../x", "/a/../x", "/.git/config", "/a//b", "/a/", "/a\\..\\b", "/a/.", "/.."] {
            assert!(!is_clean(bad), "{bad}");
        }
        assert!(is_clean("/plugins/art/face1.png"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn nothing_outside_or_hidden_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("www");
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join("ok.txt"), "fine").unwrap();
        fs::write(root.join("big.txt"), vec![b'x'; 101]).unwrap();
        fs::write(root.join(".git/config"), "hidden").unwrap();
        fs::write(dir.path().join("secret.txt"), "secret").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret.txt"), root.join("out.txt")).unwrap();
        std::os::unix::fs::symlink(root.join("ok.txt"), root.join("in.txt")).unwrap();
        std::os::unix::fs::symlink(root.join(".git/config"), root.join("git.txt")).unwrap();

        let files = StaticDir::open(&root, 100).unwrap();
        for path in ["/ok.txt", "/in.txt"] {
            let found = files.find(path).await.unwrap();
            assert_eq!(&files.read(&found).await.unwrap().body[..], b"fine");
        }
        for path in ["/out.txt", "/git.txt", "/big.txt", "/../secret.txt", "/none.txt", "/.git"] {
            assert_eq!(files.find(path).await, None, "{path}");
        }
        assert!(StaticDir::open(&root.join("missing"), 100).is_err());
    }
}
