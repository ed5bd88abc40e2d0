//! The volunteer's own folder of files. Owns which of them may be read at all. Never knows what is published.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use loop_proto::content::FILE_BYTES_MAX;

/// A folder whose files anybody may have.
#[derive(Clone, Debug)]
pub struct StaticFiles {
    root: PathBuf,
}

impl StaticFiles {
    /// Reads from `root`, which must exist.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.canonicalize()? })
    }

    /// The bytes of the file at a clean path (`loop_proto::content::is_path`), if there is one that may be read.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        // A link inside the folder may lead out of it, or to what is hidden.
        let found = self.root.join(path.trim_start_matches('/')).canonicalize().ok()?;
        let inside = found.strip_prefix(&self.root).ok()?;
        let hidden = inside.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
        if hidden { None } else { read(&found) }
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= FILE_BYTES_MAX).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_outside_the_folder_hidden_in_it_or_too_long_can_be_had() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("www");
        fs::create_dir_all(root.join("js")).unwrap();
        fs::write(root.join("js/chat one.js"), "let a;").unwrap();
        fs::write(root.join(".htpasswd"), "x").unwrap();
        fs::write(outer.path().join("outside"), "x").unwrap();
        for (link, to) in [("link", outer.path().join("outside")), ("open", root.join(".htpasswd"))] {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        let huge = File::create(root.join("huge.bin")).unwrap();
        huge.set_len(FILE_BYTES_MAX).unwrap();
        let files = StaticFiles::new(&root).unwrap();
        assert_eq!(files.read("/js/chat one.js").unwrap(), b"let a;");
        assert_eq!(files.read("/huge.bin").unwrap().len() as u64, FILE_BYTES_MAX);
        huge.set_len(FILE_BYTES_MAX + 1).unwrap();
        for path in ["/../outside", "/link", "/open", "/.htpasswd", "/js", "/", "/none", "/huge.bin"] {
            assert_eq!(files.read(path), None, "{path}");
        }
    }
}
