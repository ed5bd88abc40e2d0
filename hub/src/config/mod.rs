//! A hub's configuration: read once from flags, environment and file, validated, then frozen.
//!
//! Flag beats environment beats file beats default. Never read again after start.

mod error;
mod options;
mod projection;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use loop_proto::{ids::HubId, v1};
use loop_raft_store::machine::Bounds;

pub use error::ConfigError;
pub use options::{LogEngineKind, Options, ProjectionEngine};
pub use projection::ProjectionConfig;

use self::error::invalid;
use loop_net::secret::Secret;

/// Messages that may wait for a peer that reads slowly.
const PEER_QUEUE: usize = 512;
const SECOND: Duration = Duration::from_secs(1);
/// Longest time that can be set: times are added to, and must not overflow.
const SECONDS_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Where one hub is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubAddrs {
    /// `host:port` of its gRPC port.
    pub grpc: String,
    /// `host:port` of its HTTP port.
    pub http: String,
}

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// This hub.
    pub hub_id: HubId,
    /// Folder for everything this hub keeps.
    pub data_dir: PathBuf,
    /// Where browsers connect.
    pub http_listen: SocketAddr,
    /// Where hubs, peers and operators connect.
    pub grpc_listen: SocketAddr,
    /// The first members of the group; this hub alone when none were given.
    pub cluster: BTreeMap<u64, HubAddrs>,
    /// Form the group if there is no data yet.
    pub bootstrap: bool,
    /// A member to ask for admission.
    pub join: Option<String>,
    /// What peers must present to join.
    pub join_token: Secret,
    /// What operators must present; `None`: they must come from this machine.
    pub admin_token: Option<Secret>,
    /// What other hubs must present; `None`: they must come from this machine.
    pub group_secret: Option<Secret>,
    /// The Raft log's engine.
    pub log_engine: LogEngineKind,
    /// Files to serve besides the built-in ones.
    pub static_dir: Option<PathBuf>,
    /// Replicas of a new forum.
    pub replicas: usize,
    /// Replicas of a busy one.
    pub replicas_max: usize,
    /// Forums find their peers by themselves.
    pub balance: bool,
    /// A peer that is away longer counts as lost, if nothing is known of its habits.
    pub peer_grace: Duration,
    /// How long a new peer must have been there before its copies count.
    pub peer_probation: Duration,
    /// How long a new copy must have been live before it is compared; how long a replaced one is kept after that.
    pub copy_grace: Duration,
    /// Silence that ends an unanswered invitation; an accepted one may stand still twice as long.
    pub invitation_timeout: Duration,
    /// Raft heartbeat.
    pub heartbeat: Duration,
    /// Bounds of the random election timeout.
    pub election: (Duration, Duration),
    /// An unanswered task older than this goes to another replica.
    pub takeover: Duration,
    /// Heartbeat on peers' streams.
    pub peer_heartbeat: Duration,
    /// Retention budget of the task log, records.
    pub retained_records: u64,
    /// Memory for windows, bytes.
    pub window_bytes_max: usize,
    /// Where rows are written for questions in SQL; `None`: nowhere.
    pub projection: Option<ProjectionConfig>,
    /// Raft entries between snapshots.
    pub snapshot_entries: u64,
    /// Messages that may wait for a peer that reads slowly. Beyond it the peer gets no reads until it has caught up. No
    /// option sets it.
    pub peer_queue: usize,
    /// How long a peer is suspended that says for the first time what cannot be. No option sets it.
    pub suspension_ms: u64,
    /// How long an unfinished message stays that nobody goes on with. No option sets it.
    pub open_message_age_ms: u64,
    /// How long a forum stays in which there is nothing. No option sets it.
    pub empty_forum_age_ms: u64,
    /// Bound of client connections.
    pub connections_max: usize,
    /// Socket.IO clients are served.
    pub realtime: bool,
    /// Ports for browsers beside that of [`Self::http_listen`], at the same address.
    pub realtime_ports: Vec<u16>,
    /// Addresses other than loopback are allowed.
    pub insecure_plaintext: bool,
    /// What is logged.
    pub log: String,
}

