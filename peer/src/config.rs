//! What an operator says a peer should be: flag, else environment, else file, else default. Read once, validated
//! here, then frozen. Never knows how anything is done with it.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::limits::{Limits, Size};

/// A configuration file is some lines; more than this is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Published files kept when nothing else is said, MiB: many times AtomJump's own.
const CONTENT_MIB: u32 = 256;
/// Addresses an operator may name.
const HUBS_MAX: usize = 32;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where identity and database live.
    pub data_dir: PathBuf,
    /// Hubs to dial, `host:port`.
    pub hubs: Vec<HubAddr>,
    /// Needed on the first start only.
    pub join_token: Option<JoinToken>,
    /// Shown to operators; 1 to 64 printable characters.
    pub name: String,
    /// Whose machine this is; replicas are spread over owners.
    pub owner: String,
    /// Which network it is on; replicas are spread over networks.
    pub network: String,
    /// Files that may be given where the same ones are published: scripts, styles, images.
    pub static_dir: Option<PathBuf>,
    /// Most bytes of published files to keep; 0: none.
    pub content_bytes: u64,
    /// What this machine gives.
    pub limits: Limits,
    /// Filter of the log, in env-filter syntax.
    pub log: String,
    /// Whether hubs that are not on this machine may be spoken to without TLS.
    pub insecure_plaintext: bool,
    /// What still works and should be written differently; to be shown, never acted on.
    pub warnings: Vec<String>,
}

/// A `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubAddr(String);

impl HubAddr {
    /// `None` unless `host:port` with a port above 0 and a host of at most 253 harmless characters.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fine = match bare {
            Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let char_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                !host.is_empty() && host.len() <= 253 && host.chars().all(char_fine)
            }
        };
        (fine && port > 0).then(|| Self(text.to_owned()))
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can only be this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for HubAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets a machine join; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken(String);

impl JoinToken {
    /// Any text is a token to a peer; only the hubs know which are good.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The token, for the hub only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(…)")
    }
}

/// What can be said on the command line or in the environment.
#[derive(Args, Clone, Default)]
pub struct Flags {
    /// TOML file with any of these settings (`data-dir = "…"`, `hub = ["…"]`, …).
    #[arg(long, env = "LOOP_PEER_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Folder of identity and database [default: ./loop-peer-data].
    #[arg(long, env = "LOOP_PEER_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// A hub's gRPC address; may be repeated [default: 127.0.0.1:9080].
    #[arg(long, env = "LOOP_PEER_HUB", value_name = "HOST:PORT", value_delimiter = ',')]
    pub hub: Vec<String>,
    /// Token that lets this machine join; needed on the first start only.
    #[arg(long, env = "LOOP_PEER_JOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub join_token: Option<String>,
    /// Name shown to operators [default: the machine's].
    #[arg(long, env = "LOOP_PEER_NAME")]
    pub name: Option<String>,
    /// Whose machine this is; replicas are spread over owners.
    #[arg(long, env = "LOOP_PEER_OWNER")]
    pub owner: Option<String>,
    /// Which network it is on; replicas are spread over networks.
    #[arg(long, env = "LOOP_PEER_NETWORK")]
    pub network: Option<String>,
    /// Folder of scripts, styles and images; given out where the hubs' operator has published the very same files.
    #[arg(long, env = "LOOP_PEER_STATIC_DIR", value_name = "DIR")]
    pub static_dir: Option<PathBuf>,
    /// Most mebibytes of published files to keep; 0: none [default: 256].
    #[arg(long, env = "LOOP_PEER_CONTENT_MIB", value_name = "MIB")]
    pub content_mib: Option<u32>,
    /// Most disk space to fill, e.g. 10G [default: no limit].
    #[arg(long, env = "LOOP_PEER_MAX_DISK", value_name = "SIZE")]
    pub max_disk: Option<Size>,
    /// Most memory to use, e.g. 512M; told to the hubs, which place forums by it [default: no limit].
    #[arg(long, env = "LOOP_PEER_MAX_MEMORY", value_name = "SIZE")]
    pub max_memory: Option<Size>,
    /// Most bytes per second for copies of forums, both ways together, e.g. 2M [default: no limit].
    #[arg(long, env = "LOOP_PEER_MAX_BANDWIDTH", value_name = "SIZE")]
    pub max_bandwidth: Option<Size>,
    /// Most forums to hold [default: no limit].
    #[arg(long, env = "LOOP_PEER_MAX_FORUMS", value_name = "COUNT")]
    pub max_forums: Option<u32>,
    /// Largest forum to take, e.g. 1G [default: no limit].
    #[arg(long, env = "LOOP_PEER_MAX_FORUM_SIZE", value_name = "SIZE")]
    pub max_forum_size: Option<Size>,
    /// What to log, e.g. `info` or `loop_peer=debug` [default: info].
    #[arg(long, env = "LOOP_PEER_LOG", value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// Allow hubs that are not on this machine to be spoken to without TLS.
    #[arg(long, env = "LOOP_PEER_INSECURE_PLAINTEXT")]
    pub insecure_plaintext: bool,
}

