//! The state and the load as a plan works on them: peers and forums by position, counts that follow every step.
//!
//! Everything under way counts as done: an invited peer as a replica, the one it replaces as none.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use loop_proto::ids::{ForumEpoch, ForumId, PeerId};
use loop_raft_store::machine::{Forum, HubState, Peer, PeerState, Replica, ReplicaRole};

use super::{
    blocked::Obstacle,
    load::{Load, PeerLoad},
    policy::Policy,
    refusals::Refusals,
    step::Why,
};
use crate::{mesh::traffic::ForumRate, placement::liveness};

/// A task costs a replica that only applies what came of it this share of what it costs the primary.
const APPLY_SHARE: u64 = 4;
/// A peer that is away for less may just be changing hubs or starting again, milliseconds.
const MOMENT_MS: u64 = 20_000;
/// For so long a connected peer may lack what its copies need to be live, until they count as not there, milliseconds.
const BEHIND_MAX_MS: u64 = 60_000;
/// A peer gets no copy before it has been there for as long, milliseconds, unless the last one is to be doubled.
const STAY_MS: u64 = 30_000;

/// One peer.
pub(super) struct PeerView {
    pub id: PeerId,
    pub connected: bool,
    /// Connected, or was a moment ago.
    pub was_here: bool,
    /// It has been there for long enough, and for most of the time.
    pub proven: bool,
    /// Too new to be proven or not.
    pub is_new: bool,
    /// Not only since a moment ago.
    pub has_stayed: bool,
    /// Orders those who are not proven.
    pub standing: u32,
    /// Keeps what it holds: active or paused, and not lost.
    pub stays: bool,
    /// Removed, or away for too long.
    pub lost: bool,
    /// Active, connected and not behind.
    pub works: bool,
    /// May get a forum: works, has room, has not just said no.
    pub takes: bool,
    /// Why it may not.
    pub obstacle: Option<Obstacle>,
    /// Forums it may still get by its limit.
    pub room: u64,
    owner: Option<u32>,
    network: Option<u32>,
    pub replicas: usize,
    pub primaries: usize,
    /// Requests per minute.
    pub load: u64,
    pub inflow: usize,
    pub outflow: usize,
    /// Forums it serves, by position.
    pub serves: Vec<u32>,
}

/// One forum.
pub(super) struct ForumView {
    pub id: ForumId,
    pub epoch: ForumEpoch,
    pub primary: usize,
    pub serving: Vec<usize>,
    /// Of those that serve, whose copies are complete and whose peers are connected.
    pub live: Vec<usize>,
    /// Of those that serve, whose copies were found equal to another's.
    pub confirmed: Vec<usize>,
    /// Whom those on their way replace.
    pub joining: Vec<(usize, Option<usize>)>,
    pub draining: Vec<DrainingView>,
    pub wanted: usize,
    pub rate: ForumRate,
    pub hot: bool,
    pub resting: bool,
    /// A step of this plan concerns it: one at a time.
    pub planned: bool,
}

/// A replica that was replaced and still follows.
#[derive(Clone, Copy)]
pub(super) struct DrainingView {
    pub peer: usize,
    /// The cut-over's record.
    pub since_record: u64,
    /// How far its successor is or, without one, whoever serves.
    pub passed: u64,
    /// Its copy is complete and its peer is connected.
    pub live: bool,
    pub confirmed: bool,
    /// Its successor was confirmed long enough ago, or is none any more.
    pub is_over: bool,
}

pub(super) struct View {
    pub peers: Vec<PeerView>,
    pub forums: Vec<ForumView>,
    /// Invitations open.
    pub under_way: usize,
    /// Most replicas of one forum in any role.
    pub roles_max: usize,
    /// Most that serve.
    pub serving_max: usize,
    /// Whether anybody who works is proven; else nobody is doubted.
    any_proven: bool,
    failed: BTreeSet<(ForumId, PeerId)>,
}

impl ForumView {
    pub fn holds(&self, peer: usize) -> bool {
        self.serving.contains(&peer)
            || self.draining.iter().any(|draining| draining.peer == peer)
            || self.joining.iter().any(|(target, _)| *target == peer)
    }

    pub fn is_replaced(&self, peer: usize) -> bool {
        self.joining.iter().any(|(_, replaces)| *replaces == Some(peer))
    }

