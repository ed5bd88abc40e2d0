//! The stories a world can go through, by name.

use std::time::Duration;

use rand::{RngExt, seq::IndexedRandom};

use super::{Failure, Shape, World, faults, faults::Kind};

/// How long hubs and peers may take to be there at first.
const FORMED_WITHIN: Duration = Duration::from_secs(10);

/// A story.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Tells it, from the first writes to the last check.
    pub tell: fn(&mut World) -> Result<(), Failure>,
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "calm", about: "nothing goes wrong", tell: calm },
    Scenario {
        name: "failover",
        about: "the leader is lost while everybody writes, again and again",
        tell: failover,
    },
    Scenario {
        name: "leader-restart",
        about: "the leader loses power and is back before anybody has missed it",
        tell: leader_restart,
    },
    Scenario { name: "primary-lost", about: "the peer that executes is lost", tell: primary_lost },
    Scenario {
        name: "all-peers-away",
        about: "all peers go and come back; what was taken is answered",
        tell: all_peers_away,
    },
    Scenario { name: "rolling-restart", about: "every machine in turn, by the book", tell: rolling_restart },
    Scenario {
        name: "cut-off-leader",
        about: "the leader leads on, alone, and is not believed",
        tell: cut_off_leader,
    },
    Scenario { name: "partitions", about: "links break, both ways, one way, and flap", tell: partitions },
    Scenario {
        name: "power-cuts",
        about: "any machine at any moment, all hubs at once too",
        tell: power_cuts,
    },
    Scenario {
        name: "sick-disks",
        about: "slow, full, failing disks of one hub after another",
        tell: sick_disks,
    },
    Scenario { name: "clocks", about: "clocks jump by up to an hour, both ways", tell: clocks },
    Scenario {
        name: "migration",
        about: "forums move while everything goes wrong around them",
        tell: migration,
    },
    Scenario { name: "drain", about: "peers are emptied while everybody writes", tell: drain },
    Scenario { name: "chaos", about: "everything, overlapping, in any order", tell: chaos },
];

/// The story of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(world: &mut World, from: u64, to: u64) -> Duration {
    Duration::from_millis(world.rng.random_range(from..to))
}

/// Hubs have formed their group, peers have come, visitors write.
fn begin(world: &mut World) -> Result<(), Failure> {
    world.run_until("a leader", FORMED_WITHIN, |world| world.leader().map(drop).ok_or("none".into()))?;
    let ready = |world: &mut World| match (0..world.peers.len()).find(|peer| world.peer_id(*peer).is_none()) {
        Some(peer) => Err(format!("peer-{} has not joined", peer + 1)),
        None => Ok(()),
    };
    world.run_until("all peers", FORMED_WITHIN, ready)?;
    world.run_for(Duration::from_millis(500))?;
    let visitors = Shape::any(world.seed).visitors;
    world.add_visitors(visitors);
    world.run_for(secs(1))
}

fn calm(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    world.run_for(secs(5))?;
    world.settle()
}

fn failover(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..4 {
        let (down, pause) = (millis(world, 200, 4000), millis(world, 500, 3000));
        world.strike(Kind::CrashLeader, down);
        world.run_for(pause)?;
    }
    world.settle()
}

/// What the leader had sent to the others, and not yet on its own disk, is committed without it. It must not come back
/// as the leader of its old term and give those places to other commands.
fn leader_restart(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..12 {
        let (down, pause) = (millis(world, 1, 150), millis(world, 300, 1200));
        world.strike(Kind::CrashLeader, down);
        world.run_for(pause)?;
    }
    world.settle()
}

fn primary_lost(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..5 {
        let (down, pause) = (millis(world, 100, 4000), millis(world, 300, 2500));
        let kind =
            *[Kind::CrashPrimary, Kind::CrashPrimary, Kind::StopPeer].choose(&mut world.rng).expect("three");
        world.strike(kind, down);
        world.run_for(pause)?;
    }
    world.settle()
}

