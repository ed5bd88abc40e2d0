//! Where the copies of forums are, by what is on disks, and what the log does with them: the rules are told of every copy
//! that is begun, ended or let go, and of every forum that lacks one.
//!
//! Knows machines, databases and the log, never what a hub believes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use loop_hub::placement::liveness::LAG_MAX;
use loop_proto::v1::{Assignment, PeerState, record::Body};

use super::{Failure, World};
use crate::invariants::{Begun, Disks, Dropped, Ended, Levelled, Other};

/// Who is away for less may only be changing hubs or starting again.
const MOMENT: Duration = Duration::from_secs(20);
/// Between a proposal and when it is applied, while nothing is wrong.
const APPLIED_WITHIN: Duration = Duration::from_millis(100);
/// How often the live copies of each forum are counted.
const COUNT_EVERY: Duration = Duration::from_millis(200);

/// What a peer had on its disk when that was last looked at.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The last record it had applied.
    pub cursor: u64,
    /// The forums, by id, with the messages of each.
    pub forums: BTreeMap<u32, BTreeSet<u64>>,
}

/// Since when a forum has lacked something.
#[derive(Clone, Copy, Debug, Default)]
struct Lack {
    /// It has had a single live copy, and nobody was on the way to it.
    lone: Option<Duration>,
    /// It has had fewer live copies than wanted.
    short: Option<Duration>,
    /// The same, with a replaced one that is whole, and nothing wrong but that peers come and go.
    idle: Option<Duration>,
}

/// See the module.
#[derive(Default)]
pub struct Copies {
    /// Who holds each forum, by the records up to `judged`.
    holders: BTreeMap<u32, Assignment>,
    judged: u64,
    /// Since when each copy has served, by forum and peer; those that served from the beginning are not here.
    serving_since: BTreeMap<(u32, u32), Duration>,
    /// What each peer has on its disk, as of the last look.
    pub(super) disks: BTreeMap<usize, Held>,
    /// The numbers, among the run's forums, of those that are known by id.
    numbers: BTreeMap<u32, usize>,
    lacks: BTreeMap<u32, Lack>,
    count_at: Duration,
    /// Since when a forum has had a live copy, with nothing wrong but that peers come and go.
    live_since: BTreeMap<usize, Duration>,
}

impl World {
    /// Takes note of what the log and the hubs have just done with copies.
    pub(super) fn copies_step(&mut self) -> Result<(), Failure> {
        while self.copies.judged < self.ledger.newest() {
            self.copies.judged += 1;
            let Some(record) = self.ledger.record(self.copies.judged) else { break };
            if let Some(Body::Closed(closed)) = &record.body {
                self.copies.holders.remove(&closed.forum_id);
                self.copies.lacks.remove(&closed.forum_id);
            }
            let Some(Body::Assignment(now)) = record.body else { continue };
            let before = self.copies.holders.insert(record.forum_id, now.clone());
            if let Some(before) = before {
                self.judge_begun(record.id, record.forum_id, &before, &now);
                // Whoever was replaced and is taken back has had its copy all the time.
                let is_new = |id: &&u32| !before.replicas.contains(id) && !before.draining.contains(id);
                let came = now.replicas.iter().filter(is_new);
                let since = self.sim.elapsed();
                self.copies.serving_since.extend(came.map(|id| ((record.forum_id, *id), since)));
                self.judge_ended(record.id, record.forum_id, &before, &now).map_err(Failure)?;
            }
        }
        let levelled = std::mem::take(&mut self.logged.lock().levelled);
        levelled.into_iter().for_each(|forum| self.judge_levelled(forum));
        if self.sim.elapsed() >= self.copies.count_at {
            self.copies.count_at = self.sim.elapsed() + COUNT_EVERY;
            self.count();
        }
        Ok(())
    }

    /// How long hubs may take until they count a copy as gone whose peer has left.
    fn gone_within(&self) -> Duration {
        self.shape.pace.known_within() + MOMENT.min(Duration::from_secs(self.tuning.lock().peer_grace_s))
    }

