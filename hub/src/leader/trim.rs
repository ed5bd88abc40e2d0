//! Forgets the part of the log that everybody who may still come for it has on disk.

use loop_proto::{
    breakage::{self, Breakage},
    ids::PeerId,
    v1::{self, command},
};
use loop_raft_store::machine::{Forum, HubState, PeerState, Replica};

use super::{
    context::{LeaderContext, TRIED_FOR},
    watch::{Present, Watch},
};

/// Records kept although everybody has them: a peer that reconnects with an older cursor finds them still there.
const KEEP: u64 = 10_000;
/// Not worth a log entry below this.
const TRIM_MIN: u64 = 1_000;
/// Nor below this part of what the log may hold, which lets a small log be trimmed in time.
const TRIM_PART: u64 = 20;

/// Proposes new trim points if they are worth it: one for what nobody waits for any more, and one for what the
/// machine may give up when its budget is used up. A peer that is lost holds neither back; when it is back it starts
/// again.
pub(super) async fn step(cx: &LeaderContext, watch: &Watch, present: &Present) {
    let policy = cx.policy;
    let (through, kept_through) = cx.log.read(|state| {
        let eager = breakage::is_on(Breakage::TrimPastSeeding);
        let (worth_max, keep) = if eager { (1, 0) } else { (TRIM_MIN, KEEP) };
        let worth = (state.bounds().records_max / TRIM_PART).clamp(1, worth_max);
        if state.newest() < state.kept_through().min(state.trimmed_through()) + worth {
            return (0, None);
        }
        let given_up = |peer: PeerId| {
            watch.is_lost(state, peer, &policy, present.at) || eager && is_seeding(state, peer)
        };
        let waited_for = |peer: &PeerId| !given_up(*peer);
        let kept = kept_through(state, |peer| watch.cursor(peer));
        let slowest =
            slowest(state.peers().map(|peer| peer.id).filter(waited_for), |peer| watch.cursor(peer));
        let through = slowest.unwrap_or(kept).min(kept).min(state.newest().saturating_sub(keep));
        let trims = through >= state.trimmed_through() + worth;
        let keeps = kept >= state.kept_through() + worth;
        (if trims { through } else { state.trimmed_through() }, (trims || keeps).then_some(kept))
    });
    let Some(kept_through) = kept_through else { return };
    let trim = command::Body::TrimTasks(v1::TrimTasks { through, kept_through });
    if let Err(error) = cx.log.propose(trim, TRIED_FOR).await {
        tracing::debug!(%error, "could not trim the log");
    }
}

/// Whether a copy is on its way to this peer.
fn is_seeding(state: &HubState, peer: PeerId) -> bool {
    let joins = |forum: &Forum| forum.replica(peer).and_then(Replica::joining).is_some();
    state.forums_of(peer).any(joins)
}

/// The lowest cursor of these peers; 0 if one of them was never seen; `None` if there are none.
fn slowest(peers: impl Iterator<Item = PeerId>, cursor: impl Fn(PeerId) -> Option<u64>) -> Option<u64> {
    peers.map(|peer| cursor(peer).unwrap_or(0)).min()
}

/// Up to which record every forum has a serving replica that has it on disk. Forums whose replicas an operator has
/// removed, all of them, are not waited for.
fn kept_through(state: &HubState, cursor: impl Fn(PeerId) -> Option<u64>) -> u64 {
    let removed = |peer: PeerId| state.peer(peer).is_none_or(|peer| peer.state == PeerState::Removed);
    let of_forum = |forum: &Forum| {
        if forum.serving().all(removed) {
            return None;
        }
        let furthest = forum.serving().filter_map(&cursor).max().unwrap_or(0);
        // With its newest record on disk there is nothing of it left in the log, however long that is.
        (furthest < forum.newest_record).then_some(furthest)
    };
    state.forums().filter_map(of_forum).min().unwrap_or(u64::MAX).min(state.newest())
}

#[cfg(test)]
mod tests {
    use loop_raft_store::machine::{self, bounds::Bounds};

    use super::*;

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    fn apply(state: &mut HubState, n: u8, body: command::Body) {
        let command = v1::Command { request_id: vec![n; 16].into(), at_ms: 1, body: Some(body) };
        machine::apply_command(state, command);
    }

    /// Two peers; forum 1 on both, forum 2 on the second alone; newest records 2 and 4.
    fn state() -> HubState {
        let mut state = HubState::new(Bounds::default());
        for n in 1..=2 {
            let register =
                v1::RegisterPeer { name: "p".into(), secret_hash: vec![n; 32].into(), ..Default::default() };
            apply(&mut state, n, command::Body::RegisterPeer(register));
        }
        for (n, replicas) in [(3, vec![1, 2]), (4, vec![2])] {
            let open = v1::OpenForum { key: vec![n; 16].into(), replicas, ..Default::default() };
            apply(&mut state, n, command::Body::OpenForum(open));
        }
        state
    }

    #[test]
    fn what_one_serving_replica_of_every_forum_has_may_be_given_up() {
        let state = state();
        assert_eq!(state.newest(), 4);
        let with = |first: Option<u64>, second: Option<u64>| {
            kept_through(&state, |p| if p == peer(1) { first } else { second })
        };
        assert_eq!(with(Some(4), Some(4)), 4);
        assert_eq!(with(Some(0), Some(4)), 4, "the first peer lags, the second has both");
        assert_eq!(with(Some(4), Some(3)), 3, "the second forum's only replica lacks its newest record");
        assert_eq!(with(Some(4), None), 0, "and was never seen");
    }

    #[test]
    fn a_peer_that_is_waited_for_and_was_never_seen_holds_everything_back() {
        let cursor = |p| (p == peer(1)).then_some(9);
        assert_eq!(slowest([peer(1)].into_iter(), cursor), Some(9));
        assert_eq!(slowest([peer(1), peer(2)].into_iter(), cursor), Some(0));
        assert_eq!(slowest([].into_iter(), cursor), None);
    }
}
