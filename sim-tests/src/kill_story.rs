//! One story, told with different victims: eight people write, processes are killed, nothing acknowledged is lost.

use std::time::Duration;

use anyhow::Result;
use loop_local::Who;

use crate::{
    expect::unique,
    oracle,
    system::System,
    writers::{Load, Promises, Writing},
};

/// Longest time in which nobody's message is taken. A takeover itself is under a second; the rest is room for
/// machines that run everything, the writers included, on two cores.
const GAP_MAX: Duration = Duration::from_secs(10);

/// Whom to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victims {
    /// The hub that leads.
    LeadingHub,
    /// The peer that executes the forum's requests.
    PrimaryPeer,
    /// Every peer that holds the forum, except one that is not its primary.
    AllPeersButOne,
}

/// Writes, kills in the middle, checks; restarts everything, checks; and all that once more.
pub async fn tell(victims: Victims) -> Result<()> {
    let mut system = System::start().await?;
    let forum = unique("ajps_kill_");
    let mut kept: Vec<(Load, Promises)> = Vec::new();
    for round in ["first", "again"] {
        let load = Load::new(&forum, round);
        let promises = write_while_killing(&mut system, &load, victims).await?;
        kept.push((load, promises));
        system.cluster.start_all().await?;
        check_all(&system, &kept).await?;
        system.restart_all().await?;
        check_all(&system, &kept).await?;
    }
    assert_ids_rise(&kept);
    system.assert_nobody_fell();
    Ok(())
}

async fn write_while_killing(system: &mut System, load: &Load, victims: Victims) -> Result<Promises> {
    let hubs = system.hubs();
    let mut writing = Writing::start(load, &hubs).await?;
    writing.acked(load.total() / 4).await?;
    let killed = choose(system, &load.forum, victims).await?;
    for who in &killed {
        system.cluster.kill(*who).await?;
    }
    let promises = writing.finish().await?;
    let gap = promises.longest_gap();
    println!(
        "{victims:?}, {}: killed {killed:?}; {} acknowledged, {} sent more than once, longest gap {gap:?}; {:?}",
        load.mark,
        promises.acked.len(),
        promises.resent(),
        promises.failure_kinds(),
    );
    assert!(gap <= GAP_MAX, "nobody's message was taken for {gap:?}");
    Ok(promises)
}

async fn choose(system: &System, forum: &str, victims: Victims) -> Result<Vec<Who>> {
    Ok(match victims {
        Victims::LeadingHub => vec![system.leader().await?],
        Victims::PrimaryPeer => system.replicas(forum).await?.into_iter().take(1).collect(),
        Victims::AllPeersButOne => {
            let replicas = system.replicas(forum).await?;
            assert_eq!(replicas.len(), 3, "three peers hold a forum where there are three");
            replicas[..2].to_vec()
        }
    })
}

async fn check_all(system: &System, kept: &[(Load, Promises)]) -> Result<()> {
    for (load, promises) in kept {
        oracle::check(system, load, promises).await?;
    }
    Ok(())
}

fn assert_ids_rise(kept: &[(Load, Promises)]) {
    let ids = |promises: &Promises| promises.acked.iter().map(|acked| acked.id).collect::<Vec<_>>();
    let (first, again) = (ids(&kept[0].1), ids(&kept[1].1));
    assert!(first.iter().max() < again.iter().min(), "ids of the second round lie above those of the first");
}
