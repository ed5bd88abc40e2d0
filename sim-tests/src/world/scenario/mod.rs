//! The stories a world can go through, by name.

mod caught;
mod churn;
mod empty;
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
    churn::{OUTLIVED, TAKEN_BACK},
    empty::{CLOSED, OPENED_ANEW},
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
    /// The world it is told in.
    pub shape: fn(u64) -> Shape,
    /// Tells it, from the first writes to the last check.
    pub tell: Tell,
}

type Tell = fn(&mut World) -> Result<(), Failure>;

impl Scenario {
    const fn new(name: &'static str, about: &'static str, tell: Tell) -> Self {
        Self { name, about, shape: Shape::any, tell }
    }

    /// The same in a world of another size.
    const fn in_a(self, shape: fn(u64) -> Shape) -> Self {
        Self { shape, ..self }
    }
}

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario::new("calm", "nothing goes wrong", calm),
    Scenario::new("failover", "the leader is lost while everybody writes, again and again", hubs::failover),
    Scenario::new(
        "leader-restart",
        "the leader loses power and is back before anybody has missed it",
        hubs::leader_restart,
    ),
    Scenario::new("primary-lost", "the peer that executes is lost", peers::primary_lost),
    Scenario::new(
        "all-peers-away",
        "all peers go and come back; what was taken is answered",
        peers::all_peers_away,
    ),
    Scenario::new("rolling-restart", "every machine in turn, by the book", rolling_restart),
    Scenario::new("cut-off-leader", "the leader leads on, alone, and is not believed", hubs::cut_off_leader),
    Scenario::new("partitions", "links break, both ways, one way, and flap", mixed::partitions),
    Scenario::new("power-cuts", "any machine at any moment, all hubs at once too", mixed::power_cuts),
    Scenario::new("sick-disks", "slow, full, failing disks of one hub after another", mixed::sick_disks),
    Scenario::new("clocks", "clocks jump by up to an hour, both ways", mixed::clocks),
    Scenario::new("migration", "forums move while everything goes wrong around them", moves::migration),
    Scenario::new("drain", "peers are emptied while everybody writes", peers::drain),
    Scenario::new("left-behind", "hubs come back to a group that has forgotten", hubs::left_behind),
    Scenario::new("bit-rot", "bits turn over on hubs' disks; they say so and are replaced", hubs::bit_rot),
    Scenario::new("membership", "all hubs are replaced, one by one", hubs::membership),
    Scenario::new("half-done-change", "all hubs lose power while the group changes", hubs::half_done_change),
    Scenario::new("flapping", "links are cut and mended many times a second", mixed::flapping),
    Scenario::new("slow-consumer", "peers and browsers read very slowly", mixed::slow_consumer),
    Scenario::new("watched", "people watch forums while hubs and peers are lost", mixed::watched),
    Scenario::new("liars", "peers say what is not so", mixed::liars),
    Scenario::new("re-sent-commits", "answers are lost, commits come again", mixed::re_sent_commits),
    Scenario::new(
        "beyond-retention",
        "a peer is away for longer than the log is kept",
        peers::beyond_retention,
    ),
    Scenario::new("hot-forum", "a forum gets busy, gets help, and nothing thrashes", moves::hot_forum),
    Scenario::new("migration-steps", "somebody falls at each step of a move", moves::steps),
    Scenario::new(
        "target-away",
        "the target of a move is away for a while, and goes on where it was",
        moves::target_away,
    ),
    Scenario::new("migration-against-failover", "a cut-over while the lead is lost", moves::against_failover),
    Scenario::new(
        "outvoted-leader",
        "the leader is outvoted, and everybody but the hubs reaches it",
        caught::outvoted_leader,
    ),
    Scenario::new(
        "from-snapshots",
        "hubs go on from snapshots while commits come again",
        caught::from_snapshots,
    ),
    Scenario::new(
        "session-across-peers",
        "one session's requests run everywhere, and peers are lost in between",
        sessions::session_across_peers,
    ),
    Scenario::new("nats-7564", "acknowledged before fsync", famous::nats_7564),
    Scenario::new("nats-4736", "a subscriber is silently stuck", famous::nats_4736),
    Scenario::new("etcd-17529", "events are lost under load", famous::etcd_17529),
    Scenario::new("etcd-18089", "compaction eats an event", famous::etcd_18089),
    Scenario::new(
        "vitess-16563",
        "a cut-over's position is taken before writes stopped",
        famous::vitess_16563,
    ),
    Scenario::new("vitess-17326", "a failed switch leaves nobody serving", famous::vitess_17326),
    Scenario::new("hub-monorepo-823", "a slow subscriber eats the hub's memory", famous::hub_monorepo_823),
    Scenario::new("socketio-5413", "everybody reconnects at once", famous::socketio_5413),
    Scenario::new(
        "guests",
        "peers that stay for seconds, again and again, old ones and new ones",
        churn::guests,
    )
    .in_a(churn::few_stay),
    Scenario::new("flash-crowd", "many newcomers at once, gone again soon", churn::flash_crowd)
        .in_a(churn::few_stay),
    Scenario::new("day-and-night", "half of the volunteers by day, half by night", churn::day_and_night)
        .in_a(churn::many),
    Scenario::new("half-leaves", "half of the peers leave at once and return one by one", churn::half_leaves)
        .in_a(churn::many),
    Scenario::new("disk-liars", "peers lie about what they can hold and what they have", churn::disk_liars)
        .in_a(churn::few_stay),
    Scenario::new("old-copy", "a peer comes back with an older disk", churn::old_copy).in_a(churn::many),
    Scenario::new("last-copy", "all peers of a forum but one leave, then that one", churn::last_copy)
        .in_a(churn::many),
    Scenario::new(
        "late-removals",
        "copies are to end, by the word of who does not know who has left",
        churn::late_removals,
    )
    .in_a(churn::many),
    Scenario::new("successor-leaves", "who took a forum over leaves again", churn::successor_leaves)
        .in_a(churn::many),
    Scenario::new(
        "leader-changes-while-away",
        "a peer is away while the lead changes again and again",
        churn::leader_changes_while_away,
    )
    .in_a(churn::many),
    Scenario::new("empty-forums", "forums are opened and left, for days", empty::empty_forums)
        .in_a(churn::many),
    Scenario::new("phases", "every fault in every phase", phased::phases),
    Scenario::new("chaos", "everything, overlapping, in any order", mixed::chaos),
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
    let formed_within = FORMED_WITHIN * world.shape.pace.patience;
    world.run_until("a leader", formed_within, |world| world.leader().map(drop).ok_or("none".into()))?;
    let ready = |world: &mut World| match (0..world.peers.len()).find(|peer| world.peer_id(*peer).is_none()) {
        Some(peer) => Err(format!("peer-{} has not joined", peer + 1)),
        None => Ok(()),
    };
    world.run_until("all peers", formed_within, ready)?;
    world.run_for(Duration::from_millis(500))?;
    let visitors = world.shape.visitors;
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
