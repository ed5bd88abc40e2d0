//! Operators that wait for replicas' digests: brings them the reports of peers that hang on any hub.
//!
//! Soft state of the hub that was asked. Never compares.

use std::{collections::BTreeMap, sync::Arc};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Reports that may wait for one listener; a forum has far fewer replicas.
const REPORTS_MAX: usize = 32;
/// Listeners at once.
const LISTENERS_MAX: usize = 64;

/// Everybody who listens on this hub.
#[derive(Clone, Default)]
pub struct Audits(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    next: u64,
    listeners: BTreeMap<u64, (ForumId, mpsc::Sender<(PeerId, v1::AuditReport)>)>,
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

    #[test]
    fn listeners_are_bounded() {
        let audits = Audits::default();
        let forum = ForumId::new(1).unwrap();
        let all: Vec<_> = std::iter::from_fn(|| audits.listen(forum)).collect();
        assert_eq!(all.len(), LISTENERS_MAX);
    }
}
