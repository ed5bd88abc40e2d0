//! The one place where the model touches the plan that ships and the rules of the shell around it that cannot be called
//! from outside. Another version of the plan needs another file here, nothing else.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use loop_hub::{
    leader::{self},
    placement::{
        balance::{self, ForumRate, Heat, Load, Outcomes, PeerLoad, Policy},
        liveness,
    },
};
use loop_proto::{
    ids::{ForumId, PeerId},
    v1::{self, PeerLimits, command::Body},
};
use loop_raft_store::machine::{Forum, HubState, Peer, PeerState, Replica};

use super::agenda::{Ms, SECOND};

/// For how long a forum that was moved is not moved for evenness again.
const REST: Ms = 60 * SECOND;
/// Records by which two replicas may differ and still be equally good.
const NEAR: u64 = 256;
/// Records a live copy may lack.
pub const LAG_MAX: u64 = liveness::LAG_MAX;
/// How long a peer may leave an invitation unanswered.
pub const INVITATION_TIMEOUT: Ms = 30 * SECOND;
/// Who has come or gone is told once it has lasted, and something is told that often.
const LASTS: Ms = 2 * SECOND;
const TOLD_EVERY: Ms = 30 * SECOND;
/// Copies of as many forums are compared at once, and one that came to nothing is not repeated at once.
const COMPARED_AT_ONCE: usize = 4;
const COMPARED_AGAIN_AFTER: Ms = 10 * SECOND;

/// A connected peer, as the leader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    /// What it has on disk.
    pub cursor: u64,
    /// What it says it gives.
    pub limits: PeerLimits,
    /// What it says it uses.
    pub disk_bytes: u64,
}

/// What the leader sees when it plans.
pub struct Sight<'a> {
    /// What is agreed.
    pub state: &'a HubState,
    /// On the clock of the log.
    pub now_ms: u64,
    /// The connected peers.
    pub present: &'a BTreeMap<PeerId, Present>,
    /// The others, and for how long this leader has known them away.
    pub absent: &'a BTreeMap<PeerId, Ms>,
    /// Busy forums.
    pub rates: &'a BTreeMap<ForumId, ForumRate>,
    /// Forums this leader has moved, and when, on the clock of the log.
    pub moved_at: &'a BTreeMap<ForumId, u64>,
}

/// A step that may be taken now.
pub struct Due {
    /// The forum.
    pub forum: ForumId,
    /// How it is done.
    pub body: Body,
    /// What it is, in words.
    pub what: String,
    /// Why.
    pub why: String,
}

/// A plan.
#[derive(Default)]
pub struct Plan {
    /// What may be done now.
    pub due: Vec<Due>,
    /// How many steps wait for others.
    pub held_back: usize,
    /// How many needs nobody can meet.
    pub blocked: usize,
    /// Copies that are live and have not been compared.
    pub unconfirmed: Vec<(ForumId, PeerId)>,
}

/// What a comparison of a new copy with others showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It is as another one that counts.
    Equal,
    /// It is not.
    Differs,
    /// There is no other one that counts.
    Alone,
    /// Too few have answered.
    Unknown,
}

/// What a leader remembers between two plans.
#[derive(Default)]
pub struct Planner {
    heat: Heat,
}

impl Planner {
    /// Has the plan made.
    pub fn plan(&mut self, sight: &Sight<'_>) -> Plan {
        let state = sight.state;
        let mut peers: BTreeMap<PeerId, PeerLoad> = BTreeMap::new();
        for (peer, at) in sight.present {
            let is_behind = at.cursor.saturating_add(LAG_MAX) < state.newest();
            let load = PeerLoad {
                absent_ms: None,
                cursor: at.cursor,
                behind_ms: is_behind.then_some(0),
                limits: at.limits,
                disk_bytes: at.disk_bytes,
                memory_bytes: 0,
                requests_per_minute: 0,
            };
            peers.insert(*peer, load);
        }
        for (peer, away) in sight.absent {
            peers.insert(*peer, PeerLoad { absent_ms: Some(*away), ..PeerLoad::default() });
        }
        let hot = self.heat.note(sight.rates, state.counts().forums, sight.now_ms);
        let forums = sight.rates.clone();
        let kept_enough = Default::default();
        let load = Load { now_ms: sight.now_ms, peers, forums, hot, resting: resting(sight), kept_enough };
        let made = balance::plan(state, &load, &Policy::default());
        let blocked = made.blocked.total;
        let mut plan = Plan { blocked, unconfirmed: made.unconfirmed, ..Plan::default() };
        for step in made.steps {
            if step.held_back {
                plan.held_back += 1;
                continue;
            }
            let what = format!("{:?} because {}", step.action, step.why);
            let why = step.why.to_string();
            plan.due.push(Due { forum: step.forum, body: step.command(), what, why });
        }
        plan
    }
}

