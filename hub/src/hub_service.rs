//! The gRPC service hubs offer one another beside Raft.

use std::sync::Arc;

use futures::stream::BoxStream;
use loop_proto::v1::{self, hub_service_server::HubService};
use tonic::{Request, Response, Status, Streaming};

use crate::{hub::Hub, link, proposer::ProposeService, relay};

/// Serves other hubs.
pub struct HubGrpc {
    /// This hub.
    pub hub: Arc<Hub>,
    /// The leader's door.
    pub propose: ProposeService,
}

#[tonic::async_trait]
impl HubService for HubGrpc {
    type ProposeStream = BoxStream<'static, Result<v1::FromLeader, Status>>;
    type LinkStream = BoxStream<'static, Result<v1::LinkReply, Status>>;

    type RelayCheckpointStream = BoxStream<'static, Result<v1::CheckpointChunk, Status>>;

    async fn relay_checkpoint(
        &self,
        request: Request<v1::RelayCheckpointRequest>,
    ) -> Result<Response<Self::RelayCheckpointStream>, Status> {
        relay::relay(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn propose(
        &self,
        request: Request<Streaming<v1::ToLeader>>,
    ) -> Result<Response<Self::ProposeStream>, Status> {
        Ok(Response::new(self.propose.serve(request.into_inner())))
    }

    async fn link(
        &self,
        request: Request<Streaming<v1::LinkRequest>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        Ok(Response::new(link::serve(self.hub.clone(), request.into_inner())))
    }
}
