//! Has new copies compared with others, and tells the log which are equal: from then on they count.
//!
//! A copy must have been live for a while first. One that differs is taken away, and its peer gets no others for a day; so is
//! one whose peer is asked for its digest again and again, while others tell theirs, and does not tell it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId},
    v1::{self, command},
};
use loop_raft_store::machine::{HubState, Peer, PeerState, Replica};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{
    context::LeaderContext,
    watch::{Present, Watch},
};
use crate::log::{PROPOSE_WITHIN, ProposeError};

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
    /// At most one of each forum.
    comparisons: Arc<Mutex<BTreeMap<ForumId, Comparison>>>,
    /// How often in a row a peer that stayed did not tell its digest while another did.
    silences: Arc<Mutex<BTreeMap<PeerId, u32>>>,
}

/// Where a comparison is.
#[derive(Clone, Copy, Debug)]
enum Comparison {
    /// Of this peer's copy.
    UnderWay(PeerId),
    /// Since then the forum is left alone for a while.
    Ended(Instant),
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
        Self { live_since: BTreeMap::new(), comparisons: Arc::default(), silences: Arc::default() }
    }

    /// Takes note of the copies that wait and begins to compare those that have been live for long enough.
    pub(super) fn step(
        &mut self,
        cx: &LeaderContext,
        unconfirmed: &[(ForumId, PeerId)],
        watch: &Watch,
        present: &Present,
    ) {
        let now = present.at;
        let waiting: BTreeSet<(ForumId, PeerId)> = unconfirmed.iter().copied().collect();
        self.live_since.retain(|copy, _| waiting.contains(copy));
        self.silences.lock().retain(|peer, _| waiting.iter().any(|(_, waits)| waits == peer));
        self.comparisons.lock().retain(|_, comparison| match comparison {
            Comparison::UnderWay(_) => true,
            Comparison::Ended(at) => now.duration_since(*at) < AGAIN_AFTER,
        });
        let policy = cx.policy;
        for copy in waiting {
            let since = *self.live_since.entry(copy).or_insert(now);
            let (forum, peer) = copy;
            if now.duration_since(since) < cx.config.copy_grace || !self.may_begin(forum, peer) {
                continue;
            }
            let connected = |peer: PeerId| present.peers.contains_key(&peer);
            let others = cx.log.read(|state| {
                witnesses(state, forum, peer, connected, |peer| watch.is_lost(state, peer, &policy, now))
            });
            if let Some(others) = others {
                self.begin(cx, forum, peer, others);
            }
        }
    }

    fn may_begin(&self, forum: ForumId, peer: PeerId) -> bool {
        let comparisons = self.comparisons.lock();
        let under_way = comparisons.values().filter_map(|comparison| match comparison {
            Comparison::UnderWay(peer) => Some(*peer),
            Comparison::Ended(_) => None,
        });
        let (all, of_peer) =
            under_way.fold((0, 0), |(all, of_peer), other| (all + 1, of_peer + usize::from(other == peer)));
        all < AT_ONCE && of_peer < PER_PEER && !comparisons.contains_key(&forum)
    }

    fn begin(&self, cx: &LeaderContext, forum: ForumId, peer: PeerId, others: BTreeSet<PeerId>) {
        self.comparisons.lock().insert(forum, Comparison::UnderWay(peer));
        let (cx, comparisons, silences) = (cx.clone(), self.comparisons.clone(), self.silences.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = confirm(&cx, forum, peer, &others, &silences) => {}
                () = cx.shutdown.cancelled() => {}
            }
            // From now on: a comparison may take longer than the pause after it.
            comparisons.lock().insert(forum, Comparison::Ended(Instant::now()));
        });
    }
}

