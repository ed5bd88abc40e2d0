//! Which hub listens where, which number it has, and whether it has ever had data. Kept in the data folder, because the
//! hubs' own log remembers their addresses: a later run on the same folder must use the same ports.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    LocalConfig, LocalError, Port,
    config::{GRPC_PORT, HTTP_PORT},
    files::{self, failed},
    ports,
};
use loop_proto::hub_folder::LOG_FOLDER;

/// The file it is kept in.
const FILE: &str = "layout.json";

/// The ports of every hub, hub 1 first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub http: Vec<u16>,
    pub grpc: Vec<u16>,
    /// The hubs' numbers in the same order, once one of them was replaced by a hub with a new number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<u64>>,
    /// Numbers that are used up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    retired: Vec<u64>,
    /// Hubs that were ready at least once: a hub of these without data has lost it. A folder made before this was kept
    /// says nothing, and then all are taken for such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun: Option<Vec<u64>>,
    /// The engine of the hubs' logs, if one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

impl Layout {
    /// The folder's layout if it has one that fits `config`; else a new one, on ports that are free, written to the
    /// folder.
    pub fn settle(config: &LocalConfig) -> Result<Self, LocalError> {
        let path = config.data_dir.join(FILE);
        let has_data = has_hubs(&config.data_dir);
        match Self::load(&path)? {
            Some(saved) if has_data => return saved.check_fits(config).map(|()| saved),
            // Nothing remembers the ports of a folder in which no hub has ever started.
            Some(saved) if saved.check_fits(config).and_then(|()| saved.check_free()).is_ok() => {
                return Ok(saved);
            }
            None if has_data && !matches!((config.http, config.grpc), (Port::From(_), Port::From(_))) => {
                return Err(LocalError::LayoutLost(path));
            }
            Some(_) | None => {}
        }
        let layout = Self { begun: (!has_data).then(Vec::new), ..Self::choose(config)? };
        layout.check_free()?;
        layout.save(&config.data_dir)?;
        Ok(layout)
    }

