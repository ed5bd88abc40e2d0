//! What an operator must be told: whether this hub would serve a call now, how well the forums are kept, and what to do
//! about what is not well.
//!
//! Owns what this hub has seen of that. Soft state: every hub has its own, none of it is in the log, and nothing is
//! decided from it.

mod below;
mod census;
mod duties;
mod freshness;
mod gauges;
mod problems;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};
use loop_raft_store::machine::{HubState, Peer, PeerState};
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::{
    census::wanted,
    duties::{run, tell},
    freshness::Freshness,
};

use self::{
    below::Below,
    census::{Census, Sample},
    problems::{Ailing, Copies, Facts, NamedPeer},
};
use crate::{config::HubConfig, hub::Hub};

/// Forums named that have been short of copies for too long.
const OVERDUE_NAMED: usize = 3;

/// What one hub has seen.
pub struct Health {
    /// When it last knew what the group has agreed.
    pub freshness: Arc<Freshness>,
    below: Mutex<Below>,
    walked: Mutex<Option<Arc<Walked>>>,
}

/// What the last walk over all forums has found.
#[derive(Debug, Default)]
struct Walked {
    census: Census,
    below: u64,
    longest: Option<Duration>,
    overdue: u64,
    overdue_first: Vec<ForumId>,
}

impl Health {
    /// Nothing was seen yet. A leader's word counts for two election times.
    pub fn new(config: &HubConfig) -> Self {
        Self {
            freshness: Arc::new(Freshness::new(config.election.1 * 2)),
            below: Mutex::default(),
            walked: Mutex::default(),
        }
    }

    /// For how long a forum that has too few live copies has had too few; zero if that was not seen yet.
    pub fn below_for(&self, forum: ForumId) -> Duration {
        self.below.lock().for_how_long(forum, Instant::now()).unwrap_or_default()
    }

    /// Forums of which it is kept since when they are short of copies, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        self.below.lock().held()
    }

    fn walked(&self) -> Option<Arc<Walked>> {
        self.walked.lock().clone()
    }

    fn has_walked(&self, census: Census, grace: Duration) {
        let now = Instant::now();
        let walked = {
            let mut below = self.below.lock();
            below.walked(now);
            let (mut overdue, others) = below.longer_than(grace, now);
            let overdue_first: Vec<ForumId> = overdue.by_ref().take(OVERDUE_NAMED).collect();
            let overdue = (overdue_first.len() + overdue.count()) as u64 + others;
            Walked { census, below: below.count(), longest: below.longest(now), overdue, overdue_first }
        };
        *self.walked.lock() = Some(Arc::new(walked));
    }
}

/// How well the group serves, as this hub sees it.
pub fn report(hub: &Hub) -> v1::HealthReport {
    problems::report(&facts(hub))
}

/// Whether the hub reaches another one, or is it.
pub fn reaches(hub: &Hub, other: u64) -> bool {
    other == hub.group.own_id() || hub.links.is_open(other)
}

fn facts(hub: &Hub) -> Facts {
    let freshness = &hub.health.freshness;
    let (leader, voters) = {
        let metrics = hub.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        (metrics.current_leader, voters)
    };
    let walked = hub.health.walked();
    let (peers, copies) = hub.state.read(|state| {
        let joined = state.peers().filter(|peer| peer.state != PeerState::Removed).count();
        (joined as u64, walked.map(|walked| copies(&walked, state)))
    });
    Facts {
        own: hub.group.own_id(),
        voters: voters.into_iter().map(|id| (id, reaches(hub, id))).collect(),
        leader,
        quorum: freshness.has_quorum(),
        led_ago: freshness.led_ago(),
        current: freshness.is_current(),
        peers_connected: hub.presence.count() as u64,
        peers,
        copies,
        grace: hub.config.peer_grace,
    }
}

fn copies(walked: &Walked, state: &HubState) -> Copies {
    let census = &walked.census;
    Copies {
        forums: census.forums(),
        with_one: census.with(1),
        dead: ailing(&census.dead, state),
        last: ailing(&census.last, state),
        overdue: Ailing { count: walked.overdue, forums: walked.overdue_first.clone(), ..Ailing::default() },
    }
}

fn ailing(sample: &Sample, state: &HubState) -> Ailing {
    let name = |peer: &Peer| peer.name.clone();
    let named = |peers: &BTreeSet<PeerId>| {
        let named = |id: &PeerId| NamedPeer(*id, state.peer(*id).map(name).unwrap_or_default());
        peers.iter().map(named).collect()
    };
    Ailing {
        count: sample.count,
        forums: sample.forums.clone(),
        peers: named(&sample.peers),
        behind: named(&sample.behind),
    }
}
