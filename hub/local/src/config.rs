//! What to start. Owns the limits of a local system and where its binaries are looked for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::LocalError;

/// Most peers one machine is asked to run.
const PEERS_MAX: u16 = 64;

/// First HTTP port when neither the caller nor the data folder says otherwise.
pub(super) const HTTP_PORT: u16 = 8080;

/// First gRPC port when neither the caller nor the data folder says otherwise.
pub(super) const GRPC_PORT: u16 = 9080;

/// Where the ports of one kind come from. Hub 1 has the first, hub 2 the next, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Those the data folder was made with; in a new folder the usual ones (8080 and 9080).
    Usual,
    /// Those the data folder was made with; in a new folder any that are free.
    Free,
    /// From this one on. An error if the data folder was made with others.
    From(u16),
}

/// A system to start on this machine.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// Hubs: 1, 3 or 5.
    pub hubs: u16,
    /// Peers, 0 to 64.
    pub peers: u16,
    /// Folder for everything the processes keep, logs included. Made if missing.
    pub data_dir: PathBuf,
    /// The hubs' HTTP ports.
    pub http: Port,
    /// The hubs' gRPC ports.
    pub grpc: Port,
    /// Folder of the `loop-hub` and `loop-peer` binaries; `None`: see [`LocalConfig::binary`].
    pub bin_dir: Option<PathBuf>,
    /// The volunteers' token; `None`: made once and kept in the data folder.
    pub join_token: Option<String>,
    /// The operators' token; `None`: made once and kept in the data folder.
    pub admin_token: Option<String>,
    /// What hubs show one another; `None`: made once and kept in the data folder.
    pub group_secret: Option<String>,
    /// `sled` or `segment`; `None`: the hub's own default.
    pub log_engine: Option<String>,
    /// Folder of static files for hubs and peers; `None`: their own default.
    pub static_dir: Option<PathBuf>,
    /// More arguments for every hub.
    pub hub_args: Vec<String>,
    /// More arguments for every peer.
    pub peer_args: Vec<String>,
    /// Environment variables for every process, added to this one's.
    pub env: Vec<(String, String)>,
    /// How long the system may take until every hub is ready and every peer is connected.
    pub ready_within: Duration,
}

impl LocalConfig {
    /// Three hubs and three peers on the usual ports, keeping their data in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            hubs: 3,
            peers: 3,
            data_dir: data_dir.into(),
            http: Port::Usual,
            grpc: Port::Usual,
            bin_dir: None,
            join_token: None,
            admin_token: None,
            group_secret: None,
            log_engine: None,
            static_dir: None,
            hub_args: Vec::new(),
            peer_args: Vec::new(),
            env: Vec::new(),
            // An election takes a second or two; the rest is room for a machine that is also compiling.
            ready_within: Duration::from_secs(60),
        }
    }

    /// The same on any free ports, for tests that run beside other systems.
    pub fn on_free_ports(data_dir: impl Into<PathBuf>) -> Self {
        Self { http: Port::Free, grpc: Port::Free, ..Self::new(data_dir) }
    }

    pub(super) fn validate(&self) -> Result<(), LocalError> {
        if !matches!(self.hubs, 1 | 3 | 5) {
            return Err(LocalError::Hubs(self.hubs));
        }
        if self.peers > PEERS_MAX {
            return Err(LocalError::Peers { asked: self.peers, max: PEERS_MAX });
        }
        Ok(())
    }

    /// The path of binary `name`: in `bin_dir`, else in the folder named by `LOOP_BIN_DIR`, else beside this
    /// executable or one folder up (where cargo puts binaries, seen from a test).
    pub fn binary(&self, name: &str) -> Result<PathBuf, LocalError> {
        let folders = match self.bin_dir.clone().or_else(bin_dir_from_environment) {
            Some(folder) => vec![folder],
            None => folders_near_this_executable(),
        };
        let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| LocalError::NoBinary { name: name.to_owned(), looked_in: folders })
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge where this machine's environment is read")]
fn bin_dir_from_environment() -> Option<PathBuf> {
    std::env::var_os("LOOP_BIN_DIR").map(PathBuf::from)
}

fn folders_near_this_executable() -> Vec<PathBuf> {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors().skip(1).take(2).map(Path::to_path_buf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_odd_groups_that_raft_is_for_are_taken() {
        for (hubs, ok) in [(0, false), (1, true), (2, false), (3, true), (5, true), (7, false)] {
            let config = LocalConfig { hubs, ..LocalConfig::new("x") };
            assert_eq!(config.validate().is_ok(), ok, "{hubs} hubs");
        }
    }

    #[test]
    fn a_missing_binary_is_named_with_the_folders_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let config =
            LocalConfig { bin_dir: Some(folder.path().to_path_buf()), ..LocalConfig::new(folder.path()) };
        let error = config.binary("loop-hub").unwrap_err().to_string();
        assert!(
            error.contains("loop-hub") && error.contains(&folder.path().display().to_string()),
            "{error}"
        );
        std::fs::write(folder.path().join("loop-hub"), "").unwrap();
        assert_eq!(config.binary("loop-hub").unwrap(), folder.path().join("loop-hub"));
    }
}
