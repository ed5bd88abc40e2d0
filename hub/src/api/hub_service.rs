//! The gRPC service hubs offer one another beside Raft.

use futures::stream::BoxStream;
use loop_proto::v1::{self, hub_service_server::HubService};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    log::ProposeService,
    mesh::LinkService,
    transfer::{CopyStream, Transfer},
};

/// Serves other hubs.
pub struct HubGrpc {
    /// Streams for soft state.
    pub links: LinkService,
    /// Copies of forums.
    pub transfer: Transfer,
    /// The leader's door.
    pub propose: ProposeService,
}

#[tonic::async_trait]
impl HubService for HubGrpc {
    type ProposeStream = BoxStream<'static, Result<v1::FromLeader, Status>>;
    type LinkStream = BoxStream<'static, Result<v1::LinkReply, Status>>;

    type RelayCheckpointStream = CopyStream;

    async fn relay_checkpoint(
        &self,
        request: Request<v1::RelayCheckpointRequest>,
    ) -> Result<Response<Self::RelayCheckpointStream>, Status> {
        self.transfer.relay(request.into_inner()).await.map(Response::new)
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
        Ok(Response::new(self.links.serve(request.into_inner())))
    }
}
