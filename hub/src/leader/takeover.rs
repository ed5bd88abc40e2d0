//! Moves a forum's primary when it is gone, or when it leaves a task unanswered for too long.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, TaskId},
    v1::{self, command},
};
use loop_raft_store::machine::{Forum, HubState, Replica};
use tokio::time::Instant;

use super::{
    context::{LeaderContext, TRIED_FOR},
    watch::{Present, Watch},
};
use crate::log::ProposeError;

/// A peer that is nowhere for this long is gone. A reconnect takes a fraction of it.
const ABSENT_AFTER: Duration = Duration::from_millis(400);
/// Records by which two replicas may differ and still be equally good: less than a heartbeat's time.
const NEAR: u64 = 256;
/// Primaries moved in one step, so that the loss of a busy peer does not flood the log.
const MOVES_MAX: usize = 256;

/// What the leader has seen so far. Forgotten with the lead.
#[derive(Default)]
pub(super) struct Takeover {
    /// The oldest open task of a forum and since when this leader has seen it unanswered under this epoch.
    unanswered: BTreeMap<ForumId, (TaskId, ForumEpoch, Instant)>,
}

struct Move {
    forum: ForumId,
    to: PeerId,
    epoch: ForumEpoch,
}

impl Takeover {
    /// Looks once and proposes what is due. Returns the forums whose primary has moved.
    pub(super) async fn step(
        &mut self,
        cx: &LeaderContext,
        watch: &Watch,
        present: &Present,
    ) -> Vec<ForumId> {
        let moves = cx.log.read(|state| {
            self.note_unanswered(state, present.at);
            self.due(state, watch, present, cx.config.takeover)
        });
        let moves = moves.into_iter().map(|due| propose(cx, due));
        join_all(moves).await.into_iter().flatten().collect()
    }

    fn note_unanswered(&mut self, state: &HubState, now: Instant) {
        let mut oldest: BTreeMap<ForumId, (TaskId, ForumEpoch)> = BTreeMap::new();
        for record in state.open_tasks() {
            if let Some(forum) = record.forum.and_then(|forum| state.forum(forum)) {
                oldest.entry(forum.id).or_insert((record.id, forum.epoch));
            }
        }
        self.unanswered.retain(|forum, (task, epoch, _)| oldest.get(forum) == Some(&(*task, *epoch)));
        for (forum, (task, epoch)) in oldest {
            self.unanswered.entry(forum).or_insert((task, epoch, now));
        }
    }

    fn due(&self, state: &HubState, watch: &Watch, present: &Present, patience: Duration) -> Vec<Move> {
        let now = present.at;
        let gone = |peer: PeerId| watch.absent_for(peer, now).is_some_and(|away| away >= ABSENT_AFTER);
        let of_gone_peers = watch
            .absent(now)
            .filter(|(_, away)| *away >= ABSENT_AFTER)
            .flat_map(|(peer, _)| state.forums_of(peer));
        let stuck = self
            .unanswered
            .iter()
            .filter(|(_, (.., since))| now.duration_since(*since) >= patience)
            .filter_map(|(forum, _)| state.forum(*forum));
        of_gone_peers
            .filter(|forum| gone(forum.primary))
            .chain(stuck)
            .filter_map(|forum| {
                Some(Move { forum: forum.id, to: successor(forum, present)?, epoch: forum.epoch })
            })
            .take(MOVES_MAX)
            .collect()
    }
}

/// A connected serving replica that is as far along the log as any, rather one whose copy is confirmed; not the present
/// primary. Without a confirmed one, a replica that was replaced and has not been let go: it has followed the log, too.
fn successor(forum: &Forum, present: &Present) -> Option<PeerId> {
    let pick_of = |wanted: fn(&Replica) -> bool| {
        let others = forum.replicas.iter().filter(|replica| replica.peer != forum.primary && wanted(replica));
        let there =
            others.filter_map(|replica| Some((replica.peer, present.peers.get(&replica.peer)?.cursor())));
        pick(forum.id, &there.collect::<Vec<_>>())
    };
    pick_of(Replica::is_confirmed)
        .or_else(|| pick_of(Replica::is_draining))
        .or_else(|| pick_of(Replica::is_serving))
}

/// One of those that are about as far as the furthest. The forums of a peer that is gone go to all of them in turn, not
/// all to one.
fn pick(forum: ForumId, candidates: &[(PeerId, u64)]) -> Option<PeerId> {
    let furthest = candidates.iter().map(|(_, cursor)| *cursor).max()?;
    let near: Vec<PeerId> = candidates
        .iter()
        .filter(|(_, cursor)| cursor.saturating_add(NEAR) >= furthest)
        .map(|(peer, _)| *peer)
        .collect();
    near.get(forum.get() as usize % near.len().max(1)).copied()
}

async fn propose(cx: &LeaderContext, due: Move) -> Option<ForumId> {
    let command = command::Body::MovePrimary(v1::MovePrimary {
        forum_id: due.forum.get(),
        to_peer: due.to.get(),
        expected_epoch: due.epoch.0,
    });
    // Not tried again here: the next look decides anew on what is there then.
    match cx.log.propose(command, TRIED_FOR).await {
        Err(ProposeError::Rejected(no)) => {
            tracing::debug!(forum = %due.forum, to = %due.to, code = ?no.code(), "a primary was not moved");
            None
        }
        Ok(_) => {
            tracing::info!(forum = %due.forum, to = %due.to, epoch = %due.epoch, "moved a primary");
            Some(due.forum)
        }
        Err(error) => {
            tracing::warn!(forum = %due.forum, %error, "could not move a primary");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    #[test]
    fn forums_of_a_peer_that_is_gone_go_to_all_that_are_near_and_to_nobody_far_behind() {
        let candidates = [(peer(1), 10_000), (peer(2), 9_900), (peer(3), 1_000)];
        let picked = |forum| pick(ForumId::new(forum).unwrap(), &candidates).unwrap();
        let mut picked: Vec<PeerId> = (1..=10).map(picked).collect();
        picked.sort_unstable();
        picked.dedup();
        assert_eq!(picked, [peer(1), peer(2)]);
        assert_eq!(pick(ForumId::new(1).unwrap(), &[]), None);
    }
}
