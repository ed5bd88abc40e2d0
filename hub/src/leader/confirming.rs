//! Has new copies compared with others, and tells the log which are equal: from then on they count.
//!
//! A copy must have been live for a while first. One that differs is taken away, and its peer gets no others for a day; so is
//! one whose peer is asked for its digest again and again, while others tell theirs, and does not tell it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId},
    v1::{self, command, outcome},
};
use loop_raft_store::machine::{HubState, Peer, PeerState, Replica};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::balancing;
use crate::hub::{Hub, PROPOSE_WITHIN};

/// Comparisons at once: each has every replica of its forum read all of its rows.
const AT_ONCE: usize = 4;
/// Of them, of copies of one peer: one that does not answer keeps none of the others waiting.
const PER_PEER: usize = 2;
/// The same for one that has been silent about others.
const WITHIN_IF_SILENT: Duration = Duration::from_secs(10);
/// How often in a row a peer may be silent about its copies before that is taken for having none.
const SILENCES_MAX: u32 = 3;
/// How long replicas may take to tell their digests.
const WITHIN: Duration = Duration::from_secs(60);
/// After one that came to nothing, the same forum is left alone for as long.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What this leader has seen. Forgotten with the lead.
pub(super) struct Confirming {
    /// Since when a copy has been live and unconfirmed.
    live_since: BTreeMap<(ForumId, PeerId), Instant>,
    /// Forums that were compared and not confirmed, and when that ended.
    tried: Arc<Mutex<BTreeMap<ForumId, Instant>>>,
    /// Whose copies are being compared.
    under_way: Arc<Mutex<BTreeMap<ForumId, PeerId>>>,
    /// How often in a row a peer that stayed did not tell its digest while another did.
    silences: Arc<Mutex<BTreeMap<PeerId, u32>>>,
}

/// What a comparison of one forum's copies showed.
#[derive(Debug, PartialEq, Eq)]
enum Compared {
    /// The copy has the digest that a confirmed one has.
    Equal,
    /// It has another one.
    Differs,
    /// There is nobody to compare it with.
    Alone,
    /// Another one has told its digest, and this one's peer has not.
    Silent,
    /// Too few have answered.
    Unknown,
}

impl Confirming {
    pub(super) fn new() -> Self {
        Self {
            live_since: BTreeMap::new(),
            tried: Arc::default(),
            silences: Arc::default(),
            under_way: Arc::default(),
        }
    }

    /// Takes note of the copies that wait and begins to compare those that have been live for long enough.
    pub(super) fn step(&mut self, hub: &Arc<Hub>, unconfirmed: &[(ForumId, PeerId)], now: Instant) {
        let waiting: BTreeSet<(ForumId, PeerId)> = unconfirmed.iter().copied().collect();
        self.live_since.retain(|copy, _| waiting.contains(copy));
        self.silences.lock().retain(|peer, _| waiting.iter().any(|(_, waits)| waits == peer));
        self.tried.lock().retain(|_, at| now.duration_since(*at) < AGAIN_AFTER);
        for copy in waiting {
            let since = *self.live_since.entry(copy).or_insert(now);
            let (forum, peer) = copy;
            let due =
                now.duration_since(since) >= hub.config.copy_grace && !self.tried.lock().contains_key(&forum);
            if !due || !self.has_room(peer) || witnesses(hub, forum, peer).is_none() {
                continue;
            }
            if !self.begin(forum, peer) {
                continue;
            }
            let (hub, under_way, silences) = (hub.clone(), self.under_way.clone(), self.silences.clone());
            let tried = self.tried.clone();
            tokio::spawn(async move {
                tokio::select! {
                    () = confirm(&hub, forum, peer, &silences) => {}
                    () = hub.shutdown.cancelled() => {}
                }
                // From now on: a comparison may take longer than the pause after it.
                tried.lock().insert(forum, Instant::now());
                under_way.lock().remove(&forum);
            });
        }
    }

    fn has_room(&self, peer: PeerId) -> bool {
        let under_way = self.under_way.lock();
        let of_peer = under_way.values().filter(|other| **other == peer).count();
        under_way.len() < AT_ONCE && of_peer < PER_PEER
    }