    fn count(&mut self) {
        let (now, calm, wanted, slack) =
            (self.sim.elapsed(), self.is_calm(), self.wanted(), self.gone_within());
        let holders = std::mem::take(&mut self.copies.holders);
        let mut idle_for = BTreeMap::new();
        for (forum, held) in &holders {
            let live = |ids: &[u32]| ids.iter().filter(|id| self.has_connected_copy(*forum, **id)).count();
            let (serving, replaced) = (live(&held.replicas), live(&held.draining));
            let mut lack = self.copies.lacks.get(forum).copied().unwrap_or_default();
            let since = |is_so: bool, since: Option<Duration>| is_so.then(|| since.unwrap_or(now));
            // Hubs cannot know that a copy is not there of which it was said that it has come.
            let true_words = !held.replicas.iter().any(|id| self.has_faked(*id));
            let lone = serving == 1 && wanted > 1 && held.joining.is_empty() && true_words;
            lack.lone = since(lone, lack.lone);
            lack.short = since(serving < wanted, lack.short);
            lack.idle = since(calm && serving < wanted && replaced > 0 && true_words, lack.idle);
            let idle = lack.idle.and_then(|since| now.checked_sub(since + slack));
            idle_for.extend(idle.map(|idle| (*forum, idle)));
            self.copies.lacks.insert(*forum, lack);
        }
        self.copies.holders = holders;
        self.invariants.each(|invariant| invariant.on_idle(&idle_for));
    }

    fn has_faked(&self, id: u32) -> bool {
        self.peer_of(id).is_some_and(|peer| self.peers[peer].tongue.faked())
    }

    /// Whether a peer is connected and had this forum at the last look.
    fn has_connected_copy(&self, forum: u32, id: u32) -> bool {
        self.peer_of(id).is_some_and(|peer| {
            let disk = self.copies.disks.get(&peer);
            self.is_connected(peer) && disk.is_some_and(|disk| disk.forums.contains_key(&forum))
        })
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
        let (now, slack) = (self.sim.elapsed(), self.gone_within());
        let could = |held: &Assignment| {
            let mut ids = self.peers_in().into_iter().filter_map(|peer| self.peer_id(peer));
            ids.any(|id| {
                let takes = self.desk.state_of(id) == PeerState::Active;
                let mut holders = held.replicas.iter().chain(&held.draining);
                takes && holders.all(|holder| *holder != id) && self.is_surely_connected(id)
            })
        };
        // What was decided at once counts as decided together, whichever record comes first.
        let newest = self.ledger.assignments();
        let lone = self.copies.lacks.iter().filter_map(|(forum, lack)| {
            let held = newest.get(forum)?;
            let waited = now.checked_sub(lack.lone? + slack)?;
            (held.joining.is_empty() && could(held)).then_some((*forum, waited))
        });
        lone.collect()
    }

    /// For every replica that is none any more: was its copy live, and who else has one?
    fn judge_ended(
        &self,
        record: u64,
        forum: u32,
        before: &Assignment,
        now: &Assignment,
    ) -> Result<(), String> {
        let stays = |peer: &u32| {
            now.replicas.contains(peer)
                || now.draining.contains(peer)
                || now.joining.iter().any(|joining| joining.peer_id == *peer)
        };
        let anybody = self.peers_in().into_iter().filter_map(|peer| self.peer_id(peer));
        // Where nobody has stayed nobody is doubted.
        let doubts = anybody.into_iter().any(|id| self.was_connected(id) && self.has_stayed(id));
        for peer in before.replicas.iter().chain(&before.draining).filter(|peer| !stays(peer)).copied() {
            // For one that has not stayed itself, another that has not is as good.
            let doubts = doubts && self.has_stayed(peer);
            let mut others = Vec::new();
            for other in now.replicas.iter().copied().filter(|other| *other != peer) {
                others.push(Other {
                    peer: other,
                    connected: self.was_connected(other),
                    complete: self.is_complete(forum, other)?,
                    confirmed: self.is_confirmed(forum, now, other),
                    proven: !doubts || self.has_stayed(other),
                });
            }
            let live = self.is_surely_connected(peer) && self.is_complete(forum, peer)?;
            let ended = Ended { record, forum, peer, live, wanted: self.wanted(), others };
            self.invariants.each(|invariant| invariant.on_ended(&ended));
        }
        Ok(())
    }

    fn judge_levelled(&self, forum: u32) {
        let (live, wanted) = (self.copies_where(forum, Self::may_be_connected).len(), self.wanted());
        let since = self.copies.lacks.get(&forum).and_then(|lack| lack.short);
        let known = since.is_some_and(|since| since + self.shape.pace.known_within() <= self.sim.elapsed());
        self.invariants.each(|invariant| invariant.on_levelled(&Levelled { forum, live, wanted, known }));
    }

