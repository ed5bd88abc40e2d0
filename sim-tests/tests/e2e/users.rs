//! Users and sessions are everywhere: on peers that do not hold the forum a user came to, and on one that was away.

use std::time::Duration;

use anyhow::{Context, Result};
use loop_local::Who;
use loop_sim_tests::{
    client::{Commit, Visitor, sid},
    expect::{ensure, eventually, unique},
    operator, replica,
    system::System,
};

const EVERYWHERE_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_on_every_peer_and_a_session_counts_in_every_forum() -> Result<()> {
    let mut system = System::start_with(|config| config.peers = 5).await?;
    let forum = unique("ajps_users_");
    let first = Visitor::open(&system.hub(0), &forum).await?;
    let away = *operator::outsiders(&system, &forum).await?.first().context("a peer without the forum")?;
    system.cluster.kill(away).await?;
    let mut visitors = vec![first];
    for at in 0..20 {
        visitors.push(Visitor::open(&system.hub(at % 3), &forum).await?);
    }
    system.cluster.start_all().await?;
    let peers: Vec<Who> = (0..5).map(Who::Peer).collect();
    eventually("on every peer", EVERYWHERE_WITHIN, || async {
        let mut sets = Vec::new();
        for peer in &peers {
            sets.push(replica::users(&system.cluster.data_dir(*peer)).map_err(|error| format!("{error:#}"))?);
        }
        ensure(sets[0].len() >= visitors.len(), || format!("{} users", sets[0].len()))?;
        let differs = sets.iter().position(|set| *set != sets[0]);
        ensure(differs.is_none(), || format!("peer {differs:?} has other users than the first"))
    })
    .await;

    // The same session in another forum, on other peers, through another hub: the same author, no new user.
    let users = replica::users(&system.cluster.data_dir(peers[0]))?.len();
    for (at, visitor) in visitors.iter().enumerate().take(5) {
        let elsewhere = Visitor::with_session(&unique("ajps_other_"), visitor.session());
        let answer = elsewhere.commit(&system.hub((at + 1) % 3), &Commit::new(1, "the same person")).await?;
        assert!(sid(&answer).is_some(), "{answer}");
        let answer = elsewhere.read(&system.hub((at + 2) % 3), 25).await?;
        assert_eq!(answer["ses"].as_str(), Some(visitor.session()), "the session stays the same");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for peer in &peers {
        let now = replica::users(&system.cluster.data_dir(*peer))?.len();
        assert_eq!(now, users, "{peer:?}: nobody became somebody else in another forum");
    }
    system.assert_nobody_fell();
    Ok(())
}