    /// `false`: another copy of the forum is being compared.
    fn begin(&self, forum: ForumId, peer: PeerId) -> bool {
        match self.under_way.lock().entry(forum) {
            Entry::Vacant(entry) => {
                entry.insert(peer);
                true
            }
            Entry::Occupied(_) => false,
        }
    }
}

/// Compares a copy and tells the log what came of it.
async fn confirm(hub: &Arc<Hub>, forum: ForumId, peer: PeerId, silences: &Mutex<BTreeMap<PeerId, u32>>) {
    let is_silent = silences.lock().get(&peer).is_some_and(|times| *times >= SILENCES_MAX);
    let within = if is_silent { WITHIN_IF_SILENT } else { WITHIN };
    let Some((record_id, compared)) = compare(hub, forum, peer, within).await else { return };
    let audit_record = match compared {
        Compared::Unknown => return,
        Compared::Silent => {
            let mut silences = silences.lock();
            let times = silences.entry(peer).or_default();
            *times += 1;
            if *times < SILENCES_MAX {
                return;
            }
            0
        }
        Compared::Differs | Compared::Alone => 0,
        Compared::Equal => {
            silences.lock().remove(&peer);
            record_id
        }
    };
    if matches!(compared, Compared::Differs | Compared::Silent) {
        tracing::warn!(%forum, %peer, record_id, ?compared, "a new copy is not what those are that count: it is taken away");
        for step in hub.state.read(|state| take_away(state, forum, peer)) {
            if !propose(hub, forum, step).await {
                return;
            }
        }
        return;
    }
    let (forum_id, peer_id) = (forum.get(), peer.get());
    let confirm = v1::ConfirmReplica { forum_id, peer_id, audit_record };
    if propose(hub, forum, command::Body::ConfirmReplica(confirm)).await {
        tracing::info!(%forum, %peer, ?compared, "a new copy was compared");
    }
}

/// What takes a copy away that is none, one step after the other: another one serves and leads first. Nothing where no other is
/// known to be good and there.
pub fn take_away(state: &HubState, forum: ForumId, peer: PeerId) -> Vec<command::Body> {
    let (forum_id, peer_id) = (forum.get(), peer.get());
    let Some(held) = state.forum(forum) else { return Vec::new() };
    let present = |replica: &&Replica| state.peer(replica.peer).is_some_and(Peer::is_present);
    let others = held.replicas.iter().filter(|other| other.peer != peer && other.confirmed_at.is_some());
    let Some(heir) = others.filter(present).max_by_key(|other| other.is_serving()) else { return Vec::new() };
    let mut steps = Vec::new();
    if !heir.is_serving() {
        let reinstate = v1::ReinstateReplica { forum_id, peer_id: heir.peer.get() };
        steps.push(command::Body::ReinstateReplica(reinstate));
    }
    if held.primary == peer {
        let ForumEpoch(expected_epoch) = held.epoch;
        let lead = v1::MovePrimary { forum_id, to_peer: heir.peer.get(), expected_epoch };
        steps.push(command::Body::MovePrimary(lead));
    }
    let remove = v1::RemoveReplica { forum_id, peer_id, passed: 0, others_min: 1, differs: true };
    steps.push(command::Body::RemoveReplica(remove));
    steps
}

/// Returns whether it was taken.
async fn propose(hub: &Arc<Hub>, forum: ForumId, body: command::Body) -> bool {
    match hub.proposer.propose(hub.new_request_id(), body, PROPOSE_WITHIN).await {
        Ok(v1::Outcome { kind: Some(outcome::Kind::Rejection(no)) }) => {
            tracing::debug!(%forum, code = ?no.code(), "what a comparison showed is not taken");
            false
        }
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%forum, %error, "could not tell what a comparison showed");
            false
        }
    }
}

