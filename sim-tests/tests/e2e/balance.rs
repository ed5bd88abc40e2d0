//! Forums find their peers by themselves: evenly, more of them where it is busy, others where one is gone for good.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use loop_local::Who;
use loop_proto::v1::{ForumInfo, InvitationCause, InvitationInfo, PeerState};
use loop_sim_tests::{
    client::Visitor,
    expect::{ensure, eventually, unique},
    operator,
    system::System,
    writers::{Load, Writing},
};
use tokio::task::JoinSet;

/// How long many forums may take to come to rest.
const REST_WITHIN: Duration = Duration::from_secs(180);

/// Visits at a time while forums are opened.
const AT_ONCE: usize = 16;

async fn open_forums(system: &System, count: usize, prefix: &str) -> Result<Vec<String>> {
    let names: Vec<String> = (0..count).map(|_| unique(prefix)).collect();
    let mut visits: JoinSet<Result<()>> = JoinSet::new();
    for (at, name) in names.iter().enumerate() {
        if visits.len() >= AT_ONCE {
            visits.join_next().await.transpose()?.transpose()?;
        }
        let (hub, name) = (system.hub(at % system.cluster.hub_count()), name.clone());
        visits.spawn(async move {
            Visitor::open(&hub, &name).await?;
            Ok(())
        });
    }
    while let Some(visit) = visits.join_next().await {
        visit??;
    }
    Ok(names)
}

async fn forums(system: &System) -> Result<Vec<ForumInfo>> {
    Ok(system.admin()?.forums(None, 10_000).await?.0)
}

/// Replicas and primaries of each of `peers`.
fn shares(forums: &[ForumInfo], peers: &[u32]) -> BTreeMap<u32, (usize, usize)> {
    let mut shares: BTreeMap<u32, (usize, usize)> = peers.iter().map(|peer| (*peer, (0, 0))).collect();
    for assignment in forums.iter().filter_map(|forum| forum.assignment.as_ref()) {
        for peer in &assignment.replicas {
            shares.entry(*peer).or_default().0 += 1;
        }
        shares.entry(assignment.primary).or_default().1 += 1;
    }
    shares
}

