//! One hostile peer at work, as a test sees it: a process, and what it tells.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{Attempt, Event, Victim};
use crate::system::{System, binary};

/// How long anything that it waits for may take.
const TELLS_WITHIN: Duration = Duration::from_secs(20);

/// A running `hostile-peer`. Killed when dropped.
pub struct HostilePeer {
    /// What it tries.
    pub attempt: Attempt,
    /// Its number.
    pub peer: u32,
    /// What it calls itself.
    pub name: String,
    /// Whose it says it is.
    pub owner: String,
    told: Vec<Event>,
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl HostilePeer {
    /// Has one join through hub `at`, with the volunteers' own token.
    pub async fn arrive(system: &System, at: usize, attempt: Attempt, victim: Victim) -> Result<Self> {
        let (name, owner) = (format!("hostile-{attempt}"), format!("owner of {attempt}"));
        let mut child = Command::new(binary("hostile-peer"))
            .args(["--hub", &system.cluster.hub_grpc(at).to_string()])
            .args(["--name", &name, "--owner", &owner, "--attempt", &attempt.name()])
            .args(["--victim-forum", &victim.forum.to_string()])
            .args(["--victim-message", &victim.message.to_string()])
            .args(["--victim-user", &victim.user.to_string()])
            .env("LOOP_PEER_JOIN_TOKEN", system.cluster.join_token())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting hostile-peer")?;
        let lines = BufReader::new(child.stdout.take().context("it has no output")?).lines();
        let mut hostile = Self { attempt, peer: 0, name, owner, told: Vec::new(), lines, child };
        match hostile.next().await? {
            Event::Joined { peer } => hostile.peer = peer,
            other => bail!("{attempt} did not join: {other:?}"),
        }
        Ok(hostile)
    }

    /// The next thing it tells.
    pub async fn next(&mut self) -> Result<Event> {
        let line = timeout(TELLS_WITHIN, self.lines.next_line()).await;
        let line =
            line.with_context(|| format!("{} tells nothing more; so far {:?}", self.attempt, self.told))??;
        let line = line.with_context(|| format!("{} has ended; told {:?}", self.attempt, self.told))?;
        let event: Event = serde_json::from_str(&line).with_context(|| line.clone())?;
        self.told.push(event.clone());
        Ok(event)
    }

    /// Waits until it tells what `wanted` takes; what that made of it.
    pub async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = wanted(&self.next().await?) {
                return Ok(found);
            }
        }
    }

    /// Everything it has told so far, as far as it was read.
    pub fn told(&self) -> &[Event] {
        &self.told
    }

    /// Waits until it has ended by itself, having been told whether it may come again.
    pub async fn finish(&mut self) -> Result<(String, String)> {
        let refused = self.until(|event| match event {
            Event::Refused { code, why } => Some((code.clone(), why.clone())),
            _ => None,
        });
        let refused = refused.await?;
        let status = timeout(TELLS_WITHIN, self.child.wait()).await.context("it does not end")??;
        ensure!(status.success(), "{} ended with {status}", self.attempt);
        Ok(refused)
    }

    /// Ends it in the middle of what it does.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}
