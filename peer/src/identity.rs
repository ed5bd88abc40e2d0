//! Who this peer is: a secret it made itself and the id the hubs gave for it. Owns the file that keeps both.
//!
//! The secret is on disk before the hubs hear of it, so a crash in between cannot leave an identity nobody holds.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use loop_proto::ids::PeerId;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

const FILE: &str = "identity.json";
/// The file holds some 150 bytes; anything far larger is not ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// 32 random bytes with which a peer proves who it is. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one out of 32 bytes of entropy.
    pub fn generate(seed: [u8; 32]) -> Self {
        let mut bytes = [0; 32];
        StdRng::from_seed(seed).fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The bytes, for the hub only.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn from_hex(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A peer's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its own secret.
    pub secret: Secret,
    /// The id the hubs gave it; `None` until it has joined.
    pub peer_id: Option<PeerId>,
    /// When it joined, Unix time in milliseconds; 0 until then.
    pub joined_at_ms: u64,
}

/// Why an identity could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The file is not an identity.
    #[error(
        "{path} is not a peer's identity ({reason}). If it is lost, move the whole data folder away and start again: \
         the peer will join as a new one and be given copies of forums again"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    secret: String,
    peer_id: Option<u32>,
    #[serde(default)]
    joined_at_ms: u64,
}

impl Identity {
    /// The identity kept in `dir`; `None` before the first start.
    pub fn load(dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = dir.join(FILE);
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => {
                tighten(&file).map_err(|source| IdentityError::Io { path: path.clone(), source })?;
                let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
                read.map_err(|source| IdentityError::Io { path: path.clone(), source })?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::Io { path, source }),
        }
        let corrupt = |reason: &str| IdentityError::Corrupt { path: path.clone(), reason: reason.to_owned() };
        // serde's own message could quote the secret.
        let stored: Stored = serde_json::from_str(&text)
            .map_err(|error| corrupt(&format!("line {} is malformed", error.line())))?;
        let secret =
            Secret::from_hex(&stored.secret).ok_or_else(|| corrupt("its secret is not 64 hex digits"))?;
        let peer_id = match stored.peer_id {
            Some(raw) => Some(PeerId::new(raw).ok_or_else(|| corrupt("its peer id is 0"))?),
            None => None,
        };
        Ok(Some(Self { secret, peer_id, joined_at_ms: stored.joined_at_ms }))
    }

    /// Keeps it in `dir`, readable by its owner only; on disk when this returns.
    pub fn store(&self, dir: &Path) -> Result<(), IdentityError> {
        let path = dir.join(FILE);
        let stored = Stored {
            secret: self.secret.to_hex(),
            peer_id: self.peer_id.map(PeerId::get),
            joined_at_ms: self.joined_at_ms,
        };
        let text = serde_json::to_string_pretty(&stored).expect("strings and numbers always serialise");
        replace_file(dir, &path, text.as_bytes()).map_err(|source| IdentityError::Io { path, source })
    }
}

/// A copy made by hand may have become readable by others.
fn tighten(file: &File) -> io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Old or new, never half: written beside, synced, renamed, and the folder synced.
fn replace_file(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_a_restart_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), None);
        let mut identity = Identity { secret: Secret::generate([7; 32]), peer_id: None, joined_at_ms: 0 };
        identity.store(dir.path()).unwrap();
        identity.peer_id = PeerId::new(9);
        identity.joined_at_ms = 5;
        identity.store(dir.path()).unwrap();
        assert_eq!(Identity::load(dir.path()).unwrap(), Some(identity));
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_named_and_its_secret_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        for text in [r#"{"secret":"5ec3e7","peer_id":1}"#, r#"{"secret":5ec3e7"#, ""] {
            fs::write(&path, text).unwrap();
            let error = Identity::load(dir.path()).unwrap_err().to_string();
            assert!(error.contains("identity.json") && !error.contains("5ec3e7"), "{error}");
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::generate([1; 32]);
        assert!(!format!("{secret:?}").contains(&secret.to_hex()[..4]));
    }

    #[test]
    fn a_file_others_could_read_is_tightened() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity { secret: Secret::generate([7; 32]), peer_id: None, joined_at_ms: 0 };
        identity.store(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        Identity::load(dir.path()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