/// The keys are the flags' names. Up to version 0.1 they were written with `_`, which is still understood.
#[derive(Deserialize, Default, Debug)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(alias = "data_dir")]
    data_dir: Option<PathBuf>,
    hub: Vec<String>,
    #[serde(alias = "join_token")]
    join_token: Option<String>,
    name: Option<String>,
    owner: Option<String>,
    network: Option<String>,
    #[serde(alias = "static_dir")]
    static_dir: Option<PathBuf>,
    #[serde(alias = "content_mib")]
    content_mib: Option<u32>,
    #[serde(alias = "max_disk")]
    max_disk: Option<Size>,
    #[serde(alias = "max_memory")]
    max_memory: Option<Size>,
    #[serde(alias = "max_bandwidth")]
    max_bandwidth: Option<Size>,
    #[serde(alias = "max_forums")]
    max_forums: Option<u32>,
    #[serde(alias = "max_forum_size")]
    max_forum_size: Option<Size>,
    log: Option<String>,
    #[serde(alias = "insecure_plaintext")]
    insecure_plaintext: bool,
}

/// What is wrong with a configuration, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {reason}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file says something unknown or malformed.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What, and where.
        reason: String,
    },
    /// A hub's address is not one.
    #[error("`{0}` is not a hub's address; write host:port, for example 127.0.0.1:9080")]
    HubAddr(String),
    /// None, or far too many hubs.
    #[error("name between 1 and {HUBS_MAX} hubs")]
    HubCount,
    /// Plain text over a network.
    #[error(
        "hub {0} is not on this machine, and without TLS all that passes, this peer's secret included, could be read \
         on the way. If the network between is trusted (a VPN, say), pass --insecure-plaintext"
    )]
    Plaintext(String),
    /// A name or label that could not be shown.
    #[error("{0} must be {1} to 64 printable characters")]
    Label(&'static str, usize),
    /// The folder of files to serve is not there.
    #[error("--static-dir {0} is not a folder")]
    StaticDir(PathBuf),
    /// The join token can be none.
    #[error("the join token must be 1 to 1024 printable characters")]
    JoinToken,
}

