//! Compares a forum's replicas: a mark in its stream, and the digest each of them has at that mark.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use super::{
    changes::{forum_id, fresh, propose},
    context::AdminContext,
    refusal::{Asked, refusal},
};
use crate::mesh::audits::{LISTENED_FOR, Listener};

/// How long replicas may take if the caller does not say.
const WITHIN: Duration = Duration::from_secs(10);
/// A replica that is not connected is waited for as long as this: it may be changing hubs.
const AWAY_FOR: Duration = Duration::from_secs(3);
/// How often it is looked who is connected.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn verify(
    cx: &AdminContext,
    request: v1::VerifyForumRequest,
) -> Result<v1::VerifyForumReply, Status> {
    let forum = forum_id(request.forum_id)?;
    let within = match request.within_ms {
        0 => WITHIN,
        ms => Duration::from_millis(ms.into()).min(LISTENED_FOR),
    };
    // A peer may report before this hub hears of the mark.
    let mut listener = cx.mesh.audits.listen(forum).ok_or_else(|| {
        Status::resource_exhausted("this hub compares as many forums as it may at once: ask again in a while")
    })?;
    fresh(cx).await?;
    let before = serving(cx, forum);
    let begin = Instant::now();
    let audit = v1::AuditForum { forum_id: forum.get() };
    let v1::ForumAudited { record_id } =
        propose(cx, cx.log.new_request(), audit, Asked::Audit, Some(forum)).await?;
    fresh(cx).await?;
    let after = serving(cx, forum);
    if after.is_empty() {
        let code = v1::RejectionCode::UnknownForum.into();
        return Err(refusal(
            Asked::Audit,
            &v1::Rejection { code, held: forum.get().into(), current: 0 },
            None,
        ));
    }
    // Whoever came or went while the mark was made may have been no serving replica at the mark.
    let expected = before.into_iter().filter(|peer| after.contains(peer)).collect();
    let mut digests = Digests::expecting(record_id, expected);
    digests.collect(cx, &mut listener, begin, begin + within).await;
    Ok(digests.reply(|peer| cx.mesh.presence.find(peer).is_some()))
}

fn serving(cx: &AdminContext, forum: ForumId) -> Vec<PeerId> {
    cx.log.read(|state| state.forum(forum).map(|forum| forum.serving().collect()).unwrap_or_default())
}

/// What was heard of one mark.
struct Digests {
    record_id: u64,
    heard: BTreeMap<PeerId, Option<v1::AuditReport>>,
}

impl Digests {
    fn expecting(record_id: u64, peers: Vec<PeerId>) -> Self {
        Self { record_id, heard: peers.into_iter().map(|peer| (peer, None)).collect() }
    }

    /// A report of another mark is not for this one; the first word of a peer counts.
    fn take(&mut self, peer: PeerId, report: v1::AuditReport) {
        if report.record_id == self.record_id {
            self.heard.entry(peer).or_default().get_or_insert(report);
        }
    }

    fn missing(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.heard.iter().filter(|(_, report)| report.is_none()).map(|(peer, _)| *peer)
    }

    async fn collect(&mut self, cx: &AdminContext, listener: &mut Listener, begin: Instant, until: Instant) {
        loop {
            let now = Instant::now();
            let waits = |peer: PeerId| now < begin + AWAY_FOR || cx.mesh.presence.find(peer).is_some();
            if now >= until || !self.missing().any(waits) {
                return;
            }
            tokio::select! {
                heard = listener.next() => match heard {
                    Some((peer, report)) => self.take(peer, report),
                    None => return,
                },
                () = sleep_until(until.min(now + LOOK)) => {}
                () = cx.shutdown.cancelled() => return,
            }
        }
    }

    fn reply(self, connected: impl Fn(PeerId) -> bool) -> v1::VerifyForumReply {
        let first = self.heard.values().flatten().next();
        let alike = |report: &Option<v1::AuditReport>| {
            report.as_ref().is_some_and(|report| {
                first.is_some_and(|first| {
                    (&report.digest, report.messages) == (&first.digest, first.messages)
                        && !report.digest.is_empty()
                })
            })
        };
        let equal = !self.heard.is_empty() && self.heard.values().all(alike);
        let replicas = self.heard.into_iter().map(|(peer, report)| {
            let report = report.unwrap_or_default();
            let (digest, messages) = (report.digest, report.messages);
            v1::ReplicaDigest { peer_id: peer.get(), digest, messages, connected: connected(peer) }
        });
        v1::VerifyForumReply { record_id: self.record_id, replicas: replicas.collect(), equal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    fn report(record_id: u64, digest: u8, messages: u64) -> v1::AuditReport {
        v1::AuditReport { forum_id: 1, record_id, digest: vec![digest; 32].into(), messages }
    }

    fn of_two(first: Option<v1::AuditReport>, second: Option<v1::AuditReport>) -> v1::VerifyForumReply {
        let mut digests = Digests::expecting(9, vec![peer(1), peer(2)]);
        for (at, report) in [(1, first), (2, second)] {
            if let Some(report) = report {
                digests.take(peer(at), report);
            }
        }
        digests.reply(|peer| peer.get() == 1)
    }

    #[test]
    fn replicas_are_equal_only_if_all_answered_alike() {
        let one = report(9, 7, 5);
        assert!(of_two(Some(one.clone()), Some(one.clone())).equal);
        assert!(!of_two(Some(one.clone()), Some(report(9, 8, 5))).equal, "another digest");
        assert!(!of_two(Some(one.clone()), Some(report(9, 7, 6))).equal, "another number of messages");
        assert!(!of_two(Some(one.clone()), Some(report(8, 7, 5))).equal, "a digest of another mark");
        let silent = of_two(Some(one), None);
        assert!(!silent.equal);
        assert_eq!(silent.replicas.len(), 2);
        assert!(silent.replicas[1].digest.is_empty() && !silent.replicas[1].connected);
        assert!(!Digests::expecting(9, Vec::new()).reply(|_| true).equal, "nobody is not everybody");
    }

    #[test]
    fn the_first_word_of_a_peer_counts_and_whoever_reports_is_shown() {
        let mut digests = Digests::expecting(9, vec![peer(1)]);
        digests.take(peer(1), report(9, 7, 5));
        digests.take(peer(1), report(9, 8, 5));
        digests.take(peer(3), report(9, 7, 5));
        assert_eq!(digests.missing().count(), 0);
        let reply = digests.reply(|_| true);
        assert!(reply.equal);
        assert_eq!(reply.replicas.iter().map(|r| r.peer_id).collect::<Vec<_>>(), [1, 3]);
    }
}
