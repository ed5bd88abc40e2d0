//! Which peers a new forum goes to. Decides only; the log makes it so.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use loop_proto::ids::PeerId;
use loop_raft_store::machine::{HubState, Peer, PeerState};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    balance::{Outcomes, Patience, PeerLoad, Policy, spread},
    policy,
};
use crate::{
    config::HubConfig,
    log::AgreedLog,
    mesh::presence::{Presence, Whereabouts},
};

/// How long counts are used before all forums are counted again. What this hub opens meanwhile is added; what others
/// open, or what moves, makes the counts wrong by a little.
const COUNTED_FOR: Duration = Duration::from_secs(1);

/// Where new forums go.
pub struct Placement {
    log: AgreedLog,
    presence: Arc<Presence>,
    policy: Policy,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    counted_at: Option<Instant>,
    by_peer: BTreeMap<PeerId, Count>,
    /// What came of copies that peers were to have.
    outcomes: Outcomes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    replicas: usize,
    primaries: usize,
    /// Of the replicas, those whose copies were found equal to others'.
    confirmed: usize,
}

/// A peer that could hold a new forum.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    id: PeerId,
    away: bool,
    /// Orders peers by how much they can be counted on.
    standing: u32,
    /// It was to have copies, and none of what it has is known to be right: what is written to it may be nowhere.
    fruitless: bool,
    owner: Option<String>,
    network: Option<String>,
    count: Count,
}

impl Placement {
    /// By the operator's choices in `config`.
    pub fn new(config: &HubConfig, log: AgreedLog, presence: Arc<Presence>) -> Self {
        Self { log, presence, policy: policy::policy(config), counts: Mutex::default() }
    }

    /// The least full connected peers that can be counted on, apart from one another by owner and network; the one that is the
    /// primary of the fewest forums first: it becomes this one's. Newer peers fill up what is missing, then peers that are
    /// away and can be counted on to come back; they catch up then. Empty if nobody is connected.
    pub fn choose(&self) -> Vec<PeerId> {
        let present: BTreeMap<PeerId, Whereabouts> = self.presence.everyone().into_iter().collect();
        let mut counts = self.counts.lock();
        let now = Instant::now();
        if counts.counted_at.is_none_or(|at| now.duration_since(at) >= COUNTED_FOR) {
            let now_ms = self.log.now().0;
            *counts = self.log.read(|state| {
                let outcomes = Outcomes::of(state, now_ms);
                Counts { counted_at: Some(now), by_peer: count(state), outcomes }
            });
        }
        let candidates = self.log.read(|state| {
            let patience = self.policy.patience(state);
            let of = |peer: &Peer| candidate(peer, present.get(&peer.id), &counts, &patience);
            state.peers().filter_map(of).collect()
        });
        let chosen = pick(candidates, self.policy.replicas);
        for (at, peer) in chosen.iter().enumerate() {
            let count = counts.by_peer.entry(*peer).or_default();
            count.replicas += 1;
            count.primaries += usize::from(at == 0);
        }
        chosen
    }
}

fn count(state: &HubState) -> BTreeMap<PeerId, Count> {
    let mut counts: BTreeMap<PeerId, Count> = BTreeMap::new();
    for forum in state.forums() {
        for replica in forum.replicas.iter().filter(|replica| !replica.is_draining()) {
            let count = counts.entry(replica.peer).or_default();
            count.replicas += 1;
            count.confirmed += usize::from(replica.is_confirmed());
        }
        counts.entry(forum.primary).or_default().primaries += 1;
    }
    counts
}

/// The peer, if it takes forums and has room for one.
fn candidate(
    peer: &Peer,
    at: Option<&Whereabouts>,
    counts: &Counts,
    patience: &Patience,
) -> Option<Candidate> {
    let count = counts.by_peer.get(&peer.id).copied().unwrap_or_default();
    if peer.state != PeerState::Active || at.is_none() && !comes_back(peer, patience) {
        return None;
    }
    if let Some(at) = at {
        let status = at.status().unwrap_or_default();
        let load = PeerLoad {
            limits: at.limits(),
            disk_bytes: status.disk_bytes,
            memory_bytes: status.memory_bytes,
            ..PeerLoad::default()
        };
        let forums_max = load.limits.forums as usize;
        if !load.has_room() || (forums_max > 0 && count.replicas >= forums_max) {
            return None;
        }
    }
    let label = |label: &String| (!label.is_empty()).then(|| label.clone());
    let (owner, network) = (label(&peer.owner), label(&peer.network));
    let standing = if counts.outcomes.unreliable.contains(&peer.id) { 0 } else { patience.standing(peer) };
    let fruitless = count.confirmed == 0 && counts.outcomes.is_fruitless(peer, patience.now);
    Some(Candidate { id: peer.id, away: at.is_none(), standing, fruitless, owner, network, count })
}

