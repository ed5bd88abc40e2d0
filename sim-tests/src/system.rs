//! A whole system of real processes in a folder of its own, for one test.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use loop_admin::Admin;
use loop_local::{LocalCluster, LocalConfig, Who};
use loop_proto::{
    ids::ForumKey,
    v1::{ForumInfo, show_forum_request::Which},
};
use tempfile::TempDir;

use crate::expect::eventually;

/// What operators show the hubs of a test.
pub const ADMIN_TOKEN: &str = "0123456789-operators-of-tests";

/// Peers are counted on after a second, and copies once they were compared.
const HURRIED: [(&str, &str); 2] = [("--peer-probation-s", "1"), ("--copy-grace-s", "0")];

/// How long an operator's question may take: longer than an election.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// How long a hub may take to name a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(20);

/// Lines of each log shown when a test fails, and characters of each line.
const LOG_LINES_SHOWN: usize = 25;
const LOG_LINE_CHARS_SHOWN: usize = 300;

/// Hubs and peers of one test. If the test panics, the folder stays and the ends of the logs are printed.
pub struct System {
    /// The processes.
    pub cluster: LocalCluster,
    folder: TempDir,
}

impl System {
    /// Three hubs and three peers, ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| {}).await
    }

    /// The same with a configuration of the test's own. Hubs are in a hurry to count on peers and copies, unless it
    /// says otherwise: tests last seconds, and what is waited for is told by [`Self::start_as_shipped`]'s tests.
    pub async fn start_with(change: impl FnOnce(&mut LocalConfig)) -> Result<Self> {
        Self::start_as_shipped(|config| {
            change(config);
            for (option, value) in HURRIED {
                if !config.hub_args.iter().any(|arg| arg == option) {
                    config.hub_args.extend([option, value].map(str::to_owned));
                }
            }
        })
        .await
    }

    /// The same with the hubs' own defaults for whatever the test says nothing of.
    pub async fn start_as_shipped(change: impl FnOnce(&mut LocalConfig)) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("loop-e2e-").tempdir()?;
        let mut config = LocalConfig::on_free_ports(folder.path());
        config.admin_token = Some(ADMIN_TOKEN.to_owned());
        change(&mut config);
        let cluster = LocalCluster::start(config).await?;
        Ok(Self { cluster, folder })
    }

    /// Where everything is kept; gone with the system, unless it is kept.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is when the system ends.
    pub fn keep_folder(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// `http://host:port` of every hub.
    pub fn hubs(&self) -> Vec<String> {
        (0..self.cluster.hub_count()).map(|at| self.hub(at)).collect()
    }

    /// `http://host:port` of hub `at`, from 0.
    pub fn hub(&self, at: usize) -> String {
        format!("http://{}", self.cluster.hub_http(at))
    }

    /// Asks any hub.
    pub fn admin(&self) -> Result<Admin> {
        Ok(self.cluster.admin(ASK_WITHIN)?)
    }

    /// The hub that leads.
    pub async fn leader(&self) -> Result<Who> {
        let admin = self.admin()?;
        let leader = eventually("led", LEADER_WITHIN, || async {
            let status = admin.status().await.map_err(|error| error.to_string())?;
            status.leader.ok_or_else(|| "no hub knows a leader".to_owned())
        })
        .await;
        Ok(Who::Hub(usize::try_from(leader)? - 1))
    }

    /// What the hubs know of a forum.
    pub async fn forum(&self, name: &str) -> Result<ForumInfo> {
        let key = ForumKey::of_name(name.as_bytes()).0.to_vec();
        Ok(self.admin()?.forum(Which::Key(key.into())).await?)
    }

    /// The peers that hold a forum, its primary first.
    pub async fn replicas(&self, forum: &str) -> Result<Vec<Who>> {
        let assignment = self.forum(forum).await?.assignment.context("the forum has no assignment")?;
        let peers = self.admin()?.peers().await?;
        let mut ids = vec![assignment.primary];
        ids.extend(assignment.replicas.iter().filter(|id| **id != assignment.primary));
        let index = |id: u32| {
            let peer = peers.iter().find(|peer| peer.peer_id == id).context("an unknown peer")?;
            let number = peer.name.strip_prefix("peer-").context("a peer we did not name")?;
            Ok(Who::Peer(number.parse::<usize>()? - 1))
        };
        ids.into_iter().map(index).collect()
    }

    /// The forum's rows on one peer.
    pub fn rows(&self, peer: Who, forum: &str) -> Result<Vec<crate::replica::Row>> {
        crate::replica::messages(&self.cluster.data_dir(peer), ForumKey::of_name(forum.as_bytes()))
    }

    /// Name and text of every log.
    pub fn logs(&self) -> Result<Vec<(String, String)>> {
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        self.cluster.members().into_iter().map(|member| Ok((member.name, read(member.log)?))).collect()
    }

    /// Panics if a process ended by itself, or if one wrote of a panic.
    pub fn assert_nobody_fell(&mut self) {
        let ended = self.cluster.take_exited();
        assert!(ended.is_empty(), "ended by themselves: {ended:?}");
        for (name, log) in self.logs().expect("readable logs") {
            let panic = log.lines().find(|line| line.contains("panicked at"));
            assert!(panic.is_none(), "{name}: {}", panic.unwrap_or_default());
        }
    }

    /// Stops everything gracefully, then starts it again.
    pub async fn restart_all(&mut self) -> Result<()> {
        self.cluster.stop_all(|_, _| {}).await;
        Ok(self.cluster.start_all().await?)
    }
}

fn cut(line: &str) -> &str {
    line.char_indices().nth(LOG_LINE_CHARS_SHOWN).map_or(line, |(end, _)| &line[..end])
}

impl Drop for System {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.folder.disable_cleanup(true);
        eprintln!("data and logs stay in {}", self.folder.path().display());
        for (name, log) in self.logs().unwrap_or_default() {
            // openraft tells of every vote; the whole log is in the folder.
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" INFO openraft")).collect();
            let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
            let lines: Vec<&str> = lines[from..].iter().map(|line| cut(line)).collect();
            eprintln!("--- {name}\n{}", lines.join("\n"));
        }
    }
}

/// A program of ours, as built with this test. Cargo puts tests one folder below the programs.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    test.ancestors().nth(2).expect("target/debug/deps/test").join(name)
}
