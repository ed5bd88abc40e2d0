//! The launcher's own files in the data folder: its lock and its secrets.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rand::RngExt;

use super::LocalError;

/// Bytes of chance in a token we make.
const TOKEN_BYTES: usize = 16;

/// Longest token file that is read, bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 1024;

pub(super) fn failed<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> LocalError + use<'a> {
    move |source| LocalError::File { doing, path: path.to_path_buf(), source }
}

/// Keeps the folder for this launcher until the returned file is dropped, also if the process is killed.
pub(super) fn lock(folder: &Path) -> Result<File, LocalError> {
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let path = folder.join("loop-local.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LocalError::FolderInUse(folder.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

/// The folder's token of this name, made on the first call, and anew if it is empty: somebody was interrupted while
/// making it. Readable by its owner only.
pub(super) fn token(folder: &Path, name: &str) -> Result<String, LocalError> {
    let path = folder.join(name);
    let kept = match File::open(&path) {
        Ok(file) => {
            let mut token = String::new();
            file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut token).map_err(failed("read", &path))?;
            token.trim().to_owned()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed("open", &path)(error)),
    };
    if !kept.is_empty() {
        return Ok(kept);
    }
    let token = new_token();
    write_whole(&path, &format!("{token}\n"))?;
    Ok(token)
}

/// Writes a file for its owner's eyes. Written beside and renamed: there is never half of it.
pub(super) fn write_whole(path: &Path, text: &str) -> Result<(), LocalError> {
    let draft = path.with_extension("draft");
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed("write", &draft))?;
    fs::rename(&draft, path).map_err(failed("write", path))
}

/// Whether there is anything in a folder.
pub(super) fn has_content(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

#[expect(clippy::disallowed_methods, reason = "a secret made once, outside anything that is simulated")]
fn new_token() -> String {
    let bytes: [u8; TOKEN_BYTES] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_is_its_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let made = token(folder.path(), "join-token").unwrap();
        assert_eq!(made.len(), 2 * TOKEN_BYTES);
        assert_eq!(token(folder.path(), "join-token").unwrap(), made);
        assert_ne!(token(folder.path(), "group-secret").unwrap(), made);
        let mode = fs::metadata(folder.path().join("join-token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join("join-token"), "").unwrap();
        assert_eq!(token(folder.path(), "join-token").unwrap().len(), 2 * TOKEN_BYTES, "half made");
    }

    #[test]
    fn a_folder_has_one_launcher_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(LocalError::FolderInUse(_))));
        drop(first);
        lock(folder.path()).unwrap();
    }
}
