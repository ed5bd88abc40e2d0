//! Digests reported lately. A connection that breaks may take a report with it, and the feed does not bring that audit
//! again once the peer has applied it, so they are said again on the next connection.

use std::{collections::VecDeque, time::Duration};

use loop_proto::v1;
use tokio::time::Instant;

/// Digests that may be in the making at once; audits beyond are not answered.
pub const AUDITS_MAX: usize = 1024;
/// Reports kept: the newest of so many forums.
pub const REPORTS_MAX: usize = 64;
/// Nobody waits longer for a report.
const WAITED_FOR: Duration = Duration::from_secs(600);

/// The newest report of each forum, oldest first.
#[derive(Default)]
pub struct Reported(VecDeque<(Instant, v1::AuditReport)>);

impl Reported {
    /// Takes note of a report made `now`.
    pub fn note(&mut self, report: v1::AuditReport, now: Instant) {
        self.0.retain(|(_, earlier)| earlier.forum_id != report.forum_id);
        if self.0.len() == REPORTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, report));
    }

    /// What somebody may still wait for.
    pub fn lately(&mut self, now: Instant) -> Vec<v1::AuditReport> {
        self.0.retain(|(at, _)| now.duration_since(*at) < WAITED_FOR);
        self.0.iter().map(|(_, report)| report.clone()).collect()
    }

    /// Reports kept.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(forum_id: u32, record_id: u64) -> v1::AuditReport {
        v1::AuditReport { forum_id, record_id, ..Default::default() }
    }

    #[tokio::test]
    async fn the_newest_report_of_each_forum_is_said_again_until_nobody_waits_for_it() {
        let (mut reported, start) = (Reported::default(), Instant::now());
        reported.note(report(1, 10), start);
        reported.note(report(2, 11), start);
        reported.note(report(1, 12), start + WAITED_FOR / 2);
        assert_eq!(reported.lately(start + WAITED_FOR / 2), [report(2, 11), report(1, 12)]);
        assert_eq!(reported.lately(start + WAITED_FOR), [report(1, 12)]);
        assert_eq!(reported.lately(start + WAITED_FOR * 2), []);
    }

    #[tokio::test]
    async fn reports_are_bounded_and_the_oldest_go_first() {
        let (mut reported, now) = (Reported::default(), Instant::now());
        for forum in 1..=100 {
            reported.note(report(forum, 1), now);
        }
        assert_eq!(reported.len(), REPORTS_MAX);
        assert_eq!(reported.lately(now).first(), Some(&report(37, 1)));
    }
}
