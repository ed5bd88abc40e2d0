//! `hubctl` as an operator runs it: the binary, its exit code and what it prints.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use loop_local::LocalConfig;
use serde_json::Value;
use tokio::process::Command;

use crate::system::{ADMIN_TOKEN, System};

/// What came of one call.
#[derive(Clone, Debug)]
pub struct Said {
    /// The exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// What was printed, as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("no JSON: {self:?}"))
    }
}

/// Runs it with the tests' admin token.
pub async fn hubctl(arguments: &[&str]) -> Result<Said> {
    hubctl_showing(Some(ADMIN_TOKEN), arguments).await
}

/// Runs it with another token, or none.
pub async fn hubctl_showing(token: Option<&str>, arguments: &[&str]) -> Result<Said> {
    let token = token.map(|token| ("LOOP_HUBCTL_ADMIN_TOKEN", token));
    let mut command = Command::new(LocalConfig::new("").binary("hubctl")?);
    let output = command.args(arguments).envs(token).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    Ok(Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Asks hub `at`, from 0; `line` is split at blanks.
pub async fn ask(system: &System, at: usize, line: &str) -> Result<Said> {
    let hub = system.cluster.hub_grpc(at).to_string();
    let arguments: Vec<&str> = ["--hub", &hub].into_iter().chain(line.split(' ')).collect();
    hubctl(&arguments).await
}

/// The same for what must be answered or done; what was printed as JSON.
pub async fn done(system: &System, at: usize, line: &str) -> Result<Value> {
    let said = ask(system, at, &format!("--json {line}")).await?;
    ensure!(said.code == Some(0), "hubctl {line}: {said:?}");
    said.json()
}