    /// Who holds it once everything under way is done.
    pub fn holders(&self) -> impl Iterator<Item = usize> + '_ {
        let serving = self.serving.iter().copied().filter(|peer| !self.is_replaced(*peer));
        serving.chain(self.joining.iter().map(|(target, _)| *target))
    }

    /// The primary once everything under way is done.
    pub fn next_primary(&self) -> usize {
        let heir = self.joining.iter().find(|(_, replaces)| *replaces == Some(self.primary));
        heir.map_or(self.primary, |(target, _)| *target)
    }

    /// What it costs `peer` to hold it, requests per minute.
    pub fn share(&self, peer: usize) -> u64 {
        let reads = self.rate.reads_per_minute / (self.serving.len().max(1) as u64);
        let tasks = self.rate.tasks_per_minute;
        reads + if self.primary == peer { tasks } else { tasks / APPLY_SHARE }
    }
}

impl View {
    pub fn new(state: &HubState, load: &Load, policy: &Policy) -> Self {
        let refusals = Refusals::of(state, load.now_ms);
        let mut labels = Labels::default();
        let of_peer = |peer: &Peer| peer_view(state, peer, load, policy, &refusals, &mut labels);
        let peers: Vec<PeerView> = state.peers().map(of_peer).collect();
        let at: BTreeMap<PeerId, usize> = peers.iter().enumerate().map(|(at, p)| (p.id, at)).collect();
        let any_proven = peers.iter().any(|peer| peer.works && peer.proven);
        let failed = refusals.pairs;
        let roles_max = usize::try_from(state.bounds().replicas_of_any_role_max()).unwrap_or(usize::MAX);
        let serving_max = usize::try_from(state.bounds().replicas_max).unwrap_or(usize::MAX);
        let mut view =
            Self { peers, forums: Vec::new(), under_way: 0, roles_max, serving_max, any_proven, failed };
        view.forums = state.forums().map(|forum| forum_view(state, forum, load, policy, &at)).collect();
        view.count(state, &at);
        for peer in &mut view.peers {
            let measured = load.peers.get(&peer.id).map_or(0, |peer| peer.requests_per_minute);
            peer.load = peer.load.max(measured);
        }
        view
    }

    fn count(&mut self, state: &HubState, at: &BTreeMap<PeerId, usize>) {
        for (position, forum) in self.forums.iter().enumerate() {
            for peer in forum.holders() {
                self.peers[peer].replicas += 1;
                self.peers[peer].room = self.peers[peer].room.saturating_sub(1);
            }
            for peer in &forum.serving {
                self.peers[*peer].load += forum.share(*peer);
                self.peers[*peer].serves.push(u32::try_from(position).unwrap_or(u32::MAX));
            }
            self.peers[forum.next_primary()].primaries += 1;
        }
        for invitation in state.open_invitations() {
            self.under_way += 1;
            for (peer, inflow, outflow) in [(invitation.target, 1, 0), (invitation.source, 0, 1)] {
                if let Some(peer) = at.get(&peer) {
                    self.peers[*peer].inflow += inflow;
                    self.peers[*peer].outflow += outflow;
                }
            }
        }
    }

    /// Whether copies on this peer are counted on.
    pub fn counts(&self, peer: usize) -> bool {
        self.peers[peer].proven || !self.any_proven
    }

    /// Whether evenness concerns this peer.
    pub fn is_even(&self, peer: usize) -> bool {
        self.peers[peer].works && self.counts(peer)
    }

    /// The mean of a count over the peers whose share is to be even.
    pub fn mean(&self, count: impl Fn(&PeerView) -> usize) -> Mean {
        let even = || (0..self.peers.len()).filter(|peer| self.is_even(*peer));
        Mean { sum: even().map(|peer| count(&self.peers[peer])).sum(), of: even().count().max(1) }
    }

    /// How many of the forum's holders share an owner, and how many a network, with `peer`; without `except`.
    pub fn clashes(&self, forum: &ForumView, peer: usize, except: Option<usize>) -> usize {
        let own = &self.peers[peer];
        let others = forum.holders().filter(|other| *other != peer && Some(*other) != except);
        others.map(|other| spread(own.labels(), self.peers[other].labels())).sum()
    }

