//! `kill -9` while eight people write 200 messages each: every acknowledged message is there exactly once afterwards,
//! on every replica, under the id it was given, and nobody waits longer than a takeover. Then everything is restarted
//! and it must all still be so; then all of it again on the grown system.

use anyhow::Result;
use loop_sim_tests::kill_story::{Victims, tell};

#[tokio::test(flavor = "multi_thread")]
async fn the_leading_hub_is_killed() -> Result<()> {
    tell(Victims::LeadingHub).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_peer_is_killed() -> Result<()> {
    tell(Victims::PrimaryPeer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_peers_but_one_are_killed() -> Result<()> {
    tell(Victims::AllPeersButOne).await
}
