//! What goes wrong, and for how long.
//!
//! Owns every fault under way and its end. At most one at a time on a machine's power, a link, a clock or a disk, so
//! that mending one never mends another; besides that they overlap as chance has it.

mod burdens;
mod disks;
mod hosts;
mod links;
pub mod phases;
mod replaced;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use loop_proto::v1::PeerState;
use rand::{RngExt, seq::IndexedRandom};

use super::{
    World,
    disk::Knobs,
    net::{LATENCY_MAX, LATENCY_MIN},
    operator::Order,
};

/// After a machine has stopped by itself, its supervisor starts it again.
const RESTART_AFTER: Duration = Duration::from_millis(700);

pub use self::{
    replaced::{FOUND, REPLACED},
    words::lied,
};

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
    /// Nothing passes between two machines, and everything does, many times a second.
    FlapLink,
    /// A bit of what a hub has synced turns over, and its process ends.
    RotDisk,
    /// A peer's disk is slow.
    SlowPeerDisk,
    /// A peer or a browser reads what it is sent very slowly.
    SlowConsumer,
    /// A peer says what is not so.
    LyingPeer,
    /// No fault, but a burden: a forum's replica moves to another peer.
    MoveForum,
    /// A peer is to be emptied, and may come back.
    DrainPeer,
}

/// All of them.
pub const ALL: [Kind; 27] = [
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
    Kind::FlapLink,
    Kind::RotDisk,
    Kind::SlowPeerDisk,
    Kind::SlowConsumer,
    Kind::LyingPeer,
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
    /// How fast a machine reads from the network.
    Ears(String),
    /// What a peer says.
    Words(String),
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
    Flapping,
    Wrong,
}

/// Faults under way.
#[derive(Default)]
pub struct Active {
    ailing: BTreeMap<Place, (Ailment, Duration)>,
    /// Anything was ever wrong.
    any_ever: bool,
    /// Hubs whose disk was ever sick: they may say so, loudly.
    excused: BTreeSet<String>,
    /// Hubs whose disk may have lost something that was synced, and has not been found out.
    unsound: BTreeSet<String>,
    /// Links that flap: when each turns over next, and whether it is cut now.
    flapping: BTreeMap<Link, (Duration, bool)>,
    /// Hubs that were found to have lost what they had promised to keep.
    replacing: replaced::Replacing,
    /// Who led when that was last looked at, and since when.
    led: (Option<usize>, Duration),
}