/// Nothing is encrypted yet, so whoever listens beyond this machine must have said so.
fn check_exposure(flag: &str, addr: SocketAddr, insecure: bool) -> Result<(), ConfigError> {
    if addr.ip().is_loopback() || insecure {
        return Ok(());
    }
    invalid(format!(
        "{flag} {addr} is reachable from other machines and nothing is encrypted yet: put a TLS proxy in front and \
         listen on loopback, or accept it with --insecure-plaintext"
    ))
}

const MIB: u64 = 1 << 20;

/// What a hub is told of its group goes together.
fn check_group(
    options: &Options,
    hub_id: HubId,
    cluster: &BTreeMap<u64, HubAddrs>,
) -> Result<(), ConfigError> {
    if !cluster.contains_key(&hub_id.get()) {
        return invalid(format!("--cluster does not name this hub (--node-id {})", hub_id.get()));
    }
    if options.bootstrap == Some(true) && options.join.is_some() {
        return invalid("--bootstrap forms a new group, --join enters one: give only one of them");
    }
    if options.bootstrap == Some(true) && !matches!(cluster.len(), 1 | 3 | 5) {
        return invalid(format!("a group starts with 1, 3 or 5 hubs; --cluster names {}", cluster.len()));
    }
    Ok(())
}

impl TryFrom<Options> for HubConfig {
    type Error = ConfigError;

    fn try_from(options: Options) -> Result<Self, ConfigError> {
        let Some(hub_id) = HubId::new(options.node_id.unwrap_or(0)) else {
            return invalid("--node-id is missing: give every hub a number of its own, from 1");
        };
        let http_listen = options.http_listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
        let grpc_listen = options.grpc_listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9080)));
        let insecure = options.insecure_plaintext.unwrap_or(false);
        for (flag, addr) in [("--http-listen", http_listen), ("--grpc-listen", grpc_listen)] {
            check_exposure(flag, addr, insecure)?;
        }
        let cluster = match &options.cluster {
            Some(text) => parse_cluster(text)?,
            None => BTreeMap::from([(
                hub_id.get(),
                HubAddrs { grpc: grpc_listen.to_string(), http: http_listen.to_string() },
            )]),
        };
        check_group(&options, hub_id, &cluster)?;
        let projection = ProjectionConfig::read(&options, insecure)?;
        let config = Self {
            hub_id,
            data_dir: options.data_dir.unwrap_or_else(|| "loop-hub-data".into()),
            http_listen,
            grpc_listen,
            cluster,
            bootstrap: options.bootstrap.unwrap_or(false),
            join: options.join,
            join_token: options.join_token.unwrap_or_default().into(),
            admin_token: options.admin_token.map(Secret::from),
            group_secret: options.group_secret.map(Secret::from),
            log_engine: options.log_engine.unwrap_or(LogEngineKind::Sled),
            static_dir: options.static_dir,
            replicas: options.replicas.unwrap_or(3) as usize,
            replicas_max: options.replicas_max.unwrap_or(4) as usize,
            balance: options.balance.unwrap_or(true),
            peer_grace: Duration::from_secs(options.peer_grace_s.unwrap_or(600)),
            peer_probation: Duration::from_secs(options.peer_probation_s.unwrap_or(12 * 3600)),
            copy_grace: Duration::from_secs(options.copy_grace_s.unwrap_or(600)),
            invitation_timeout: Duration::from_secs(options.invitation_timeout_s.unwrap_or(30)),
            heartbeat: Duration::from_millis(options.heartbeat_ms.unwrap_or(50)),
            election: (
                Duration::from_millis(options.election_min_ms.unwrap_or(200)),
                Duration::from_millis(options.election_max_ms.unwrap_or(400)),
            ),
            takeover: Duration::from_millis(options.takeover_ms.unwrap_or(1000)),
            peer_heartbeat: Duration::from_millis(options.peer_heartbeat_ms.unwrap_or(250)),
            peer_queue: PEER_QUEUE,
            suspension_ms: Bounds::STANDARD.suspension_ms,
            open_message_age_ms: Bounds::STANDARD.open_message_age_ms,
            empty_forum_age_ms: Bounds::STANDARD.empty_forum_age_ms,
            retained_records: options.retained_records.unwrap_or(1_000_000),
            window_bytes_max: usize::try_from(options.window_mib.unwrap_or(256).saturating_mul(MIB))
                .unwrap_or(usize::MAX),
            projection,
            snapshot_entries: options.snapshot_entries.unwrap_or(100_000),
            connections_max: options.connections_max.unwrap_or(16_000),
            realtime: options.realtime.unwrap_or(true),
            realtime_ports: parse_ports(options.realtime_ports.as_deref().unwrap_or_default())?,
            insecure_plaintext: insecure,
            log: options.log.unwrap_or_else(|| "info,openraft=warn".into()),
        };
        config.validate()
    }
}