    /// Whether a copy may count: the log says that it was compared, and it has served for as long as it has to.
    fn is_confirmed(&self, forum: u32, held: &Assignment, id: u32) -> bool {
        let grace = Duration::from_secs(self.tuning.lock().copy_grace_s);
        let since = self.copies.serving_since.get(&(forum, id));
        // The leader counts from the log's time, which is that of the proposal; the world from when it was applied.
        let has_served = since.is_none_or(|since| *since + grace <= self.sim.elapsed() + APPLIED_WITHIN);
        has_served && !held.unconfirmed.contains(&id)
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
        self.copies_where(forum, Self::is_connected)
    }

    fn copies_where(&self, forum: u32, is_there: impl Fn(&Self, usize) -> bool) -> Vec<u32> {
        let Some(held) = self.copies.holders.get(&forum) else { return Vec::new() };
        let is_live = |id: &u32| {
            let there = self.peer_of(*id).is_some_and(|peer| is_there(self, peer));
            there && self.is_complete(forum, *id).unwrap_or(false)
        };
        held.replicas.iter().copied().filter(is_live).collect()
    }

    /// Looks at what is on disks, whoever serves it, machines that are out included.
    pub(super) fn look_at_disks(&mut self) -> Result<(), String> {
        let mut messages: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
        for peer in 0..self.peers.len() {
            let Some(held) = self.disk_of(peer)? else { continue };
            for (forum, ids) in &held.forums {
                if let Some(number) = self.number_of(*forum) {
                    messages.entry(number).or_default().extend(ids);
                }
            }
            if let Some(before) = self.copies.disks.insert(peer, held) {
                self.judge_dropped(peer, &before);
            }
        }
        let disks = Disks { messages, trimmed_through: self.ledger.trimmed_through() };
        self.invariants.each(|invariant| invariant.on_disks(&disks));
        Ok(())
    }

    /// What a peer has let go of since the last look. One that starts over gets everything anew.
    fn judge_dropped(&self, peer: usize, before: &Held) {
        let (Some(id), Some(now)) = (self.peer_id(peer), self.copies.disks.get(&peer)) else { return };
        for (forum, messages) in before.forums.iter().filter(|(forum, _)| !now.forums.contains_key(forum)) {
            let Some(held) = self.ledger.assignment_at(*forum, now.cursor) else { continue };
            let is_in = held.replicas.contains(&id)
                || held.draining.contains(&id)
                || held.joining.iter().any(|joining| joining.peer_id == id);
            if is_in || self.starts_over(peer) {
                continue;
            }
            let confirmed_others = self.confirmed_since(*forum, before.cursor, now.cursor);
            let dropped = Dropped { forum: *forum, peer: id, messages: messages.len(), confirmed_others };
            self.invariants.each(|invariant| invariant.on_dropped(&dropped));
        }
    }

    /// The most confirmed copies that serve, at any of the records that came after one and up to another: it let go at one of them.
    fn confirmed_since(&self, forum: u32, after: u64, through: u64) -> usize {
        let at = (after..=through).filter(|at| {
            let record = self.ledger.record(*at);
            *at == after || record.is_some_and(|record| record.forum_id == forum)
        });
        let held = at.filter_map(|at| self.ledger.assignment_at(forum, at));
        let confirmed = held.map(|held| {
            let counts = |other: &&u32| !held.unconfirmed.contains(other);
            held.replicas.iter().filter(counts).count()
        });
        confirmed.max().unwrap_or(0)
    }

    /// Since when each forum has had a live copy, at the last look; tells the rules.
    pub(super) fn note_live_forums(&mut self) {
        let (now, calm) = (self.sim.elapsed(), self.is_calm());
        let holders = std::mem::take(&mut self.copies.holders);
        for (forum, held) in &holders {
            let Some(number) = self.number_of(*forum) else { continue };
            let any =
                held.replicas.iter().chain(&held.draining).any(|id| self.has_connected_copy(*forum, *id));
            // Hubs ask whoever said that it has the forum.
            let true_words = !held.replicas.iter().any(|id| self.has_faked(*id));
            if calm && any && true_words {
                self.copies.live_since.entry(number).or_insert(now);
            } else {
                self.copies.live_since.remove(&number);
            }
        }
        self.copies.holders = holders;
        let live = self.copies.live_since.clone();
        self.invariants.each(|invariant| invariant.on_live(&live));
    }

    /// The number among the run's forums of one that is known by its id.
    fn number_of(&mut self, forum: u32) -> Option<usize> {
        if let Some(number) = self.copies.numbers.get(&forum) {
            return Some(*number);
        }
        let number = self.forum_number(forum)?;
        self.copies.numbers.insert(forum, number);
        Some(number)
    }
}
