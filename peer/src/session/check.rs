//! `--check`: says of a configuration what is wrong and what to do, without changing anything.

use std::{fmt, path::Path, time::Duration};

use tonic::Code;

use super::link::{Link, LinkError};
use crate::{
    config::{Config, HubAddr},
    identity::{Identity, Secret},
    io::Io,
};
use loop_proto::ids::PeerId;

/// What was found, one line each.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<(bool, String)>,
}

impl Report {
    /// Whether a peer would run.
    pub fn is_fine(&self) -> bool {
        self.lines.iter().all(|(fine, _)| *fine)
    }

    fn fine(&mut self, line: impl Into<String>) {
        self.lines.push((true, line.into()));
    }

    fn wrong(&mut self, line: impl Into<String>) {
        self.lines.push((false, line.into()));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fine, line) in &self.lines {
            writeln!(f, "{}  {line}", if *fine { "ok   " } else { "WRONG" })?;
        }
        Ok(())
    }
}

/// Checks the data folder, the identity and each hub.
pub async fn check(config: &Config, io: &Io) -> Report {
    let mut report = Report::default();
    check_folder(&config.data_dir, &mut report);
    let identity = match Identity::load(&config.data_dir) {
        Ok(identity) => identity,
        Err(error) => {
            report.wrong(error.to_string());
            None
        }
    };
    let joined = identity.and_then(|identity| identity.peer_id.map(|me| (me, identity.secret)));
    match &joined {
        Some((me, _)) => report.fine(format!("identity: {me}")),
        None if config.join_token.is_some() => {
            report.fine("identity: none yet; the join token will be used on the first start");
        }
        None => report
            .wrong("identity: none yet, and no join token: pass --join-token; the hubs' operator has it"),
    }
    for hub in &config.hubs {
        match check_hub(io, hub, joined.as_ref()).await {
            Ok(said) => report.fine(format!("hub {hub}: {said}")),
            Err(wrong) => report.wrong(format!("hub {hub}: {wrong}")),
        }
    }
    report
}

fn check_folder(dir: &Path, report: &mut Report) {
    // The nearest folder that exists: the rest will be made in it.
    let mut there = dir;
    while !there.exists() {
        match there.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => there = parent,
            _ => there = Path::new("."),
        }
    }
    match there.metadata() {
        Ok(meta) if !meta.is_dir() => report.wrong(format!("{} is not a folder", there.display())),
        Ok(meta) if meta.permissions().readonly() => {
            report.wrong(format!("{} cannot be written to by this user", there.display()));
        }
        Ok(_) => report.fine(format!("data folder: {}", dir.display())),
        Err(error) => report.wrong(format!("{}: {error}", there.display())),
    }
}

/// Asks for records as the peer would; a hub that does not know us says so, and that it is a hub.
async fn check_hub(
    io: &Io,
    hub: &HubAddr,
    joined: Option<&(PeerId, Secret)>,
) -> Result<&'static str, String> {
    let mut link =
        Link::dial(io, hub).await.map_err(|error| format!("{error}; is it running, is the port right?"))?;
    let nobody = Secret::generate([0; 32]);
    let (me, secret) = match joined {
        Some((me, secret)) => (*me, secret),
        None => (PeerId::new(u32::MAX).ok_or("no such peer")?, &nobody),
    };
    // From the end of time nothing can come, and nothing is asked to be kept back for us.
    match link.fetch(me, secret, u64::MAX, Duration::from_millis(1)).await {
        Ok(_) => Ok("reachable"),
        Err(LinkError::Refused(status)) if status.code() == Code::Unimplemented => {
            Err("answers, but is no hub; is this its gRPC port?".into())
        }
        Err(error) if error.is_denial() && joined.is_some() => {
            Err(format!("{error}; this data folder's identity belongs to another group of hubs"))
        }
        Err(LinkError::Refused(status)) if status.code() == Code::Unavailable => {
            Err("is not available".into())
        }
        Err(LinkError::Refused(_)) => Ok("reachable"),
        Err(error) => Err(error.to_string()),
    }
}
