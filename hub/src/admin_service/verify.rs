//! Digests of all serving replicas at one position of the log.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1::{self, command, outcome},
};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::changes;
use crate::hub::Hub;

/// How long the replicas have to compute their digests: each reads all of its rows.
const REPORTS_WITHIN: Duration = Duration::from_secs(10);

/// Puts a mark into the forum's stream and gathers what every serving replica makes of it.
pub(super) async fn verify(hub: &Arc<Hub>, forum_id: u32) -> Result<v1::VerifyForumReply, Status> {
    let forum = ForumId::new(forum_id).ok_or_else(|| Status::invalid_argument("which forum?"))?;
    let listener = hub.audits.listen(forum);
    let mut listener = listener.ok_or_else(|| Status::resource_exhausted("too many forums are being verified"))?;
    let audit = command::Body::AuditForum(v1::AuditForum { forum_id });
    let record_id = match changes::propose(hub, audit).await? {
        outcome::Kind::ForumAudited(audited) => audited.record_id,
        other => return Err(Status::internal(format!("an audit came to something else: {other:?}"))),
    };
    let serving: Vec<PeerId> =
        hub.state.read(|state| state.forum(forum).map(|f| f.serving().collect())).unwrap_or_default();
    let connected = hub.presence.find_all(serving.iter().copied()).len();
    let mut reports: BTreeMap<PeerId, v1::AuditReport> = BTreeMap::new();
    let until = Instant::now() + REPORTS_WITHIN;
    while reports.len() < connected {
        match timeout_at(until, listener.next()).await {
            Ok(Some((peer, report))) if report.record_id == record_id && serving.contains(&peer) => {
                reports.insert(peer, report);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    Ok(compare(record_id, &serving, &reports))
}

fn compare(
    record_id: u64,
    serving: &[PeerId],
    reports: &BTreeMap<PeerId, v1::AuditReport>,
) -> v1::VerifyForumReply {
    let of = |peer: &PeerId| {
        let report = reports.get(peer).cloned().unwrap_or_default();
        v1::ReplicaDigest { peer_id: peer.get(), digest: report.digest, messages: report.messages }
    };
    let replicas: Vec<v1::ReplicaDigest> = serving.iter().map(of).collect();
    // A replica that says nothing is not known to be equal.
    let same = |replica: &v1::ReplicaDigest| {
        !replica.digest.is_empty() && replica.digest == replicas[0].digest
    };
    let equal = !replicas.is_empty() && replicas.iter().all(same);
    v1::VerifyForumReply { record_id, replicas, equal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_equal_if_all_of_them_say_the_same() {
        let peers: Vec<PeerId> = [1, 2].into_iter().filter_map(PeerId::new).collect();
        let report = |byte: u8| v1::AuditReport { digest: vec![byte; 32].into(), ..Default::default() };
        let equal = |reports: &[(usize, u8)]| {
            let reports = reports.iter().map(|(at, byte)| (peers[*at], report(*byte))).collect();
            compare(9, &peers, &reports).equal
        };
        assert!(equal(&[(0, 1), (1, 1)]));
        assert!(!equal(&[(0, 1), (1, 2)]));
        assert!(!equal(&[(0, 1)]), "one has not answered");
        assert!(!compare(9, &[], &BTreeMap::new()).equal);
    }
}