    /// Copies that serve, are live and have not been compared with another's.
    pub fn unconfirmed(&self) -> Vec<(ForumId, PeerId)> {
        let of_forum = |forum: &ForumView| -> Vec<(ForumId, PeerId)> {
            let new = forum.live.iter().filter(|peer| !forum.confirmed.contains(*peer));
            new.map(|peer| (forum.id, self.peers[*peer].id)).collect()
        };
        self.forums.iter().flat_map(of_forum).collect()
    }

    /// Who should get forum `at` in the place of `replaces`.
    pub fn best_target(
        &self,
        at: usize,
        replaces: Option<usize>,
        why: Why,
        policy: &Policy,
    ) -> Option<usize> {
        let forum = &self.forums[at];
        let mean = self.mean(|peer| peer.replicas);
        let urgent = why == Why::LastCopy;
        let may = |peer: &usize| self.may_take(*peer, at) && (urgent || self.peers[*peer].has_stayed);
        (0..self.peers.len()).filter(may).min_by_key(|position| {
            let peer = &self.peers[*position];
            let waits = peer.inflow >= policy.per_target_max;
            let standing = if self.counts(*position) { u32::MAX } else { peer.standing };
            // A busy forum needs capacity, any other an even spread.
            let load = if why == Why::Busy { peer.load } else { 0 };
            let overfull = mean.is_exceeded_by_half(peer.replicas);
            (
                Reverse(standing),
                waits,
                load,
                overfull,
                self.clashes(forum, *position, replaces),
                peer.replicas,
                peer.load,
                peer.id,
            )
        })
    }

    /// Whether somebody whose copies count may get forum `at`.
    pub fn has_counted_target(&self, at: usize) -> bool {
        self.any_proven && (0..self.peers.len()).any(|peer| self.counts(peer) && self.may_take(peer, at))
    }

    /// Whether `peer` could not get forum `at` lately.
    pub fn has_failed(&self, peer: usize, at: usize) -> bool {
        self.failed.contains(&(self.forums[at].id, self.peers[peer].id))
    }

    /// Whether `peer` may get forum `at` now.
    pub fn may_take(&self, peer: usize, at: usize) -> bool {
        let (forum, view) = (&self.forums[at], &self.peers[peer]);
        view.takes && view.room > 0 && !forum.holds(peer) && !self.has_failed(peer, at)
    }

    /// Who should give its copy: not the primary, which has more to do, and nobody who gives others already.
    pub fn best_source(&self, at: usize) -> Option<usize> {
        let forum = &self.forums[at];
        let whole = forum.live.iter().copied();
        whole.min_by_key(|peer| {
            let view = &self.peers[*peer];
            let doubtful = !forum.confirmed.contains(peer);
            (doubtful, view.outflow, *peer == forum.primary, view.load, view.id)
        })
    }

    pub fn invited(&mut self, at: usize, target: usize, source: usize, replaces: Option<usize>) {
        let forum = &mut self.forums[at];
        forum.joining.push((target, replaces));
        forum.planned = true;
        let share = forum.share(target);
        if let Some(replaced) = replaces {
            self.peers[replaced].replicas -= 1;
            if forum.primary == replaced {
                self.peers[replaced].primaries -= 1;
                self.peers[target].primaries += 1;
            }
        }
        let peer = &mut self.peers[target];
        peer.replicas += 1;
        peer.room = peer.room.saturating_sub(1);
        peer.inflow += 1;
        peer.load += share;
        self.peers[source].outflow += 1;
        self.under_way += 1;
    }

    pub fn primary_moved(&mut self, at: usize, to: usize) {
        let forum = &mut self.forums[at];
        forum.planned = true;
        let (from, tasks) = (forum.primary, forum.rate.tasks_per_minute);
        forum.primary = to;
        forum.epoch = ForumEpoch(forum.epoch.0 + 1);
        let moved = tasks - tasks / APPLY_SHARE;
        self.peers[from].primaries -= 1;
        self.peers[from].load = self.peers[from].load.saturating_sub(moved);
        self.peers[to].primaries += 1;
        self.peers[to].load += moved;
    }

