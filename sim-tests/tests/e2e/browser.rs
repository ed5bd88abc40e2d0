//! The chat in a real browser, two people on different hubs.

use anyhow::Result;
use loop_sim_tests::{browser, expect::unique, system::System};

async fn tell(story: &str) -> Result<()> {
    let mut system = System::start().await?;
    browser::tell(story, &system.hubs(), &unique("ajps_browser_")).await?;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_through_hub_1_is_read_through_hub_3_within_a_second() -> Result<()> {
    tell("post_and_read").await
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_seen_and_vanishes() -> Result<()> {
    tell("typing").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whisper_is_seen_by_its_two_people_only() -> Result<()> {
    tell("whisper").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_page_opens_the_pop_up() -> Result<()> {
    tell("front_page").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pop_up_works_in_another_sites_page_and_runs_no_script_that_got_into_it() -> Result<()> {
    tell("policy").await
}