/// Compares a copy and tells the log what came of it.
async fn confirm(
    cx: &LeaderContext,
    forum: ForumId,
    peer: PeerId,
    others: &BTreeSet<PeerId>,
    silences: &Mutex<BTreeMap<PeerId, u32>>,
) {
    let is_silent = silences.lock().get(&peer).is_some_and(|times| *times >= SILENCES_MAX);
    let within = if is_silent { WITHIN_IF_SILENT } else { WITHIN };
    let Some((record_id, compared)) = compare(cx, forum, peer, others, within).await else { return };
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
        for step in cx.log.read(|state| take_away(state, forum, peer)) {
            if !propose(cx, forum, step).await {
                return;
            }
        }
        return;
    }
    let (forum_id, peer_id) = (forum.get(), peer.get());
    let confirm = v1::ConfirmReplica { forum_id, peer_id, audit_record };
    if propose(cx, forum, command::Body::ConfirmReplica(confirm)).await {
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
async fn propose(cx: &LeaderContext, forum: ForumId, body: command::Body) -> bool {
    match cx.log.propose(body, PROPOSE_WITHIN).await {
        Err(ProposeError::Rejected(no)) => {
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

/// Puts a mark into the log and waits for the digests of this copy and of the others.
async fn compare(
    cx: &LeaderContext,
    forum: ForumId,
    peer: PeerId,
    others: &BTreeSet<PeerId>,
    within: Duration,
) -> Option<(u64, Compared)> {
    if others.is_empty() {
        return Some((0, Compared::Alone));
    }
    let mut listener = cx.mesh.audits.listen(forum)?;
    let audit = v1::AuditForum { forum_id: forum.get() };
    let v1::ForumAudited { record_id } = cx.log.propose(audit, PROPOSE_WITHIN).await.ok()?;
    let until = Instant::now() + within;
    let mut digests = BTreeMap::new();
    loop {
        match verdict(peer, others, &digests) {
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

/// Whose digests a copy is compared with: those of other peers with a copy that counts; nobody's where it is the only one left.
/// `None`: they are all away, so there is nobody to ask yet. Once they are all lost, the others that serve are all there is to
/// compare with.
fn witnesses(
    state: &HubState,
    forum: ForumId,
    peer: PeerId,
    connected: impl Fn(PeerId) -> bool,
    is_lost: impl Fn(PeerId) -> bool,
) -> Option<BTreeSet<PeerId>> {
    let present = |id: PeerId| state.peer(id).is_some_and(|peer| peer.state != PeerState::Removed);
    let replicas = state.forum(forum).map(|forum| forum.replicas.as_slice()).unwrap_or_default();
    let others = || replicas.iter().filter(|other| other.peer != peer && present(other.peer));
    let counted: BTreeSet<PeerId> =
        others().filter(|other| other.confirmed_at.is_some()).map(|other| other.peer).collect();
    if counted.is_empty() || counted.iter().any(|other| connected(*other)) {
        return Some(counted);
    }
    let serving = || others().filter(|other| other.is_serving() && connected(other.peer));
    let all_lost = counted.into_iter().all(is_lost);
    // The log confirms no copy unseen while another counts, wherever that is.
    (all_lost && serving().next().is_some()).then(|| serving().map(|other| other.peer).collect())
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
    use crate::placement::balance::tests::{World, forum, peer};

    #[test]
    fn whoever_counts_is_asked_and_those_who_serve_once_nobody_who_counts_comes_back() {
        let mut world = World::new(3);
        world.open(&[1]);
        for _ in 0..2 {
            let step = world.plan().into_iter().find(|step| !step.held_back).unwrap();
            world.carry_out(&step);
            world.complete_copies();
        }
        let ask = |of: u32, connected: &[u32], lost: bool| {
            let connected = |id: PeerId| connected.contains(&id.get());
            witnesses(&world.state, forum(1), peer(of), connected, |_| lost)
        };
        let of = |ids: &[u32]| Some(ids.iter().map(|id| peer(*id)).collect());
        assert_eq!(ask(2, &[1, 2, 3], false), of(&[1]), "the only one that was there from the beginning");
        assert_eq!(ask(2, &[2, 3], false), None, "it may come back");
        assert_eq!(ask(2, &[2, 3], true), of(&[3]));
        assert_eq!(ask(2, &[2], true), None, "there is nobody to compare with, and it may not count unseen");
        assert_eq!(ask(1, &[1, 2, 3], false), of(&[]), "no other counts");
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