    pub fn reinstated(&mut self, at: usize, peer: usize) {
        let forum = &mut self.forums[at];
        forum.planned = true;
        let Some(found) = forum.draining.iter().position(|draining| draining.peer == peer) else { return };
        let draining = forum.draining.remove(found);
        forum.serving.push(peer);
        forum.live.extend(draining.live.then_some(peer));
        forum.confirmed.extend(draining.confirmed.then_some(peer));
        self.peers[peer].replicas += 1;
    }

    pub fn removed(&mut self, at: usize, peer: usize) {
        let share = self.forums[at].share(peer);
        let forum = &mut self.forums[at];
        forum.planned = true;
        for list in [&mut forum.serving, &mut forum.live, &mut forum.confirmed] {
            list.retain(|serving| *serving != peer);
        }
        self.peers[peer].replicas -= 1;
        self.peers[peer].load = self.peers[peer].load.saturating_sub(share);
    }
}

impl PeerView {
    pub fn labels(&self) -> (Option<u32>, Option<u32>) {
        (self.owner, self.network)
    }
}

/// How badly two peers with these labels stand beside each other: the same owner may switch both off, the same network
/// may cut both off. A label that was not given is nobody's.
pub(crate) fn spread<T: PartialEq>(one: (Option<T>, Option<T>), other: (Option<T>, Option<T>)) -> usize {
    let same = |one: Option<T>, other: Option<T>| usize::from(one.is_some() && one == other);
    2 * same(one.0, other.0) + same(one.1, other.1)
}

/// A mean that is compared without rounding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    pub sum: usize,
    pub of: usize,
}

impl Mean {
    /// Whether `count` lies more than half above it, one not counted: further up than standing well apart is worth.
    pub fn is_exceeded_by_half(self, count: usize) -> bool {
        count.saturating_sub(1) * self.of * 2 > self.sum * 3
    }

    /// Whether `count` lies more than a tenth above it.
    pub fn is_far_below(self, count: usize) -> bool {
        count * self.of * 10 > self.sum * 11
    }

    /// Whether `count` lies more than a tenth below it.
    pub fn is_far_above(self, count: usize) -> bool {
        count * self.of * 10 < self.sum * 9
    }
}

/// Numbers for labels, so that comparing them costs nothing.
#[derive(Default)]
struct Labels(BTreeMap<String, u32>);

impl Labels {
    fn number(&mut self, label: &str) -> Option<u32> {
        if label.is_empty() {
            return None;
        }
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        Some(*self.0.entry(label.to_owned()).or_insert(next))
    }
}

fn peer_view(
    state: &HubState,
    peer: &Peer,
    load: &Load,
    policy: &Policy,
    refusals: &Refusals,
    labels: &mut Labels,
) -> PeerView {
    let patience = policy.patience(state);
    let attendance = &peer.attendance;
    let unseen =
        PeerLoad { absent_ms: Some(attendance.away_ms(patience.now).unwrap_or(0)), ..PeerLoad::default() };
    let told = load.peers.get(&peer.id).unwrap_or(&unseen);
    let removed = peer.state == PeerState::Removed;
    let away = |ms: u64| told.absent_ms.is_some_and(|absent| absent >= ms);
    let lost = removed || away(patience.grace_ms(attendance));
    let connected = told.absent_ms.is_none() && !removed;
    let doubted = patience.is_doubted(peer);
    let refused = doubted.then_some(Obstacle::Differed);
    let refused = refused.or(refusals.peers.get(&peer.id).copied());
    let obstacle = obstacle(peer, told, refused);
    let forums_max = u64::from(told.limits.forums);
    PeerView {
        id: peer.id,
        connected,
        was_here: !removed
            && !away(MOMENT_MS.min(policy.grace_ms))
            && told.behind_ms.is_none_or(|ms| ms < BEHIND_MAX_MS),
        proven: patience.is_proven(attendance) && !doubted,
        is_new: patience.is_new(attendance),
        has_stayed: patience.is_proven(attendance) || attendance.present_ms(patience.now) >= STAY_MS,
        standing: patience.standing(peer),
        stays: !lost && matches!(peer.state, PeerState::Active | PeerState::Paused),
        lost,
        works: connected && told.behind_ms.is_none() && peer.state == PeerState::Active,
        takes: obstacle.is_none(),
        obstacle,
        room: if forums_max == 0 { u64::MAX } else { forums_max },
        // Owners and networks have numbers of their own.
        owner: labels.number(&peer.owner),
        network: labels.number(&peer.network),
        replicas: 0,
        primaries: 0,
        load: 0,
        inflow: 0,
        outflow: 0,
        serves: Vec::new(),
    }
}

