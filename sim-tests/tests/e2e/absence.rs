//! How long a peer has been away is known to the group, not to whoever leads it: leaders that fall meanwhile do not
//! begin to count anew, and its forums go to others when the grace is over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use loop_proto::v1::{InvitationCause, InvitationInfo};
use loop_sim_tests::{
    expect::{ensure, eventually, unique},
    operator,
    statements::{are_true, machines},
    system::System,
    writers::{Load, Writing},
};
use tokio::time::{Instant, sleep_until};

const GRACE: Duration = Duration::from_secs(24);

/// When leaders are killed, counted from the peer's. Counting anew from the second would end at 38 s.
const KILLED_AT: [Duration; 2] = [Duration::from_secs(7), Duration::from_secs(14)];

/// The grace, until the absence is noted and a plan made after it; and what elections may take away from it on a
/// machine that runs everything.
const REPLACED_FROM: Duration = Duration::from_secs(23);
/// How long two hubs may take to elect one of them.
const LED_WITHIN: Duration = Duration::from_secs(20);
const REPLACED_UNTIL: Duration = Duration::from_secs(35);

#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_fall_while_a_peer_is_away_and_its_grace_ends_when_it_would_have() -> Result<()> {
    let mut system = System::start_with(|config| {
        config.peers = 4;
        config.hub_args = vec!["--peer-grace-s".into(), GRACE.as_secs().to_string()];
    })
    .await?;
    let forum = unique("ajps_absence_");
    let load = Load { messages: 5, ..Load::new(&forum, "absence") };
    Writing::start(&load, &system.hubs()).await?.finish().await?;
    let forum_id = system.forum(&forum).await?.forum_id;
    let away = system.replicas(&forum).await?[1];
    let away_id = operator::peer_id(&system, away).await?;
    system.cluster.kill(away).await?;
    let (began_at, began_at_ms) = (Instant::now(), now_ms());
    for at in KILLED_AT {
        sleep_until(began_at + at).await;
        let leader = system.leader().await?;
        system.cluster.kill(leader).await?;
        // The others still name the one that fell until they have elected another.
        let next = eventually("another leader", LED_WITHIN, || async {
            let next = system.leader().await.map_err(|error| error.to_string())?;
            ensure(next != leader, || format!("{next:?} still leads"))?;
            Ok::<_, String>(next)
        })
        .await;
        println!("{leader:?} was killed {:?} after {away:?}; {next:?} leads", began_at.elapsed());
        system.cluster.start_one(leader)?;
    }
    let replaced = eventually("replaced", REPLACED_UNTIL + Duration::from_secs(30), || async {
        let found = replaced_invitation(&system, forum_id, away_id).await;
        found.map_err(|error| format!("{error:#}"))
    })
    .await;
    let after = Duration::from_millis(replaced.invited_at_ms.saturating_sub(began_at_ms));
    println!("another peer was asked {after:?} after the first was gone: {replaced:?}");
    assert!(after >= REPLACED_FROM, "before the grace was over: {after:?}");
    assert!(after <= REPLACED_UNTIL, "the grace was counted anew: {after:?}");
    eventually("on three others", operator::MOVE_WITHIN, || async {
        let info = system.forum(&forum).await.map_err(|error| error.to_string())?;
        ensure(info.live.len() == 3 && !info.live.contains(&away_id), || format!("{info:?}"))
    })
    .await;
    for hub in 0..system.cluster.hub_count() {
        are_true("a peer is replaced", &system, hub, &machines(&system, [], [])).await;
    }
    Ok(())
}

async fn replaced_invitation(system: &System, forum: u32, away: u32) -> Result<InvitationInfo> {
    let all = system.admin()?.invitations(false, 1000).await?;
    all.into_iter()
        .filter(|info| info.forum_id == forum && info.target != away)
        .find(|info| matches!(info.cause(), InvitationCause::LostPeer | InvitationCause::TooFew))
        .context("nobody else was asked")
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}
