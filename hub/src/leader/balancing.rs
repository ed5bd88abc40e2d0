//! Has the plan made every second and proposes what it says.
//!
//! Owns what the plan cannot know by itself: what was seen of peers, which forums are busy, which were moved lately.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use loop_proto::ids::{ForumId, PeerId};
use loop_raft_store::machine::{Forum, HubState, Replica, ReplicaRole};
use tokio::time::Instant;

use super::{
    board::Planned,
    context::{LeaderContext, TRIED_FOR},
    watch::{Present, Watch},
};
use crate::{
    log::ProposeError,
    mesh::presence::Whereabouts,
    placement::{
        balance::{self, Heat, Load, PeerLoad, Plan, Step, Why},
        liveness::LAG_MAX,
    },
};

/// How often.
const EVERY: Duration = Duration::from_secs(1);
/// What a new leader gives peers to show up before it plans with who is there.
const SETTLE: Duration = Duration::from_secs(2);
/// For how long a forum that was moved is not moved for evenness again.
const REST: Duration = Duration::from_secs(60);

/// Makes plans while this hub leads.
pub(super) struct Balancer {
    started_at: Instant,
    planned_at: Option<Instant>,
    heat: Heat,
    moved_at: BTreeMap<ForumId, Instant>,
    /// Since when connected peers have lacked so many records that their copies may not be live.
    behind_since: BTreeMap<PeerId, Instant>,
    /// Since when this leader has seen forums with a replaced copy whose successor's is confirmed.
    replaced_since: BTreeMap<ForumId, Instant>,
}

impl Balancer {
    pub(super) fn new() -> Self {
        Self {
            started_at: Instant::now(),
            planned_at: None,
            heat: Heat::default(),
            moved_at: BTreeMap::new(),
            behind_since: BTreeMap::new(),
            replaced_since: BTreeMap::new(),
        }
    }

    /// These forums have a new primary because theirs did not answer: it does not get them back at once.
    pub(super) fn let_rest(&mut self, forums: impl IntoIterator<Item = ForumId>, now: Instant) {
        self.moved_at.extend(forums.into_iter().map(|forum| (forum, now)));
    }

    /// Plans if it is time to, and proposes what may be done now. Returns the copies that are to be compared.
    pub(super) async fn step(
        &mut self,
        cx: &LeaderContext,
        watch: &Watch,
        present: &Present,
    ) -> Option<Vec<(ForumId, PeerId)>> {
        let now = present.at;
        if now.duration_since(self.started_at) < SETTLE
            || self.planned_at.is_some_and(|at| now.duration_since(at) < EVERY)
        {
            return None;
        }
        self.planned_at = Some(now);
        self.moved_at.retain(|_, at| now.duration_since(*at) < REST);
        // A clone shares what it holds: the log goes on while the plan is made.
        let state = cx.log.read(HubState::clone);
        let load = self.load(cx, &state, watch, present);
        let began_at = Instant::now();
        let Plan { steps, blocked, unconfirmed } = balance::plan(&state, &load, &cx.policy);
        // What an operator has moved is seen through, whoever decides what is to be moved.
        let wanted = |step: &&Step| cx.config.balance || matches!(step.why, Why::TakenBack | Why::Replaced);
        let due: Vec<Step> = steps.iter().filter(|step| !step.held_back).filter(wanted).copied().collect();
        cx.plan.show(Planned { steps, blocked, took: began_at.elapsed() });
        let taken = join_all(due.into_iter().map(|step| propose(cx, step))).await;
        for forum in taken.into_iter().flatten() {
            self.moved_at.insert(forum, now);
        }
        Some(unconfirmed)
    }

