//! Raft's calls to another hub: appends over one long-lived stream, votes, snapshots, leader transfer.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use loop_net::{channel::MESSAGE_BYTES_MAX, group_secret::HubChannel};
use loop_proto::v1::{self, append_reply, raft_service_client::RaftServiceClient};
use loop_raft_store::{
    raft_codec as codec,
    raft_node::{
        Append, Appended, Appends, Call, Installed, Replies, RpcError, Transfer, Transferred, Transport,
        VoteRequest, VoteResponse,
    },
    raft_types::{HubNode, HubRaft, Snapshot, Vote},
};
use openraft::{
    errors::{NetworkError, Unreachable},
    raft::StreamAppendError,
};
use tonic::Status;

use crate::group::Group;

/// One chunk of a snapshot on the wire, bytes.
const SNAPSHOT_CHUNK: usize = 1 << 20;

/// The other hubs, over gRPC.
pub struct HubTransport {
    /// Where they are.
    pub group: Arc<Group>,
}

type Client = RaftServiceClient<HubChannel>;

impl HubTransport {
    fn client(&self, hub: u64) -> Result<Client, Unreachable<HubRaft>> {
        let channel = self
            .group
            .channel(hub)
            .ok_or_else(|| Unreachable::from_string("the hub's address is not usable"))?;
        Ok(RaftServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }
}

fn unreachable(status: &Status) -> Unreachable<HubRaft> {
    Unreachable::from_string(format!("{:?}: {}", status.code(), status.message()))
}

async fn within<T>(
    ttl: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Unreachable<HubRaft>> {
    match tokio::time::timeout(ttl, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(unreachable(&status)),
        Err(_) => Err(Unreachable::from_string("no answer in time")),
    }
}

impl Transport for HubTransport {
    fn learn(&self, hub: u64, node: &HubNode) {
        self.group.learn(v1::HubNode {
            node_id: hub,
            grpc_addr: node.grpc_addr.clone(),
            http_addr: node.http_addr.clone(),
        });
    }

    fn append(&self, hub: u64, requests: Appends, ttl: Duration) -> Call<Replies> {
        let client = self.client(hub);
        let requests = requests.map(|request| append_to_proto(&request));
        Box::pin(async move {
            let replies = within(ttl, client?.append(requests)).await?;
            let replies = replies.map(|reply| match reply {
                Ok(reply) => append_result(reply),
                Err(status) => Err(unreachable(&status).into()),
            });
            Ok(replies.boxed())
        })
    }

    fn vote(&self, hub: u64, rpc: VoteRequest, pre_vote: bool, ttl: Duration) -> Call<VoteResponse> {
        let client = self.client(hub);
        Box::pin(async move {
            let request = v1::VoteRequest {
                vote: Some(codec::vote_to_proto(&rpc.vote)),
                last_log_id: rpc.last_log_id.as_ref().map(codec::log_id_to_proto),
                pre_vote,
                leadership_transfer: rpc.leadership_transfer,
            };
            let reply = within(ttl, client?.vote(request)).await?;
            let vote = reply.vote.ok_or_else(|| says_nothing("a vote reply without a vote"))?;
            let last = reply.last_log_id.as_ref().map(codec::log_id_from_proto);
            Ok(VoteResponse::new(codec::vote_from_proto(&vote), last, reply.granted))
        })
    }

    fn install_snapshot(&self, hub: u64, vote: Vote, snapshot: Snapshot, ttl: Duration) -> Call<Installed> {
        let client = self.client(hub);
        Box::pin(async move {
            let head = v1::SnapshotChunk {
                vote: Some(codec::vote_to_proto(&vote)),
                meta: Some(codec::snapshot_meta_to_proto(&snapshot.meta, &snapshot.snapshot)),
                ..Default::default()
            };
            let mut rest = snapshot.snapshot;
            let chunks = stream::iter(std::iter::from_fn(move || {
                let data = rest.split_to(rest.len().min(SNAPSHOT_CHUNK));
                (!data.is_empty()).then(|| v1::SnapshotChunk { data, ..Default::default() })
            }));
            let reply = within(ttl, client?.install_snapshot(stream::iter([head]).chain(chunks))).await?;
            let vote = reply.vote.ok_or_else(|| says_nothing("a snapshot reply without a vote"))?;
            Ok(Installed::new(codec::vote_from_proto(&vote)))
        })
    }

    fn transfer_leader(&self, hub: u64, request: Transfer, ttl: Duration) -> Call<Transferred> {
        let client = self.client(hub);
        Box::pin(async move {
            let request = v1::TransferLeaderRequest {
                from_leader: Some(codec::vote_to_proto(request.from_leader())),
                to_node: *request.to_node_id(),
                last_log_id: request.last_log_id().map(codec::log_id_to_proto),
            };
            match within(ttl, client?.transfer_leader(request)).await?.refused {
                None => Ok(Ok(())),
                Some(why) => Err(NetworkError::from_string(why).into()),
            }
        })
    }
}

fn says_nothing(what: &str) -> RpcError {
    NetworkError::from_string(what).into()
}

fn append_to_proto(request: &Append) -> v1::AppendRequest {
    v1::AppendRequest {
        vote: Some(codec::vote_to_proto(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(codec::log_id_to_proto),
        entries: request.entries.iter().map(codec::entry_to_proto).collect(),
        leader_commit: request.leader_commit.as_ref().map(codec::log_id_to_proto),
    }
}

fn append_result(reply: v1::AppendReply) -> Result<Appended, RpcError> {
    let log_id = |id: &v1::LogId| codec::log_id_from_proto(id);
    match (reply.kind, reply.conflict_at) {
        (Some(append_reply::Kind::Success(id)), _) => Ok(Ok(Some(log_id(&id)))),
        (Some(append_reply::Kind::EmptySuccess(_)), _) => Ok(Ok(None)),
        (Some(append_reply::Kind::Conflict(_)), Some(at)) => {
            Ok(Err(StreamAppendError::Conflict(log_id(&at))))
        }
        (Some(append_reply::Kind::HigherVote(vote)), _) => {
            Ok(Err(StreamAppendError::HigherVote(codec::vote_from_proto(&vote))))
        }
        (Some(append_reply::Kind::Conflict(_)) | None, _) => {
            Err(says_nothing("a reply to an append that says nothing"))
        }
    }
}
