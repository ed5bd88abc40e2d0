//! The comparison: three etcd members on loopback with their defaults, each on a folder of its own, and workload
//! `etcd`: the same 512 bytes as unary Puts (etcd has no streaming Put), sent to its leader. etcd syncs before it answers.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};
use tonic::transport::Channel;

use super::{
    Figures, Pace, Span,
    clients::{self, Client},
    grpc,
    proposals::COMMAND_BYTES,
};
use crate::etcd_api::{
    PutRequest, StatusRequest, kv_client::KvClient, maintenance_client::MaintenanceClient,
};

const MEMBERS: usize = 3;

/// How long the members may take to agree on a leader.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Requests that share one connection; more would queue in one HTTP/2 stream loop of the client.
const PER_CONNECTION: usize = 64;

/// Keys written to, in turn.
const KEYS: u64 = 10_000;

/// Three running members. Dropped, they are killed and their data is deleted.
pub struct Etcd {
    members: Vec<Child>,
    clients: Vec<String>,
    /// Deleted after the members are gone, hence below them.
    _folder: TempDir,
}

impl Etcd {
    /// Starts three members and waits until they have a leader.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loop-load-etcd-").tempdir()?;
        let ports = free_ports(2 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let group: Vec<String> =
            peers.iter().enumerate().map(|(at, port)| format!("m{at}={}", url(port))).collect();
        let mut members = Vec::new();
        for at in 0..MEMBERS {
            let log = std::fs::File::create(folder.path().join(format!("m{at}.log")))?;
            let member = Command::new("etcd")
                .args(["--name", &format!("m{at}"), "--data-dir"])
                .arg(folder.path().join(format!("m{at}")))
                .args(["--listen-client-urls", &url(&clients[at])])
                .args(["--advertise-client-urls", &url(&clients[at])])
                .args(["--listen-peer-urls", &url(&peers[at])])
                .args(["--initial-advertise-peer-urls", &url(&peers[at])])
                .args(["--initial-cluster", &group.join(","), "--initial-cluster-state", "new"])
                .args(["--logger", "zap", "--log-level", "error"])
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .kill_on_drop(true)
                .spawn()
                .context("etcd cannot be started; scripts/install-tools.sh bench installs it")?;
            members.push(member);
        }
        let clients = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let etcd = Self { members, clients, _folder: folder };
        etcd.leader().await?;
        Ok(etcd)
    }

    /// Where the leader takes requests.
    async fn leader(&self) -> Result<&str> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            for client in &self.clients {
                if leads(client).await.unwrap_or(false) {
                    return Ok(client);
                }
            }
            if Instant::now() >= until {
                bail!("etcd's members have not agreed on a leader for {READY_WITHIN:?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The members' processes.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(Child::id).collect()
    }

    /// One run of Puts with `in_flight` clients.
    pub async fn run(&self, pace: Pace, in_flight: usize, span: Span) -> Result<Figures> {
        let leader = self.leader().await?;
        let mut channels = Vec::new();
        for _ in 0..in_flight.div_ceil(PER_CONNECTION) {
            channels.push(grpc::connect(leader).await?);
        }
        let value = Bytes::from(vec![b'v'; COMMAND_BYTES]);
        let clients = (0..in_flight).map(|at| Putter {
            client: KvClient::new(channels[at % channels.len()].clone()),
            value: value.clone(),
            next: at as u64,
            step: in_flight as u64,
        });
        Ok(clients::run(clients.collect(), pace, span).await.1)
    }

    /// Kills the members and deletes their data.
    pub async fn stop(mut self) -> Result<()> {
        for member in &mut self.members {
            member.kill().await?;
        }
        Ok(())
    }
}

async fn leads(client: &str) -> Result<bool> {
    let mut maintenance = MaintenanceClient::new(grpc::connect(client).await?);
    let status = maintenance.status(StatusRequest {}).await?.into_inner();
    let own = status.header.context("a header")?.member_id;
    Ok(status.leader != 0 && status.leader == own)
}

struct Putter {
    client: KvClient<Channel>,
    value: Bytes,
    next: u64,
    step: u64,
}

impl Client for Putter {
    async fn call(&mut self) -> Result<(), String> {
        let key = format!("load/{:08}", self.next % KEYS).into_bytes().into();
        self.next += self.step;
        let put = PutRequest { key, value: self.value.clone() };
        self.client.put(put).await.map(drop).map_err(|status| format!("{:?}", status.code()))
    }
}

/// Ports nobody listens on: all held at once, so that they differ, then let go for etcd to take.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let held = (0..count).map(|_| TcpListener::bind(any)).collect::<Result<Vec<_>, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