fn all_peers_away(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    let away = millis(world, 500, 6000);
    world.strike(Kind::CrashAllPeers, away);
    world.run_for(away + secs(2))?;
    world.strike(Kind::CrashAllPeers, away);
    let while_away = millis(world, 100, 1000);
    world.run_for(while_away)?;
    world.strike(Kind::CrashLeader, secs(1));
    world.run_for(away + secs(1))?;
    world.settle()
}

fn rolling_restart(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for hub in 0..world.hubs.len() {
        world.stop_hub(hub, secs(5));
        let machine = world.hubs[hub].machine.clone();
        world.run_until("stopped", secs(5), move |_| machine.ended().map(drop).ok_or("it runs".into()))?;
        world.run_for(secs(4))?;
    }
    for peer in 0..world.peers.len() {
        world.stop_peer(peer, secs(1));
        world.run_for(secs(2))?;
    }
    world.saw("rolling restart");
    world.settle()
}

fn cut_off_leader(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..3 {
        let (time, pause) = (millis(world, 300, 6000), millis(world, 1000, 5000));
        world.strike(Kind::IsolateLeader, time);
        world.run_for(pause)?;
        let time = millis(world, 300, 3000);
        world.strike(Kind::SplitHubs, time);
    }
    world.settle()
}

fn mixed(world: &mut World, kinds: &[Kind], rounds: u32) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..rounds {
        let kind = *kinds.choose(&mut world.rng).expect("some kinds");
        let (time, pause) = (millis(world, 50, 4000), millis(world, 50, 1500));
        world.strike(kind, time);
        world.run_for(pause)?;
    }
    world.settle()
}

fn partitions(world: &mut World) -> Result<(), Failure> {
    let kinds = [
        Kind::CutLink,
        Kind::CutOneWay,
        Kind::IsolateHub,
        Kind::IsolatePeer,
        Kind::SplitHubs,
        Kind::HoldLink,
        Kind::SlowLink,
    ];
    mixed(world, &kinds, 15)
}

fn power_cuts(world: &mut World) -> Result<(), Failure> {
    let kinds = [Kind::CrashHub, Kind::CrashLeader, Kind::CrashAllHubs, Kind::CrashPeer, Kind::CrashPrimary];
    mixed(world, &kinds, 12)
}

fn sick_disks(world: &mut World) -> Result<(), Failure> {
    let kinds = [Kind::SlowDisk, Kind::FailSync, Kind::FullDisk, Kind::SlowPeerDisk, Kind::CrashHub];
    mixed(world, &kinds, 12)
}

fn clocks(world: &mut World) -> Result<(), Failure> {
    mixed(world, &[Kind::JumpClock, Kind::JumpClock, Kind::CrashLeader], 12)
}

fn migration(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    let kinds = [
        Kind::CrashLeader,
        Kind::CrashPeer,
        Kind::CrashPrimary,
        Kind::CutLink,
        Kind::IsolatePeer,
        Kind::SlowPeerDisk,
        Kind::SlowLink,
        Kind::CrashAllHubs,
    ];
    for _ in 0..8 {
        world.strike(Kind::MoveForum, Duration::ZERO);
        // A move takes some hundred milliseconds: this falls on any of its steps.
        let pause = millis(world, 1, 400);
        world.run_for(pause)?;
        let kind = *kinds.choose(&mut world.rng).expect("some kinds");
        let (time, pause) = (millis(world, 50, 3000), millis(world, 200, 2000));
        world.strike(kind, time);
        world.run_for(pause)?;
    }
    world.settle()
}

fn drain(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..3 {
        let (time, pause) = (millis(world, 3000, 8000), millis(world, 1000, 4000));
        world.strike(Kind::DrainPeer, time);
        world.run_for(pause)?;
        let down = millis(world, 50, 1500);
        world.strike(Kind::CrashPrimary, down);
    }
    world.run_for(secs(3))?;
    world.settle()
}

fn chaos(world: &mut World) -> Result<(), Failure> {
    let rounds = world.rng.random_range(5..25);
    mixed(world, &faults::ALL, rounds)
}
