//! Starts what can be started of a system in whatever state its folder is, and says what is not running and why.
//!
//! Owns when waiting is over. Never starts a hub whose folder forbids it.

use std::{collections::BTreeMap, time::Duration};

use loop_admin::Admin;
use loop_proto::v1;
use tokio::time::{Instant, sleep, timeout};

use super::{
    LocalCluster, LocalConfig, LocalError, NotRunning, Trouble, WayBack, Who,
    cluster::ASK_EVERY,
    ready,
    trouble::{self, majority, unserved},
};

/// Once most hubs are ready, the others have so much longer before they are told of as not ready.
const LATE_HUBS: Duration = Duration::from_secs(10);
/// Where so few can run that nothing will be served, those that do have so long to say what else is wrong.
const HOPELESS_HUBS: Duration = Duration::from_secs(3);
/// Once the hubs serve, peers have so much longer.
const LATE_PEERS: Duration = Duration::from_secs(20);

/// How long the hubs may take to say who is there.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

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
        if let Who::Hub(at) = who {
            if self.hubs[at].pid().is_some() {
                return Ok(());
            }
            if let Some(trouble) = trouble::of_folder(&self.data_dir(who), self.layout.has_begun(at)) {
                return Err(self.not_running(who, trouble));
            }
            if let Some((port, kind, _)) = self.layout.taken(at) {
                let why = format!("its {kind} port {port} is in use; stop what listens there");
                return Err(self.not_running(who, Trouble::CannotStart(why)));
            }
        }
        self.start_one(who).map_err(|error| self.not_running(who, Trouble::CannotStart(error.to_string())))
    }

    fn try_and_tell(&mut self, who: Who, launch: &mut Launch) {
        if let Err(trouble) = self.try_start(who) {
            launch.troubles.push((who, trouble));
        }
    }

    pub(super) fn not_running(&mut self, who: Who, trouble: Trouble) -> NotRunning {
        let hub = if let Who::Hub(at) = who { Some(self.layout.id(at)) } else { None };
        if let Who::Hub(at) = who
            && trouble.is_lost()
        {
            self.lost.insert(at);
        }
        NotRunning { name: self.get(who).name().to_owned(), hub, trouble }
    }

    /// Processes that have ended since the last call, and why.
    pub fn take_ended(&mut self) -> Vec<(Who, NotRunning)> {
        let mut told = Vec::new();
        for (who, status) in self.take_exited() {
            let process = self.get(who);
            let trouble = trouble::of_end(&self.data_dir(who), status, process.last_words(), process.log());
            told.push((who, self.not_running(who, trouble)));
        }
        told
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
        let lost = members.iter().filter(|at| self.lost.contains(at)).count();
        (running < majority(members.len())).then(|| unserved(running, lost, members.len()))
    }

    /// How a hub that cannot come back is replaced; `command`: by which command, if it can be.
    pub fn way_back<'a>(&self, command: &'a str) -> WayBack<'a> {
        let members = self.in_group();
        let whole = members.iter().filter(|at| !self.lost.contains(at)).count();
        match self.unserved() {
            None => WayBack::Replace(command),
            Some(_) if whole >= majority(members.len()) => WayBack::NotYet,
            Some(_) => WayBack::None,
        }
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
            // Without a peer a hub may never call itself ready.
            let no_peer = self.peers.iter().all(|peer| peer.pid().is_none());
            if no_peer || launch.ready.len() >= majority(self.in_group().len()) {
                until = until.min(Instant::now() + LATE_HUBS);
            } else if self.unserved().is_some() {
                until = until.min(Instant::now() + HOPELESS_HUBS);
            }
            sleep(ASK_EVERY).await;
        }
    }

    pub(super) fn tell_not_ready(&mut self, who: Who, last: String, launch: &mut Launch) {
        let log = self.get(who).log().to_path_buf();
        let late = self.not_running(who, Trouble::NotReady { last, log });
        launch.troubles.push((who, late));
    }

    /// Until every peer that runs is connected, or is known not to be let in, or the time is up.
    async fn await_peers(&mut self, launch: &mut Launch) {
        let until = Instant::now() + LATE_PEERS;
        let Ok(admin) = self.admin(Duration::from_secs(1)) else { return };
        loop {
            launch.troubles.extend(self.take_ended());
            let seen = seen_peers(&admin).await;
            let running = (0..self.peers.len()).filter(|at| self.peers[*at].pid().is_some());
            let waiting: Vec<(usize, Seen)> = running
                .map(|at| (at, seen.get(self.peers[at].name()).copied().unwrap_or(Seen::Away)))
                .filter(|(_, seen)| *seen != Seen::Connected)
                .collect();
            let hoped_for = waiting.iter().any(|(_, seen)| *seen == Seen::Away);
            if !hoped_for || Instant::now() >= until {
                for (at, seen) in waiting {
                    self.tell_of_peer(at, seen, launch);
                }
                return;
            }
            sleep(ASK_EVERY).await;
        }
    }

    fn tell_of_peer(&mut self, at: usize, seen: Seen, launch: &mut Launch) {
        let who = Who::Peer(at);
        if seen == Seen::Removed {
            let removed = self.not_running(who, Trouble::PeerRemoved);
            launch.troubles.push((who, removed));
            return;
        }
        let said = self.peers[at].last_words();
        self.tell_not_ready(who, said.unwrap_or_else(|| "no hub lists it as connected".to_owned()), launch);
    }

    /// Why each hub cannot be started, a line each.
    fn every_reason(&self, launch: &Launch) -> String {
        let mut lines: Vec<String> =
            launch.troubles.iter().map(|(_, not)| format!("  {}", not.words(WayBack::None))).collect();
        lines.extend(self.unserved().filter(|_| !self.lost.is_empty()).map(|why| format!("  {why}")));
        let folder = self.config.data_dir.display();
        if launch.troubles.iter().any(|(_, not)| matches!(not.trouble, Trouble::CannotStart(_))) {
            lines.push(format!(
                "  Processes of an earlier run that was killed may still be there: `pgrep -af {folder}` shows them"
            ));
        }
        lines.join("\n")
    }
}

/// A peer as the hubs see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Connected,
    Away,
    /// By an operator.
    Removed,
}

/// Every peer by its name; of several with one name the newest.
async fn seen_peers(admin: &Admin) -> BTreeMap<String, Seen> {
    let Ok(Ok(mut peers)) = timeout(SEEN_WITHIN, admin.peers()).await else { return BTreeMap::new() };
    peers.sort_by_key(|peer| peer.peer_id);
    let seen = |peer: v1::PeerInfo| {
        let seen = match (peer.state(), peer.connected_to) {
            (v1::PeerState::Removed, _) => Seen::Removed,
            (_, Some(_)) => Seen::Connected,
            (_, None) => Seen::Away,
        };
        (peer.name, seen)
    };
    peers.into_iter().map(seen).collect()
}
