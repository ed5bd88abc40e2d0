//! A node of the hub group's Raft: openraft on this log, this machine and one way to reach the other hubs.
//!
//! Owns what openraft asks of a network, said once. Never knows addresses or sockets: those are [`Transport`]'s. It is
//! no type parameter, so that openraft is compiled for one node, here, whoever starts it.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use openraft::{
    Config, OptionalSend, Raft,
    errors::{ReplicationClosed, StreamingError},
    network::{
        Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
        RaftNetworkFactory,
    },
};

use crate::{
    adapter::StateMachine,
    log_store::LogStore,
    raft_types::{HubNode, HubRaft, Snapshot, Vote},
};

/// A handle to this hub's Raft node.
pub type HubRaftNode = Raft<HubRaft, StateMachine>;

/// Why another hub gave no answer.
pub type RpcError = openraft::errors::RPCError<HubRaft>;
/// One call to another hub.
pub type Call<T> = BoxFuture<'static, Result<T, RpcError>>;
/// Entries for a follower.
pub type Append = openraft::raft::AppendEntriesRequest<HubRaft>;
/// What a follower says to an append.
pub type Appended = openraft::raft::StreamAppendResult<HubRaft>;
/// Appends on their way. A type of its own: the compiler cannot tell of a future that holds a boxed stream that it may
/// change threads.
pub struct Appends(BoxStream<'static, Append>);
/// Answers to appends, in their order.
pub type Replies = BoxStream<'static, Result<Appended, RpcError>>;
/// A candidate's request.
pub type VoteRequest = openraft::raft::VoteRequest<HubRaft>;
/// A voter's answer.
pub type VoteResponse = openraft::raft::VoteResponse<HubRaft>;
/// What a follower says to a snapshot.
pub type Installed = openraft::raft::SnapshotResponse<HubRaft>;
/// A leader's request that another hub take over.
pub type Transfer = openraft::raft::TransferLeaderRequest<HubRaft>;
/// What that hub says.
pub type Transferred = openraft::raft::TransferLeaderResponse<HubRaft>;

/// How long a hub that cannot be reached is left alone.
const BACKOFF: Duration = Duration::from_millis(100);

/// Raft's calls to other hubs. Each ends within its time, with [`RpcError::Unreachable`] for every failure to reach one: openraft
/// backs off for nothing less, and a hub that is down must not cost the leader its processor.
pub trait Transport: Send + Sync + 'static {
    /// Where Raft's members say that a hub is.
    fn learn(&self, hub: u64, node: &HubNode);

    /// Sends appends over one stream; the first is there already.
    fn append(&self, hub: u64, requests: Appends, within: Duration) -> Call<Replies>;

    /// Asks for a vote, or whether one would be given.
    fn vote(&self, hub: u64, request: VoteRequest, pre_vote: bool, within: Duration) -> Call<VoteResponse>;

    /// Sends a whole snapshot.
    fn install_snapshot(&self, hub: u64, vote: Vote, snapshot: Snapshot, within: Duration)
    -> Call<Installed>;

    /// Asks a hub to lead.
    fn transfer_leader(&self, hub: u64, request: Transfer, within: Duration) -> Call<Transferred>;
}

impl Stream for Appends {
    type Item = Append;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Append>> {
        self.0.poll_next_unpin(context)
    }
}

/// Starts node `id` on its log and machine.
pub async fn start(
    id: u64,
    config: Config,
    transport: Arc<dyn Transport>,
    log: LogStore,
    machine: StateMachine,
) -> io::Result<HubRaftNode> {
    let config = Arc::new(config.validate().map_err(io::Error::other)?);
    Raft::new(id, config, Clients(transport), log, machine).await.map_err(io::Error::other)
}

/// Makes clients to the other hubs.
struct Clients(Arc<dyn Transport>);

impl RaftNetworkFactory<HubRaft> for Clients {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &HubNode) -> Client {
        self.0.learn(target, node);
        Client { transport: self.0.clone(), target }
    }
}

/// Raft's client to one hub.
struct Client {
    transport: Arc<dyn Transport>,
    target: u64,
}

impl NetBackoff<HubRaft> for Client {
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}

impl NetStreamAppend<HubRaft> for Client {
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<Appended, RpcError>>, RpcError>>
    where
        S: Stream<Item = Append> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft sleeps its back-off inside this stream: connecting before the first request is there would
            // retry a hub that is down without any delay.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let requests = Appends(stream::iter([first]).chain(input).boxed());
            self.transport.append(self.target, requests, option.soft_ttl()).await
        })
    }
}

impl NetVote<HubRaft> for Client {
    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.transport.vote(self.target, rpc, false, option.hard_ttl()).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.transport.vote(self.target, rpc, true, option.hard_ttl()).await
    }
}

impl NetSnapshot<HubRaft> for Client {
    type SnapshotData = Bytes;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<Installed, StreamingError<HubRaft>> {
        let sent = self.transport.install_snapshot(self.target, vote, snapshot, option.hard_ttl());
        tokio::select! {
            closed = cancel => Err(closed.into()),
            reply = sent => Ok(reply?),
        }
    }
}

impl NetTransferLeader<HubRaft> for Client {
    async fn transfer_leader(
        &mut self,
        request: Transfer,
        option: RPCOption,
    ) -> Result<Transferred, RpcError> {
        self.transport.transfer_leader(self.target, request, option.hard_ttl()).await
    }
}