    /// Writes it to its folder.
    pub fn save(&self, folder: &Path) -> Result<(), LocalError> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self).expect("numbers and lists always serialise");
        files::write_whole(&path, &(text + "\n"))
    }

    /// The number of the hub at this place, counted from 0.
    pub fn id(&self, at: usize) -> u64 {
        let given = self.ids.as_ref().and_then(|ids| ids.get(at)).copied();
        given.unwrap_or_else(|| first_id(at))
    }

    /// What it is called, and its folder.
    pub fn hub_name(&self, at: usize) -> String {
        format!("hub-{}", self.id(at))
    }

    /// The place of the hub with this number.
    pub fn place(&self, id: u64) -> Option<usize> {
        (0..self.http.len()).find(|at| self.id(*at) == id)
    }

    /// Whether the hub at this place was one of those that formed the group.
    pub fn is_founder(&self, at: usize) -> bool {
        self.id(at) == first_id(at)
    }

    /// Whether the hub at this place must have data.
    pub fn has_begun(&self, at: usize) -> bool {
        self.begun.as_ref().is_none_or(|begun| begun.contains(&self.id(at)))
    }

    /// These have data now. Whether that is news.
    pub fn begin(&mut self, places: &[usize]) -> bool {
        let ids: Vec<u64> = places.iter().filter(|at| !self.has_begun(**at)).map(|at| self.id(*at)).collect();
        self.begun.iter_mut().for_each(|begun| begun.extend(&ids));
        !ids.is_empty()
    }

    /// Gives the place to a new hub under a number that is above all of these and was never used here. The number.
    pub fn replace(&mut self, at: usize, known: &[u64]) -> u64 {
        let mut ids: Vec<u64> = (0..self.http.len()).map(|at| self.id(at)).collect();
        let new = 1 + ids.iter().chain(known).chain(&self.retired).copied().max().unwrap_or(0);
        self.begun.get_or_insert_with(|| ids.clone()).retain(|id| *id != ids[at]);
        self.retired.push(ids[at]);
        ids[at] = new;
        self.ids = Some(ids);
        new
    }

    fn load(path: &Path) -> Result<Option<Self>, LocalError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", path)(error)),
        };
        let damaged = |why: String| LocalError::Damaged { path: PathBuf::from(path), why };
        let layout: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if layout.http.len() != layout.grpc.len() || layout.http.is_empty() {
            return Err(damaged("HTTP and gRPC ports do not pair".into()));
        }
        if layout.ids.as_ref().is_some_and(|ids| ids.len() != layout.http.len() || ids.contains(&0)) {
            return Err(damaged("not every hub has a number".into()));
        }
        Ok(Some(layout))
    }

    fn check_fits(&self, config: &LocalConfig) -> Result<(), LocalError> {
        if self.http.len() != usize::from(config.hubs) {
            return Err(LocalError::OtherLayout {
                folder: config.data_dir.clone(),
                saved: format!("--hubs {}", self.http.len()),
                asked: format!("--hubs {}", config.hubs),
            });
        }
        if let (Some(saved), Some(asked)) = (&self.engine, &config.log_engine)
            && saved != asked
        {
            return Err(LocalError::OtherLayout {
                folder: config.data_dir.clone(),
                saved: format!("--log-engine {saved}"),
                asked: format!("--log-engine {asked}"),
            });
        }
        let kinds = [(config.http, self.http[0], "--http-port"), (config.grpc, self.grpc[0], "--grpc-port")];
        for (asked, saved, flag) in kinds {
            if let Port::From(first) = asked
                && first != saved
            {
                return Err(LocalError::OtherLayout {
                    folder: config.data_dir.clone(),
                    saved: format!("{flag} {saved}"),
                    asked: format!("{flag} {first}"),
                });
            }
        }
        Ok(())
    }

    fn choose(config: &LocalConfig) -> Result<Self, LocalError> {
        let pick = |port: Port, usual: u16, flag, taken: &[u16]| match port {
            Port::Usual => ports::range(usual, config.hubs, flag),
            Port::From(first) => ports::range(first, config.hubs, flag),
            Port::Free => ports::free(config.hubs, taken),
        };
        let http = pick(config.http, HTTP_PORT, "--http-port", &[])?;
        let grpc = pick(config.grpc, GRPC_PORT, "--grpc-port", &http)?;
        if let Some(port) = http.iter().find(|port| grpc.contains(port)) {
            return Err(LocalError::PortTwice(*port));
        }
        let engine = config.log_engine.clone();
        Ok(Self { http, grpc, ids: None, retired: Vec::new(), begun: None, engine })
    }

    /// Fails with the first port that somebody else listens on.
    pub fn check_free(&self) -> Result<(), LocalError> {
        let taken = (0..self.http.len()).find_map(|at| Some((at, self.taken(at)?)));
        taken.map_or(Ok(()), |(at, (port, kind, flag))| {
            Err(LocalError::PortInUse { port, what: format!("{kind} of {}", self.hub_name(at)), flag })
        })
    }

    /// The port of the hub at this place on which somebody else listens, what it is for, and the flag that sets it.
    pub fn taken(&self, at: usize) -> Option<(u16, &'static str, &'static str)> {
        let kinds = [(self.http[at], "HTTP", "--http-port"), (self.grpc[at], "gRPC", "--grpc-port")];
        kinds.into_iter().find(|(port, ..)| !ports::is_free(*port))
    }

    /// The hubs' `--cluster` argument: `1=127.0.0.1:9080/127.0.0.1:8080,…`.
    pub fn cluster_argument(&self) -> String {
        let pairs = self.grpc.iter().zip(&self.http).enumerate();
        let entries = pairs.map(|(at, (grpc, http))| {
            format!("{}={}/{}", self.id(at), ports::loopback(*grpc), ports::loopback(*http))
        });
        entries.collect::<Vec<_>>().join(",")
    }
}

fn first_id(at: usize) -> u64 {
    u64::try_from(at + 1).unwrap_or(u64::MAX)
}

