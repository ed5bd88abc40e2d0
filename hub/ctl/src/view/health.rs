//! How well a group serves, and what is to be done where it does not.

use loop_proto::v1;
use serde::Serialize;

/// Under the names `/readyz` has for it.
#[derive(Debug, Serialize)]
pub struct HealthView {
    ready: bool,
    quorum: bool,
    forums: u64,
    forums_without_live_copy: u64,
    forums_with_one_live_copy: u64,
    forums_below_wanted: u64,
    grace_ms: u64,
    problems: Vec<String>,
}

impl From<v1::HealthReport> for HealthView {
    fn from(report: v1::HealthReport) -> Self {
        Self {
            ready: report.ready,
            quorum: report.quorum,
            forums: report.forums,
            forums_without_live_copy: report.forums_without_live_copy,
            forums_with_one_live_copy: report.forums_with_one_live_copy,
            forums_below_wanted: report.forums_below_wanted,
            grace_ms: report.grace_ms,
            problems: report.problems,
        }
    }
}

impl HealthView {
    /// Whether a leader with a majority answers the hub that was asked.
    pub const fn has_quorum(&self) -> bool {
        self.quorum
    }

    /// What must be seen to, in short: something is not served, or was not kept as it should be for too long. `None`:
    /// nothing, though a hub may be away that the group can do without.
    pub fn unwell(&self) -> Option<String> {
        let forums = |count: u64| if count == 1 { "1 forum".to_owned() } else { format!("{count} forums") };
        let (dead, below) = (self.forums_without_live_copy, self.forums_below_wanted);
        let why: Vec<String> = [
            (!self.quorum).then(|| "no majority of hubs answers".to_owned()),
            (self.quorum && !self.ready && dead == 0).then(|| "this hub serves nothing now".to_owned()),
            (dead > 0).then(|| format!("{} without a live copy", forums(dead))),
            (below > 0).then(|| format!("{} with too few live copies for too long", forums(below))),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!why.is_empty()).then(|| why.join("; "))
    }

    /// A line that says that all is well, or a line for each thing that is not.
    pub fn text(&self) -> String {
        if self.problems.is_empty() {
            return "all is well\n".to_owned();
        }
        let verdict = if self.ready { "not all is well" } else { "NOT SERVING" };
        let problems = self.problems.iter().map(|problem| format!("  - {problem}\n"));
        format!("{verdict}:\n{}", problems.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(change: impl FnOnce(&mut v1::HealthReport)) -> HealthView {
        let mut report = v1::HealthReport { ready: true, quorum: true, forums: 13, ..Default::default() };
        change(&mut report);
        HealthView::from(report)
    }

    #[test]
    fn what_must_be_seen_to_is_told_and_a_hub_that_can_be_done_without_is_only_mentioned() {
        assert_eq!(view(|_| {}).unwell(), None);
        let hub_away = view(|report| report.problems.push("h1 does not reach h3".into()));
        assert_eq!(hub_away.unwell(), None);
        assert!(hub_away.text().contains("not all is well:\n  - h1 does not reach h3"));
        assert_eq!(view(|report| report.forums_with_one_live_copy = 1).unwell(), None);
        let told = |change: fn(&mut v1::HealthReport)| view(change).unwell().unwrap();
        assert_eq!(told(|r| (r.ready, r.quorum) = (false, false)), "no majority of hubs answers");
        assert_eq!(told(|r| r.ready = false), "this hub serves nothing now");
        assert_eq!(told(|r| r.forums_without_live_copy = 1), "1 forum without a live copy");
        let many = told(|r| (r.forums_without_live_copy, r.forums_below_wanted) = (7, 9));
        assert_eq!(many, "7 forums without a live copy; 9 forums with too few live copies for too long");
    }

    #[test]
    fn all_is_well_is_said_too() {
        assert_eq!(view(|_| {}).text(), "all is well\n");
        let dead = view(|report| (report.ready, report.problems) = (false, vec!["a".into()]));
        assert_eq!(dead.text(), "NOT SERVING:\n  - a\n");
    }
}
