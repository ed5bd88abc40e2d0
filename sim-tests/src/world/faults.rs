//! What goes wrong, and for how long.
//!
//! Owns every fault under way and its end. At most one at a time on a machine's power, a link, a clock or a disk, so
//! that mending one never mends another; besides that they overlap as chance has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use loop_proto::v1::PeerState;
use rand::{RngExt, seq::IndexedRandom};

use super::{World, disk::Knobs, operator::Order};

/// What latency is between faults; as in `simulation`.
const LATENCY_MIN: Duration = Duration::from_millis(1);
const LATENCY_MAX: Duration = Duration::from_millis(20);
/// How often a healthy peer's database commits.
const COMMIT_EVERY: Duration = Duration::from_millis(20);
/// After a machine has stopped by itself, its supervisor starts it again.
const RESTART_AFTER: Duration = Duration::from_millis(700);

/// Seen when a hub could not go on, for its disk, and said so.
pub const STOPPED: &str = "hubs: one stopped by itself";

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A hub's machine loses power.
    CrashHub,
    /// The leading hub's does.
    CrashLeader,
    /// All hubs' do.
    CrashAllHubs,
    /// A peer's process dies.
    CrashPeer,
    /// The primary of a forum does.
    CrashPrimary,
    /// All peers do.
    CrashAllPeers,
    /// A hub is asked to stop.
    StopHub,
    /// A peer is asked to stop.
    StopPeer,
    /// Nothing passes between two machines.
    CutLink,
    /// Nothing passes from one machine to another; the other way everything does.
    CutOneWay,
    /// A hub reaches nobody.
    IsolateHub,
    /// The leading hub reaches nobody.
    IsolateLeader,
    /// A peer reaches nobody.
    IsolatePeer,
    /// The hubs fall into two groups.
    SplitHubs,
    /// What passes between two machines arrives later, all at once.
    HoldLink,
    /// Everything between two machines takes long.
    SlowLink,
    /// A hub's clock jumps.
    JumpClock,
    /// A hub's disk is slow.
    SlowDisk,
    /// A hub's disk fails to sync.
    FailSync,
    /// A hub's disk is full.
    FullDisk,
    /// A peer's disk is slow.
    SlowPeerDisk,
    /// No fault, but a burden: a forum's replica moves to another peer.
    MoveForum,
    /// A peer is to be emptied, and may come back.
    DrainPeer,
}

/// All of them.
pub const ALL: [Kind; 23] = [
    Kind::CrashHub,
    Kind::CrashLeader,
    Kind::CrashAllHubs,
    Kind::CrashPeer,
    Kind::CrashPrimary,
    Kind::CrashAllPeers,
    Kind::StopHub,
    Kind::StopPeer,
    Kind::CutLink,
    Kind::CutOneWay,
    Kind::IsolateHub,
    Kind::IsolateLeader,
    Kind::IsolatePeer,
    Kind::SplitHubs,
    Kind::HoldLink,
    Kind::SlowLink,
    Kind::JumpClock,
    Kind::SlowDisk,
    Kind::FailSync,
    Kind::FullDisk,
    Kind::SlowPeerDisk,
    Kind::MoveForum,
    Kind::DrainPeer,
];