impl Config {
    /// Flags (with the environment behind them), else the file they name, else defaults. `machine` is the name to use
    /// when none is given.
    pub fn read(flags: Flags, machine: &str) -> Result<Self, ConfigError> {
        let (file, warnings) = match &flags.config {
            Some(path) => read_file(path)?,
            None => (File::default(), Vec::new()),
        };
        let hubs = if flags.hub.is_empty() { file.hub } else { flags.hub };
        let hubs = if hubs.is_empty() { vec!["127.0.0.1:9080".to_owned()] } else { hubs };
        let size = |flag: Option<Size>, file: Option<Size>| flag.or(file).map_or(0, |size| size.0);
        let limits = Limits {
            disk_bytes: size(flags.max_disk, file.max_disk),
            memory_bytes: size(flags.max_memory, file.max_memory),
            bytes_per_second: size(flags.max_bandwidth, file.max_bandwidth),
            forums: flags.max_forums.or(file.max_forums).unwrap_or(0),
            forum_bytes: size(flags.max_forum_size, file.max_forum_size),
        };
        let config = Self {
            limits,
            data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| "loop-peer-data".into()),
            hubs: parse_hubs(&hubs)?,
            join_token: flags.join_token.or(file.join_token).map(JoinToken),
            name: flags.name.or(file.name).unwrap_or_else(|| machine.to_owned()),
            owner: flags.owner.or(file.owner).unwrap_or_default(),
            network: flags.network.or(file.network).unwrap_or_default(),
            static_dir: flags.static_dir.or(file.static_dir),
            content_bytes: u64::from(flags.content_mib.or(file.content_mib).unwrap_or(CONTENT_MIB)) << 20,
            log: flags.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            insecure_plaintext: flags.insecure_plaintext || file.insecure_plaintext,
            warnings,
        };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for hub in &self.hubs {
            if !self.may_dial(hub) {
                return Err(ConfigError::Plaintext(hub.to_string()));
            }
        }
        for (what, text, least) in
            [("the name", &self.name, 1), ("the owner", &self.owner, 0), ("the network", &self.network, 0)]
        {
            let length = text.chars().count();
            if length < least || length > 64 || text.chars().any(char::is_control) {
                return Err(ConfigError::Label(what, least));
            }
        }
        if let Some(JoinToken(token)) = &self.join_token
            && (token.is_empty() || token.len() > 1024 || token.chars().any(char::is_control))
        {
            return Err(ConfigError::JoinToken);
        }
        match &self.static_dir {
            Some(dir) if !dir.is_dir() => Err(ConfigError::StaticDir(dir.clone())),
            _ => Ok(()),
        }
    }

    /// Whether this hub may be spoken to as things are: in plain text only on this machine or when allowed.
    pub fn may_dial(&self, hub: &HubAddr) -> bool {
        self.insecure_plaintext || hub.is_loopback()
    }

    /// The whole configuration as a file that would make it again, secrets masked.
    pub fn print(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "kebab-case")]
        struct Printed<'a> {
            data_dir: &'a Path,
            hub: Vec<&'a str>,
            join_token: Option<&'static str>,
            name: &'a str,
            owner: &'a str,
            network: &'a str,
            static_dir: Option<&'a Path>,
            content_mib: u64,
            max_disk: u64,
            max_memory: u64,
            max_bandwidth: u64,
            max_forums: u32,
            max_forum_size: u64,
            log: &'a str,
            insecure_plaintext: bool,
        }
        let printed = Printed {
            data_dir: &self.data_dir,
            hub: self.hubs.iter().map(HubAddr::as_str).collect(),
            join_token: self.join_token.as_ref().map(|_| "***"),
            name: &self.name,
            owner: &self.owner,
            network: &self.network,
            static_dir: self.static_dir.as_deref(),
            content_mib: self.content_bytes >> 20,
            max_disk: self.limits.disk_bytes,
            max_memory: self.limits.memory_bytes,
            max_bandwidth: self.limits.bytes_per_second,
            max_forums: self.limits.forums,
            max_forum_size: self.limits.forum_bytes,
            log: &self.log,
            insecure_plaintext: self.insecure_plaintext,
        };
        toml::to_string(&printed).unwrap_or_else(|error| format!("# cannot be printed: {error}\n"))
    }
}

fn parse_hubs(texts: &[String]) -> Result<Vec<HubAddr>, ConfigError> {
    if texts.len() > HUBS_MAX {
        return Err(ConfigError::HubCount);
    }
    let parse = |text: &String| HubAddr::parse(text).ok_or_else(|| ConfigError::HubAddr(text.clone()));
    texts.iter().map(parse).collect()
}

fn read_file(path: &Path) -> Result<(File, Vec<String>), ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.into(), reason };
    let meta = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!("longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let file = toml::from_str(&text).map_err(|error: toml::de::Error| {
        // The error's own display quotes the line, which could be the token's.
        let line =
            error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        ConfigError::File { path: path.into(), reason: format!("line {line}: {}", error.message()) }
    })?;
    Ok((file, old_spellings(path, &text)))
}

