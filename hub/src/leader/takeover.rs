//! Moves a forum's primary when it is gone, or when it leaves a task unanswered for too long.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::join_all;
use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId, TaskId},
    v1::{self, command},
};
use loop_raft_store::machine::{Forum, HubState};
use tokio::time::Instant;

use super::watch::{Present, Watch};
use crate::hub::Hub;

/// A peer that is nowhere for this long is gone. A reconnect takes a fraction of it.
const ABSENT_AFTER: Duration = Duration::from_millis(400);
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
    /// Looks once and proposes what is due.
    pub(super) async fn step(&mut self, hub: &Arc<Hub>, watch: &Watch, present: &Present) {
        let moves = hub.state.read(|state| {
            self.note_unanswered(state, present.at);
            self.due(state, watch, present, hub.config.takeover)
        });
        let moves = moves.into_iter().map(|due| propose(hub, due));
        join_all(moves).await;
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

/// The connected serving replica that is furthest along the log; not the present primary. Without one, a replica that
/// was replaced and has not been let go: it has followed the log, too.
fn successor(forum: &Forum, present: &Present) -> Option<PeerId> {
    let furthest = |replicas: &mut dyn Iterator<Item = PeerId>| {
        replicas
            .filter(|peer| *peer != forum.primary)
            .filter_map(|peer| Some((present.peers.get(&peer)?.cursor(), std::cmp::Reverse(peer))))
            .max()
            .map(|(_, std::cmp::Reverse(peer))| peer)
    };
    furthest(&mut forum.serving()).or_else(|| furthest(&mut forum.draining()))
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
