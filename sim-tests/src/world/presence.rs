//! Who is there, by the world's own knowledge, and what that says of each forum: whether it has a live copy, and whether
//! one is being taken from it.
//!
//! Knows machines and databases, never what a hub believes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use loop_hub::liveness::LAG_MAX;
use loop_peer::identity::Identity;
use loop_proto::v1::{Assignment, PeerState, record::Body};
use parking_lot::Mutex;

use super::{Failure, World};
use crate::invariants::{Begun, Ended, Other};

/// How often it is looked which forums have a single live copy.
const COUNT_EVERY: Duration = Duration::from_millis(200);

/// What a peer had on its disk when that was last looked at.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The last record it had applied.
    pub cursor: u64,
    /// The forums, by id, with the messages of each.
    pub forums: BTreeMap<u32, BTreeSet<u64>>,
}

/// What is known of a peer.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Since when it has been connected.
    since: Option<Duration>,
    /// When it was last connected.
    last: Option<Duration>,
    /// When something was last wrong with its way to the hubs.
    doubtful: Option<Duration>,
}

/// See the module.
#[derive(Default)]
pub struct Presence {
    peers: Vec<Seen>,
    /// What the hubs call the peers, as far as they have it on disk.
    ids: Mutex<BTreeMap<usize, u32>>,
    /// When it is looked next which forums have a single live copy.
    count_at: Duration,
    /// When anything but a peer's power was last wrong.
    troubled: Option<Duration>,
    /// Who holds each forum, by the records up to `judged`.
    holders: BTreeMap<u32, Assignment>,
    judged: u64,
    /// Since when each copy has served, by forum and peer; those that served from the beginning are not here.
    serving_since: BTreeMap<(u32, u32), Duration>,
    /// What each peer has on its disk, as of the last look.
    pub(super) disks: BTreeMap<usize, Held>,
    /// The numbers, among the run's forums, of those that are known by id.
    numbers: BTreeMap<u32, usize>,
    /// Since when a forum has had a single live copy, and nobody was on the way to it.
    lone_since: BTreeMap<u32, Duration>,
    /// Since when a forum has had a live copy, with nothing wrong but that peers come and go.
    live_since: BTreeMap<usize, Duration>,
}

impl World {
    /// The id the hubs gave a peer, as it has it on disk.
    pub(super) fn peer_id(&self, peer: usize) -> Option<u32> {
        if let Some(id) = self.presence.ids.lock().get(&peer) {
            return Some(*id);
        }
        let id = Identity::load(&self.peers[peer].folder).ok()??.peer_id?.get();
        self.presence.ids.lock().insert(peer, id);
        Some(id)
    }

    /// A peer has another disk.
    pub(super) fn forget_id(&mut self, peer: usize) {
        self.presence.ids.lock().remove(&peer);
    }

    /// Takes note of who is there, and looks at every replica that the log has just ended.
    pub(super) fn presence_step(&mut self) -> Result<(), Failure> {
        self.note_peers();
        while self.presence.judged < self.ledger.newest() {
            self.presence.judged += 1;
            let Some(record) = self.ledger.record(self.presence.judged) else { break };
            let Some(Body::Assignment(now)) = record.body else { continue };
            let before = self.presence.holders.insert(record.forum_id, now.clone());
            if let Some(before) = before {
                self.judge_begun(record.id, record.forum_id, &before, &now);
                let came = now.replicas.iter().filter(|id| !before.replicas.contains(id));
                let since = self.sim.elapsed();
                self.presence.serving_since.extend(came.map(|id| ((record.forum_id, *id), since)));
                self.judge(record.id, record.forum_id, &before, &now).map_err(Failure)?;
            }
        }
        if self.sim.elapsed() >= self.presence.count_at {
            self.presence.count_at = self.sim.elapsed() + COUNT_EVERY;
            self.note_lone_forums();
        }
        Ok(())
    }

    fn note_lone_forums(&mut self) {
        let now = self.sim.elapsed();
        let holders = std::mem::take(&mut self.presence.holders);
        for (forum, held) in &holders {
            let lone = held.joining.is_empty()
                && held.replicas.iter().filter(|id| self.has_connected_copy(*forum, **id)).count() == 1;
            if lone {
                self.presence.lone_since.entry(*forum).or_insert(now);
            } else {
                self.presence.lone_since.remove(forum);
            }
        }
        self.presence.holders = holders;
    }

