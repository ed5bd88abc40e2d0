//! Starts what can be started of a system in whatever state its folder is, and says what is not running and why.
//!
//! Owns when waiting is over. Never starts a hub whose folder forbids it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{
    LocalCluster, LocalConfig, LocalError, NotRunning, Trouble, Who,
    cluster::ASK_EVERY,
    ready,
    trouble::{self, majority, unserved},
};
use crate::hubctl::Admin;

/// Once most hubs are ready, the others have so much longer before they are told of as not ready.
const LATE_HUBS: Duration = Duration::from_secs(10);
/// Where so few can run that nothing will be served, those that do have so long to say what else is wrong.
const HOPELESS_HUBS: Duration = Duration::from_secs(3);
/// Once the hubs serve, peers have so much longer.
const LATE_PEERS: Duration = Duration::from_secs(20);

/// What has come of starting a system.
#[derive(Debug, Default)]
pub struct Launch {
    /// What is not running, or not ready.
    pub troubles: Vec<(Who, NotRunning)>,
    /// The places of hubs that serve.
    pub ready: Vec<usize>,
    /// What was done besides starting.
    pub done: Vec<String>,
    /// Why nothing is served, if so.
    pub unserved: Option<String>,
}

impl LocalCluster {
    /// Starts what can be started and waits until it is ready, or has ended. `replace`: the number of a hub in whose
    /// place a new one is to come. An error only where nothing was started at all.
    pub async fn launch(config: LocalConfig, replace: Option<u64>) -> Result<(Self, Launch), LocalError> {
        let mut cluster = Self::prepare_some(config)?;
        let replaced = replace.map(|id| cluster.replaceable(id)).transpose()?;
        let mut launch = Launch::default();
        for at in 0..cluster.hubs.len() {
            if Some(at) != replaced {
                cluster.try_and_tell(Who::Hub(at), &mut launch);
            }
        }
        if cluster.hubs.iter().all(|hub| hub.pid().is_none()) {
            return Err(LocalError::NoHub(cluster.every_reason(&launch)));
        }
        for at in 0..cluster.peers.len() {
            cluster.try_and_tell(Who::Peer(at), &mut launch);
        }
        let deadline = Instant::now() + cluster.config.ready_within;
        cluster.await_hubs(&mut launch, deadline).await;
        if let Some(at) = replaced {
            cluster.replace_now(at, &mut launch, deadline).await?;
        }
        cluster.note_begun(&launch.ready)?;
        launch.unserved = cluster.unserved();
        if launch.unserved.is_none() {
            cluster.await_peers(&mut launch).await;
        }
        Ok((cluster, launch))
    }

    /// Starts a process unless something stands against it.
    pub fn try_start(&mut self, who: Who) -> Result<(), NotRunning> {
        let not = |cluster: &Self, trouble| cluster.not_running(who, trouble);
        if let Who::Hub(at) = who {
            if self.hubs[at].pid().is_some() {
                return Ok(());
            }
            if let Some(trouble) = trouble::of_folder(&self.data_dir(who), self.layout.has_begun(at)) {
                return Err(not(self, trouble));
            }
            if let Some(taken) = self.layout.taken(at) {
                return Err(not(self, Trouble::CannotStart(taken.to_string())));
            }
        }
        self.start_one(who).map_err(|error| not(self, Trouble::CannotStart(error.to_string())))
    }

    fn try_and_tell(&mut self, who: Who, launch: &mut Launch) {
        if let Err(trouble) = self.try_start(who) {
            launch.troubles.push((who, trouble));
        }
    }

    pub(super) fn not_running(&self, who: Who, trouble: Trouble) -> NotRunning {
        let hub = if let Who::Hub(at) = who { Some(self.layout.id(at)) } else { None };
        NotRunning { name: self.get(who).name().to_owned(), hub, trouble }
    }

    /// Processes that have ended since the last call, and why.
    pub fn take_ended(&mut self) -> Vec<(Who, NotRunning)> {
        let ended = self.take_exited().into_iter();
        let told = ended.map(|(who, status)| {
            let process = self.get(who);
            let trouble = trouble::of_end(&self.data_dir(who), status, process.last_words(), process.log());
            (who, self.not_running(who, trouble))
        });
        told.collect()
    }

