//! The report: what this hub knows, put together for whoever asks.

use std::collections::BTreeSet;

use loop_proto::{ids::PeerId, v1};
use loop_raft_store::machine::{HubState, Peer, PeerState};
use openraft::async_runtime::watch::WatchReceiver;

use super::{
    census::Sample,
    problems::{self, Ailing, Copies, Facts, NamedPeer},
    seen::{Health, Walked},
};

impl Health {
    /// How well the group serves, as this hub sees it.
    pub fn report(&self) -> v1::HealthReport {
        problems::report(&self.facts())
    }

    pub(super) fn facts(&self) -> Facts {
        let freshness = self.log.freshness();
        let (leader, voters) = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
            (metrics.current_leader, voters)
        };
        let walked = self.walked();
        let (peers, copies) = self.log.read(|state| {
            let joined = state.peers().filter(|peer| peer.state != PeerState::Removed).count();
            (joined as u64, walked.map(|walked| copies(&walked, state)))
        });
        Facts {
            own: self.mesh.group.own_id(),
            voters: voters.into_iter().map(|id| (id, self.mesh.reaches(id))).collect(),
            leader,
            quorum: freshness.has_quorum(),
            led_ago: freshness.led_ago(),
            current: freshness.is_current(),
            peers_connected: self.mesh.presence.count() as u64,
            peers,
            copies,
            grace: self.config.peer_grace,
            beside: (self.beside)(),
        }
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
