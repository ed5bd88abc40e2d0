//! The state and the load as a plan works on them: peers and forums by position, counts that follow every step.
//!
//! Everything under way counts as done: an invited peer as a replica, the one it replaces as none.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use loop_proto::{
    ids::{ForumEpoch, ForumId, PeerId},
    v1::RejectReason,
};
use loop_raft_store::machine::{Forum, HubState, InvitationStatus, Peer, PeerState, ReplicaRole};

use super::{Load, PeerLoad, Policy, Why};
use crate::traffic::ForumRate;

/// A task costs a replica that only applies what came of it this share of what it costs the primary.
const APPLY_SHARE: u64 = 4;
/// For how long a peer that said no is not asked again, milliseconds: when it was busy, when it takes nothing.
const BUSY_FOR_MS: u64 = 5_000;
const REFUSES_FOR_MS: u64 = 60_000;
/// For how long a peer is not asked again for the same forum, milliseconds: when it came to nothing in time, which may
/// have been the giver's fault; when the peer would not or could not have it.
const TIMED_OUT_FOR_MS: u64 = 60_000;
const FAILED_FOR_MS: u64 = 600_000;

/// One peer.
pub(super) struct PeerView {
    pub id: PeerId,
    pub connected: bool,
    /// Keeps what it holds: active or paused, and not lost.
    pub stays: bool,
    /// Removed, or away for too long.
    pub lost: bool,
    /// Active, connected and not behind: counts when evenness is judged.
    pub works: bool,
    /// May get a forum: works, has room, has not just said no.
    pub takes: bool,
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
    /// Whom those on their way replace.
    pub joining: Vec<(usize, Option<usize>)>,
    pub draining: Vec<usize>,
    pub wanted: usize,
    pub rate: ForumRate,
    pub hot: bool,
    pub resting: bool,
    /// A step of this plan concerns it: one at a time.
    pub planned: bool,
}

pub(super) struct View {
    pub peers: Vec<PeerView>,
    pub forums: Vec<ForumView>,
    /// Invitations open.
    pub under_way: usize,
    failed: BTreeSet<(ForumId, PeerId)>,
}

/// Who said no lately: peers that are not to be asked, and peers not to be asked for one forum.
#[derive(Default)]
struct Refusals {
    peers: BTreeSet<PeerId>,
    pairs: BTreeSet<(ForumId, PeerId)>,
}

