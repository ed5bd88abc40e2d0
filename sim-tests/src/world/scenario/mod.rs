//! The stories a world can go through, by name.

mod caught;
mod famous;
mod hubs;
mod mixed;
mod moves;
mod peers;
mod phased;
mod sessions;

use std::time::Duration;

use rand::RngExt;

use super::{Failure, Shape, World, faults::Kind};

pub use self::{
    famous::FULL,
    hubs::ALL_REPLACED,
    moves::{GREW, LATE, move_steps},
    phased::PARTS,
};

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
        tell: hubs::failover,
    },
    Scenario {
        name: "leader-restart",
        about: "the leader loses power and is back before anybody has missed it",
        tell: hubs::leader_restart,
    },
    Scenario { name: "primary-lost", about: "the peer that executes is lost", tell: peers::primary_lost },
    Scenario {
        name: "all-peers-away",
        about: "all peers go and come back; what was taken is answered",
        tell: peers::all_peers_away,
    },
    Scenario { name: "rolling-restart", about: "every machine in turn, by the book", tell: rolling_restart },
    Scenario {
        name: "cut-off-leader",
        about: "the leader leads on, alone, and is not believed",
        tell: hubs::cut_off_leader,
    },
    Scenario {
        name: "partitions",
        about: "links break, both ways, one way, and flap",
        tell: mixed::partitions,
    },
    Scenario {
        name: "power-cuts",
        about: "any machine at any moment, all hubs at once too",
        tell: mixed::power_cuts,
    },
    Scenario {
        name: "sick-disks",
        about: "slow, full, failing disks of one hub after another",
        tell: mixed::sick_disks,
    },
    Scenario { name: "clocks", about: "clocks jump by up to an hour, both ways", tell: mixed::clocks },
    Scenario {
        name: "migration",
        about: "forums move while everything goes wrong around them",
        tell: moves::migration,
    },
    Scenario { name: "drain", about: "peers are emptied while everybody writes", tell: peers::drain },
    Scenario {
        name: "left-behind",
        about: "hubs come back to a group that has forgotten",
        tell: hubs::left_behind,
    },
    Scenario {
        name: "bit-rot",
        about: "bits turn over on hubs' disks; they say so and are replaced",
        tell: hubs::bit_rot,
    },
    Scenario { name: "membership", about: "all hubs are replaced, one by one", tell: hubs::membership },
    Scenario {
        name: "half-done-change",
        about: "all hubs lose power while the group changes",
        tell: hubs::half_done_change,
    },
    Scenario {
        name: "flapping",
        about: "links are cut and mended many times a second",
        tell: mixed::flapping,
    },
    Scenario {
        name: "slow-consumer",
        about: "peers and browsers read very slowly",
        tell: mixed::slow_consumer,
    },
    Scenario { name: "liars", about: "peers say what is not so", tell: mixed::liars },
    Scenario {
        name: "re-sent-commits",
        about: "answers are lost, commits come again",
        tell: mixed::re_sent_commits,
    },
    Scenario {
        name: "beyond-retention",
        about: "a peer is away for longer than the log is kept",
        tell: peers::beyond_retention,
    },
    Scenario {
        name: "hot-forum",
        about: "a forum gets busy, gets help, and nothing thrashes",
        tell: moves::hot_forum,
    },
    Scenario { name: "migration-steps", about: "somebody falls at each step of a move", tell: moves::steps },
    Scenario {
        name: "target-away",
        about: "the target of a move is away for a while, and goes on where it was",
        tell: moves::target_away,
    },
    Scenario {
        name: "migration-against-failover",
        about: "a cut-over while the lead is lost",
        tell: moves::against_failover,
    },
    Scenario {
        name: "outvoted-leader",
        about: "the leader is outvoted, and everybody but the hubs reaches it",
        tell: caught::outvoted_leader,
    },
    Scenario {
        name: "from-snapshots",
        about: "hubs go on from snapshots while commits come again",
        tell: caught::from_snapshots,
    },
    Scenario {
        name: "session-across-peers",
        about: "one session's requests run everywhere, and peers are lost in between",
        tell: sessions::session_across_peers,
    },
    Scenario { name: "nats-7564", about: "acknowledged before fsync", tell: famous::nats_7564 },
    Scenario { name: "nats-4736", about: "a subscriber is silently stuck", tell: famous::nats_4736 },
    Scenario { name: "etcd-17529", about: "events are lost under load", tell: famous::etcd_17529 },
    Scenario { name: "etcd-18089", about: "compaction eats an event", tell: famous::etcd_18089 },
    Scenario {
        name: "vitess-16563",
        about: "a cut-over's position is taken before writes stopped",
        tell: famous::vitess_16563,
    },
    Scenario {
        name: "vitess-17326",
        about: "a failed switch leaves nobody serving",
        tell: famous::vitess_17326,
    },
    Scenario {
        name: "hub-monorepo-823",
        about: "a slow subscriber eats the hub's memory",
        tell: famous::hub_monorepo_823,
    },
    Scenario { name: "socketio-5413", about: "everybody reconnects at once", tell: famous::socketio_5413 },
    Scenario { name: "phases", about: "every fault in every phase", tell: phased::phases },
    Scenario { name: "chaos", about: "everything, overlapping, in any order", tell: mixed::chaos },
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

/// A fault of this kind for some time of the first range, milliseconds; then a pause of the second.
fn strike(world: &mut World, kind: Kind, time: (u64, u64), pause: (u64, u64)) -> Result<(), Failure> {
    let (time, pause) = (millis(world, time.0, time.1), millis(world, pause.0, pause.1));
    world.strike(kind, time);
    world.run_for(pause)
}

/// Lets time pass until there are more than so many records that are newer than `before`.
fn log_goes_on(world: &mut World, before: u64, records: u64) -> Result<(), Failure> {
    world.run_until("the log has gone on", secs(120), |world| match world.ledger.newest() - before {
        since if since > records => Ok(()),
        since => Err(format!("{since} records since")),
    })
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
