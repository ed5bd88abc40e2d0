//! A forum's replicas compared.

use std::{collections::BTreeMap, fmt::Write};

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::{
        names::Names,
        table::{Table, Width},
    },
    View,
};

/// What the comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All replicas answered and have the same rows.
    Equal,
    /// Two of those that answered have different ones.
    Differ,
    /// Those that answered are equal; others did not.
    Unanswered,
    /// There is one replica only.
    NothingToCompare,
}

#[derive(Debug, Serialize)]
pub struct VerifyView {
    forum: u32,
    record: u64,
    equal: bool,
    pub verdict: Verdict,
    replicas: Vec<ReplicaView>,
}

#[derive(Debug, Serialize)]
struct ReplicaView {
    peer: u32,
    name: Option<String>,
    connected: bool,
    /// Nothing where the replica has not answered.
    digest: Option<String>,
    messages: Option<u64>,
    #[serde(skip)]
    shown: String,
}

impl VerifyView {
    pub fn new(forum: u32, reply: v1::VerifyForumReply, names: &Names) -> Self {
        let view = |replica: v1::ReplicaDigest| {
            let answered = !replica.digest.is_empty();
            let mut hex = String::with_capacity(replica.digest.len() * 2);
            for byte in &replica.digest {
                // Writing to a String cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            ReplicaView {
                peer: replica.peer_id,
                name: names.name(replica.peer_id).map(ToOwned::to_owned),
                connected: replica.connected,
                digest: answered.then_some(hex),
                messages: answered.then_some(replica.messages),
                shown: names.with_id(replica.peer_id),
            }
        };
        let replicas: Vec<ReplicaView> = reply.replicas.into_iter().map(view).collect();
        let verdict = verdict(&replicas);
        Self { forum, record: reply.record_id, equal: verdict == Verdict::Equal, verdict, replicas }
    }

    /// In one sentence, with what to do; `None`: all replicas are equal.
    pub fn problem(&self) -> Option<String> {
        let forum = self.forum;
        Some(match self.verdict {
            Verdict::Equal => return None,
            Verdict::Differ => {
                let odd = self.odd_ones();
                let who = if odd.is_empty() {
                    String::new()
                } else {
                    format!(": {} from the others", odd.join(", "))
                };
                format!("the replicas of f{forum} differ{who}")
            }
            Verdict::Unanswered => {
                let has_not = self.silent();
                let equal = match self.replicas.len() - has_not.len() {
                    0 => "nothing was compared",
                    1 => "the one that has could be compared with none",
                    _ => "those that have are equal",
                };
                format!(
                    "not all replicas of f{forum} have answered (nothing from {}): {equal}. Ask again when all are \
                     connected (`hubctl peers`), or with more time (--within)",
                    has_not.join(", ")
                )
            }
            Verdict::NothingToCompare => format!(
                "f{forum} has only one replica, so there is nothing to compare it with; `hubctl forum replicas f{forum} \
                 3` gives it more"
            ),
        })
    }

    fn silent(&self) -> Vec<String> {
        self.replicas.iter().filter(|r| r.digest.is_none()).map(|r| r.shown.clone()).collect()
    }

    /// Those that answered otherwise than most, if most answered alike.
    fn odd_ones(&self) -> Vec<String> {
        let groups = groups(&self.replicas);
        let answered: usize = groups.values().map(Vec::len).sum();
        let most = groups.values().max_by_key(|group| group.len()).filter(|group| group.len() * 2 > answered);
        let Some(most) = most else { return Vec::new() };
        let odd = |replica: &&ReplicaView| replica.digest.is_some() && !most.contains(&replica.peer);
        self.replicas.iter().filter(odd).map(|replica| replica.shown.clone()).collect()
    }
}

fn verdict(replicas: &[ReplicaView]) -> Verdict {
    let answered = replicas.iter().filter(|replica| replica.digest.is_some()).count();
    match (groups(replicas).len(), answered == replicas.len()) {
        (2.., _) => Verdict::Differ,
        (_, false) | (0, true) => Verdict::Unanswered,
        (1, true) if answered == 1 => Verdict::NothingToCompare,
        (1, true) => Verdict::Equal,
    }
}