/// A warning for each key of a file, which was understood, that is written with `_`.
fn old_spellings(path: &Path, text: &str) -> Vec<String> {
    let Ok(table) = text.parse::<toml::Table>() else { return Vec::new() };
    let old = table.keys().filter(|key| key.contains('_'));
    old.map(|key| {
        let new = key.replace('_', "-");
        format!("{}: `{key}` is written `{new}` now, like the flag --{new}", path.display())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Flags {
        Flags::default()
    }

    #[test]
    fn defaults_need_nothing() {
        let config = Config::read(flags(), "laptop").unwrap();
        assert_eq!(config.hubs[0].as_str(), "127.0.0.1:9080");
        assert_eq!((config.name.as_str(), config.log.as_str()), ("laptop", "info"));
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peer.toml");
        std::fs::write(&path, "name = \"from file\"\nowner = \"ann\"\nhub = [\"127.0.0.1:1\"]\n").unwrap();
        let flags = Flags { config: Some(path), name: Some("from flag".into()), ..flags() };
        let config = Config::read(flags, "laptop").unwrap();
        assert_eq!((config.name.as_str(), config.owner.as_str()), ("from flag", "ann"));
        assert_eq!(config.hubs[0].as_str(), "127.0.0.1:1");
    }

    #[test]
    fn limits_are_sizes_as_people_write_them_and_none_by_default() {
        assert_eq!(Config::read(flags(), "x").unwrap().limits, Limits::default());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peer.toml");
        std::fs::write(&path, "max-disk = \"10G\"\nmax-memory = 4096\nmax-forums = 7\n").unwrap();
        let flags = Flags { config: Some(path.clone()), max_disk: Some(Size(5)), ..flags() };
        let limits = Config::read(flags.clone(), "x").unwrap().limits;
        assert_eq!((limits.disk_bytes, limits.memory_bytes, limits.forums), (5, 4096, 7));
        std::fs::write(&path, "max-disk = \"ten\"\n").unwrap();
        let error = Config::read(flags, "x").unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("10G"), "{error}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_no_secret_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peer.toml");
        std::fs::write(&path, "name = \"x\"\njoin-tokn = \"hush\"\n").unwrap();
        let error =
            Config::read(Flags { config: Some(path.clone()), ..flags() }, "x").unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("join-tokn") && !error.contains("hush"),
            "{error}"
        );
        std::fs::write(&path, "join-token = \"hush\n").unwrap();
        let error = Config::read(Flags { config: Some(path), ..flags() }, "x").unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn keys_as_they_were_once_written_still_work_with_a_warning_that_names_the_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peer.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::read(Flags { config: Some(path.clone()), ..flags() }, "x")
        };
        let old = "data_dir = \"d\"\nhub = [\"127.0.0.1:1\"]\njoin_token = \"hush\"\nmax_disk = 1\nmax_memory = 2\n\
                   max_bandwidth = 3\nmax_forums = 4\nmax_forum_size = 5\ninsecure_plaintext = true\n";
        let (was, is) = (read(old).unwrap(), read(&old.replace('_', "-")).unwrap());
        assert_eq!(was.print(), is.print(), "both spellings say the same");
        assert_eq!((was.limits.forum_bytes, was.insecure_plaintext), (5, true));
        assert_eq!((was.warnings.len(), is.warnings.len()), (8, 0));
        let warning = was.warnings.iter().find(|warning| warning.contains("`join_token`")).unwrap();
        assert!(warning.contains("`join-token`") && !warning.contains("hush"), "{warning}");
        assert!(warning.contains("peer.toml"), "{warning}");
        let twice = read("max-disk = 1\nmax_disk = 2\n").unwrap_err().to_string();
        assert!(twice.contains("max-disk"), "{twice}");
    }

    #[test]
    fn plain_text_over_a_network_must_be_asked_for() {
        let away = Flags { hub: vec!["hub.example.org:9080".into()], ..flags() };
        let error = Config::read(away.clone(), "x").unwrap_err();
        assert!(error.to_string().contains("--insecure-plaintext"));
        assert!(Config::read(Flags { insecure_plaintext: true, ..away }, "x").is_ok());
        let near =
            Flags { hub: vec!["localhost:1".into(), "[::1]:2".into(), "127.9.9.9:3".into()], ..flags() };
        assert!(Config::read(near, "x").is_ok());
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for text in
            ["", "host", "host:", "host:0", "host:65536", ":1", "a b:1", "http://h:1", "[::g]:1", "::1:1"]
        {
            assert_eq!(HubAddr::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_printed_configuration_reads_back_and_masks_the_token() {
        let flags = Flags { join_token: Some("hush".into()), ..flags() };
        let config = Config::read(flags, "x").unwrap();
        let printed = config.print();
        assert!(printed.contains("***") && !printed.contains("hush"));
        assert!(!format!("{config:?}").contains("hush"));
        assert!(toml::from_str::<File>(&printed).is_ok());
    }

    #[test]
    fn a_name_that_cannot_be_shown_is_refused() {
        for name in [String::new(), "x".repeat(65), "a\nb".into()] {
            let error = Config::read(Flags { name: Some(name), ..flags() }, "x").unwrap_err();
            assert_eq!(error, ConfigError::Label("the name", 1));
        }
    }
}
