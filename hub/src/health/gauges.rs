//! The report as gauges, for Prometheus.

use metrics::gauge;

use super::{
    census::LIVE_MAX,
    problems::{self, Facts},
    seen::Walked,
};

/// Labels of forums by number of live copies.
const LIVE: [&str; LIVE_MAX + 1] = ["0", "1", "2", "3", "4+"];

/// Sets them all.
pub(super) fn set(walked: Option<&Walked>, facts: &Facts) {
    let flag = |is: bool| f64::from(u8::from(is));
    // One that leads nobody any more does not know it yet; without a majority nobody leads.
    gauge!("loop_leader").set(flag(facts.quorum && facts.leader == Some(facts.own)));
    gauge!("loop_quorum").set(flag(facts.quorum));
    gauge!("loop_ready").set(flag(problems::is_ready(facts)));
    gauge!("loop_hubs").set(facts.voters.len() as f64);
    gauge!("loop_hubs_reachable").set(facts.voters.iter().filter(|(_, reached)| *reached).count() as f64);
    gauge!("loop_peers").set(facts.peers as f64);
    gauge!("loop_peers_connected").set(facts.peers_connected as f64);
    if let Some(walked) = walked {
        set_forums(walked);
    }
}

fn set_forums(walked: &Walked) {
    for (live, forums) in LIVE.into_iter().zip(walked.census.by_live) {
        gauge!("loop_forums", "live" => live).set(forums as f64);
    }
    gauge!("loop_forums_under_replicated").set(walked.below as f64);
    gauge!("loop_forums_under_replicated_overdue").set(walked.overdue as f64);
    gauge!("loop_forums_under_replicated_longest_seconds")
        .set(walked.longest.unwrap_or_default().as_secs_f64());
}