/// Who has the same rows.
fn groups(replicas: &[ReplicaView]) -> BTreeMap<(&str, u64), Vec<u32>> {
    let mut groups: BTreeMap<(&str, u64), Vec<u32>> = BTreeMap::new();
    for replica in replicas {
        if let (Some(digest), Some(messages)) = (&replica.digest, replica.messages) {
            groups.entry((digest, messages)).or_default().push(replica.peer);
        }
    }
    groups
}

impl View for VerifyView {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, _now_ms: u64, width: Width) -> String {
        let mut table = Table::new(&["REPLICA", "MESSAGES", "DIGEST"]).names(&["REPLICA", "DIGEST"]);
        for replica in &self.replicas {
            let silent = if replica.connected { "no answer in time" } else { "not connected" };
            table.row(vec![
                replica.shown.clone(),
                replica.messages.map_or_else(|| "-".to_owned(), |messages| messages.to_string()),
                replica.digest.clone().unwrap_or_else(|| silent.to_owned()),
            ]);
        }
        let verdict = match self.verdict {
            Verdict::Equal => "all replicas are equal",
            Verdict::Differ => "replicas DIFFER",
            Verdict::Unanswered => "not all replicas have answered",
            Verdict::NothingToCompare => "only one replica, nothing to compare",
        };
        format!("{}f{} at record t{}: {verdict}\n", table.render_within(width), self.forum, self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(digests: &[&[u8]]) -> VerifyView {
        let replica = |(at, digest): (usize, &&[u8])| v1::ReplicaDigest {
            peer_id: u32::try_from(at).unwrap() + 1,
            digest: digest.to_vec().into(),
            messages: 5,
            connected: !digest.is_empty(),
        };
        let replicas = digests.iter().enumerate().map(replica).collect();
        let names = Names::new(vec![v1::PeerInfo { peer_id: 2, name: "attic".into(), ..Default::default() }]);
        VerifyView::new(12, v1::VerifyForumReply { record_id: 9, replicas, equal: false }, &names)
    }

    #[test]
    fn equal_replicas_are_no_problem() {
        let equal = view(&[b"\xab\x01", b"\xab\x01"]);
        assert_eq!((equal.verdict, equal.problem()), (Verdict::Equal, None));
        let text = equal.text(0);
        assert!(text.contains("ab01") && text.contains("all replicas are equal"), "{text}");
        assert!(text.contains("p2 attic"), "{text}");
    }

    #[test]
    fn a_difference_is_told_apart_from_silence_and_from_being_alone() {
        let differ = view(&[b"\xab", b"\xcd"]);
        assert_eq!(differ.verdict, Verdict::Differ);
        assert_eq!(differ.problem().unwrap(), "the replicas of f12 differ");
        let odd = view(&[b"\xab", b"\xcd", b"\xab"]);
        assert_eq!(odd.problem().unwrap(), "the replicas of f12 differ: p2 attic from the others");
        let both = view(&[b"\xab", b"", b"\xcd"]);
        assert_eq!(both.verdict, Verdict::Differ, "silence of a third is no excuse");

        let silent = view(&[b"\xab", b"", b"\xab"]);
        assert_eq!(silent.verdict, Verdict::Unanswered);
        let problem = silent.problem().unwrap();
        assert!(problem.contains("(nothing from p2 attic): those that have are equal"), "{problem}");
        assert!(silent.text(0).contains("not connected") && !silent.text(0).contains("DIFFER"));
        assert!(view(&[b"\xab", b""]).problem().unwrap().contains("compared with none"));
        assert!(view(&[b"", b""]).problem().unwrap().contains("nothing was compared"));
        assert_eq!(view(&[]).verdict, Verdict::Unanswered);

        let alone = view(&[b"\xab"]);
        assert_eq!((alone.verdict, alone.equal), (Verdict::NothingToCompare, false));
        assert!(alone.problem().unwrap().contains("only one replica"));
        assert_eq!(serde_json::to_value(&alone).unwrap()["verdict"], "nothing-to-compare");
    }

    #[test]
    fn as_many_rows_are_needed_as_well_as_the_same_digest() {
        let replica = |peer_id, messages| v1::ReplicaDigest {
            peer_id,
            digest: vec![7].into(),
            messages,
            connected: true,
        };
        let replicas = vec![replica(1, 5), replica(2, 6)];
        let reply = v1::VerifyForumReply { record_id: 9, replicas, equal: false };
        assert_eq!(VerifyView::new(12, reply, &Names::default()).verdict, Verdict::Differ);
    }
}
