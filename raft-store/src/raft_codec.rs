//! Between openraft's types and the messages of `hub.proto`, for the disk and for the wire.
//!
//! Every way in is fallible and none panics: the bytes may come from a damaged disk or another machine.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::v1;
use openraft::EntryPayload;
use prost::Message;

use crate::raft_types::{
    Entry, HubNode, LeaderId, LogId, Membership, Proposal, SnapshotMeta, StoredMembership, Vote,
};

/// Why bytes or a message are no Raft value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes are no such message.
    #[error("not a valid message: {0}")]
    Undecodable(String),
    /// A field that must be set is not.
    #[error("field `{0}` is not set")]
    Missing(&'static str),
    /// The membership cannot be one: an empty or repeated voter set, or a voter without an address.
    #[error("impossible membership: {0}")]
    Membership(String),
}

impl From<prost::DecodeError> for CodecError {
    fn from(error: prost::DecodeError) -> Self {
        Self::Undecodable(error.to_string())
    }
}

/// A log id as a message.
pub fn log_id_to_proto(id: &LogId) -> v1::LogId {
    let LeaderId { term, node_id } = *id.committed_leader_id();
    v1::LogId { term, node_id, index: id.index() }
}

/// A log id from a message. Every message is one.
pub fn log_id_from_proto(id: &v1::LogId) -> LogId {
    LogId::new(LeaderId { term: id.term, node_id: id.node_id }, id.index)
}

/// A vote as a message.
pub fn vote_to_proto(vote: &Vote) -> v1::RaftVote {
    v1::RaftVote { term: vote.leader_id.term, node_id: vote.leader_id.node_id, committed: vote.committed }
}

/// A vote from a message. Every message is one.
pub fn vote_from_proto(vote: &v1::RaftVote) -> Vote {
    Vote { leader_id: LeaderId { term: vote.term, node_id: vote.node_id }, committed: vote.committed }
}

/// A membership as a message.
pub fn membership_to_proto(membership: &Membership) -> v1::RaftMembership {
    let voters = |set: &BTreeSet<u64>| v1::VoterSet { node_ids: set.iter().copied().collect() };
    let node = |(id, node): (&u64, &HubNode)| v1::HubNode {
        node_id: *id,
        grpc_addr: node.grpc_addr.clone(),
        http_addr: node.http_addr.clone(),
    };
    v1::RaftMembership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(node).collect(),
    }
}

/// A membership from a message; refuses an empty or repeating voter set, a node named twice and a voter that is
/// not among the nodes. No voter set at all is openraft's "not yet initialised" and passes.
pub fn membership_from_proto(membership: &v1::RaftMembership) -> Result<Membership, CodecError> {
    let mut nodes = BTreeMap::new();
    for node in &membership.nodes {
        let value = HubNode { grpc_addr: node.grpc_addr.clone(), http_addr: node.http_addr.clone() };
        if nodes.insert(node.node_id, value).is_some() {
            return Err(CodecError::Membership(format!("node {} is named twice", node.node_id)));
        }
    }
    let mut configs = Vec::with_capacity(membership.configs.len());
    for config in &membership.configs {
        let set: BTreeSet<u64> = config.node_ids.iter().copied().collect();
        if set.len() != config.node_ids.len() {
            return Err(CodecError::Membership("a voter is named twice".into()));
        }
        configs.push(set);
    }
    Membership::new(configs, nodes).map_err(|error| CodecError::Membership(error.to_string()))
}

/// An entry as a message. Cheap: a command's bytes are shared, not copied.
pub fn entry_to_proto(entry: &Entry) -> v1::RaftEntry {
    use v1::raft_entry::Payload;
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(true),
        EntryPayload::Normal(proposal) => Payload::Command(proposal.0.clone()),
        EntryPayload::Membership(membership) => Payload::Membership(membership_to_proto(membership)),
    };
    v1::RaftEntry { log_id: Some(log_id_to_proto(&entry.log_id)), payload: Some(payload) }
}

/// An entry from a message.
pub fn entry_from_proto(entry: v1::RaftEntry) -> Result<Entry, CodecError> {
    use v1::raft_entry::Payload;
    let log_id = log_id_from_proto(&entry.log_id.ok_or(CodecError::Missing("log_id"))?);
    let payload = match entry.payload.ok_or(CodecError::Missing("payload"))? {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Command(bytes) => EntryPayload::Normal(Proposal(bytes)),
        Payload::Membership(membership) => EntryPayload::Membership(membership_from_proto(&membership)?),
    };
    Ok(Entry { log_id, payload })
}

/// An entry's stored bytes.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry_to_proto(entry).encode_to_vec()
}

/// An entry from its stored bytes. A command shares them.
pub fn decode_entry(bytes: bytes::Bytes) -> Result<Entry, CodecError> {
    entry_from_proto(v1::RaftEntry::decode(bytes)?)
}