impl HubConfig {
    fn validate(self) -> Result<Self, ConfigError> {
        let (min, max) = self.election;
        if self.join_token.expose().len() < 8 {
            return invalid("--join-token is missing or shorter than 8 characters: peers join with it");
        }
        if self.admin_token.as_ref().is_some_and(|token| !token.is_bearer()) {
            return invalid("--admin-token is not 16 to 256 visible ASCII characters");
        }
        if self.group_secret.as_ref().is_some_and(|secret| !secret.is_bearer()) {
            return invalid("--group-secret is not 16 to 256 visible ASCII characters");
        }
        if self.group_secret.is_none() && !self.grpc_listen.ip().is_loopback() {
            return invalid(format!(
                "--grpc-listen {} is reachable from other machines, and whoever reaches it could speak as a hub: \
                 give all hubs the same --group-secret",
                self.grpc_listen
            ));
        }
        if !(1..=4).contains(&self.replicas) {
            return invalid(format!("--replicas {} is not between 1 and 4", self.replicas));
        }
        if !(self.replicas..=4).contains(&self.replicas_max) {
            return invalid(format!(
                "--replicas-max {} is not between --replicas ({}) and 4",
                self.replicas_max, self.replicas
            ));
        }
        if self.peer_grace < SECOND || self.invitation_timeout < SECOND {
            return invalid("--peer-grace-s and --invitation-timeout-s are at least 1");
        }
        let longest = [self.peer_grace, self.peer_probation, self.copy_grace, self.invitation_timeout];
        if longest.into_iter().any(|time| time > SECONDS_MAX) {
            return invalid(
                "--peer-grace-s, --peer-probation-s, --copy-grace-s and --invitation-timeout-s are at most 31536000, a year",
            );
        }
        if self.heartbeat.is_zero() || min < self.heartbeat * 2 || max <= min {
            return invalid(format!(
                "heartbeat {:?}, election {min:?} to {max:?}: the shortest election timeout must be at least \
                 twice the heartbeat and below the longest",
                self.heartbeat
            ));
        }
        if self.takeover < Duration::from_millis(100) || self.peer_heartbeat < Duration::from_millis(10) {
            return invalid("--takeover-ms is at least 100, --peer-heartbeat-ms at least 10");
        }
        if self.window_bytes_max < 1 << 20 {
            return invalid("--window-mib is at least 1");
        }
        if self.retained_records < 1000 || self.snapshot_entries < 100 || self.connections_max < 16 {
            return invalid(
                "--retained-records is at least 1000, --snapshot-entries 100, --connections-max 16",
            );
        }
        if let Some(dir) = self.static_dir.as_ref().filter(|dir| !dir.is_dir()) {
            return invalid(format!("--static-dir {} is not a folder", dir.display()));
        }
        Ok(self)
    }