    /// Whether a peer is connected and had this forum at the last look.
    fn has_connected_copy(&self, forum: u32, id: u32) -> bool {
        self.peer_of(id).is_some_and(|peer| {
            let disk = self.presence.disks.get(&peer);
            self.is_connected(peer) && disk.is_some_and(|disk| disk.forums.contains_key(&forum))
        })
    }

    fn note_peers(&mut self) {
        let now = self.sim.elapsed();
        self.presence.peers.resize_with(self.peers.len(), Seen::default);
        for peer in 0..self.peers.len() {
            let connected = self.is_connected(peer);
            let doubtful = self.has_doubtful_way(&self.peers[peer].machine.name);
            let seen = &mut self.presence.peers[peer];
            if connected {
                seen.since.get_or_insert(now);
                seen.last = Some(now);
            } else {
                seen.since = None;
            }
            if doubtful {
                seen.doubtful = Some(now);
            }
        }
        if self.is_troubled() {
            self.presence.troubled = Some(now);
        }
    }

    /// Whether a peer is connected to a hub, by its own word, and runs.
    pub fn is_connected(&self, peer: usize) -> bool {
        let machine = &self.peers[peer].machine;
        self.logged.lock().connected.contains(&machine.name) && machine.ended().is_none()
    }

    /// If somebody was asked to hold a forum: did another one need a copy more?
    fn judge_begun(&mut self, record: u64, forum: u32, before: &Assignment, now: &Assignment) {
        let asked = |peer: u32| before.joining.iter().any(|joining| joining.peer_id == peer);
        let served = |peer: u32| before.replicas.contains(&peer) || before.draining.contains(&peer);
        // A replica that starts again holds no place that another could have.
        let begins = now.joining.iter().any(|j| !asked(j.peer_id) && !served(j.peer_id));
        if !begins || self.desk.has_moved(forum) {
            return;
        }
        let begun = Begun { record, forum, live: self.live_copies(forum).len(), waiting: self.waiting() };
        self.invariants.each(|invariant| invariant.on_begun(&begun));
    }

    /// The forums that have had a single live copy for longer than hubs need to know of it, with nobody on the way to them
    /// and somebody who could take them.
    fn waiting(&self) -> Vec<(u32, Duration)> {
        let (now, slack) = (self.sim.elapsed(), self.shape.pace.known_within());
        let could = |held: &Assignment| {
            let ids = self.peers_in().into_iter().filter_map(|peer| self.peer_id(peer));
            let free = |id: &u32| {
                let takes = self.desk.state_of(*id) == PeerState::Active;
                let mut holders = held.replicas.iter().chain(&held.draining);
                takes && holders.all(|holder| holder != id) && self.is_surely_connected(*id)
            };
            ids.into_iter().any(|id| free(&id))
        };
        let lone = self.presence.lone_since.iter().filter_map(|(forum, since)| {
            let held = self.presence.holders.get(forum)?;
            let waited = now.checked_sub(*since + slack)?;
            (held.joining.is_empty() && could(held)).then_some((*forum, waited))
        });
        lone.collect()
    }

    /// For every replica that is none any more: was its copy live, and who else has one?
    fn judge(&self, record: u64, forum: u32, before: &Assignment, now: &Assignment) -> Result<(), String> {
        let stays = |peer: &u32| {
            now.replicas.contains(peer)
                || now.draining.contains(peer)
                || now.joining.iter().any(|joining| joining.peer_id == *peer)
        };
        let ended: Vec<u32> =
            before.replicas.iter().chain(&before.draining).filter(|peer| !stays(peer)).copied().collect();
        for peer in ended {
            let mut others = Vec::new();
            for other in now.replicas.iter().copied().filter(|other| *other != peer) {
                let confirmed = self.is_confirmed(forum, now, other);
                let (connected, complete) = (self.was_connected(other), self.is_complete(forum, other)?);
                others.push(Other { peer: other, connected, complete, confirmed });
            }
            let live = self.is_surely_connected(peer) && self.is_complete(forum, peer)?;
            let wanted = self.wanted();
            let ended = Ended { record, forum, peer, live, wanted, others };
            self.invariants.each(|invariant| invariant.on_ended(&ended));
        }
        Ok(())
    }