/// What a snapshot covers, as a message; `data` is the snapshot's bytes, measured and summed for the receiver.
pub fn snapshot_meta_to_proto(meta: &SnapshotMeta, data: &[u8]) -> v1::SnapshotMeta {
    v1::SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_to_proto),
        membership_log_id: meta.last_membership.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(meta.last_membership.membership())),
        bytes: data.len() as u64,
        crc32: crc32fast::hash(data),
    }
}

/// What a snapshot covers, from a message. Length and sum are the caller's to compare with what arrived:
/// [`snapshot_data_matches`].
pub fn snapshot_meta_from_proto(meta: &v1::SnapshotMeta) -> Result<SnapshotMeta, CodecError> {
    let membership =
        membership_from_proto(meta.membership.as_ref().ok_or(CodecError::Missing("membership"))?)?;
    Ok(SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_from_proto),
        last_membership: StoredMembership::new(
            meta.membership_log_id.as_ref().map(log_id_from_proto),
            membership,
        ),
    })
}

/// Whether `data` is the snapshot that `meta` was made for.
pub fn snapshot_data_matches(meta: &v1::SnapshotMeta, data: &[u8]) -> bool {
    meta.bytes == data.len() as u64 && meta.crc32 == crc32fast::hash(data)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn node(port: u16) -> HubNode {
        HubNode { grpc_addr: format!("10.0.0.1:{port}"), http_addr: format!("10.0.0.1:{}", port + 1) }
    }

    fn joint() -> Membership {
        Membership::new(
            vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4])],
            (1..=5).map(|id| (id, node(9000 + id as u16))).collect::<BTreeMap<_, _>>(),
        )
        .unwrap()
    }

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(LeaderId { term, node_id: 2 }, index)
    }

    #[test]
    fn every_kind_of_entry_comes_back_from_its_bytes() {
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal(Bytes::from_static(b"\x01\x02"))),
            EntryPayload::Normal(Proposal(Bytes::new())),
            EntryPayload::Membership(joint()),
        ] {
            let entry = Entry { log_id: log_id(7, 41), payload };
            assert_eq!(decode_entry(encode_entry(&entry).into()), Ok(entry));
        }
    }

    #[test]
    fn snapshot_meta_comes_back_and_knows_its_data() {
        for meta in [
            SnapshotMeta::default(),
            SnapshotMeta {
                last_log_id: Some(log_id(3, 9)),
                last_membership: StoredMembership::new(Some(log_id(1, 2)), joint()),
            },
        ] {
            let message = snapshot_meta_to_proto(&meta, b"data");
            assert_eq!(snapshot_meta_from_proto(&message), Ok(meta));
            assert!(snapshot_data_matches(&message, b"data"));
            assert!(!snapshot_data_matches(&message, b"dat4"));
            assert!(!snapshot_data_matches(&message, b"data "));
        }
    }

    #[test]
    fn impossible_memberships_are_refused() {
        let mut message = membership_to_proto(&joint());
        message.configs[0].node_ids.push(9);
        assert!(matches!(membership_from_proto(&message), Err(CodecError::Membership(_))));
        message.configs[0].node_ids = vec![];
        assert!(matches!(membership_from_proto(&message), Err(CodecError::Membership(_))));
        message.configs[0].node_ids = vec![1, 1];
        assert!(matches!(membership_from_proto(&message), Err(CodecError::Membership(_))));
        message.configs[0].node_ids = vec![1];
        message.nodes.push(message.nodes[0].clone());
        assert!(matches!(membership_from_proto(&message), Err(CodecError::Membership(_))));
    }

    #[test]
    fn an_entry_without_position_or_payload_is_refused() {
        assert_eq!(entry_from_proto(v1::RaftEntry::default()), Err(CodecError::Missing("log_id")));
        let message = v1::RaftEntry { log_id: Some(v1::LogId::default()), payload: None };
        assert_eq!(entry_from_proto(message), Err(CodecError::Missing("payload")));
    }

    proptest! {
        #[test]
        fn votes_and_ids_come_back(term: u64, node_id: u64, committed: bool, index: u64) {
            let vote = Vote { leader_id: LeaderId { term, node_id }, committed };
            prop_assert_eq!(vote_from_proto(&vote_to_proto(&vote)), vote);
            let id = LogId::new(LeaderId { term, node_id }, index);
            prop_assert_eq!(log_id_from_proto(&log_id_to_proto(&id)), id);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            // Either verdict is right; the property is that there is one.
            let decoded = decode_entry(bytes.clone().into());
            if let Ok(entry) = decoded {
                prop_assert_eq!(decode_entry(encode_entry(&entry).into()), Ok(entry));
            }
        }
    }
}