fn resting(sight: &Sight<'_>) -> BTreeSet<ForumId> {
    let lately = |changed_at: u64| sight.now_ms.saturating_sub(changed_at) < REST;
    let invited = sight.state.invitations_newest_first();
    let invited = invited.filter(|i| lately(i.changed_at.0)).map(|i| i.forum);
    let moved = sight.moved_at.iter().filter(|(_, at)| lately(**at)).map(|(forum, _)| *forum);
    invited.chain(moved).collect()
}

/// Tells the log who comes and goes.
#[derive(Default)]
pub struct Presence {
    told_at: Option<Ms>,
    changed: BTreeMap<PeerId, Ms>,
}

impl Presence {
    /// What is to be told now, and when to look again.
    pub fn due(
        &mut self,
        state: &HubState,
        here: impl Fn(PeerId) -> bool,
        now: Ms,
    ) -> (Option<Body>, Option<Ms>) {
        for peer in state.peers() {
            if here(peer.id) == peer.attendance.connected {
                self.changed.remove(&peer.id);
            } else {
                self.changed.entry(peer.id).or_insert(now);
            }
        }
        let lasting = self.changed.iter().filter(|(_, since)| now >= **since + LASTS);
        let (connected, away): (Vec<PeerId>, Vec<PeerId>) =
            lasting.map(|(peer, _)| *peer).take(256).partition(|peer| here(*peer));
        let next = self.changed.values().map(|since| since + LASTS).filter(|at| *at > now).min();
        let is_tick = self.told_at.is_none_or(|at| now >= at + TOLD_EVERY);
        if connected.is_empty() && away.is_empty() && !is_tick {
            return (None, next);
        }
        self.told_at = Some(now);
        let ids = |peers: Vec<PeerId>| peers.into_iter().map(PeerId::get).collect();
        (Some(Body::NotePresence(v1::NotePresence { connected: ids(connected), away: ids(away) })), next)
    }
}

/// Has new copies compared.
#[derive(Default)]
pub struct Confirming {
    live_since: BTreeMap<(ForumId, PeerId), Ms>,
    tried: BTreeMap<ForumId, Ms>,
}

impl Confirming {
    /// Copies to be compared now.
    pub fn due(&mut self, unconfirmed: &[(ForumId, PeerId)], now: Ms) -> Vec<(ForumId, PeerId)> {
        let waiting: BTreeSet<(ForumId, PeerId)> = unconfirmed.iter().copied().collect();
        self.live_since.retain(|copy, _| waiting.contains(copy));
        self.tried.retain(|_, at| now < *at + COMPARED_AGAIN_AFTER);
        let mut due = Vec::new();
        for copy in waiting {
            let since = *self.live_since.entry(copy).or_insert(now);
            let rested = now >= since + Policy::default().copy_grace_ms && !self.tried.contains_key(&copy.0);
            if rested && due.len() < COMPARED_AT_ONCE {
                self.tried.insert(copy.0, now);
                due.push(copy);
            }
        }
        due
    }
}

/// What follows from a comparison, one step after the other.
pub fn compared(state: &HubState, forum: ForumId, peer: PeerId, audit: u64, compared: Compared) -> Vec<Body> {
    let (forum_id, peer_id) = (forum.get(), peer.get());
    match compared {
        Compared::Unknown => Vec::new(),
        Compared::Equal | Compared::Alone => {
            vec![Body::ConfirmReplica(v1::ConfirmReplica { forum_id, peer_id, audit_record: audit })]
        }
        Compared::Differs => leader::take_away(state, forum, peer),
    }
}

/// Whether a copy counts in a comparison.
pub fn is_counted(state: &HubState, replica: &Replica) -> bool {
    let removed = state.peer(replica.peer).is_none_or(|peer| peer.state == PeerState::Removed);
    replica.confirmed_at.is_some() && !removed
}

/// For how long a peer had been away when a new leader first saw that it is.
pub fn away_before(state: &HubState, peer: PeerId) -> Ms {
    state.peer(peer).and_then(|peer| peer.attendance.away_ms(state.steady())).unwrap_or(0)
}