    /// The places of hubs that are in the group, as far as their folders tell.
    pub(super) fn in_group(&self) -> Vec<usize> {
        let out =
            |at: &usize| trouble::of_folder(&self.data_dir(Who::Hub(*at)), false) == Some(Trouble::TakenOut);
        (0..self.hubs.len()).filter(|at| !out(at)).collect()
    }

    /// Why nothing is served, as far as it depends on which hubs run.
    pub fn unserved(&self) -> Option<String> {
        let members = self.in_group();
        let running = members.iter().filter(|at| self.hubs[**at].pid().is_some()).count();
        (running < majority(members.len())).then(|| unserved(running, members.len()))
    }

    /// Until every hub that runs is ready, or most are and the others are late, or the time is up.
    async fn await_hubs(&mut self, launch: &mut Launch, deadline: Instant) {
        let mut until = deadline;
        loop {
            launch.troubles.extend(self.take_ended());
            let mut waiting = Vec::new();
            launch.ready.clear();
            for at in (0..self.hubs.len()).filter(|at| self.hubs[*at].pid().is_some()) {
                match ready::ask(self.hub_http(at)).await {
                    Ok(()) => launch.ready.push(at),
                    Err(last) => waiting.push((at, last)),
                }
            }
            if waiting.is_empty() || Instant::now() >= until {
                for (at, last) in waiting {
                    self.tell_not_ready(Who::Hub(at), last, launch);
                }
                return;
            }
            if launch.ready.len() >= majority(self.in_group().len()) {
                until = until.min(Instant::now() + LATE_HUBS);
            } else if self.unserved().is_some() {
                until = until.min(Instant::now() + HOPELESS_HUBS);
            }
            sleep(ASK_EVERY).await;
        }
    }

    pub(super) fn tell_not_ready(&self, who: Who, last: String, launch: &mut Launch) {
        let log = self.get(who).log().to_path_buf();
        launch.troubles.push((who, self.not_running(who, Trouble::NotReady { last, log })));
    }

    /// Until every peer that runs is connected, or is known not to be let in, or the time is up.
    async fn await_peers(&mut self, launch: &mut Launch) {
        let until = Instant::now() + LATE_PEERS;
        let Ok(admin) = self.admin(Duration::from_secs(1)) else { return };
        loop {
            launch.troubles.extend(self.take_ended());
            let running: Vec<usize> =
                (0..self.peers.len()).filter(|at| self.peers[*at].pid().is_some()).collect();
            let seen = seen_peers(&admin).await;
            let state = |at: &usize| seen.iter().rev().find(|(name, ..)| name == self.peers[*at].name());
            let waiting: Vec<usize> = running
                .iter()
                .copied()
                .filter(|at| !state(at).is_some_and(|(_, connected, removed)| *connected || *removed))
                .collect();
            if waiting.is_empty() || Instant::now() >= until {
                for at in running {
                    let who = Who::Peer(at);
                    if state(&at).is_some_and(|(.., removed)| *removed) {
                        launch.troubles.push((who, self.not_running(who, Trouble::PeerRemoved)));
                    } else if waiting.contains(&at) {
                        let said = self.peers[at].last_words();
                        let last = said.unwrap_or_else(|| "no hub lists it as connected".to_owned());
                        self.tell_not_ready(who, last, launch);
                    }
                }
                return;
            }
            sleep(ASK_EVERY).await;
        }
    }

    /// Why each hub cannot be started, a line each.
    fn every_reason(&self, launch: &Launch) -> String {
        let mut lines: Vec<String> =
            launch.troubles.iter().map(|(_, not)| format!("  {}", not.words(None))).collect();
        let folder = self.config.data_dir.display();
        if launch.troubles.iter().any(|(_, not)| matches!(not.trouble, Trouble::CannotStart(_))) {
            lines.push(format!(
                "  Processes of an earlier run that was killed may still be there: `pgrep -af {folder}` shows them"
            ));
        }
        lines.join("\n")
    }
}

/// Every peer's name, whether it is connected, and whether an operator has removed it; the oldest first.
async fn seen_peers(admin: &Admin) -> Vec<(String, bool, bool)> {
    use loop_proto::v1::PeerState;
    let Ok(Ok(peers)) = timeout(Duration::from_secs(3), admin.peers()).await else { return Vec::new() };
    let seen = |peer: loop_proto::v1::PeerInfo| {
        let removed = peer.state() == PeerState::Removed;
        (peer.name, peer.connected_to.is_some(), removed)
    };
    peers.into_iter().map(seen).collect()
}