    /// Whether a copy may count: the log says that it was compared, and it has served for as long as it has to.
    fn is_confirmed(&self, forum: u32, held: &Assignment, id: u32) -> bool {
        let grace = Duration::from_secs(self.tuning.lock().copy_grace_s);
        let since = self.presence.serving_since.get(&(forum, id));
        let has_served = since.is_none_or(|since| *since + grace <= self.sim.elapsed());
        has_served && !held.unconfirmed.contains(&id)
    }

    /// Whether a peer is connected, or was as long ago as hubs need to know better, or cannot be told apart from one
    /// that is.
    fn was_connected(&self, id: u32) -> bool {
        let Some(peer) = self.peer_of(id) else { return false };
        let Seen { last, doubtful, .. } = self.presence.peers[peer];
        let slack = self.shape.pace.known_within();
        let lately = |at: Option<Duration>| at.is_some_and(|at| at + slack >= self.sim.elapsed());
        lately(last) || lately(doubtful)
    }

    /// Whether every hub must know that a peer is connected.
    fn is_surely_connected(&self, id: u32) -> bool {
        let Some(peer) = self.peer_of(id) else { return false };
        let Seen { since, doubtful, .. } = self.presence.peers[peer];
        let slack = self.shape.pace.known_within();
        let now = self.sim.elapsed();
        since.is_some_and(|since| since + slack <= now) && doubtful.is_none_or(|at| at + slack < now)
    }

    /// Whether a peer has all of a forum on its disk, but for what is on its way to it.
    fn is_complete(&self, forum: u32, id: u32) -> Result<bool, String> {
        let Some(peer) = self.peer_of(id) else { return Ok(false) };
        let Some(held) = self.disk_of(peer)? else { return Ok(false) };
        let newest = self.ledger.newest_of(forum, u64::MAX);
        let due = self.ledger.messages_at(forum, held.cursor);
        Ok(held.cursor + LAG_MAX >= newest && held.forums.get(&forum).is_some_and(|has| *has == due))
    }

    /// How many replicas the hubs want.
    pub fn wanted(&self) -> usize {
        self.tuning.lock().replicas as usize
    }

    /// Who serves a forum, is connected, and has all of it on disk.
    pub fn live_copies(&self, forum: u32) -> Vec<u32> {
        let Some(held) = self.presence.holders.get(&forum) else { return Vec::new() };
        let is_live = |id: &u32| {
            let connected = self.peer_of(*id).is_some_and(|peer| self.is_connected(peer));
            connected && self.is_complete(forum, *id).unwrap_or(false)
        };
        held.replicas.iter().copied().filter(is_live).collect()
    }

    /// Whether nothing ever happened but that volunteers came and went.
    pub(super) fn only_volunteers_moved(&self) -> bool {
        let struck = self.coverage.keys().any(|what| what.starts_with("fault ") || what.starts_with("lie "));
        self.presence.troubled.is_none() && !struck && self.desk.orders() == 0
    }

    /// Since when each forum has had a live copy, at the last look; tells the rules.
    pub(super) fn note_live_forums(&mut self) {
        let now = self.sim.elapsed();
        let slack = self.shape.pace.known_within();
        let calm = self.leader().is_some() && self.presence.troubled.is_none_or(|at| at + slack < now);
        let holders = std::mem::take(&mut self.presence.holders);
        for (forum, held) in &holders {
            let Some(number) = self.number_of(*forum) else { continue };
            let any =
                held.replicas.iter().chain(&held.draining).any(|id| self.has_connected_copy(*forum, *id));
            if calm && any {
                self.presence.live_since.entry(number).or_insert(now);
            } else {
                self.presence.live_since.remove(&number);
            }
        }
        self.presence.holders = holders;
        let live = self.presence.live_since.clone();
        self.invariants.each(|invariant| invariant.on_live(&live));
    }

    /// The number among the run's forums of one that is known by its id.
    pub(super) fn number_of(&mut self, forum: u32) -> Option<usize> {
        if let Some(number) = self.presence.numbers.get(&forum) {
            return Some(*number);
        }
        let number = self.forum_number(forum)?;
        self.presence.numbers.insert(forum, number);
        Some(number)
    }
}
