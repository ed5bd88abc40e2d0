//! A volunteer who drops in: a real peer with a folder and a name of its own, beside those of the system.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};
use loop_local::LocalConfig;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::system::System;

/// How long one that was asked to stop may take.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// How a guest goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Ctrl-C: says good-bye.
    Asked,
    /// The lid is closed, the plug is pulled.
    Killed,
}

/// A guest's machine. Killed when dropped.
pub struct Guest {
    /// What it calls itself.
    pub name: String,
    /// What it keeps.
    pub data_dir: PathBuf,
    child: Child,
}

impl Guest {
    /// Where a guest of this name keeps what it has.
    pub fn folder(system: &System, name: &str) -> PathBuf {
        system.folder().join("guests").join(name)
    }

    /// Starts one; a name that was here before comes back with what it kept.
    pub fn arrive(system: &System, name: &str, more: &[&str]) -> Result<Self> {
        let data_dir = Self::folder(system, name);
        fs::create_dir_all(&data_dir)?;
        let log = File::options().create(true).append(true).open(data_dir.with_extension("log"))?;
        let hubs = system.cluster.hub_grpc_all();
        let program = LocalConfig::new("").binary("loop-peer")?;
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(&data_dir)
            .args(["--name", name])
            .args(hubs.iter().flat_map(|hub| ["--hub", hub]))
            .args(more)
            .env("LOOP_PEER_JOIN_TOKEN", system.cluster.join_token())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), data_dir, child })
    }

    /// Stops it and waits until it is gone.
    pub async fn leave(mut self, how: Leaving) -> Result<()> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        let pid = pid.with_context(|| format!("{} has ended by itself", self.name))?;
        kill_process(pid, if how == Leaving::Asked { Signal::TERM } else { Signal::KILL })?;
        timeout(LEAVES_WITHIN, self.child.wait()).await.with_context(|| format!("{} stays", self.name))??;
        Ok(())
    }
}
