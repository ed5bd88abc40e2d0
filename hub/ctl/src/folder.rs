//! The folder an operator publishes: which files it holds, under which paths, with which hashes. Looks only.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use loop_admin::AdminError;
use loop_proto::content::{self, ContentHash, FILE_BYTES_MAX, FILES_MAX, PATH_BYTES_MAX};
use sha2::{Digest, Sha256};

/// One file that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where on this disk.
    pub file: PathBuf,
    /// Under which path it is published.
    pub path: String,
    /// How many bytes it has.
    pub size: u64,
}

/// A prefix as an operator types it, as paths begin with it: `/x`, or nothing for `/`.
pub fn prefix(typed: &str) -> Result<String, AdminError> {
    let bare = typed.trim_end_matches('/');
    if bare.is_empty() || content::is_path(bare) {
        return Ok(bare.to_owned());
    }
    Err(AdminError::Usage(format!("--prefix {typed} is no path: write it from `/` on, for example /chat")))
}

/// All files in `dir` and below it, by path. Hidden ones are left out.
pub fn walk(dir: &Path, prefix: &str) -> Result<Vec<Found>, AdminError> {
    let root = fs::canonicalize(dir).map_err(|error| unreadable(dir, &error))?;
    let mut found = Vec::new();
    let mut folders = vec![(root.clone(), prefix.to_owned())];
    while let Some((folder, path)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))? {
            let at = entry.map_err(|error| unreadable(&folder, &error))?.path();
            let name = at.file_name().unwrap_or_default();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let Some(name) = name.to_str() else {
                return Err(AdminError::Usage(format!(
                    "{} has a name that is not UTF-8: rename it",
                    at.display()
                )));
            };
            let path = format!("{path}/{name}");
            if fs::symlink_metadata(&at).map_err(|error| unreadable(&at, &error))?.is_dir() {
                folders.push((at, path));
            } else {
                found.push(check(&root, at, path)?);
            }
        }
        if found.len() > FILES_MAX {
            return Err(AdminError::Usage(format!(
                "{} holds more than {FILES_MAX} files, which is all that can be published",
                dir.display()
            )));
        }
    }
    if found.is_empty() {
        return Err(AdminError::Usage(format!(
            "{} holds no file to publish (hidden ones do not count); `hubctl static remove` takes paths out",
            dir.display()
        )));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn check(root: &Path, at: PathBuf, path: String) -> Result<Found, AdminError> {
    let target = fs::canonicalize(&at).map_err(|error| unreadable(&at, &error))?;
    let shown = at.display();
    if !target.starts_with(root) {
        return Err(AdminError::Usage(format!(
            "{shown} is a link that leads out of the folder: put the file there itself, or remove the link"
        )));
    }
    let meta = fs::metadata(&target).map_err(|error| unreadable(&at, &error))?;
    if !meta.is_file() {
        return Err(AdminError::Usage(format!(
            "{shown} is neither a file nor a folder: remove it from there"
        )));
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(AdminError::Usage(format!(
            "{shown} has {} bytes, and a published file has at most {FILE_BYTES_MAX}: leave it out",
            meta.len()
        )));
    }
    if !content::is_path(&path) {
        return Err(AdminError::Usage(format!(
            "{shown} cannot be published as {path:?}: a path has at most {PATH_BYTES_MAX} bytes, no backslash and no \
             control character; rename it"
        )));
    }
    Ok(Found { file: target, path, size: meta.len() })
}

/// The file's bytes, and their hash.
pub fn read(found: &Found) -> Result<(ContentHash, Bytes), AdminError> {
    let bytes = fs::read(&found.file).map_err(|error| unreadable(&found.file, &error))?;
    if bytes.len() as u64 != found.size {
        return Err(AdminError::Usage(format!(
            "{} was changed while it was published: publish again",
            found.file.display()
        )));
    }
    Ok((ContentHash(Sha256::digest(&bytes).into()), bytes.into()))
}

fn unreadable(at: &Path, error: &io::Error) -> AdminError {
    AdminError::Usage(format!("cannot read {}: {error}", at.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("site");
        fs::create_dir_all(root.join("img/.cache")).unwrap();
        for (name, text) in [("b.js", "let b;"), ("img/a.png", "PNG"), (".env", "x"), ("img/.cache/x", "x")] {
            fs::write(root.join(name), text).unwrap();
        }
        fs::write(outer.path().join("outside"), "secret").unwrap();
        (outer, root)
    }

    #[test]
    fn files_are_found_by_path_and_hidden_ones_are_not() {
        let (_outer, root) = folder();
        symlink(root.join("b.js"), root.join("link.js")).unwrap();
        let paths = |prefix: &str| {
            let found = walk(&root, prefix).unwrap();
            found.into_iter().map(|found| (found.path, found.size)).collect::<Vec<_>>()
        };
        let named = |path: &str, size| (path.to_owned(), size);
        assert_eq!(paths(""), [named("/b.js", 6), named("/img/a.png", 3), named("/link.js", 6)]);
        assert_eq!(paths("/x")[0], named("/x/b.js", 6));
        let (hash, bytes) = read(&walk(&root, "").unwrap()[1]).unwrap();
        assert_eq!((&bytes[..], &hash.to_string()[..8]), (&b"PNG"[..], "79612083"));
    }

    #[test]
    fn what_cannot_be_published_is_named_with_what_to_do() {
        let (outer, root) = folder();
        let refused = |what: &str| {
            let error = walk(&root, "").unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(what), "{error}");
        };
        symlink(outer.path().join("outside"), root.join("out")).unwrap();
        refused("leads out of the folder");
        fs::remove_file(root.join("out")).unwrap();
        symlink(root.join("img"), root.join("again")).unwrap();
        refused("neither a file nor a folder");
        fs::remove_file(root.join("again")).unwrap();
        fs::File::create(root.join("huge")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        refused("at most 8388608");
        fs::remove_file(root.join("huge")).unwrap();
        fs::write(root.join("a\\b"), "x").unwrap();
        refused("backslash");
        assert!(walk(&outer.path().join("none"), "").unwrap_err().to_string().contains("cannot read"));
        fs::create_dir(outer.path().join("empty")).unwrap();
        assert!(walk(&outer.path().join("empty"), "").unwrap_err().to_string().contains("no file"));
    }

    #[test]
    fn a_prefix_is_a_path() {
        assert_eq!((prefix("/").unwrap(), prefix("/x/y/").unwrap()), (String::new(), "/x/y".to_owned()));
        for typed in ["x", "/../x", "/.x", "//x"] {
            assert!(prefix(typed).is_err(), "{typed}");
        }
    }
}