impl Active {
    /// Whether anything was ever wrong.
    pub fn any_ever(&self) -> bool {
        self.any_ever
    }

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
        let phases = self.phases();
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
            Kind::FlapLink => self.ail_any_link(Ailment::Flapping, time),
            Kind::IsolateHub => self.any_hub().is_some_and(|hub| self.isolate(&self.hub_name(hub), time)),
            Kind::IsolateLeader => self.leader().is_some_and(|hub| self.isolate(&self.hub_name(hub), time)),
            Kind::IsolatePeer => {
                self.any_peer().is_some_and(|peer| self.isolate(&self.peer_name(peer), time))
            }
            Kind::SplitHubs => self.split_hubs(time),
            Kind::JumpClock => self.any_hub().is_some_and(|hub| self.jump_clock(hub, time)),
            Kind::SlowDisk | Kind::FailSync | Kind::FullDisk => self.ail_hub_disk(kind, time),
            Kind::RotDisk => self.rot_hub_disk(time),
            Kind::SlowConsumer => self.slow_consumer(time),
            Kind::LyingPeer => self.lying_peer(time),
            Kind::SlowPeerDisk => self.any_peer().is_some_and(|peer| self.slow_peer_disk(peer, time)),
            Kind::MoveForum => self.move_forum(),
            Kind::DrainPeer => self.any_peer().is_some_and(|peer| self.drain_peer(peer, time)),
        };
        if struck {
            self.saw(format!("fault {kind:?}"));
            phases.iter().for_each(|phase| self.saw(phases::during(kind, *phase)));
        }
        struck
    }

    pub(super) fn hub_name(&self, hub: usize) -> String {
        self.hubs[hub].machine.name.clone()
    }

    pub(super) fn peer_name(&self, peer: usize) -> String {
        self.peers[peer].machine.name.clone()
    }

    /// The peer the hubs know by this id.
    pub(super) fn peer_of(&self, id: u32) -> Option<usize> {
        (0..self.peers.len()).find(|peer| self.peer_id(*peer) == Some(id))
    }

    /// What the hubs call the peers.
    pub(super) fn all_peer_ids(&self) -> Vec<u32> {
        (0..self.peers.len()).filter_map(|peer| self.peer_id(peer)).collect()
    }

    /// Whether any fault is on.
    pub fn is_ailing(&self) -> bool {
        !self.faults.ailing.is_empty()
    }

    /// How often a peer started again from what others have.
    pub fn started_over(&self) -> usize {
        self.logged.lock().started_over.len()
    }

    fn any_hub(&mut self) -> Option<usize> {
        self.hubs_left().choose(&mut self.rng).copied()
    }

    pub(super) fn any_peer(&mut self) -> Option<usize> {
        Some(self.rng.random_range(0..self.peers.len()))
    }

    pub(super) fn any_primary(&mut self) -> Option<usize> {
        let primaries: Vec<u32> =
            self.ledger.assignments().into_values().map(|assignment| assignment.primary).collect();
        let primary = *primaries.choose(&mut self.rng)?;
        self.peer_of(primary)
    }

    fn each_hub(&mut self, mut act: impl FnMut(&mut Self, usize) -> bool) -> bool {
        self.hubs_left().into_iter().filter(|hub| act(self, *hub)).count() > 0
    }

    fn each_peer(&mut self, mut act: impl FnMut(&mut Self, usize) -> bool) -> bool {
        (0..self.peers.len()).filter(|peer| act(self, *peer)).count() > 0
    }

    /// Notes a fault, unless its place has one already.
    fn note(&mut self, place: Place, ailment: Ailment, time: Duration) -> bool {
        let is_out = matches!(&place, Place::Power(name) if self.is_out_by_name(name));
        if is_out || self.faults.ailing.contains_key(&place) {
            return false;
        }
        self.trace.tell("fault", &format!("{place:?} {ailment:?} for {time:?}"));
        self.faults.ailing.insert(place, (ailment, self.sim.elapsed() + time));
        self.faults.any_ever = true;
        true
    }

    /// Ends the faults whose time is over, and starts machines again that have stopped by themselves.
    pub(super) fn faults_step(&mut self) {
        let now = self.sim.elapsed();
        let over = self.faults.ailing.iter().filter(|(_, (_, until))| *until <= now);
        let over: Vec<Place> = over.map(|(place, _)| place.clone()).collect();
        over.iter().for_each(|place| self.mend(place));
        self.flap();
        self.replacing_step();
        self.watch_the_lead();
        let hubs = self.hubs_left().into_iter().map(|hub| &self.hubs[hub].machine);
        let machines = hubs.chain(self.peers_in().into_iter().map(|peer| &self.peers[peer].machine));
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
            if self.must_be_replaced(&name, &why) {
                continue;
            }
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
            (Place::Power(name), _) if self.is_gone(name) => {}
            (Place::Power(name), _) => self.sim.bounce(name.as_str()),
            (Place::Link(link), Ailment::Flapping) => {
                self.faults.flapping.remove(link);
                self.sim.repair(link.0.as_str(), link.1.as_str());
            }
            (Place::Ears(name), _) => self.net_of(name).into_iter().for_each(|net| net.read_slowly(0)),
            (Place::Words(name), _) => self.tongue_of(name).into_iter().for_each(|tongue| tongue.set(None)),
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
                    peer.machine.set_commit_every(self.shape.pace.commit_every);
                }
            }
        }
    }
}
