//! Too much at once.

use std::time::Duration;

use super::{all_follow, follows, served};
use crate::world::{
    Failure, World,
    faults::Kind,
    scenario::{begin, millis, secs},
    visitor::{Habit, Manner},
};

/// How long a forum may go without an answer while one of its peers is slow.
const STALLED_MAX: Duration = Duration::from_secs(20);
/// A writer of long messages.
const LENGTHY: Manner =
    Manner { pause_max: Duration::from_millis(60), strays: 1, ballast: 480, habit: Habit::Stays };

/// Messages that may wait for a slow peer here: few, so that they become so many.
const QUEUE: usize = 8;
/// Seen when a hub had as many messages for a slow peer as it may keep.
pub const FULL: &str = "hub: the queue of a slow peer was full";

/// hub-monorepo 823: one subscriber that read slowly made the hub keep all that it had not read, until the hub had no
/// memory left.
///
/// Here: what waits for a peer that reads slowly. A crowd writes long messages while one peer after another reads a few
/// hundred bytes a second, so slowly that its queue at the hub fills. Every hub and peer tells each second how much it
/// keeps: *memory is bounded* holds that to the declared bounds, and the others must be served meanwhile; the slow one
/// must catch up when it reads again.
pub fn hub_monorepo_823(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| (tuning.replicas, tuning.peer_queue) = (3, QUEUE));
    begin(world)?;
    for _ in 0..5 {
        world.add_visitor_who(0, LENGTHY);
    }
    for _ in 0..3 {
        let Some(peer) = world.any_peer() else { continue };
        let (name, time) = (world.peer_name(peer), millis(world, 4000, 9000));
        world.slow_down(&name, time);
        served(world, 0, time, STALLED_MAX)?;
        world.heal();
        follows(world, peer, secs(30))?;
    }
    if world.sizes.most("peer_messages") >= QUEUE as u64 {
        world.saw(FULL);
    }
    world.settle()
}

/// Peers that come beside the usual ones, so that there is a crowd to come back.
const PEERS_MORE: usize = 10;
/// What they do in the first moment after a loss is bounded by their number; then they have spread.
const SPREAD_AFTER: Duration = Duration::from_secs(2);

/// socket.io 5413: when a server went down all its clients came back at the same moment, again and again, and took the
/// next server down, too.
///
/// Here: peers that lose their hub together, as all do when all hubs go. Their attempts are counted, for each hub and each
/// tenth of a second: once they have spread, never more than three quarters of them may come in the same one; nobody may try more
/// often than its back-off allows; and everybody must be back within a bound.
pub fn socketio_5413(world: &mut World) -> Result<(), Failure> {
    world.add_peers(PEERS_MORE);
    begin(world)?;
    for _ in 0..2 {
        let down = millis(world, 2000, 6000);
        let lost = world.elapsed();
        world.strike(Kind::CrashAllHubs, down);
        world.run_for(down + secs(2))?;
        check_spread(world, lost, down)?;
        all_follow(world)?;
    }
    world.settle()
}

fn check_spread(world: &mut World, lost: Duration, down: Duration) -> Result<(), Failure> {
    let (peers, dials) = (world.peers.len(), world.trace.dials());
    let since = |at: Duration| dials.iter().filter(move |((_, window), _)| *window >= at);
    let total: u32 = since(lost).map(|(_, count)| count).sum();
    let most = since(lost + SPREAD_AFTER).map(|(_, count)| *count).max().unwrap_or(0);
    world.trace.tell("peers", &format!("dialled {total} times in {down:?}, at most {most} at once"));
    // Chance alone brings half of them together now and then.
    if most as usize * 4 > peers * 3 {
        return Err(Failure(format!(
            "{most} of {peers} peers dialled one hub in the same tenth of a second"
        )));
    }
    // Three hubs in a round, each round's pauses twice as long: some twelve attempts in three seconds.
    let each = 30 + 4 * down.as_secs();
    match u64::from(total) > each * peers as u64 {
        true => Err(Failure(format!("{peers} peers dialled {total} times in {down:?}"))),
        false => Ok(()),
    }
}
