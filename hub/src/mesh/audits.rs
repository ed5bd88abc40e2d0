//! Operators that wait for replicas' digests: brings them the reports of peers that are connected to any hub.
//!
//! Soft state of the hub that was asked. Never compares.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::Instant};

/// Reports that may wait for one listener; a forum has far fewer replicas.
const REPORTS_MAX: usize = 32;
/// Listeners at once.
const LISTENERS_MAX: usize = 64;
/// Reports of this hub's peers that are kept for hubs that could not be reached in that moment.
const KEPT_MAX: usize = 256;
/// Nobody listens longer for a report; the digest of a large forum takes a peer seconds.
pub const LISTENED_FOR: Duration = Duration::from_secs(600);

/// Everybody who listens on this hub.
#[derive(Clone, Default)]
pub struct Audits(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    next: u64,
    listeners: BTreeMap<u64, (ForumId, mpsc::Sender<(PeerId, v1::AuditReport)>)>,
    /// A peer's newest of each forum, oldest first.
    kept: VecDeque<(Instant, PeerId, v1::AuditReport)>,
}

/// Hears all reports of one forum, of whichever audit, until it is dropped.
pub struct Listener {
    audits: Audits,
    id: u64,
    reports: mpsc::Receiver<(PeerId, v1::AuditReport)>,
}

impl Audits {
    /// Starts to listen; before the audit is proposed, as a report may be here before its outcome. `None`: too many
    /// listen already.
    pub fn listen(&self, forum: ForumId) -> Option<Listener> {
        let mut inner = self.0.lock();
        if inner.listeners.len() >= LISTENERS_MAX {
            return None;
        }
        inner.next += 1;
        let id = inner.next;
        let (tx, reports) = mpsc::channel(REPORTS_MAX);
        inner.listeners.insert(id, (forum, tx));
        Some(Listener { audits: self.clone(), id, reports })
    }

    /// Listeners, and how many there may be.
    pub fn held(&self) -> (usize, usize) {
        (self.0.lock().listeners.len(), LISTENERS_MAX)
    }

    /// A peer of this hub has reported: kept for hubs whose link is broken now.
    pub fn keep(&self, peer: PeerId, report: &v1::AuditReport, now: Instant) {
        let kept = &mut self.0.lock().kept;
        kept.retain(|(at, by, earlier)| {
            let replaced = *by == peer && earlier.forum_id == report.forum_id;
            !replaced && now.duration_since(*at) < LISTENED_FOR
        });
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((now, peer, report.clone()));
    }

    /// What this hub's peers have reported lately.
    pub fn lately(&self, now: Instant) -> Vec<(PeerId, v1::AuditReport)> {
        let inner = self.0.lock();
        let recent = inner.kept.iter().filter(|(at, ..)| now.duration_since(*at) < LISTENED_FOR);
        recent.map(|(_, peer, report)| (*peer, report.clone())).collect()
    }

    /// Reports kept, and how many may be.
    pub fn kept(&self) -> (usize, usize) {
        (self.0.lock().kept.len(), KEPT_MAX)
    }

    /// A peer has reported, here or on another hub.
    pub fn heard(&self, peer: PeerId, report: &v1::AuditReport) {
        for (forum, tx) in self.0.lock().listeners.values() {
            if forum.get() == report.forum_id {
                // A listener that has more reports than replicas waiting needs no further one.
                let _ = tx.try_send((peer, report.clone()));
            }
        }
    }
}

impl Listener {
    /// The next report.
    pub async fn next(&mut self) -> Option<(PeerId, v1::AuditReport)> {
        self.reports.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.audits.0.lock().listeners.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reports_reach_those_who_listen_to_that_forum_and_nobody_once_they_have_gone() {
        let audits = Audits::default();
        let peer = PeerId::new(3).unwrap();
        let report = |forum_id| v1::AuditReport { forum_id, record_id: 9, ..Default::default() };
        let mut listener = audits.listen(ForumId::new(1).unwrap()).unwrap();
        let other = audits.listen(ForumId::new(2).unwrap()).unwrap();
        audits.heard(peer, &report(1));
        assert_eq!(listener.next().await, Some((peer, report(1))));
        drop((listener, other));
        assert!(audits.0.lock().listeners.is_empty());
    }

    #[tokio::test]
    async fn a_peers_newest_report_of_each_forum_is_kept_for_a_while_and_reports_are_bounded() {
        let (audits, now) = (Audits::default(), Instant::now());
        let report = |forum_id, record_id| v1::AuditReport { forum_id, record_id, ..Default::default() };
        let peer = |id| PeerId::new(id).unwrap();
        audits.keep(peer(1), &report(1, 9), now);
        audits.keep(peer(2), &report(1, 9), now);
        audits.keep(peer(1), &report(1, 10), now + LISTENED_FOR / 2);
        let both = [(peer(2), report(1, 9)), (peer(1), report(1, 10))];
        assert_eq!(audits.lately(now + LISTENED_FOR / 2), both);
        assert_eq!(audits.lately(now + LISTENED_FOR), both[1..]);
        for forum in 1..=2 * KEPT_MAX {
            audits.keep(peer(3), &report(u32::try_from(forum).unwrap(), 9), now);
        }
        assert_eq!(audits.kept(), (KEPT_MAX, KEPT_MAX));
    }

    #[test]
    fn listeners_are_bounded() {
        let audits = Audits::default();
        let forum = ForumId::new(1).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| audits.listen(forum)).collect();
        assert_eq!(all.len(), LISTENERS_MAX);
    }
}