/// Whether the log waits for a peer no more that has been away for so long.
pub fn is_lost(state: &HubState, peer: PeerId, away: Ms) -> bool {
    let patience = Policy::default().patience(state);
    state.peer(peer).is_none_or(|peer| away >= patience.grace_ms(&peer.attendance))
}

/// Who leads a forum whose primary has gone, of those who are connected with these cursors.
pub fn successor(forum: &Forum, cursor: impl Fn(PeerId) -> Option<u64>) -> Option<PeerId> {
    let of = |wanted: fn(&Replica) -> bool| {
        let others = forum.replicas.iter().filter(|replica| replica.peer != forum.primary && wanted(replica));
        let there: Vec<_> =
            others.filter_map(|replica| Some((replica.peer, cursor(replica.peer)?))).collect();
        pick(forum.id, &there)
    };
    of(Replica::is_confirmed).or_else(|| of(Replica::is_draining)).or_else(|| of(Replica::is_serving))
}

fn pick(forum: ForumId, candidates: &[(PeerId, u64)]) -> Option<PeerId> {
    let furthest = candidates.iter().map(|(_, cursor)| *cursor).max()?;
    let near = candidates.iter().filter(|(_, cursor)| cursor + NEAR >= furthest);
    let near: Vec<PeerId> = near.map(|(peer, _)| *peer).collect();
    near.get(forum.get() as usize % near.len().max(1)).copied()
}

/// Replicas that were replaced and may go now, besides what the plan says: none.
pub fn to_let_go(_forum: &Forum, _present: &BTreeMap<PeerId, Present>) -> Vec<Body> {
    Vec::new()
}

/// Whether a serving replica counts as a copy.
pub fn is_confirmed(forum: &Forum, peer: PeerId) -> bool {
    forum.replica(peer).is_some_and(Replica::is_confirmed)
}

/// Whether a peer that is no replica any more drops its rows, as it reads in the log who is.
pub fn drops_rows(forum: &Forum, peer: PeerId) -> bool {
    forum.replicas.iter().any(|other| other.peer != peer && other.is_confirmed())
}

/// Which peers a new forum goes to, the first as its primary.
pub fn place(state: &HubState, present: &BTreeMap<PeerId, Present>, now_ms: u64) -> Vec<u32> {
    let mut held: BTreeMap<PeerId, (usize, usize, bool)> = BTreeMap::new();
    for forum in state.forums() {
        for replica in forum.replicas.iter().filter(|replica| !replica.is_draining()) {
            let held = held.entry(replica.peer).or_default();
            held.0 += 1;
            held.2 |= replica.is_confirmed();
        }
        held.entry(forum.primary).or_default().1 += 1;
    }
    let patience = Policy::default().patience(state);
    let count = |peer: &Peer| held.get(&peer.id).copied().unwrap_or_default();
    let may_hold = |peer: &&Peer| {
        let Some(at) = present.get(&peer.id) else {
            let away = peer.attendance.away_ms(patience.now).unwrap_or(0);
            return !patience.is_doubted(peer)
                && patience.is_proven(&peer.attendance)
                && away < patience.grace_ms(&peer.attendance);
        };
        let load = PeerLoad { limits: at.limits, disk_bytes: at.disk_bytes, ..PeerLoad::default() };
        load.has_room() && (at.limits.forums == 0 || count(peer).0 < at.limits.forums as usize)
    };
    let active = state.peers().filter(|peer| peer.state == PeerState::Active);
    let mut peers: Vec<&Peer> = active.filter(may_hold).collect();
    let away = |peer: &Peer| !present.contains_key(&peer.id);
    let outcomes = Outcomes::of(state, now_ms);
    let standing = |peer: &Peer| {
        Reverse(if outcomes.unreliable.contains(&peer.id) { 0 } else { patience.standing(peer) })
    };
    let fruitless = |peer: &Peer| !count(peer).2 && outcomes.is_fruitless(peer, patience.now);
    peers.sort_by_key(|peer| (away(peer), standing(peer), fruitless(peer), count(peer).0, peer.id));
    peers.truncate(Policy::default().replicas);
    peers.sort_by_key(|peer| {
        (away(peer), standing(peer), fruitless(peer), count(peer).1, count(peer).0, peer.id)
    });
    match peers.first() {
        Some(first) if !away(first) => peers.into_iter().map(|peer| peer.id.get()).collect(),
        _ => Vec::new(),
    }
}