/// Why a peer gets nothing at all.
fn obstacle(peer: &Peer, told: &PeerLoad, refused: Option<Obstacle>) -> Option<Obstacle> {
    match peer.state {
        PeerState::Removed => return Some(Obstacle::Removed),
        PeerState::Draining => return Some(Obstacle::Draining),
        PeerState::Paused => return Some(Obstacle::Paused),
        PeerState::Active => {}
    }
    if told.absent_ms.is_some() {
        return Some(Obstacle::Away);
    }
    let checks = [
        (told.behind_ms.is_some(), Obstacle::Behind),
        (!told.has_disk(), Obstacle::Disk),
        (!told.has_memory(), Obstacle::Memory),
    ];
    let found = checks.into_iter().find(|(is_so, _)| *is_so).map(|(_, obstacle)| obstacle);
    found.or(refused)
}

fn forum_view(
    state: &HubState,
    forum: &Forum,
    load: &Load,
    policy: &Policy,
    at: &BTreeMap<PeerId, usize>,
) -> ForumView {
    // The machine knows every replica's peer.
    let position = |peer: &PeerId| at.get(peer).copied().unwrap_or(0);
    let connected = |peer: PeerId| {
        let present = state.peer(peer).is_some_and(|peer| peer.state != PeerState::Removed);
        load.peers.get(&peer).filter(|told| told.absent_ms.is_none() && present).map(|told| told.cursor)
    };
    let mut view = ForumView {
        id: forum.id,
        epoch: forum.epoch,
        primary: position(&forum.primary),
        serving: Vec::with_capacity(forum.replicas.len()),
        live: liveness::live(forum, connected).map(|peer| position(&peer)).collect(),
        confirmed: Vec::with_capacity(forum.replicas.len()),
        joining: Vec::new(),
        draining: Vec::new(),
        wanted: forum.replicas_wanted.map_or(policy.replicas, |wanted| wanted as usize),
        rate: load.forums.get(&forum.id).copied().unwrap_or_default(),
        hot: load.hot.contains(&forum.id),
        resting: load.resting.contains(&forum.id),
        planned: false,
    };
    for replica in &forum.replicas {
        let peer = position(&replica.peer);
        match replica.role {
            ReplicaRole::Serving { .. } => {
                view.serving.push(peer);
                view.confirmed.extend(replica.is_confirmed().then_some(peer));
            }
            ReplicaRole::Draining { since_record, successor } => {
                let confirmed = forum.replica(successor).filter(|successor| successor.is_serving());
                let is_over = load.kept_enough.contains(&forum.id)
                    || confirmed.is_none_or(|successor| {
                        let at = successor.confirmed_at.map(|at| at.0.saturating_add(policy.copy_grace_ms));
                        at.is_some_and(|over| over <= state.steady().0)
                    });
                view.draining.push(DrainingView {
                    peer,
                    since_record: since_record.get(),
                    passed: passed(forum, successor, connected),
                    live: connected(replica.peer).is_some_and(|cursor| liveness::is_complete(forum, cursor)),
                    confirmed: replica.confirmed_at.is_some(),
                    is_over,
                });
            }
            ReplicaRole::Joining { invitation, .. } => {
                let replaces = state.invitation(invitation).and_then(|i| i.replaces);
                view.joining.push((peer, replaces.as_ref().map(position)));
            }
        }
    }
    view
}

/// How far along the log whoever serves in a replaced replica's place is. A successor that is a replica no more was replaced
/// itself: then whoever serves now has to have the cut-over.
fn passed(forum: &Forum, successor: PeerId, cursor: impl Fn(PeerId) -> Option<u64>) -> u64 {
    let serves = forum.replica(successor).is_some_and(Replica::is_serving);
    let furthest = if serves { cursor(successor) } else { forum.serving().filter_map(cursor).max() };
    furthest.unwrap_or(0)
}

/// Forums that most deserve a place, first.
pub(super) fn by_rate(forums: &[ForumView]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..forums.len()).filter(|at| forums[*at].hot).collect();
    order.sort_by_key(|at| (Reverse(forums[*at].rate.requests_per_minute()), forums[*at].id));
    order
}
