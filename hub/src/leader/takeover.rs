//! Moves a forum's primary when it is gone, or when it leaves a task unanswered for too long.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, TaskId},
    v1::{self, command},
};
use loop_raft_store::machine::{Forum, HubState};
use tokio::time::Instant;

use crate::{hub::Hub, presence::Whereabouts};

/// A peer that is nowhere for this long is gone. A reconnect takes a fraction of it.
const ABSENT_AFTER: Duration = Duration::from_millis(400);
/// Primaries moved in one step, so that the loss of a busy peer does not flood the log.
const MOVES_MAX: usize = 256;

/// What the leader has seen so far. Forgotten with the lead.
#[derive(Default)]
pub(super) struct Takeover {
    absent_since: BTreeMap<PeerId, Instant>,
    /// The oldest open task of a forum and since when this leader has seen it unanswered under this epoch.
    unanswered: BTreeMap<ForumId, (TaskId, ForumEpoch, Instant)>,
}

struct Move {
    forum: ForumId,
    to: PeerId,
    epoch: ForumEpoch,
}

impl Takeover {
    /// Looks once and proposes what is due.
    pub(super) async fn step(&mut self, hub: &Arc<Hub>) {
        let now = Instant::now();
        let present: BTreeMap<PeerId, Whereabouts> = hub.presence.everyone().into_iter().collect();
        let moves = hub.state.read(|state| {
            self.note_absences(state, &present, now);
            self.note_unanswered(state, now);
            self.due(state, &present, hub.config.takeover, now)
        });
        let moves = moves.into_iter().map(|due| propose(hub, due));
        join_all(moves).await;
    }

    fn note_absences(&mut self, state: &HubState, present: &BTreeMap<PeerId, Whereabouts>, now: Instant) {
        self.absent_since.retain(|peer, _| !present.contains_key(peer));
        for peer in state.peers().filter(|peer| !present.contains_key(&peer.id)) {
            self.absent_since.entry(peer.id).or_insert(now);
        }
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

    fn due(
        &self,
        state: &HubState,
        present: &BTreeMap<PeerId, Whereabouts>,
        patience: Duration,
        now: Instant,
    ) -> Vec<Move> {
        let gone = |peer: &PeerId| {
            self.absent_since.get(peer).is_some_and(|since| now.duration_since(*since) >= ABSENT_AFTER)
        };
        let of_gone_peers =
            self.absent_since.keys().filter(|peer| gone(peer)).flat_map(|peer| state.forums_of(*peer));
        let stuck = self
            .unanswered
            .iter()
            .filter(|(_, (.., since))| now.duration_since(*since) >= patience)
            .filter_map(|(forum, _)| state.forum(*forum));
        of_gone_peers
            .filter(|forum| gone(&forum.primary))
            .chain(stuck)
            .filter_map(|forum| {
                Some(Move { forum: forum.id, to: successor(forum, present)?, epoch: forum.epoch })
            })
            .take(MOVES_MAX)
            .collect()
    }
}

/// The connected serving replica that is furthest along the log; not the present primary.
fn successor(forum: &Forum, present: &BTreeMap<PeerId, Whereabouts>) -> Option<PeerId> {
    forum
        .serving()
        .filter(|peer| *peer != forum.primary)
        .filter_map(|peer| Some((present.get(&peer)?.cursor(), std::cmp::Reverse(peer))))
        .max()
        .map(|(_, std::cmp::Reverse(peer))| peer)
}

async fn propose(hub: &Arc<Hub>, due: Move) {
    let command = command::Body::MovePrimary(v1::MovePrimary {
        forum_id: due.forum.get(),
        to_peer: due.to.get(),
        expected_epoch: due.epoch.0,
    });
    // Not tried again here: the next look decides anew on what is there then.
    match hub.proposer.propose(hub.new_request_id(), command, Duration::from_secs(1)).await {
        Ok(_) => tracing::info!(forum = %due.forum, to = %due.to, epoch = %due.epoch, "moved a primary"),
        Err(error) => tracing::warn!(forum = %due.forum, %error, "could not move a primary"),
    }
}
