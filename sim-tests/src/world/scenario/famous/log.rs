//! What was in the log, and is not.

use std::time::Duration;

use super::{all_follow, crowd};
use crate::world::{
    Failure, World,
    disk::Knobs,
    faults::Kind,
    scenario::{begin, log_goes_on, millis, secs},
};

/// nats-server 7564: a JetStream group acknowledged publishes that were in memory of most servers and on no disk; a power
/// cut of all took them.
///
/// Here: a hub that votes for an entry, or tells the browser, before its sync has ended. All hubs' disks are made slow, so
/// that there is much time in which that would matter, and all lose power in the very tick in which somebody was
/// acknowledged. *Acknowledged is kept* and *each forum is linearizable* see what is missing afterwards.
pub fn nats_7564(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    crowd(world, 0, 3);
    for _ in 0..5 {
        let slow = millis(world, 5, 80);
        slow_disks(world, Some(slow));
        let pause = millis(world, 300, 1500);
        world.run_for(pause)?;
        let acked = world.oracle.counts().acked;
        let until = world.elapsed() + secs(20);
        while world.oracle.counts().acked == acked && world.elapsed() < until {
            world.run_for(Duration::from_millis(1))?;
        }
        let down = millis(world, 100, 1500);
        world.strike(Kind::CrashAllHubs, down);
        world.run_for(down + secs(1))?;
    }
    slow_disks(world, None);
    world.settle()
}

fn slow_disks(world: &World, slow: Option<Duration>) {
    let knobs = Knobs { slow: slow.unwrap_or_default(), ..Knobs::default() };
    world.hubs.iter().for_each(|hub| hub.disk.set(knobs));
}

/// etcd 18089: a watcher that started at a revision which compaction was just removing missed a deletion, without being
/// told that it had come too late.
///
/// Here: a peer's feed reads the log from the peer's cursor while the log is trimmed, snapshots replace it, and hubs start
/// from them. Peers are away for a little less, and a little more, than the log is kept, and come back in the middle of a
/// crowd's writing; the hub they come back to has just restarted. A record that was trimmed under a reader would be
/// missing in its copy: *copies follow the log* compares every copy at its own position. A peer that is too late must
/// say so and start over.
pub fn etcd_18089(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| {
        (tuning.retained_records, tuning.snapshot_entries, tuning.replicas) = (150, 100, 3);
        tuning.peer_grace_s = 600;
    });
    begin(world)?;
    crowd(world, 0, 5);
    for round in 0..4 {
        let Some(peer) = world.any_primary().or_else(|| world.any_peer()) else { continue };
        let before = world.ledger.newest();
        world.crash_peer(peer, secs(600));
        // The log holds its budget, and up to twice as much for those who are behind.
        let missed = 100 + 70 * round;
        log_goes_on(world, before, missed)?;
        let down = millis(world, 50, 400);
        world.strike(if round % 2 == 0 { Kind::CrashHub } else { Kind::CrashAllHubs }, down);
        world.run_for(down)?;
        world.heal();
        all_follow(world)?;
    }
    world.settle()
}