    /// What is in force, as options: a file of them starts the same hub, but for the masked token.
    pub fn to_options(&self) -> Options {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).ok();
        let member = |(id, at): (&u64, &HubAddrs)| format!("{id}={}/{}", at.grpc, at.http);
        Options {
            node_id: Some(self.hub_id.get()),
            data_dir: Some(self.data_dir.clone()),
            http_listen: Some(self.http_listen),
            grpc_listen: Some(self.grpc_listen),
            cluster: Some(self.cluster.iter().map(member).collect::<Vec<_>>().join(",")),
            bootstrap: Some(self.bootstrap),
            join: self.join.clone(),
            join_token: Some("***".into()),
            admin_token: self.admin_token.as_ref().map(|_| "***".into()),
            group_secret: self.group_secret.as_ref().map(|_| "***".into()),
            log_engine: Some(self.log_engine),
            static_dir: self.static_dir.clone(),
            replicas: u32::try_from(self.replicas).ok(),
            replicas_max: u32::try_from(self.replicas_max).ok(),
            balance: Some(self.balance),
            peer_grace_s: Some(self.peer_grace.as_secs()),
            peer_probation_s: Some(self.peer_probation.as_secs()),
            copy_grace_s: Some(self.copy_grace.as_secs()),
            invitation_timeout_s: Some(self.invitation_timeout.as_secs()),
            heartbeat_ms: millis(self.heartbeat),
            election_min_ms: millis(self.election.0),
            election_max_ms: millis(self.election.1),
            takeover_ms: millis(self.takeover),
            peer_heartbeat_ms: millis(self.peer_heartbeat),
            retained_records: Some(self.retained_records),
            window_mib: Some(self.window_bytes_max as u64 / MIB),
            projection_url: self.projection.as_ref().map(|projection| projection.url_masked.clone()),
            projection_engine: self.projection.as_ref().map(|projection| projection.engine),
            projection_records: self.projection.as_ref().map(|projection| projection.records),
            snapshot_entries: Some(self.snapshot_entries),
            connections_max: Some(self.connections_max),
            realtime: Some(self.realtime),
            realtime_ports: (!self.realtime_ports.is_empty())
                .then(|| self.realtime_ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")),
            insecure_plaintext: Some(self.insecure_plaintext),
            log: Some(self.log.clone()),
        }
    }

    /// Where this hub is reached.
    pub fn own_node(&self) -> v1::HubNode {
        let addrs = &self.cluster[&self.hub_id.get()];
        v1::HubNode {
            node_id: self.hub_id.get(),
            grpc_addr: addrs.grpc.clone(),
            http_addr: addrs.http.clone(),
        }
    }
}

fn parse_cluster(text: &str) -> Result<BTreeMap<u64, HubAddrs>, ConfigError> {
    let mut cluster = BTreeMap::new();
    for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let parsed = member.split_once('=').and_then(|(id, addrs)| {
            let (grpc, http) = addrs.split_once('/')?;
            let id = id.trim().parse::<u64>().ok().filter(|id| *id > 0)?;
            (is_authority(grpc) && is_authority(http))
                .then(|| (id, HubAddrs { grpc: grpc.into(), http: http.into() }))
        });
        let Some((id, addrs)) = parsed else {
            return invalid(format!("--cluster: {member:?} is not \"id=grpc-host:port/http-host:port\""));
        };
        if cluster.insert(id, addrs).is_some() {
            return invalid(format!("--cluster names hub {id} twice"));
        }
    }
    if cluster.is_empty() || cluster.len() > 7 {
        return invalid(format!(
            "--cluster names {} hubs; 1, 3 or 5 make sense, 7 is the most",
            cluster.len()
        ));
    }
    Ok(cluster)
}

/// Most ports beside the usual one.
const PORTS_MAX: usize = 16;

fn parse_ports(text: &str) -> Result<Vec<u16>, ConfigError> {
    let mut ports = Vec::new();
    for port in text.split(',').map(str::trim).filter(|port| !port.is_empty()) {
        match port.parse::<u16>() {
            Ok(port) if port > 0 && !ports.contains(&port) => ports.push(port),
            _ => {
                return invalid(format!(
                    "--realtime-ports: {port:?} is no port from 1 to 65535, or is there twice"
                ));
            }
        }
    }
    if ports.len() > PORTS_MAX {
        return invalid(format!("--realtime-ports names {} ports; {PORTS_MAX} are the most", ports.len()));
    }
    Ok(ports)
}

