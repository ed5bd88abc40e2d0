//! The other side of Raft's calls: hands what other hubs send to this hub's Raft node.

use bytes::BytesMut;
use futures::{StreamExt, stream::BoxStream};
use loop_proto::v1::{self, append_reply, raft_service_server::RaftService};
use loop_raft_store::{
    raft_codec as codec,
    raft_node::HubRaftNode,
    raft_types::{HubRaft, Snapshot},
};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Largest snapshot taken from a leader, bytes.
const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

/// Serves Raft to the other hubs.
pub struct RaftGrpc {
    /// This hub's node.
    pub raft: HubRaftNode,
    /// Ends all streams.
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl RaftService for RaftGrpc {
    type AppendStream = BoxStream<'static, Result<v1::AppendReply, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let shutdown = self.shutdown.clone();
        let requests = request
            .into_inner()
            .map(|request| append_from_proto(request?))
            .take_while(|request| {
                if let Err(status) = request {
                    tracing::warn!(%status, "an append that cannot be read ends the stream");
                }
                std::future::ready(request.is_ok())
            })
            .filter_map(|request| std::future::ready(request.ok()))
            .take_until(shutdown.cancelled_owned());
        let replies = self.raft.stream_append(requests).map(|result| match result {
            Ok(result) => Ok(append_reply(result)),
            Err(fatal) => Err(Status::internal(fatal.to_string())),
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn vote(&self, request: Request<v1::VoteRequest>) -> Result<Response<v1::VoteReply>, Status> {
        let request = request.into_inner();
        let vote = request.vote.ok_or_else(|| Status::invalid_argument("no vote"))?;
        let last = request.last_log_id.as_ref().map(codec::log_id_from_proto);
        let mut rpc = VoteRequest::<HubRaft>::new(codec::vote_from_proto(&vote), last);
        rpc.leadership_transfer = request.leadership_transfer;
        let answer = if request.pre_vote { self.raft.pre_vote(rpc).await } else { self.raft.vote(rpc).await };
        let answer = answer.map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(v1::VoteReply {
            vote: Some(codec::vote_to_proto(&answer.vote)),
            granted: answer.vote_granted,
            last_log_id: answer.last_log_id.as_ref().map(codec::log_id_to_proto),
        }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderReply>, Status> {
        let request = request.into_inner();
        let from = request.from_leader.ok_or_else(|| Status::invalid_argument("no vote"))?;
        let last = request.last_log_id.as_ref().map(codec::log_id_from_proto);
        let transfer = TransferLeaderRequest::new(codec::vote_from_proto(&from), request.to_node, last);
        let answer = self.raft.handle_transfer_leader(transfer).await;
        let answer = answer.map_err(|fatal| Status::internal(fatal.to_string()))?;
        Ok(Response::new(v1::TransferLeaderReply { refused: answer.err().map(|why| why.to_string()) }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::SnapshotChunk>>,
    ) -> Result<Response<v1::SnapshotReply>, Status> {
        let mut chunks = request.into_inner();
        let head = chunks.message().await?.ok_or_else(|| Status::invalid_argument("an empty snapshot"))?;
        let (Some(vote), Some(meta)) = (head.vote, head.meta) else {
            return Err(Status::invalid_argument("the first chunk has no vote or no meta"));
        };
        if meta.bytes > SNAPSHOT_BYTES_MAX {
            return Err(Status::resource_exhausted(format!("a snapshot of {} bytes", meta.bytes)));
        }
        let mut data = BytesMut::from(&head.data[..]);
        while let Some(chunk) = chunks.message().await? {
            if (data.len() + chunk.data.len()) as u64 > meta.bytes {
                return Err(Status::invalid_argument("more bytes than the snapshot's meta says"));
            }
            data.extend_from_slice(&chunk.data);
        }
        if !codec::snapshot_data_matches(&meta, &data) {
            return Err(Status::data_loss("the snapshot's bytes do not match its checksum"));
        }
        let meta = codec::snapshot_meta_from_proto(&meta)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let snapshot = Snapshot { meta, snapshot: data.freeze() };
        let answer = self.raft.install_full_snapshot(codec::vote_from_proto(&vote), snapshot).await;
        let answer = answer.map_err(|fatal| Status::internal(fatal.to_string()))?;
        Ok(Response::new(v1::SnapshotReply { vote: Some(codec::vote_to_proto(&answer.vote)) }))
    }
}

fn append_from_proto(request: v1::AppendRequest) -> Result<AppendEntriesRequest<HubRaft>, Status> {
    let vote = request.vote.ok_or_else(|| Status::invalid_argument("an append without a vote"))?;
    let entries: Result<Vec<_>, _> = request.entries.into_iter().map(codec::entry_from_proto).collect();
    Ok(AppendEntriesRequest {
        vote: codec::vote_from_proto(&vote),
        prev_log_id: request.prev_log_id.as_ref().map(codec::log_id_from_proto),
        entries: entries.map_err(|error| Status::invalid_argument(error.to_string()))?,
        leader_commit: request.leader_commit.as_ref().map(codec::log_id_from_proto),
    })
}

fn append_reply(result: StreamAppendResult<HubRaft>) -> v1::AppendReply {
    let (kind, conflict_at) = match result {
        Ok(Some(id)) => (append_reply::Kind::Success(codec::log_id_to_proto(&id)), None),
        Ok(None) => (append_reply::Kind::EmptySuccess(true), None),
        Err(StreamAppendError::Conflict(at)) => {
            (append_reply::Kind::Conflict(true), Some(codec::log_id_to_proto(&at)))
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            (append_reply::Kind::HigherVote(codec::vote_to_proto(&vote)), None)
        }
    };
    v1::AppendReply { kind: Some(kind), conflict_at }
}