    fn load(&mut self, cx: &LeaderContext, state: &HubState, watch: &Watch, present: &Present) -> Load {
        let requests = cx.mesh.traffic.peers();
        let newest = state.newest();
        let is_behind = |at: &Whereabouts| at.cursor().saturating_add(LAG_MAX) < newest;
        self.behind_since.retain(|peer, _| present.peers.get(peer).is_some_and(is_behind));
        for (peer, _) in present.peers.iter().filter(|(_, at)| is_behind(at)) {
            self.behind_since.entry(*peer).or_insert(present.at);
        }
        let behind_ms = |peer: &PeerId| {
            self.behind_since.get(peer).map(|since| millis(present.at.duration_since(*since)))
        };
        let connected = |(peer, at): (&PeerId, &Whereabouts)| {
            let status = at.status().unwrap_or_default();
            let load = PeerLoad {
                absent_ms: None,
                cursor: at.cursor(),
                behind_ms: behind_ms(peer),
                limits: at.limits(),
                disk_bytes: status.disk_bytes,
                memory_bytes: status.memory_bytes,
                requests_per_minute: requests.get(peer).copied().unwrap_or(0),
            };
            (*peer, load)
        };
        let mut peers: BTreeMap<PeerId, PeerLoad> = present.peers.iter().map(connected).collect();
        for (peer, away) in watch.absent(present.at) {
            let absent_ms = Some(millis(away));
            peers.insert(peer, PeerLoad { absent_ms, ..PeerLoad::default() });
        }
        let forums = cx.mesh.traffic.forums();
        let since_start = millis(present.at.duration_since(self.started_at));
        let hot = self.heat.note(&forums, state.counts().forums, since_start);
        let now_ms = cx.log.now().0;
        let resting = self.resting(state, now_ms);
        let kept_enough = self.kept_enough(state, cx.config.copy_grace, present.at);
        Load { now_ms, peers, forums, hot, resting, kept_enough }
    }

    /// Forums whose replaced copies this leader has seen beside confirmed successors for as long as they are kept. The log's time may
    /// stand still, where a clock was ahead; this leader's does not.
    fn kept_enough(&mut self, state: &HubState, kept_for: Duration, now: Instant) -> BTreeSet<ForumId> {
        let is_replaced = |forum: &&Forum| {
            forum.replicas.iter().any(|replica| match replica.role {
                ReplicaRole::Draining { successor, .. } => {
                    forum.replica(successor).is_some_and(Replica::is_confirmed)
                }
                ReplicaRole::Serving { .. } | ReplicaRole::Joining { .. } => false,
            })
        };
        let replaced: BTreeSet<ForumId> = state.forums().filter(is_replaced).map(|forum| forum.id).collect();
        self.replaced_since.retain(|forum, _| replaced.contains(forum));
        for forum in replaced {
            self.replaced_since.entry(forum).or_insert(now);
        }
        let kept = self.replaced_since.iter().filter(|(_, since)| now.duration_since(**since) >= kept_for);
        kept.map(|(forum, _)| *forum).collect()
    }

    /// Forums that this leader has moved lately, and those that operators or earlier leaders have.
    fn resting(&self, state: &HubState, now_ms: u64) -> BTreeSet<ForumId> {
        let lately = |changed_at: u64| now_ms.saturating_sub(changed_at) < millis(REST);
        let invited = state.invitations_newest_first().filter(|i| lately(i.changed_at.0)).map(|i| i.forum);
        invited.chain(self.moved_at.keys().copied()).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Proposes one step; the forum, if it was taken. What was refused is planned anew from what is there then.
async fn propose(cx: &LeaderContext, step: Step) -> Option<ForumId> {
    match cx.log.propose(step.command(), TRIED_FOR).await {
        Err(ProposeError::Rejected(no)) => {
            tracing::debug!(forum = %step.forum, action = ?step.action, code = ?no.code(), "not taken");
            None
        }
        Ok(_) => {
            tracing::info!(forum = %step.forum, action = ?step.action, why = %step.why, "balance");
            Some(step.forum)
        }
        Err(error) => {
            tracing::warn!(forum = %step.forum, %error, "balance could not propose");
            None
        }
    }
}