impl ForumView {
    pub fn holds(&self, peer: usize) -> bool {
        self.serving.contains(&peer)
            || self.draining.contains(&peer)
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
        let refusals = refusals(state, load.now_ms);
        let mut labels = Labels::default();
        let of_peer = |peer: &Peer| peer_view(peer, load, policy, &refusals, &mut labels);
        let peers: Vec<PeerView> = state.peers().map(of_peer).collect();
        let at: BTreeMap<PeerId, usize> = peers.iter().enumerate().map(|(at, p)| (p.id, at)).collect();
        let mut view = Self { peers, forums: Vec::new(), under_way: 0, failed: refusals.pairs };
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

    /// The mean of a count over the peers that work.
    pub fn mean(&self, count: impl Fn(&PeerView) -> usize) -> Mean {
        let working = || self.peers.iter().filter(|peer| peer.works);
        Mean { sum: working().map(count).sum(), of: working().count().max(1) }
    }

    /// How many of the forum's holders share an owner, and how many a network, with `peer`; without `except`.
    pub fn clashes(&self, forum: &ForumView, peer: usize, except: Option<usize>) -> usize {
        let own = &self.peers[peer];
        let others = forum.holders().filter(|other| *other != peer && Some(*other) != except);
        others.map(|other| spread(own.labels(), self.peers[other].labels())).sum()
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
        let may = |peer: &usize| self.may_take(*peer, at);
        (0..self.peers.len()).filter(may).min_by_key(|position| {
            let peer = &self.peers[*position];
            let waits = peer.inflow >= policy.per_target_max;
            // A busy forum needs capacity, any other an even spread.
            let load = if why == Why::Busy { peer.load } else { 0 };
            let overfull = mean.is_exceeded_by_half(peer.replicas);
            (
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

    /// Whether `peer` may get forum `at` now.
    pub fn may_take(&self, peer: usize, at: usize) -> bool {
        let (forum, view) = (&self.forums[at], &self.peers[peer]);
        view.takes && view.room > 0 && !forum.holds(peer) && !self.failed.contains(&(forum.id, view.id))
    }

    /// Who should give its copy: not the primary, which has more to do, and nobody who gives others already.
    pub fn best_source(&self, at: usize) -> Option<usize> {
        let forum = &self.forums[at];
        let connected = forum.serving.iter().copied().filter(|peer| self.peers[*peer].connected);
        connected.min_by_key(|peer| {
            let view = &self.peers[*peer];
            (view.outflow, *peer == forum.primary, view.load, view.id)
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

    pub fn removed(&mut self, at: usize, peer: usize) {
        let share = self.forums[at].share(peer);
        let forum = &mut self.forums[at];
        forum.planned = true;
        forum.serving.retain(|serving| *serving != peer);
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
    peer: &Peer,
    load: &Load,
    policy: &Policy,
    refusals: &Refusals,
    labels: &mut Labels,
) -> PeerView {
    let away = PeerLoad { absent_ms: Some(0), ..PeerLoad::default() };
    let told = load.peers.get(&peer.id).unwrap_or(&away);
    let lost = peer.state == PeerState::Removed || told.absent_ms.is_some_and(|ms| ms >= policy.grace_ms);
    let connected = told.absent_ms.is_none() && peer.state != PeerState::Removed;
    let works = connected && !told.behind && peer.state == PeerState::Active;
    let forums_max = u64::from(told.limits.forums);
    PeerView {
        id: peer.id,
        connected,
        stays: !lost && matches!(peer.state, PeerState::Active | PeerState::Paused),
        lost,
        works,
        takes: works && told.has_room() && !refusals.peers.contains(&peer.id),
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

fn forum_view(
    state: &HubState,
    forum: &Forum,
    load: &Load,
    policy: &Policy,
    at: &BTreeMap<PeerId, usize>,
) -> ForumView {
    // The machine knows every replica's peer.
    let position = |peer: &PeerId| at.get(peer).copied().unwrap_or(0);
    let mut view = ForumView {
        id: forum.id,
        epoch: forum.epoch,
        primary: position(&forum.primary),
        serving: Vec::with_capacity(forum.replicas.len()),
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
            ReplicaRole::Serving { .. } => view.serving.push(peer),
            ReplicaRole::Draining { .. } => view.draining.push(peer),
            ReplicaRole::Joining { invitation, .. } => {
                let replaces = state.invitation(invitation).and_then(|i| i.replaces);
                view.joining.push((peer, replaces.as_ref().map(position)));
            }
        }
    }
    view
}

fn refusals(state: &HubState, now_ms: u64) -> Refusals {
    let mut refusals = Refusals::default();
    for invitation in state.invitations_newest_first() {
        let age = now_ms.saturating_sub(invitation.changed_at.0);
        let target = invitation.target;
        match (invitation.status, invitation.reason) {
            (InvitationStatus::Rejected, RejectReason::ForumTooLarge | RejectReason::BadCheckpoint)
                if age < FAILED_FOR_MS =>
            {
                refusals.pairs.insert((invitation.forum, target));
            }
            (InvitationStatus::Timeout, _) if age < TIMED_OUT_FOR_MS => {
                refusals.pairs.insert((invitation.forum, target));
            }
            (InvitationStatus::Rejected, RejectReason::Busy) if age < BUSY_FOR_MS => {
                refusals.peers.insert(target);
            }
            (
                InvitationStatus::Rejected,
                RejectReason::Paused | RejectReason::ForumsMax | RejectReason::DiskFull,
            ) if age < REFUSES_FOR_MS => {
                refusals.peers.insert(target);
            }
            _ => {}
        }
    }
    refusals
}

/// Forums that most deserve a place, first.
pub(super) fn by_rate(forums: &[ForumView]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..forums.len()).filter(|at| forums[*at].hot).collect();
    order.sort_by_key(|at| (Reverse(forums[*at].rate.requests_per_minute()), forums[*at].id));
    order
}