/// An error unless every share is within a tenth of even, or within two where that is less than two.
fn even(shares: &BTreeMap<u32, (usize, usize)>) -> Result<(), String> {
    for (what, of) in
        [("replicas", (|s: &(usize, usize)| s.0) as fn(&(usize, usize)) -> usize), ("primaries", |s| s.1)]
    {
        let total: usize = shares.values().map(of).sum();
        let mean = total as f64 / shares.len() as f64;
        let room = (mean / 10.0).max(2.0);
        for (peer, share) in shares {
            let held = of(share) as f64;
            ensure((held - mean).abs() <= room, || {
                format!("peer {peer} has {held} {what}, {mean:.1} are even: {shares:?}")
            })?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_peers_share_600_forums_evenly_and_one_that_goes_for_good_is_replaced() -> Result<()> {
    let mut system = System::start_with(|config| config.peers = 12).await?;
    open_forums(&system, 600, "ajps_even_").await?;
    let peers: Vec<u32> = system.admin()?.peers().await?.iter().map(|peer| peer.peer_id).collect();
    eventually("even over twelve peers", REST_WITHIN, || async {
        let forums = forums(&system).await.map_err(|error| error.to_string())?;
        ensure(forums.len() == 600, || format!("{} forums", forums.len()))?;
        even(&shares(&forums, &peers))
    })
    .await;

    let gone = Who::Peer(4);
    let gone_id = operator::peer_id(&system, gone).await?;
    system.cluster.kill(gone).await?;
    operator::set_peer_state(&system, gone, PeerState::Removed).await?;
    let left: Vec<u32> = peers.iter().copied().filter(|peer| *peer != gone_id).collect();
    eventually("on three of the others", REST_WITHIN, || async {
        let forums = forums(&system).await.map_err(|error| error.to_string())?;
        for forum in &forums {
            let assignment = forum.assignment.as_ref().ok_or("no assignment")?;
            ensure(assignment.replicas.len() == 3 && !assignment.replicas.contains(&gone_id), || {
                format!("forum {}: {assignment:?}", forum.forum_id)
            })?;
        }
        even(&shares(&forums, &left))
    })
    .await;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_busy_forum_gets_more_capacity_and_the_quiet_ones_stay_where_they_are() -> Result<()> {
    let mut system = System::start_with(|config| config.peers = 6).await?;
    open_forums(&system, 200, "ajps_quiet_").await?;
    let before = eventually("at rest", REST_WITHIN, || async {
        let admin = system.admin().map_err(|error| error.to_string())?;
        let open = admin.invitations(true, 100).await.map_err(|error| error.to_string())?;
        ensure(open.is_empty(), || format!("{} moves under way", open.len()))?;
        forums(&system).await.map_err(|error| error.to_string())
    })
    .await;
    let moved_before = system.admin()?.invitations(false, 10_000).await?.len();

    let busy = unique("ajps_busy_");
    let load = Load { writers: 16, messages: 100_000, ..Load::new(&busy, "busy") };
    let writing = Writing::start(&load, &system.hubs()).await?;
    let forum_id = system.forum(&busy).await?.forum_id;
    // Ten seconds are the aim; the rest is room for a machine that builds meanwhile.
    eventually("on four peers", Duration::from_secs(30), || async {
        let assignment = system.forum(&busy).await.map_err(|error| error.to_string())?.assignment;
        let held = assignment.map_or(0, |assignment| assignment.replicas.len());
        ensure(held == 4, || format!("{held} replicas"))
    })
    .await;
    drop(writing);
    let since = new_invitations(&system, moved_before).await?;
    let for_busy =
        since.iter().filter(|i| i.forum_id == forum_id && i.cause() == InvitationCause::Busy).count();
    assert!(for_busy >= 1, "{since:?}");
    // A few neighbours may be moved out of the way of the busy one; not more than a few.
    let others = since.iter().filter(|i| i.forum_id != forum_id).count();
    assert!(others <= 10, "{others} quiet forums were moved about: {since:?}");
    let after = forums(&system).await?;
    let stayed = before.iter().zip(&after).filter(|(a, b)| a.assignment == b.assignment).count();
    println!("{stayed} of {} quiet forums stayed as they were; {} invitations", before.len(), since.len());
    system.assert_nobody_fell();
    Ok(())
}

/// Those beyond the first `known`.
async fn new_invitations(system: &System, known: usize) -> Result<Vec<InvitationInfo>> {
    let mut all = system.admin()?.invitations(false, 10_000).await?;
    all.sort_by_key(|invitation| invitation.invitation_id);
    Ok(all.split_off(known.min(all.len())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_peer_ends_up_empty_and_a_resumed_one_is_used_again() -> Result<()> {
    let mut system = System::start_with(|config| config.peers = 5).await?;
    open_forums(&system, 20, "ajps_drain_").await?;
    let drained = Who::Peer(0);
    let id = operator::peer_id(&system, drained).await?;
    operator::set_peer_state(&system, drained, PeerState::Draining).await?;
    eventually("empty", REST_WITHIN, || async {
        let forums = forums(&system).await.map_err(|error| error.to_string())?;
        let held = shares(&forums, &[id])[&id].0;
        let whole = forums.iter().all(|f| f.assignment.as_ref().is_some_and(|a| a.replicas.len() == 3));
        ensure(held == 0 && whole, || format!("{held} forums are on it, all on three: {whole}"))
    })
    .await;
    operator::set_peer_state(&system, drained, PeerState::Active).await?;
    eventually("in use again", REST_WITHIN, || async {
        let forums = forums(&system).await.map_err(|error| error.to_string())?;
        let held = shares(&forums, &[id])[&id].0;
        ensure(held > 0, || "nothing is on it".to_owned())
    })
    .await;
    system.assert_nobody_fell();
    Ok(())
}
