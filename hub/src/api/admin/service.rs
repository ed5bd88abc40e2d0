//! The gRPC service operators call: each question to the file that answers it.

use loop_proto::v1::{
    self,
    admin_service_server::{AdminService, AdminServiceServer},
};
use tonic::{Request, Response, Status, Streaming, service::interceptor::InterceptedService};

use super::{
    changes, content, context::AdminContext, guard::Guard, invitations, lists, members, plan, projection,
    realtime, verify,
};

/// Serves operators.
pub struct AdminGrpc {
    cx: AdminContext,
}

/// The service behind its guard.
pub type Guarded = InterceptedService<AdminServiceServer<AdminGrpc>, Guard>;

/// The service, for those who may call it.
pub fn guarded(cx: AdminContext) -> Guarded {
    let guard = Guard::new(cx.config.admin_token.as_ref());
    AdminServiceServer::with_interceptor(AdminGrpc { cx }, guard)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for AdminGrpc {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusReply> {
        Ok(Response::new(members::status(&self.cx)))
    }

    async fn list_peers(&self, _: Request<v1::ListPeersRequest>) -> Answer<v1::ListPeersReply> {
        Ok(Response::new(v1::ListPeersReply { peers: lists::peers(&self.cx) }))
    }

    async fn list_forums(&self, request: Request<v1::ListForumsRequest>) -> Answer<v1::ListForumsReply> {
        Ok(Response::new(lists::forums(&self.cx, request.into_inner()).await))
    }

    async fn show_forum(&self, request: Request<v1::ShowForumRequest>) -> Answer<v1::ForumInfo> {
        let mut info = lists::forum(&self.cx, request.get_ref().clone())?;
        info.blocked = plan::blocked(&self.cx, &request, info.forum_id).await;
        Ok(Response::new(info))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksReply> {
        Ok(Response::new(v1::ListTasksReply { tasks: lists::tasks(&self.cx, request.into_inner()) }))
    }

    async fn ids(&self, _: Request<v1::IdsRequest>) -> Answer<v1::IdsReply> {
        Ok(Response::new(lists::ids(&self.cx)))
    }

    async fn add_hub(&self, request: Request<v1::AddHubRequest>) -> Answer<v1::AddHubReply> {
        members::add_hub(&self.cx, request).await.map(Response::new)
    }

    async fn remove_hub(&self, request: Request<v1::RemoveHubRequest>) -> Answer<v1::RemoveHubReply> {
        members::remove_hub(&self.cx, &request).await.map(Response::new)
    }

    async fn move_forum(&self, request: Request<v1::MoveForumRequest>) -> Answer<v1::MoveForumReply> {
        changes::move_forum(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn reverse_forum(&self, request: Request<v1::ReverseForumRequest>) -> Answer<v1::MoveForumReply> {
        changes::reverse_forum(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn change_forum_replicas(
        &self,
        request: Request<v1::ChangeForumReplicasRequest>,
    ) -> Answer<v1::ChangeForumReplicasReply> {
        changes::forum_replicas(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn close_forum(&self, request: Request<v1::CloseForumRequest>) -> Answer<v1::CloseForumReply> {
        changes::close_forum(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn change_peer_state(
        &self,
        request: Request<v1::ChangePeerStateRequest>,
    ) -> Answer<v1::ChangePeerStateReply> {
        changes::peer_state(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn list_invitations(
        &self,
        request: Request<v1::ListInvitationsRequest>,
    ) -> Answer<v1::ListInvitationsReply> {
        Ok(Response::new(invitations::list(&self.cx, request.into_inner())))
    }

    async fn show_plan(&self, request: Request<v1::ShowPlanRequest>) -> Answer<v1::ShowPlanReply> {
        plan::show(&self.cx, &request).await.map(Response::new)
    }

    async fn verify_forum(&self, request: Request<v1::VerifyForumRequest>) -> Answer<v1::VerifyForumReply> {
        verify::verify(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn list_content(&self, request: Request<v1::ListContentRequest>) -> Answer<v1::ListContentReply> {
        content::list(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn upload_content(
        &self,
        request: Request<Streaming<v1::UploadContentRequest>>,
    ) -> Answer<v1::UploadContentReply> {
        content::upload(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn publish_content(
        &self,
        request: Request<v1::PublishContentRequest>,
    ) -> Answer<v1::PublishContentReply> {
        content::publish(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn remove_content(
        &self,
        request: Request<v1::RemoveContentRequest>,
    ) -> Answer<v1::RemoveContentReply> {
        content::remove(&self.cx, request.into_inner()).await.map(Response::new)
    }

    async fn list_realtime_users(
        &self,
        request: Request<v1::ListRealtimeUsersRequest>,
    ) -> Answer<v1::ListRealtimeUsersReply> {
        Ok(Response::new(realtime::users(&self.cx, request.get_ref())))
    }

    async fn list_realtime_connections(
        &self,
        request: Request<v1::ListRealtimeConnectionsRequest>,
    ) -> Answer<v1::ListRealtimeConnectionsReply> {
        Ok(Response::new(realtime::connections(&self.cx, request.get_ref())))
    }

    async fn show_projection(
        &self,
        _: Request<v1::ShowProjectionRequest>,
    ) -> Answer<v1::ShowProjectionReply> {
        Ok(Response::new(projection::show(&self.cx)))
    }

    async fn rebuild_projection(
        &self,
        _: Request<v1::RebuildProjectionRequest>,
    ) -> Answer<v1::RebuildProjectionReply> {
        projection::rebuild(&self.cx).await.map(Response::new)
    }

    async fn verify_projection(
        &self,
        _: Request<v1::VerifyProjectionRequest>,
    ) -> Answer<v1::VerifyProjectionReply> {
        projection::verify(&self.cx).await.map(Response::new)
    }
}
