//! Raft's calls to another hub: appends over one long-lived stream, votes, snapshots, leader transfer.
//!
//! Every failure to reach a hub is `Unreachable`: openraft backs off for nothing less, and a hub that is down must
//! not cost the leader its processor.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use loop_net::{channel::MESSAGE_BYTES_MAX, group_secret::HubChannel};
use loop_proto::v1::{self, append_reply, raft_service_client::RaftServiceClient};
use loop_raft_store::{
    raft_codec as codec,
    raft_types::{HubNode, HubRaft, Snapshot, Vote},
};
use openraft::{
    OptionalSend,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{
        Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
        RaftNetworkFactory,
    },
    raft::{
        AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use tonic::Status;

use crate::group::Group;

/// One chunk of a snapshot on the wire, bytes.
const SNAPSHOT_CHUNK: usize = 1 << 20;
/// How long a hub that cannot be reached is left alone.
const BACKOFF: Duration = Duration::from_millis(100);

type RpcError = RPCError<HubRaft>;

/// Makes clients to the other hubs.
pub struct HubNetwork {
    /// Where they are.
    pub group: Arc<Group>,
}

impl RaftNetworkFactory<HubRaft> for HubNetwork {
    type Network = HubClient;

    async fn new_client(&mut self, target: u64, node: &HubNode) -> HubClient {
        self.group.learn(v1::HubNode {
            node_id: target,
            grpc_addr: node.grpc_addr.clone(),
            http_addr: node.http_addr.clone(),
        });
        HubClient { group: self.group.clone(), target }
    }
}

/// Raft's client to one hub.
pub struct HubClient {
    group: Arc<Group>,
    target: u64,
}

impl HubClient {
    fn client(&self) -> Result<RaftServiceClient<HubChannel>, Unreachable<HubRaft>> {
        let channel = self.group.channel(self.target);
        let channel = channel.ok_or_else(|| Unreachable::from_string("the hub's address is not usable"))?;
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

impl NetBackoff<HubRaft> for HubClient {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}

impl NetStreamAppend<HubRaft> for HubClient {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<HubRaft>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<HubRaft>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft sleeps its back-off inside this stream: connecting before the first request is there would
            // retry a hub that is down without any delay.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let requests = stream::iter([first]).chain(input).map(|request| append_to_proto(&request));
            let mut client = self.client()?;
            let replies = within(option.soft_ttl(), client.append(requests)).await?;
            let replies = replies.map(|reply| match reply {
                Ok(reply) => append_result(reply),
                Err(status) => Err(unreachable(&status).into()),
            });
            Ok(replies.boxed())
        })
    }
}

fn append_to_proto(request: &AppendEntriesRequest<HubRaft>) -> v1::AppendRequest {
    v1::AppendRequest {
        vote: Some(codec::vote_to_proto(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(codec::log_id_to_proto),
        entries: request.entries.iter().map(codec::entry_to_proto).collect(),
        leader_commit: request.leader_commit.as_ref().map(codec::log_id_to_proto),
    }
}

fn append_result(reply: v1::AppendReply) -> Result<StreamAppendResult<HubRaft>, RpcError> {
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
            Err(NetworkError::from_string("a reply to an append that says nothing").into())
        }
    }
}

impl HubClient {
    async fn ask_vote(
        &self,
        rpc: VoteRequest<HubRaft>,
        pre_vote: bool,
        option: RPCOption,
    ) -> Result<VoteResponse<HubRaft>, RpcError> {
        let request = v1::VoteRequest {
            vote: Some(codec::vote_to_proto(&rpc.vote)),
            last_log_id: rpc.last_log_id.as_ref().map(codec::log_id_to_proto),
            pre_vote,
            leadership_transfer: rpc.leadership_transfer,
        };
        let reply = within(option.hard_ttl(), self.client()?.vote(request)).await?;
        let vote = reply.vote.ok_or_else(|| NetworkError::from_string("a vote reply without a vote"))?;
        let last = reply.last_log_id.as_ref().map(codec::log_id_from_proto);
        Ok(VoteResponse::new(codec::vote_from_proto(&vote), last, reply.granted))
    }
}

impl NetVote<HubRaft> for HubClient {
    async fn vote(
        &mut self,
        rpc: VoteRequest<HubRaft>,
        option: RPCOption,
    ) -> Result<VoteResponse<HubRaft>, RpcError> {
        self.ask_vote(rpc, false, option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<HubRaft>,
        option: RPCOption,
    ) -> Result<VoteResponse<HubRaft>, RpcError> {
        self.ask_vote(rpc, true, option).await
    }
}

impl NetSnapshot<HubRaft> for HubClient {
    type SnapshotData = Bytes;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<HubRaft>, StreamingError<HubRaft>> {
        let head = v1::SnapshotChunk {
            vote: Some(codec::vote_to_proto(&vote)),
            meta: Some(codec::snapshot_meta_to_proto(&snapshot.meta, &snapshot.snapshot)),
            data: Bytes::new(),
        };
        let mut rest = snapshot.snapshot;
        let chunks = stream::iter(std::iter::from_fn(move || {
            let data = rest.split_to(rest.len().min(SNAPSHOT_CHUNK));
            (!data.is_empty()).then(|| v1::SnapshotChunk { data, ..Default::default() })
        }));
        let mut client = self.client()?;
        let sent = within(option.hard_ttl(), client.install_snapshot(stream::iter([head]).chain(chunks)));
        let reply = tokio::select! {
            closed = cancel => return Err(closed.into()),
            reply = sent => reply?,
        };
        let vote = reply.vote.ok_or_else(|| NetworkError::from_string("a snapshot reply without a vote"))?;
        Ok(SnapshotResponse::new(codec::vote_from_proto(&vote)))
    }
}

impl NetTransferLeader<HubRaft> for HubClient {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<HubRaft>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<HubRaft>, RpcError> {
        let request = v1::TransferLeaderRequest {
            from_leader: Some(codec::vote_to_proto(request.from_leader())),
            to_node: *request.to_node_id(),
            last_log_id: request.last_log_id().map(codec::log_id_to_proto),
        };
        let reply = within(option.hard_ttl(), self.client()?.transfer_leader(request)).await?;
        match reply.refused {
            None => Ok(Ok(())),
            Some(why) => Err(NetworkError::from_string(why).into()),
        }
    }
}