/// Whether a peer that is away now is waited for.
fn comes_back(peer: &Peer, patience: &Patience) -> bool {
    let away_ms = peer.attendance.away_ms(patience.now).unwrap_or(0);
    !patience.is_doubted(peer)
        && patience.is_proven(&peer.attendance)
        && away_ms < patience.grace_ms(&peer.attendance)
}

fn pick(mut candidates: Vec<Candidate>, replicas: usize) -> Vec<PeerId> {
    if candidates.iter().all(|candidate| candidate.away) {
        return Vec::new();
    }
    let held: usize = candidates.iter().map(|candidate| candidate.count.replicas).sum();
    let peers = candidates.len();
    let mut chosen: Vec<Candidate> = Vec::new();
    while chosen.len() < replicas {
        let best = (0..candidates.len()).min_by_key(|at| {
            let candidate = &candidates[*at];
            let clashes: usize = chosen.iter().map(|other| spread(candidate.labels(), other.labels())).sum();
            // Standing well apart is worth half more than the mean, no more.
            let overfull = candidate.count.replicas.saturating_sub(1) * peers * 2 > held * 3;
            let standing = Reverse(candidate.standing);
            (
                candidate.away,
                standing,
                candidate.fruitless,
                overfull,
                clashes,
                candidate.count.replicas,
                candidate.id,
            )
        });
        let Some(best) = best else { break };
        chosen.push(candidates.swap_remove(best));
    }
    chosen.sort_unstable_by_key(|peer| {
        let Count { replicas, primaries, .. } = peer.count;
        (peer.away, Reverse(peer.standing), peer.fruitless, primaries, replicas, peer.id)
    });
    chosen.into_iter().map(|candidate| candidate.id).collect()
}

impl Candidate {
    fn labels(&self) -> (Option<&str>, Option<&str>) {
        (self.owner.as_deref(), self.network.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u32, owner: &str, replicas: usize, primaries: usize) -> Candidate {
        let owner = (!owner.is_empty()).then(|| owner.to_owned());
        let count = Count { replicas, primaries, ..Count::default() };
        Candidate {
            id: PeerId::new(id).unwrap(),
            away: false,
            standing: u32::MAX,
            fruitless: false,
            owner,
            network: None,
            count,
        }
    }

    fn ids(candidates: Vec<Candidate>) -> Vec<u32> {
        pick(candidates, 3).into_iter().map(PeerId::get).collect()
    }

    #[test]
    fn the_emptiest_peers_get_it_and_the_one_with_the_fewest_primaries_leads() {
        let peers = vec![peer(1, "", 9, 0), peer(2, "", 5, 5), peer(3, "", 4, 3), peer(4, "", 5, 1)];
        assert_eq!(ids(peers), [4, 3, 2]);
    }

    #[test]
    fn who_was_to_have_copies_and_has_no_right_one_only_fills_up_what_is_missing() {
        let fruitless = |id| Candidate { fruitless: true, ..peer(id, "", 0, 0) };
        let peers = vec![fruitless(1), peer(2, "", 9, 3), fruitless(3), peer(4, "", 8, 2)];
        assert_eq!(ids(peers), [4, 2, 1]);
    }

    #[test]
    fn owners_are_kept_apart_unless_that_fills_one_of_them_up() {
        let even =
            vec![peer(1, "ann", 2, 0), peer(2, "ann", 2, 0), peer(3, "bob", 2, 0), peer(4, "cy", 2, 0)];
        assert_eq!(ids(even), [1, 3, 4]);
        let bob_is_full =
            vec![peer(1, "ann", 2, 0), peer(2, "ann", 2, 0), peer(3, "bob", 9, 0), peer(4, "cy", 2, 0)];
        assert_eq!(ids(bob_is_full), [1, 2, 4]);
    }

    #[test]
    fn whoever_dropped_in_a_moment_ago_gets_what_the_others_cannot_hold() {
        let new = |id| Candidate { standing: 0, ..peer(id, "", 0, 0) };
        let older = |id| Candidate { standing: 3, ..peer(id, "", 0, 0) };
        let peers = vec![new(1), new(2), peer(3, "", 9, 9), older(4), peer(5, "", 9, 1)];
        assert_eq!(ids(peers), [5, 3, 4]);
    }

    #[test]
    fn peers_that_are_away_fill_up_and_lead_nothing_and_alone_they_get_nothing() {
        let away = |id| Candidate { away: true, ..peer(id, "", 0, 0) };
        assert_eq!(ids(vec![away(1), peer(2, "", 7, 7), away(3)]), [2, 1, 3]);
        assert!(ids(vec![away(1), away(2)]).is_empty());
    }
}
