//! Volunteers who drop in for seconds never cost a forum: the guests' script in short. `make churn` tells it at its
//! full length.

use std::time::Duration;

use anyhow::Result;
use loop_sim_tests::{
    churn::{self, HEADING, Script},
    statements::{are_true, machines},
};

/// The defaults of the script, hurried: guests of seconds, close together, and a grace they all outstay.
fn hurried(forums: usize, guests: usize) -> Script {
    Script {
        every: Duration::from_secs(4),
        stay: Duration::from_secs(3),
        watch: Duration::from_secs(12),
        tell_every: Duration::from_secs(2),
        hub_args: ["--peer-grace-s", "2"].map(str::to_owned).into(),
        ..Script::new(forums, guests)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_of_seconds_leave_every_forum_whole_on_the_permanent_peers_and_served() -> Result<()> {
    println!("{HEADING}");
    let (mut system, verdict) = churn::tell(&hurried(13, 5), |row| println!("{row}")).await?;
    println!("{verdict}");
    assert!(verdict.is_good(), "{verdict}");
    let guests: Vec<String> = (1..=verdict.guests).map(churn::guest_name).collect();
    let machines = machines(&system, [], guests.iter().map(String::as_str));
    for hub in 0..system.cluster.hub_count() {
        are_true("guests came and went", &system, hub, &machines).await;
    }
    system.assert_nobody_fell();
    Ok(())
}
