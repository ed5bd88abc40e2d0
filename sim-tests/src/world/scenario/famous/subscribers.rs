//! Subscribers that are forgotten.

use rand::{RngExt, seq::IndexedRandom};

use super::{all_follow, crowd, follows};
use crate::world::{
    Failure, World,
    faults::Kind,
    scenario::{begin, millis, secs, strike},
};

/// nats-server 4736: a consumer got nothing any more, for hours; its connection was fine, nobody logged anything, and only
/// a restart helped.
///
/// Here: a peer's stream on which nothing comes and nothing breaks, because packets are lost or held on the way, or
/// because its feed was not woken. All links of a peer but one are silenced, the one it uses most likely among them. It
/// must notice by itself and go on following through the hub that is left *while* the others stay silent; after that
/// everybody must follow. A cursor that stands still is seen by the live check, in simulated seconds.
pub fn nats_4736(world: &mut World) -> Result<(), Failure> {
    begin(world)?;
    for _ in 0..4 {
        let Some(peer) = world.any_primary().or_else(|| world.any_peer()) else { continue };
        let (name, hubs) = (world.peer_name(peer), world.roster.names());
        let left = world.rng.random_range(0..hubs.len());
        let lost = world.rng.random_bool(0.5);
        for hub in hubs.iter().enumerate().filter(|(at, _)| *at != left).map(|(_, hub)| hub) {
            world.silence(hub, &name, lost, secs(600));
        }
        let pause = millis(world, 100, 1000);
        world.run_for(pause)?;
        follows(world, peer, secs(40))?;
        world.saw("peer: followed through the one hub it reached");
        world.heal();
        all_follow(world)?;
    }
    world.settle()
}

/// etcd 17529: under load the server put a slow watcher aside to catch up later, and lost events between its two lists.
///
/// Here: a feed that goes from catching up to live and back, many times a second, while a crowd writes: peers that read
/// slowly, whose streams break and come back, whose disks lag. A record lost in between leaves a copy that *copies follow
/// the log* finds at the next look; there are several in every simulated second.
pub fn etcd_17529(world: &mut World) -> Result<(), Failure> {
    world.tune(|tuning| tuning.replicas = 3);
    begin(world)?;
    crowd(world, 0, 5);
    let kinds = [
        Kind::SlowConsumer,
        Kind::CutLink,
        Kind::HoldLink,
        Kind::IsolatePeer,
        Kind::SlowPeerDisk,
        Kind::StopPeer,
        Kind::CrashPeer,
        Kind::MoveForum,
    ];
    for _ in 0..25 {
        let kind = *kinds.choose(&mut world.rng).expect("some kinds");
        strike(world, kind, (20, 1500), (20, 500))?;
    }
    world.heal();
    all_follow(world)?;
    world.settle()
}