/// Whether `text` is `host:port`.
pub fn is_authority(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options { node_id: Some(1), join_token: Some("volunteers".into()), ..Options::default() }
    }

    fn refused(options: Options) -> String {
        HubConfig::try_from(options).unwrap_err().to_string()
    }

    #[test]
    fn a_lone_hub_needs_only_its_number_and_a_token() {
        let config = HubConfig::try_from(options()).unwrap();
        assert_eq!(config.cluster[&1].grpc, "127.0.0.1:9080");
        assert_eq!(config.election, (Duration::from_millis(200), Duration::from_millis(400)));
    }

    #[test]
    fn flags_beat_the_file() {
        let file: Options = toml::from_str("node-id = 7\nreplicas = 2").unwrap();
        let merged = options().or(file);
        assert_eq!((merged.node_id, merged.replicas), (Some(1), Some(2)));
        assert!(toml::from_str::<Options>("nodeid = 7").is_err(), "a misspelt key is an error");
    }

    #[test]
    fn what_cannot_work_says_what_to_change() {
        let open = Options { http_listen: Some("0.0.0.0:80".parse().unwrap()), ..options() };
        assert!(refused(open.clone()).contains("--insecure-plaintext"));
        assert!(HubConfig::try_from(Options { insecure_plaintext: Some(true), ..open }).is_ok());
        assert!(refused(Options { node_id: None, ..options() }).contains("--node-id"));
        assert!(refused(Options { join_token: None, ..options() }).contains("--join-token"));
        assert!(refused(Options { cluster: Some("1=a".into()), ..options() }).contains("--cluster"));
        let two = "1=h:1/h:2,2=h:3/h:4";
        let two = Options { cluster: Some(two.into()), bootstrap: Some(true), ..options() };
        assert!(refused(two).contains("1, 3 or 5"));
        assert!(refused(Options { election_min_ms: Some(60), ..options() }).contains("heartbeat"));
        for max in [2, 5] {
            let options = Options { replicas_max: Some(max), ..options() };
            assert!(refused(options).contains("--replicas-max"));
        }
        assert!(refused(Options { peer_grace_s: Some(0), ..options() }).contains("--peer-grace-s"));
        assert!(refused(Options { invitation_timeout_s: Some(u64::MAX), ..options() }).contains("a year"));
    }

    #[test]
    fn an_admin_token_is_long_enough_fits_in_a_header_and_does_not_print() {
        let with = |token: &str| Options { admin_token: Some(token.into()), ..options() };
        for token in ["", "***", "short", "with a space in it", "ümlaut-in-the-token", &"x".repeat(257)] {
            assert!(refused(with(token)).contains("--admin-token"), "{token:?}");
        }
        let config = HubConfig::try_from(with("0123456789-operators")).unwrap();
        let printed = toml::to_string(&config.to_options()).unwrap();
        assert!(!printed.contains("operators") && !format!("{config:?}").contains("operators"), "{printed}");
    }

    #[test]
    fn a_hub_that_others_can_reach_needs_a_group_secret_which_does_not_print() {
        let open = Options {
            grpc_listen: Some("0.0.0.0:9080".parse().unwrap()),
            insecure_plaintext: Some(true),
            ..options()
        };
        assert!(refused(open.clone()).contains("--group-secret"));
        let with = |secret: &str| Options { group_secret: Some(secret.into()), ..open.clone() };
        assert!(refused(with("***")).contains("--group-secret"), "what is printed masked is no secret");
        let config = HubConfig::try_from(with("0123456789-of-hubs")).unwrap();
        let printed = toml::to_string(&config.to_options()).unwrap();
        assert!(printed.contains("group-secret") && !printed.contains("of-hubs"), "{printed}");
        assert!(!format!("{config:?}").contains("of-hubs"));
    }

    #[test]
    fn more_ports_are_read_and_printed_as_they_were() {
        let with = |ports: &str| Options { realtime_ports: Some(ports.into()), ..options() };
        let config = HubConfig::try_from(with("3001, 3002")).unwrap();
        assert_eq!((config.realtime, &config.realtime_ports), (true, &vec![3001, 3002]));
        assert_eq!(config.to_options().realtime_ports.as_deref(), Some("3001,3002"));
        for ports in
            ["0", "70000", "x", "3001,3001", &(1..18).map(|n| n.to_string()).collect::<Vec<_>>().join(",")]
        {
            assert!(refused(with(ports)).contains("--realtime-ports"), "{ports}");
        }
    }

    #[test]
    fn the_token_does_not_print() {
        let config = HubConfig::try_from(options()).unwrap();
        assert!(!format!("{config:?}").contains("volunteers"));
        let printed = toml::to_string(&config.to_options()).unwrap();
        assert!(!printed.contains("volunteers"), "{printed}");
        assert!(toml::from_str::<Options>(&printed).is_ok(), "what is printed can be read again");
        assert!(config.join_token.matches("volunteers") && !config.join_token.matches("volunteerz"));
    }
}