type Link = (String, String);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Power(String),
    Link(Link),
    Clock(String),
    Disk(String),
    /// A peer's standing with the hubs.
    Standing(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ailment {
    Down,
    Cut,
    CutOneWay,
    Held,
    Slow,
    Wrong,
}

/// Faults under way.
#[derive(Default)]
pub struct Active {
    ailing: BTreeMap<Place, (Ailment, Duration)>,
    /// Hubs whose disk was ever sick: they may say so, loudly.
    excused: BTreeSet<String>,
}

impl Active {
    /// Whether a logged error follows from what was done to its machine.
    pub fn excuse(&self, error: &str) -> bool {
        self.excused.iter().any(|name| error.starts_with(&format!("{name}: ")))
    }
}

fn link(one: &str, other: &str) -> Link {
    // One link has one name, whichever end is given first.
    if one < other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

impl World {
    /// Makes one fault of this kind, somewhere, for `time`. False: there was no place for it.
    pub fn strike(&mut self, kind: Kind, time: Duration) -> bool {
        let struck = match kind {
            Kind::CrashHub => self.any_hub().is_some_and(|hub| self.crash_hub(hub, time)),
            Kind::CrashLeader => self.leader().is_some_and(|hub| self.crash_hub(hub, time)),
            Kind::CrashAllHubs => self.each_hub(|world, hub| world.crash_hub(hub, time)),
            Kind::CrashPeer => self.any_peer().is_some_and(|peer| self.crash_peer(peer, time)),
            Kind::CrashPrimary => self.any_primary().is_some_and(|peer| self.crash_peer(peer, time)),
            Kind::CrashAllPeers => self.each_peer(|world, peer| world.crash_peer(peer, time)),
            Kind::StopHub => self.any_hub().is_some_and(|hub| self.stop_hub(hub, time)),
            Kind::StopPeer => self.any_peer().is_some_and(|peer| self.stop_peer(peer, time)),
            Kind::CutLink => self.ail_any_link(Ailment::Cut, time),
            Kind::CutOneWay => self.ail_any_link(Ailment::CutOneWay, time),
            Kind::HoldLink => self.ail_any_link(Ailment::Held, time),
            Kind::SlowLink => self.ail_any_link(Ailment::Slow, time),
            Kind::IsolateHub => self.any_hub().is_some_and(|hub| self.isolate(&self.hub_name(hub), time)),
            Kind::IsolateLeader => self.leader().is_some_and(|hub| self.isolate(&self.hub_name(hub), time)),
            Kind::IsolatePeer => {
                self.any_peer().is_some_and(|peer| self.isolate(&self.peer_name(peer), time))
            }
            Kind::SplitHubs => self.split_hubs(time),
            Kind::JumpClock => self.any_hub().is_some_and(|hub| self.jump_clock(hub, time)),
            Kind::SlowDisk | Kind::FailSync | Kind::FullDisk => self.ail_hub_disk(kind, time),
            Kind::SlowPeerDisk => self.any_peer().is_some_and(|peer| self.slow_peer_disk(peer, time)),
            Kind::MoveForum => self.move_forum(),
            Kind::DrainPeer => self.any_peer().is_some_and(|peer| self.drain_peer(peer, time)),
        };
        if struck {
            self.saw(format!("fault {kind:?}"));
        }
        struck
    }

    pub(super) fn hub_name(&self, hub: usize) -> String {
        self.hubs[hub].machine.name.clone()
    }

    pub(super) fn peer_name(&self, peer: usize) -> String {
        self.peers[peer].machine.name.clone()
    }

    fn any_hub(&mut self) -> Option<usize> {
        Some(self.rng.random_range(0..self.hubs.len()))
    }

    fn any_peer(&mut self) -> Option<usize> {
        Some(self.rng.random_range(0..self.peers.len()))
    }

    fn any_primary(&mut self) -> Option<usize> {
        let primaries: Vec<u32> =
            self.ledger.assignments().into_values().map(|assignment| assignment.primary).collect();
        let primary = *primaries.choose(&mut self.rng)?;
        (0..self.peers.len()).find(|peer| self.peer_id(*peer) == Some(primary))
    }

    fn each_hub(&mut self, mut act: impl FnMut(&mut Self, usize) -> bool) -> bool {
        (0..self.hubs.len()).filter(|hub| act(self, *hub)).count() > 0
    }

    fn each_peer(&mut self, mut act: impl FnMut(&mut Self, usize) -> bool) -> bool {
        (0..self.peers.len()).filter(|peer| act(self, *peer)).count() > 0
    }

    /// Notes a fault, unless its place has one already.
    fn note(&mut self, place: Place, ailment: Ailment, time: Duration) -> bool {
        if self.faults.ailing.contains_key(&place) {
            return false;
        }
        self.trace.tell("fault", &format!("{place:?} {ailment:?} for {time:?}"));
        self.faults.ailing.insert(place, (ailment, self.sim.elapsed() + time));
        true
    }

    /// Takes a hub's power away for `time`.
    pub fn crash_hub(&mut self, hub: usize, time: Duration) -> bool {
        let name = self.hub_name(hub);
        if !self.note(Place::Power(name.clone()), Ailment::Down, time) {
            return false;
        }
        self.sim.crash(name);
        self.hubs[hub].disk.cut_power();
        true
    }

    /// Ends a peer's process for `time`.
    pub fn crash_peer(&mut self, peer: usize, time: Duration) -> bool {
        let name = self.peer_name(peer);
        if !self.note(Place::Power(name.clone()), Ailment::Down, time) {
            return false;
        }
        self.sim.crash(name);
        true
    }

    /// Asks a hub to stop, and starts it again after `time`.
    pub fn stop_hub(&mut self, hub: usize, time: Duration) -> bool {
        let machine = self.hubs[hub].machine.clone();
        let stops = self.note(Place::Power(machine.name.clone()), Ailment::Down, time);
        if stops {
            machine.stop();
        }
        stops
    }

    /// Asks a peer to stop, and starts it again after `time`.
    pub fn stop_peer(&mut self, peer: usize, time: Duration) -> bool {
        let machine = self.peers[peer].machine.clone();
        let stops = self.note(Place::Power(machine.name.clone()), Ailment::Down, time);
        if stops {
            machine.stop();
        }
        stops
    }

    fn everybody(&self) -> Vec<String> {
        let hubs = self.hubs.iter().map(|hub| hub.machine.name.clone());
        let peers = self.peers.iter().map(|peer| peer.machine.name.clone());
        hubs.chain(peers).chain(self.visitors.iter().cloned()).collect()
    }

    fn ail_any_link(&mut self, ailment: Ailment, time: Duration) -> bool {
        let everybody = self.everybody();
        let hub = self.rng.random_range(0..self.hubs.len());
        let other = self.rng.random_range(0..everybody.len());
        other != hub && self.ail_link(&everybody[hub], &everybody[other], ailment, time)
    }

    fn ail_link(&mut self, one: &str, other: &str, ailment: Ailment, time: Duration) -> bool {
        if !self.note(Place::Link(link(one, other)), ailment, time) {
            return false;
        }
        match ailment {
            Ailment::Cut => self.sim.partition(one, other),
            Ailment::CutOneWay => match self.rng.random_bool(0.5) {
                true => self.sim.partition_oneway(one, other),
                false => self.sim.partition_oneway(other, one),
            },
            Ailment::Held => self.sim.hold(one, other),
            Ailment::Slow | Ailment::Down | Ailment::Wrong => {
                let latency = Duration::from_millis(self.rng.random_range(50..600));
                self.sim.set_link_latency(one, other, latency);
            }
        }
        true
    }

    /// Cuts a machine off from everybody.
    pub fn isolate(&mut self, name: &str, time: Duration) -> bool {
        let others: Vec<String> = self.everybody().into_iter().filter(|other| other != name).collect();
        others.iter().filter(|other| self.ail_link(name, other, Ailment::Cut, time)).count() > 0
    }

    /// Cuts the links between two groups of hubs; everybody else reaches all.
    fn split_hubs(&mut self, time: Duration) -> bool {
        let names = self.hub_names();
        let side: Vec<bool> = names.iter().map(|_| self.rng.random_bool(0.5)).collect();
        let mut any = false;
        for one in 0..names.len() {
            for other in one + 1..names.len() {
                if side[one] != side[other] {
                    any |= self.ail_link(&names[one], &names[other], Ailment::Cut, time);
                }
            }
        }
        any
    }

    fn jump_clock(&mut self, hub: usize, time: Duration) -> bool {
        let machine = self.hubs[hub].machine.clone();
        let off_ms = self.rng.random_range(-3_600_000_i64..3_600_000);
        let jumps = self.note(Place::Clock(machine.name.clone()), Ailment::Wrong, time);
        if jumps {
            machine.set_clock(off_ms);
        }
        jumps
    }

    /// One hub's disk at a time: with more of them nobody could say what must survive.
    fn ail_hub_disk(&mut self, kind: Kind, time: Duration) -> bool {
        let sick = |place: &Place| matches!(place, Place::Disk(name) if name.starts_with("hub"));
        if self.faults.ailing.keys().any(sick) {
            return false;
        }
        let hub = self.rng.random_range(0..self.hubs.len());
        let name = self.hub_name(hub);
        self.note(Place::Disk(name.clone()), Ailment::Wrong, time);
        let mut knobs = Knobs::default();
        match kind {
            Kind::FailSync => knobs.failing = true,
            Kind::FullDisk => knobs.full = true,
            _ => knobs.slow = Duration::from_millis(self.rng.random_range(20..1000)),
        }
        if kind != Kind::SlowDisk {
            self.faults.excused.insert(name);
        }
        self.hubs[hub].disk.set(knobs);
        true
    }

    fn slow_peer_disk(&mut self, peer: usize, time: Duration) -> bool {
        let machine = self.peers[peer].machine.clone();
        let every = Duration::from_millis(self.rng.random_range(100..5000));
        let slows = self.note(Place::Disk(machine.name.clone()), Ailment::Wrong, time);
        if slows {
            machine.set_commit_every(every);
        }
        slows
    }

    /// Has a replica of some forum moved to a peer that has none, or one replica more made there.
    fn move_forum(&mut self) -> bool {
        let assignments: Vec<_> = self.ledger.assignments().into_iter().collect();
        let Some((forum, held)) = assignments.choose(&mut self.rng).cloned() else { return false };
        let peers: Vec<u32> = (0..self.peers.len()).filter_map(|peer| self.peer_id(peer)).collect();
        let outside: Vec<u32> = peers.into_iter().filter(|peer| !held.replicas.contains(peer)).collect();
        let Some(to) = outside.choose(&mut self.rng).copied() else { return false };
        let from = match self.rng.random_bool(0.2) {
            true => 0,
            false => held.replicas.choose(&mut self.rng).copied().unwrap_or(0),
        };
        self.desk.order(Order::Move { forum, from, to });
        true
    }

    fn drain_peer(&mut self, peer: usize, time: Duration) -> bool {
        let Some(id) = self.peer_id(peer) else { return false };
        let drains = self.note(Place::Standing(id), Ailment::Wrong, time);
        if drains {
            self.desk.order(Order::State(id, PeerState::Draining));
        }
        drains
    }

    /// Ends the faults whose time is over, and starts machines again that have stopped by themselves.
    pub(super) fn faults_step(&mut self) {
        let now = self.sim.elapsed();
        let over = self.faults.ailing.iter().filter(|(_, (_, until))| *until <= now);
        let over: Vec<Place> = over.map(|(place, _)| place.clone()).collect();
        over.iter().for_each(|place| self.mend(place));
        let machines =
            self.hubs.iter().map(|hub| &hub.machine).chain(self.peers.iter().map(|peer| &peer.machine));
        let mut stopped = Vec::new();
        for machine in machines {
            let place = Place::Power(machine.name.clone());
            if let Some(Err(why)) = machine.ended()
                && !self.faults.ailing.contains_key(&place)
            {
                stopped.push((place, machine.name.clone(), why));
            }
        }
        for (place, name, why) in stopped {
            if !self.faults.excused.contains(&name) {
                self.invariants.broken("nobody stops without a reason", format!("{name}: {why}"));
            }
            self.saw(STOPPED);
            self.note(place, Ailment::Down, RESTART_AFTER);
        }
    }

    /// Ends every fault.
    pub fn heal(&mut self) {
        self.trace.tell("fault", "everything heals");
        let all: Vec<Place> = self.faults.ailing.keys().cloned().collect();
        all.iter().for_each(|place| self.mend(place));
    }

    fn mend(&mut self, place: &Place) {
        let Some((ailment, _)) = self.faults.ailing.remove(place) else { return };
        self.trace.tell("fault", &format!("{place:?} {ailment:?} is over"));
        match (place, ailment) {
            (Place::Power(name), _) => self.sim.bounce(name.as_str()),
            (Place::Link((one, other)), Ailment::Cut) => self.sim.repair(one.as_str(), other.as_str()),
            (Place::Link((one, other)), Ailment::CutOneWay) => {
                self.sim.repair_oneway(one.as_str(), other.as_str());
                self.sim.repair_oneway(other.as_str(), one.as_str());
            }
            (Place::Link((one, other)), Ailment::Held) => self.sim.release(one.as_str(), other.as_str()),
            (Place::Link((one, other)), _) => {
                // First both bounds, then the upper one: the lower must never be above it.
                self.sim.set_link_latency(one.as_str(), other.as_str(), LATENCY_MIN);
                self.sim.set_link_max_message_latency(one.as_str(), other.as_str(), LATENCY_MAX);
            }
            (Place::Standing(id), _) => self.desk.order(Order::State(*id, PeerState::Active)),
            (Place::Clock(name), _) => {
                self.hubs
                    .iter()
                    .filter(|hub| hub.machine.name == *name)
                    .for_each(|hub| hub.machine.set_clock(0));
            }
            (Place::Disk(name), _) => {
                for hub in self.hubs.iter().filter(|hub| hub.machine.name == *name) {
                    hub.disk.set(Knobs::default());
                }
                for peer in self.peers.iter().filter(|peer| peer.machine.name == *name) {
                    peer.machine.set_commit_every(COMMIT_EVERY);
                }
            }
        }
    }
}
