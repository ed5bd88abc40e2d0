//! A forum's replicas compared.

use std::fmt::Write;

use loop_proto::v1;
use serde::Serialize;

use super::{super::table::Table, View};

#[derive(Debug, Serialize)]
pub struct VerifyView {
    forum: u32,
    record: u64,
    equal: bool,
    replicas: Vec<ReplicaView>,
}

#[derive(Debug, Serialize)]
struct ReplicaView {
    peer: u32,
    connected: bool,
    /// Nothing where the replica has not answered.
    digest: Option<String>,
    messages: Option<u64>,
}

impl VerifyView {
    pub fn new(forum: u32, reply: v1::VerifyForumReply) -> Self {
        let view = |replica: v1::ReplicaDigest| {
            let answered = !replica.digest.is_empty();
            let mut hex = String::with_capacity(replica.digest.len() * 2);
            for byte in &replica.digest {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            ReplicaView {
                peer: replica.peer_id,
                connected: replica.connected,
                digest: answered.then_some(hex),
                messages: answered.then_some(replica.messages),
            }
        };
        let replicas = reply.replicas.into_iter().map(view).collect();
        Self { forum, record: reply.record_id, equal: reply.equal, replicas }
    }

    /// What is wrong, in one sentence; `None`: all replicas are equal.
    pub fn problem(&self) -> Option<String> {
        if self.equal {
            return None;
        }
        let silent: Vec<String> =
            self.replicas.iter().filter(|r| r.digest.is_none()).map(|r| format!("p{}", r.peer)).collect();
        let mut digests: Vec<_> = self.replicas.iter().filter_map(|r| r.digest.as_ref()).collect();
        digests.dedup();
        Some(match (digests.len(), silent.is_empty()) {
            (0 | 1, false) => format!(
                "not all replicas of f{} have answered: {} has not; ask again when it is connected, or with more \
                 time (--within)",
                self.forum,
                silent.join(", ")
            ),
            _ => format!("the replicas of f{} differ", self.forum),
        })
    }
}

impl View for VerifyView {
    fn text(&self, _now_ms: u64) -> String {
        let mut table = Table::new(&["REPLICA", "MESSAGES", "DIGEST"]);
        for replica in &self.replicas {
            let silent = if replica.connected { "no answer in time" } else { "not connected" };
            table.row(vec![
                format!("p{}", replica.peer),
                replica.messages.map_or_else(|| "-".to_owned(), |messages| messages.to_string()),
                replica.digest.clone().unwrap_or_else(|| silent.to_owned()),
            ]);
        }
        let verdict = if self.equal { "all replicas are equal" } else { "NOT all replicas are equal" };
        format!("{}f{} at record t{}: {verdict}\n", table.render(), self.forum, self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(digests: &[&[u8]], equal: bool) -> VerifyView {
        let replica = |(at, digest): (usize, &&[u8])| v1::ReplicaDigest {
            peer_id: u32::try_from(at).unwrap() + 1,
            digest: digest.to_vec().into(),
            messages: 5,
            connected: !digest.is_empty(),
        };
        let replicas = digests.iter().enumerate().map(replica).collect();
        VerifyView::new(12, v1::VerifyForumReply { record_id: 9, replicas, equal })
    }

    #[test]
    fn equal_replicas_are_no_problem() {
        let equal = view(&[b"\xab\x01", b"\xab\x01"], true);
        assert_eq!(equal.problem(), None);
        let text = equal.text(0);
        assert!(text.contains("ab01") && text.contains("all replicas are equal"), "{text}");
    }

    #[test]
    fn a_difference_is_told_apart_from_silence() {
        let differ = view(&[b"\xab", b"\xcd"], false);
        assert_eq!(differ.problem().unwrap(), "the replicas of f12 differ");
        let silent = view(&[b"\xab", b"", b"\xab"], false);
        assert!(silent.problem().unwrap().contains("p2 has not"), "{:?}", silent.problem());
        assert!(silent.text(0).contains("not connected"));
        let both = view(&[b"\xab", b"", b"\xcd"], false);
        assert_eq!(both.problem().unwrap(), "the replicas of f12 differ");
    }
}
