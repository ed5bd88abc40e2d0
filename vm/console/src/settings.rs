//! The peer's configuration file, made of what was said. Owns its writing; the peer's own code judges it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use loop_peer::config::{Config, ConfigError, Flags};

use super::seed::Seed;

/// Its name in its folder.
const FILE: &str = "peer.toml";

/// Why a configuration could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The peer would not start with it.
    #[error("the peer cannot run with this: {0}")]
    Refused(ConfigError),
    /// The disk.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where the configuration is in `folder`.
pub fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Keeps `seed` as the peer's configuration in `folder`, on disk when this returns. `name` is the machine's if the seed has
/// none.
pub fn write(folder: &Path, seed: &Seed, name: &str) -> Result<(), SettingsError> {
    let (path, beside) = (path(folder), folder.join("peer.toml.new"));
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| SettingsError::Io { path, source }
    };
    write_synced(&beside, &text(seed, name)).map_err(io(&beside))?;
    let flags = Flags { config: Some(beside.clone()), ..Flags::default() };
    if let Err(error) = Config::read(flags, name) {
        fs::remove_file(&beside).map_err(io(&beside))?;
        return Err(SettingsError::Refused(error));
    }
    fs::rename(&beside, &path).map_err(io(&path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))
}

/// Forgets the configuration: the machine asks again.
pub fn remove(folder: &Path) -> Result<(), SettingsError> {
    let path = path(folder);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(SettingsError::Io { path, source }),
        _ => Ok(()),
    }
}

fn text(seed: &Seed, name: &str) -> String {
    let mut table = toml::Table::new();
    let mut say = |key: &str, value: toml::Value| table.insert(key.to_owned(), value);
    say("name", name.into());
    for (key, value) in &seed.settings {
        let number = value.parse::<i64>().ok().filter(|_| *key == "max-forums");
        say(key, number.map_or_else(|| value.as_str().into(), toml::Value::from));
    }
    let hubs = seed.join.hubs.iter().map(|hub| hub.as_str().into()).collect();
    say("hub", toml::Value::Array(hubs));
    say("join-token", seed.join.token.expose().into());
    // Peers and hubs speak no TLS yet. The screen says so before anybody types a join string.
    say("insecure-plaintext", true.into());
    table.to_string()
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{
        super::seed::{KEYS, parse},
        *,
    };

    fn seed(text: &str) -> Seed {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    fn read(folder: &Path) -> Config {
        let flags = Flags { config: Some(path(folder)), ..Flags::default() };
        Config::read(flags, "x").unwrap()
    }

    #[test]
    fn the_peer_reads_what_was_said_and_only_its_owner_can() {
        let folder = tempfile::tempdir().unwrap();
        let said = seed("join = a:1,b:2/to\"ken\\\nowner = ann\nmax-disk = 1G\nmax-forums = 7");
        write(folder.path(), &said, "vm-1").unwrap();
        let config = read(folder.path());
        assert_eq!(config.hubs, said.join.hubs);
        assert_eq!(config.join_token.unwrap().expose(), "to\"ken\\");
        assert_eq!((config.name.as_str(), config.owner.as_str()), ("vm-1", "ann"));
        assert_eq!((config.limits.disk_bytes, config.limits.forums), (1 << 30, 7));
        assert_eq!(fs::metadata(path(folder.path())).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_name_that_was_said_goes_before_the_machines() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &seed("join = a:1/t\nname = attic"), "vm-1").unwrap();
        assert_eq!(read(folder.path()).name, "attic");
    }

    #[test]
    fn every_setting_that_can_be_left_is_one_of_the_peers() {
        let folder = tempfile::tempdir().unwrap();
        for key in KEYS {
            let value = if ["name", "owner", "network"].contains(&key) { "x" } else { "7" };
            write(folder.path(), &seed(&format!("join = a:1/t\n{key} = {value}")), "vm-1").unwrap();
        }
    }

    #[test]
    fn what_the_peer_would_refuse_leaves_what_there_was() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &seed("join = a:1/t"), "vm-1").unwrap();
        let error = write(folder.path(), &seed("join = b:1/t\nmax-disk = much"), "vm-1").unwrap_err();
        assert!(error.to_string().contains("much"), "{error}");
        assert_eq!(read(folder.path()).hubs[0].as_str(), "a:1");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove(folder.path()).unwrap();
        remove(folder.path()).unwrap();
        assert!(!path(folder.path()).exists());
    }
}