/// Puts a mark into the log and waits for the digests of this copy and of one that counts.
async fn compare(hub: &Arc<Hub>, forum: ForumId, peer: PeerId, within: Duration) -> Option<(u64, Compared)> {
    let others = witnesses(hub, forum, peer)?;
    if others.is_empty() {
        return Some((0, Compared::Alone));
    }
    let mut listener = hub.audits.listen(forum)?;
    let body = command::Body::AuditForum(v1::AuditForum { forum_id: forum.get() });
    let outcome = hub.proposer.propose(hub.new_request_id(), body, PROPOSE_WITHIN).await.ok()?;
    let Some(outcome::Kind::ForumAudited(v1::ForumAudited { record_id })) = outcome.kind else { return None };
    let until = Instant::now() + within;
    let mut digests = BTreeMap::new();
    loop {
        match verdict(peer, &others, &digests) {
            Compared::Unknown => {}
            compared => return Some((record_id, compared)),
        }
        let Ok(Some((from, report))) = timeout_at(until, listener.next()).await else {
            let others_told = digests.keys().any(|from| others.contains(from));
            let silent = others_told && !digests.contains_key(&peer);
            return Some((record_id, if silent { Compared::Silent } else { Compared::Unknown }));
        };
        if report.record_id == record_id && !report.digest.is_empty() {
            digests.entry(from).or_insert((report.digest, report.messages));
        }
    }
}

/// Whose digests a copy is compared with: those of other peers with a copy that counts. `None`: they are all away and expected
/// back, so there is nothing to ask yet. Once they are all lost, the others that serve are all there is to compare with.
fn witnesses(hub: &Hub, forum: ForumId, peer: PeerId) -> Option<BTreeSet<PeerId>> {
    let connected = |id: &PeerId| hub.presence.find(*id).is_some();
    hub.state.read(|state| {
        let patience = balancing::policy(&hub.config).patience(state);
        let is_lost = |id: &PeerId| {
            state.peer(*id).is_none_or(|peer| {
                let away_ms = peer.attendance.away_ms(patience.now);
                away_ms.is_some_and(|ms| ms >= patience.grace_ms(&peer.attendance))
            })
        };
        let present = |id: &PeerId| state.peer(*id).is_some_and(|peer| peer.state != PeerState::Removed);
        let replicas = state.forum(forum).map(|forum| forum.replicas.as_slice()).unwrap_or_default();
        let others = || replicas.iter().filter(|replica| replica.peer != peer && present(&replica.peer));
        let counted: BTreeSet<PeerId> =
            others().filter(|replica| replica.confirmed_at.is_some()).map(|replica| replica.peer).collect();
        if counted.is_empty() || counted.iter().any(connected) {
            return Some(counted);
        }
        let serving = others().filter(|replica| replica.is_serving()).map(|replica| replica.peer);
        counted.iter().all(is_lost).then(|| serving.filter(connected).collect())
    })
}

fn verdict<D: PartialEq>(peer: PeerId, others: &BTreeSet<PeerId>, digests: &BTreeMap<PeerId, D>) -> Compared {
    let Some(own) = digests.get(&peer) else { return Compared::Unknown };
    let heard: Vec<&D> = others.iter().filter_map(|other| digests.get(other)).collect();
    if heard.contains(&own) {
        return Compared::Equal;
    }
    // One that differs may be the one that is wrong: all that count have to be heard first.
    if heard.len() == others.len() { Compared::Differs } else { Compared::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    #[test]
    fn a_copy_is_equal_with_the_first_that_agrees_and_differs_only_from_all() {
        let others = BTreeSet::from([peer(1), peer(2)]);
        let told = |digests: &[(u32, u8)]| {
            let digests = digests.iter().map(|(id, digest)| (peer(*id), *digest)).collect();
            verdict(peer(3), &others, &digests)
        };
        assert_eq!(told(&[(1, 7), (2, 7)]), Compared::Unknown, "it has not answered itself");
        assert_eq!(told(&[(3, 7)]), Compared::Unknown);
        assert_eq!(told(&[(3, 7), (1, 8)]), Compared::Unknown, "the other one may agree");
        assert_eq!(told(&[(3, 7), (1, 8), (2, 7)]), Compared::Equal);
        assert_eq!(told(&[(3, 7), (1, 8), (2, 8)]), Compared::Differs);
        assert_eq!(told(&[(3, 7), (4, 7)]), Compared::Unknown, "a copy that does not count says nothing");
    }
}
