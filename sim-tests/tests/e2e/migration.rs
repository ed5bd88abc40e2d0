//! A forum moves between peers while people write, and back. Processes are killed with `kill -9` at each step of the
//! way: the forum is always whole on its source or on its target, everybody is served, nothing is lost or doubled, and
//! the move finishes or is given up by itself.

use std::time::Duration;

use anyhow::{Context, Result};
use loop_proto::v1::{InvitationStatus, JoinStage};
use loop_sim_tests::{
    expect::{eventually, unique},
    operator::{self, MOVE_WITHIN},
    oracle,
    system::System,
    writers::{Load, Promises, Writing},
};

/// Longest time in which nobody's message is taken while a process is killed in the middle of a move.
const GAP_MAX: Duration = Duration::from_secs(10);

async fn four_peers(peer_args: &[&str]) -> Result<System> {
    let args = peer_args.iter().map(|arg| (*arg).to_owned()).collect();
    System::start_with(|config| {
        config.peers = 4;
        config.peer_args = args;
        // What moves here is what the test moves.
        config.hub_args =
            vec!["--balance".into(), "false".into(), "--invitation-timeout-s".into(), "4".into()];
    })
    .await
}

fn load(forum: &str, mark: &str) -> Load {
    Load { messages: 100, ..Load::new(forum, mark) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forum_moves_while_people_write_and_back() -> Result<()> {
    let mut system = four_peers(&[]).await?;
    let forum = unique("ajps_move_");
    let first = load(&forum, "first");
    let mut writing = Writing::start(&first, &system.hubs()).await?;
    writing.acked(first.total() / 4).await?;
    let primary = system.replicas(&forum).await?[0];
    let target = *operator::outsiders(&system, &forum).await?.first().context("a fourth peer")?;
    let epoch = system.forum(&forum).await?.assignment.context("an assignment")?.epoch;

    let id = operator::start_move(&system, &forum, primary, target).await?;
    assert_eq!(operator::settled(&system, &forum, id).await, InvitationStatus::Completed);
    let moved = system.forum(&forum).await?.assignment.context("an assignment")?;
    assert_eq!(moved.epoch, epoch + 1, "the primary moved, so its epoch rose by one");
    let holders = system.replicas(&forum).await?;
    assert!(holders[0] == target && !holders.contains(&primary) && holders.len() == 3, "{holders:?}");
    let promises = writing.finish().await?;
    println!("moved under load: longest gap {:?}, {:?}", promises.longest_gap(), promises.failure_kinds());
    assert!(
        promises.failures.is_empty(),
        "nobody is refused while a forum moves: {:?}",
        promises.failure_kinds()
    );
    oracle::check(&system, &first, &promises).await?;
    operator::verify(&system, &forum).await?;
    operator::rows_are_gone(&system, primary, &forum).await;

    let again = load(&forum, "again");
    let mut writing = Writing::start(&again, &system.hubs()).await?;
    writing.acked(again.total() / 4).await?;
    let forum_id = system.forum(&forum).await?.forum_id;
    let id = system.admin()?.reverse_forum(forum_id).await?;
    assert_eq!(operator::settled(&system, &forum, id).await, InvitationStatus::Completed);
    assert!(system.replicas(&forum).await?.contains(&primary), "the forum is back where it was");
    let more = writing.finish().await?;
    oracle::check(&system, &first, &promises).await?;
    oracle::check(&system, &again, &more).await?;
    operator::verify(&system, &forum).await?;
    system.assert_nobody_fell();
    Ok(())
}

/// Where a move stands when somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Invited,
    Seeding,
    CutOver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Source,
    Target,
    Leader,
}

async fn kill_during_a_move(victim: Victim) -> Result<()> {
    // Slow enough that a copy of several pieces is caught on its way.
    let mut system = four_peers(&["--max-bandwidth", "150K"]).await?;
    let mut kept: Vec<(Load, Promises)> = Vec::new();
    for moment in [Moment::Invited, Moment::Seeding, Moment::CutOver] {
        let forum = unique("ajps_kill_move_");
        let mark = format!("{victim:?}{moment:?}").to_lowercase();
        let messages = if moment == Moment::Seeding { 300 } else { 100 };
        let load = Load { messages, ..load(&forum, &mark) };
        let promises = one_kill(&mut system, &load, victim, moment).await?;
        system.cluster.start_all().await?;
        oracle::check(&system, &load, &promises).await?;
        operator::verify(&system, &forum).await?;
        kept.push((load, promises));
    }
    for (load, promises) in &kept {
        oracle::check(&system, load, promises).await?;
    }
    system.assert_nobody_fell();
    Ok(())
}

async fn one_kill(system: &mut System, load: &Load, victim: Victim, moment: Moment) -> Result<Promises> {
    let mut writing = Writing::start(load, &system.hubs()).await?;
    let before = if moment == Moment::Seeding { load.total() * 3 / 4 } else { load.total() / 4 };
    writing.acked(before).await?;
    let source = system.replicas(&load.forum).await?[0];
    let target = *operator::outsiders(system, &load.forum).await?.first().context("a fourth peer")?;
    let id = operator::start_move(system, &load.forum, source, target).await?;
    let stage = reached(system, id, moment).await;
    let who = match victim {
        Victim::Source => source,
        Victim::Target => target,
        Victim::Leader => system.leader().await?,
    };
    system.cluster.kill(who).await?;
    let promises = writing.finish().await?;
    // Whoever was killed stays away until the move has come to an end, one way or the other; a hub comes back.
    if victim == Victim::Leader {
        system.cluster.start_all().await?;
    }
    let ended = eventually("over", MOVE_WITHIN, || async {
        let status = operator::invitation(system, id).await.map_err(|error| error.to_string())?.status();
        let open = matches!(status, InvitationStatus::Waiting | InvitationStatus::Accepted);
        if open { Err(format!("{status:?}")) } else { Ok(status) }
    })
    .await;
    println!(
        "{victim:?} killed at {moment:?} (seen {stage}): {ended:?}; longest gap {:?}, {:?}",
        promises.longest_gap(),
        promises.failure_kinds()
    );
    assert!(promises.longest_gap() <= GAP_MAX, "nobody's message was taken for {:?}", promises.longest_gap());
    Ok(promises)
}

/// Waits until the move has come to `moment`; what was seen then.
async fn reached(system: &System, id: u64, moment: Moment) -> String {
    eventually("at that moment", MOVE_WITHIN, || async {
        let info = operator::invitation(system, id).await.map_err(|error| error.to_string())?;
        let (status, stage) = (info.status(), info.stage());
        let there = match moment {
            Moment::Invited => true,
            Moment::Seeding => {
                let midway = info.bytes_done > 0 && info.bytes_done < info.bytes_total;
                stage == JoinStage::Seeding && midway || stage == JoinStage::CatchingUp
            }
            Moment::CutOver => stage == JoinStage::CatchingUp,
        };
        let over = matches!(status, InvitationStatus::Completed | InvitationStatus::Timeout);
        let seen = format!("{status:?} {stage:?} {}/{}", info.bytes_done, info.bytes_total);
        if there || over { Ok(seen) } else { Err(seen) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_killed_at_each_step() -> Result<()> {
    kill_during_a_move(Victim::Source).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_killed_at_each_step() -> Result<()> {
    kill_during_a_move(Victim::Target).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leading_hub_is_killed_at_each_step() -> Result<()> {
    kill_during_a_move(Victim::Leader).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_peers_forums_come_back_to_three_and_it_cleans_up_when_it_returns() -> Result<()> {
    let mut system = System::start_with(|config| {
        config.peers = 4;
        config.hub_args = vec!["--peer-grace-s".into(), "2".into()];
    })
    .await?;
    let forum = unique("ajps_lost_");
    let load = load(&forum, "lost");
    let mut writing = Writing::start(&load, &system.hubs()).await?;
    writing.acked(load.total() / 4).await?;
    let lost = system.replicas(&forum).await?[0];
    system.cluster.kill(lost).await?;
    let promises = writing.finish().await?;
    let holders = eventually("on three other peers", MOVE_WITHIN, || async {
        let holders = system.replicas(&forum).await.map_err(|error| error.to_string())?;
        let whole = holders.len() == 3 && !holders.contains(&lost);
        if whole { Ok(holders) } else { Err(format!("{holders:?}")) }
    })
    .await;
    println!("after {lost:?} was lost: {holders:?}");
    oracle::check(&system, &load, &promises).await?;
    operator::verify(&system, &forum).await?;
    system.cluster.start_all().await?;
    if !system.replicas(&forum).await?.contains(&lost) {
        operator::rows_are_gone(&system, lost, &forum).await;
    }
    oracle::check(&system, &load, &promises).await?;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_below_the_trim_point_starts_again_by_itself() -> Result<()> {
    let mut system = System::start_with(|config| {
        config.hub_args =
            vec!["--retained-records".into(), "1500".into(), "--balance".into(), "false".into()];
    })
    .await?;
    let forum = unique("ajps_behind_");
    let before = Load { messages: 20, ..Load::new(&forum, "before") };
    let mut kept = vec![(before.clone(), Writing::start(&before, &system.hubs()).await?.finish().await?)];
    let away = system.replicas(&forum).await?[2];
    system.cluster.kill(away).await?;
    let during = Load::new(&forum, "during");
    kept.push((during.clone(), Writing::start(&during, &system.hubs()).await?.finish().await?));
    let status = system.admin()?.status().await?;
    assert!(status.trimmed_through > 0, "the log was trimmed while the peer was away: {status:?}");
    system.cluster.start_all().await?;
    eventually("serving again", MOVE_WITHIN, || async {
        let holders = system.replicas(&forum).await.map_err(|error| error.to_string())?;
        if holders.contains(&away) { Ok(()) } else { Err(format!("{holders:?}")) }
    })
    .await;
    let after = Load { messages: 20, ..Load::new(&forum, "after") };
    kept.push((after.clone(), Writing::start(&after, &system.hubs()).await?.finish().await?));
    for (load, promises) in &kept {
        oracle::check(&system, load, promises).await?;
    }
    operator::verify(&system, &forum).await?;
    system.assert_nobody_fell();
    Ok(())
}