/// Whether any hub has left data in the folder.
fn has_hubs(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with("hub-")
            && files::has_content(&entry.path().join(LOG_FOLDER))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ports_are_the_documented_ones() {
        let layout = Layout::choose(&LocalConfig::new("x")).unwrap();
        assert_eq!(
            layout.cluster_argument(),
            "1=127.0.0.1:9080/127.0.0.1:8080,2=127.0.0.1:9081/127.0.0.1:8081,3=127.0.0.1:9082/127.0.0.1:8082"
        );
    }

    #[test]
    fn a_second_run_finds_the_ports_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = Layout::settle(&LocalConfig::on_free_ports(folder.path())).unwrap();
        assert_eq!(Layout::settle(&LocalConfig::on_free_ports(folder.path())).unwrap(), first);
        assert_eq!(Layout::settle(&LocalConfig::new(folder.path())).unwrap(), first);
        a_hub_has_data(folder.path());
        assert_eq!(Layout::settle(&LocalConfig::new(folder.path())).unwrap(), first);
        let moved = LocalConfig { http: Port::From(1234), ..LocalConfig::new(folder.path()) };
        let error = Layout::settle(&moved).unwrap_err().to_string();
        assert!(error.contains("--http-port 1234"), "{error}");
        let smaller = LocalConfig { hubs: 1, ..LocalConfig::new(folder.path()) };
        assert!(matches!(Layout::settle(&smaller), Err(LocalError::OtherLayout { .. })));
    }

    #[test]
    fn ports_that_would_meet_are_refused() {
        let config = LocalConfig { http: Port::From(9079), ..LocalConfig::new("x") };
        assert!(matches!(Layout::choose(&config), Err(LocalError::PortTwice(9080))));
    }

    #[test]
    fn a_port_in_use_is_named_with_the_flag_that_moves_it() {
        #[expect(clippy::disallowed_methods, reason = "the other listener of this story")]
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let layout = Layout {
            http: vec![port],
            ..Layout::choose(&LocalConfig { hubs: 1, ..LocalConfig::new("x") }).unwrap()
        };
        let error = layout.check_free().unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--http-port"), "{error}");
    }

    fn a_hub_has_data(folder: &Path) {
        let log = folder.join("hub-1").join(LOG_FOLDER);
        fs::create_dir_all(&log).unwrap();
        fs::write(log.join("entries"), "x").unwrap();
    }

    #[test]
    fn ports_are_bound_to_a_folder_only_once_a_hub_has_data_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let free = || LocalConfig::on_free_ports(folder.path());
        let taken = Layout::settle(&free()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the other listener of this story")]
        let other = std::net::TcpListener::bind(("127.0.0.1", taken.http[0])).unwrap();
        let moved = Layout::settle(&free()).unwrap();
        assert!(!moved.http.contains(&taken.http[0]), "nobody remembers the ports of a folder without data");
        let smaller = Layout::settle(&LocalConfig { hubs: 1, ..free() }).unwrap();
        assert_eq!(smaller.http.len(), 1);
        Layout::settle(&free()).unwrap();
        drop(other);
        a_hub_has_data(folder.path());
        let again = LocalConfig { http: Port::From(1234), ..free() };
        assert!(matches!(Layout::settle(&again), Err(LocalError::OtherLayout { .. })));
    }

    #[test]
    fn a_layout_that_is_gone_beside_data_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        a_hub_has_data(folder.path());
        let error = Layout::settle(&LocalConfig::new(folder.path())).unwrap_err().to_string();
        assert!(error.contains("layout.json") && error.contains("--grpc-port"), "{error}");
        let ports = ports::free(6, &[]).unwrap();
        let told = LocalConfig {
            hubs: 1,
            http: Port::From(ports[0]),
            grpc: Port::From(ports[1]),
            ..LocalConfig::new(folder.path())
        };
        let layout = Layout::settle(&told).unwrap();
        assert!(layout.has_begun(0), "its hub has data, or has lost it");
    }

    #[test]
    fn a_hub_that_is_replaced_gets_a_number_nobody_has_had() {
        let folder = tempfile::tempdir().unwrap();
        let config = LocalConfig::on_free_ports(folder.path());
        let mut layout = Layout::settle(&config).unwrap();
        assert!(
            !layout.has_begun(1) && layout.begin(&[0, 1, 2]) && !layout.begin(&[1]) && layout.has_begun(1)
        );
        assert_eq!(layout.replace(1, &[1, 2, 3]), 4);
        assert_eq!(layout.replace(1, &[7]), 8, "somebody added a hub by hand");
        assert_eq!(layout.replace(0, &[]), 9);
        layout.save(folder.path()).unwrap();
        a_hub_has_data(folder.path());
        let read = Layout::settle(&config).unwrap();
        assert_eq!(read, layout);
        assert_eq!((read.id(0), read.id(1), read.place(8), read.place(2)), (9, 8, Some(1), None));
        assert!(!read.is_founder(1) && read.is_founder(2));
        assert!(!read.has_begun(1) && read.has_begun(2), "the new one has no data yet");
        assert!(read.cluster_argument().starts_with("9=") && read.cluster_argument().contains(",3="));
    }

    #[test]
    fn the_engine_a_folder_was_made_with_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let with = |engine: Option<&str>| LocalConfig {
            log_engine: engine.map(str::to_owned),
            ..LocalConfig::on_free_ports(folder.path())
        };
        Layout::settle(&with(Some("segment"))).unwrap();
        a_hub_has_data(folder.path());
        assert_eq!(Layout::settle(&with(None)).unwrap().engine.as_deref(), Some("segment"));
        let error = Layout::settle(&with(Some("sled"))).unwrap_err().to_string();
        assert!(error.contains("--log-engine segment"), "{error}");
    }

    #[test]
    fn a_folder_of_before_is_read_and_its_hubs_must_have_data() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), r#"{"http":[1,2,3],"grpc":[4,5,6]}"#).unwrap();
        a_hub_has_data(folder.path());
        let layout = Layout::settle(&LocalConfig::new(folder.path())).unwrap();
        assert!(layout.id(2) == 3 && layout.has_begun(2));
    }

    #[test]
    fn a_damaged_layout_is_said_to_be_damaged() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{",
            r#"{"http":[1,2,3],"grpc":[1]}"#,
            r#"{"http":[70000],"grpc":[1]}"#,
            r#"{"http":[1,2,3],"grpc":[4,5,6],"ids":[1]}"#,
        ] {
            fs::write(folder.path().join("layout.json"), text).unwrap();
            let result = Layout::settle(&LocalConfig::new(folder.path()));
            assert!(matches!(result, Err(LocalError::Damaged { .. })), "{text}");
        }
    }
}
