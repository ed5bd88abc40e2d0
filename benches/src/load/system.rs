//! The system under load: a cluster of our own in a temporary folder, or hubs that run already.

use std::{fmt, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use loop_admin::Admin;
use loop_local::{LocalCluster, LocalConfig, Who};
use loop_proto::v1;
use rand::Rng;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// How long a hub has to answer a question about the group.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// How long the hubs may take to agree on a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(20);

/// Where one hub is reached.
#[derive(Clone, Debug)]
pub struct HubAt {
    /// Its node id.
    pub id: u64,
    /// `host:port` for peers and hubs.
    pub grpc: String,
    /// `host:port` for browsers.
    pub http: String,
}

/// What the hubs ask for: empty where it was not given.
#[derive(Args, Clone, Default)]
pub struct Secrets {
    /// The running hubs' token for peers
    #[arg(long, env = "LOOP_HUB_JOIN_TOKEN", hide_env_values = true, default_value = "")]
    pub join_token: String,
    /// Their token for operators
    #[arg(long, env = "LOOP_HUB_ADMIN_TOKEN", hide_env_values = true, default_value = "")]
    pub admin_token: String,
    /// What they show one another
    #[arg(long, env = "LOOP_HUB_GROUP_SECRET", hide_env_values = true, default_value = "")]
    pub group_secret: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How hubs and peers of our own are started.
#[derive(Args, Clone, Debug, Default)]
pub struct Own {
    /// Folder of the loop-hub and loop-peer binaries [default: beside this one]
    #[arg(long, global = true, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
    /// An argument for every hub; may be repeated
    #[arg(long, global = true, allow_hyphen_values = true)]
    pub hub_arg: Vec<String>,
}

/// Hubs and peers to be measured.
pub struct System {
    /// All hubs, by id.
    pub hubs: Vec<HubAt>,
    /// What they ask for.
    pub secrets: Secrets,
    admin: Admin,
    /// Together with the folder of its data; `None`: somebody else's.
    own: Option<(LocalCluster, TempDir)>,
}

impl System {
    /// Starts three hubs and three peers. `engine`: `sled` or `segment`.
    pub async fn start(engine: &str, own: &Own) -> Result<Self> {
        Self::start_with(engine, own, |_| {}).await
    }

    /// The same with a configuration of the caller's own.
    pub async fn start_with(engine: &str, own: &Own, change: impl FnOnce(&mut LocalConfig)) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loop-load-").tempdir()?;
        let mut config = LocalConfig {
            log_engine: Some(engine.to_owned()),
            bin_dir: own.bin_dir.clone(),
            hub_args: own.hub_arg.clone(),
            ..LocalConfig::on_free_ports(folder.path())
        };
        change(&mut config);
        let cluster = LocalCluster::start(config).await?;
        let secrets = Secrets {
            join_token: cluster.join_token().to_owned(),
            admin_token: cluster.admin_token().to_owned(),
            group_secret: cluster.group_secret().to_owned(),
        };
        Self::look_at(&cluster.hub_grpc_all(), secrets, Some((cluster, folder))).await
    }

    /// Hubs that run already, at least one of them named by its gRPC address.
    pub async fn running(hubs: &[String], secrets: Secrets) -> Result<Self> {
        Self::look_at(hubs, secrets, None).await
    }

    async fn look_at(
        hubs: &[String],
        secrets: Secrets,
        own: Option<(LocalCluster, TempDir)>,
    ) -> Result<Self> {
        let mut admin = Admin::new(hubs, ASK_WITHIN)?;
        if !secrets.admin_token.is_empty() {
            admin = admin.with_token(secrets.admin_token.clone().into())?;
        }
        let nodes = admin.status().await?.hubs.into_iter().filter_map(|hub| hub.node);
        let mut hubs: Vec<HubAt> = nodes
            .map(|node| HubAt { id: node.node_id, grpc: node.grpc_addr, http: node.http_addr })
            .collect();
        hubs.sort_by_key(|hub| hub.id);
        ensure!(!hubs.is_empty(), "no hub named the members of its group");
        Ok(Self { hubs, secrets, admin, own })
    }

    /// For questions to the hubs.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The hub that leads, once there is one.
    pub async fn leader(&self) -> Result<&HubAt> {
        let until = Instant::now() + LEADER_WITHIN;
        loop {
            if let Some(id) = self.admin.status().await?.leader {
                return self.hubs.iter().find(|hub| hub.id == id).context("the leader is no member");
            }
            if Instant::now() >= until {
                bail!("no hub has led for {LEADER_WITHIN:?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The connected peers.
    pub async fn peers(&self) -> Result<Vec<v1::PeerInfo>> {
        let peers = self.admin.peers().await?;
        Ok(peers.into_iter().filter(|peer| peer.connected_to.is_some()).collect())
    }

    /// The newest record.
    pub async fn newest(&self) -> Result<u64> {
        Ok(self.admin.status().await?.newest_task)
    }

    /// The processes of our own hubs, and those of our own peers.
    pub fn pids(&self) -> (Vec<u32>, Vec<u32>) {
        let Some((cluster, _)) = &self.own else { return (Vec::new(), Vec::new()) };
        let of = |hubs: bool| {
            let members = cluster.members().into_iter();
            members.filter(|m| matches!(m.who, Who::Hub(_)) == hubs).filter_map(|m| m.pid).collect()
        };
        (of(true), of(false))
    }

    /// Stops what was started and deletes its data.
    pub async fn stop(self) -> Result<()> {
        if let Some((mut cluster, folder)) = self.own {
            let ended = cluster.take_exited();
            cluster.stop_all(|_, _| {}).await;
            drop(cluster);
            if !ended.is_empty() {
                let folder = folder.keep();
                bail!("processes ended by themselves: {ended:?}; logs are in {}", folder.display());
            }
        }
        Ok(())
    }
}

/// Bytes nobody else has: secrets, names, request ids.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// A name nobody else has, with a prefix to know it by.
pub fn unique(prefix: &str) -> String {
    let hex: String = random_bytes::<6>().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{hex}")
}

/// An id for one command.
pub fn request_id() -> Bytes {
    Bytes::copy_from_slice(&random_bytes::<16>())
}
