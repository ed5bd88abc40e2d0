//! Which hub listens where. Kept in the data folder, because the hubs' own log remembers their addresses: a later run
//! on the same folder must use the same ports.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    LocalConfig, LocalError, Port,
    config::{GRPC_PORT, HTTP_PORT},
    files::failed,
    ports,
};

/// The ports of every hub, hub 1 first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub http: Vec<u16>,
    pub grpc: Vec<u16>,
}

impl Layout {
    /// The folder's layout if it has one that fits `config`; else a new one, written to the folder.
    pub fn settle(config: &LocalConfig) -> Result<Self, LocalError> {
        let path = config.data_dir.join("layout.json");
        if let Some(saved) = Self::load(&path, config)? {
            saved.check_fits(config)?;
            return Ok(saved);
        }
        let layout = Self::choose(config)?;
        let text = serde_json::to_string_pretty(&layout).expect("numbers and lists always serialise");
        // Written beside and renamed: a half-written layout would lock its owner out.
        let draft = path.with_extension("draft");
        fs::write(&draft, text + "\n").map_err(failed("write", &draft))?;
        fs::rename(&draft, &path).map_err(failed("write", &path))?;
        Ok(layout)
    }

    fn load(path: &Path, config: &LocalConfig) -> Result<Option<Self>, LocalError> {
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
        if layout.http.len() != usize::from(config.hubs) {
            return Err(LocalError::OtherLayout {
                folder: config.data_dir.clone(),
                saved: format!("--hubs {}", layout.http.len()),
                asked: format!("--hubs {}", config.hubs),
            });
        }
        Ok(Some(layout))
    }

    fn check_fits(&self, config: &LocalConfig) -> Result<(), LocalError> {
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
        Ok(Self { http, grpc })
    }

    /// Fails with the first port that somebody else listens on.
    pub fn check_free(&self) -> Result<(), LocalError> {
        let kinds = [(&self.http, "HTTP", "--http-port"), (&self.grpc, "gRPC", "--grpc-port")];
        for (ports, kind, flag) in kinds {
            for (at, port) in ports.iter().enumerate() {
                if !ports::is_free(*port) {
                    let what = format!("{kind} of hub-{}", at + 1);
                    return Err(LocalError::PortInUse { port: *port, what, flag });
                }
            }
        }
        Ok(())
    }

    /// The hubs' `--cluster` argument: `1=127.0.0.1:9080/127.0.0.1:8080,…`.
    pub fn cluster_argument(&self) -> String {
        let pairs = self.grpc.iter().zip(&self.http).enumerate();
        let entries = pairs.map(|(at, (grpc, http))| {
            format!("{}={}/{}", at + 1, ports::loopback(*grpc), ports::loopback(*http))
        });
        entries.collect::<Vec<_>>().join(",")
    }
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
        let error = Layout { http: vec![port], grpc: vec![1] }.check_free().unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--http-port"), "{error}");
    }

    #[test]
    fn a_damaged_layout_is_said_to_be_damaged() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", r#"{"http":[1,2,3],"grpc":[1]}"#, r#"{"http":[70000],"grpc":[1]}"#] {
            fs::write(folder.path().join("layout.json"), text).unwrap();
            let result = Layout::settle(&LocalConfig::new(folder.path()));
            assert!(matches!(result, Err(LocalError::Damaged { .. })), "{text}");
        }
    }
}
