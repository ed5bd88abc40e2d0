//! For operators: what hubctl asks, and how a new hub enters the group.
//!
//! Any hub answers from what it has applied; only the leader knows how far the others are and what it plans. What
//! changes something goes through the proposer like every other command; a committed no becomes a sentence that says
//! what to do next. Never sends a forum's name or a session id.

mod changes;
mod content;
mod guard;
mod invitations;
mod lists;
mod members;
mod pass_on;
mod plan;
mod refusal;
mod verify;
mod waits_for;

use std::sync::Arc;

use loop_proto::v1::{
    self,
    admin_service_server::{AdminService, AdminServiceServer},
};
use tonic::{Request, Response, Status, Streaming};

pub use guard::authorized;

use guard::{Guard, Guarded};

use crate::hub::Hub;

/// Most rows of one page.
const PAGE_MAX: u32 = 10_000;

/// Serves operators.
pub struct AdminGrpc {
    hub: Arc<Hub>,
}

/// The service, for those who may call it.
pub fn guarded(hub: Arc<Hub>) -> Guarded {
    let guard = Guard::new(hub.config.admin_token.as_ref());
    AdminServiceServer::with_interceptor(AdminGrpc { hub }, guard)
}

fn page(limit: u32, default: u32) -> usize {
    let limit = if limit == 0 { default } else { limit.min(PAGE_MAX) };
    limit as usize
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for AdminGrpc {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusReply> {
        Ok(Response::new(members::status(&self.hub)))
    }

    async fn list_peers(&self, _: Request<v1::ListPeersRequest>) -> Answer<v1::ListPeersReply> {
        Ok(Response::new(v1::ListPeersReply { peers: lists::peers(&self.hub) }))
    }

    async fn list_forums(&self, request: Request<v1::ListForumsRequest>) -> Answer<v1::ListForumsReply> {
        Ok(Response::new(lists::forums(&self.hub, request.into_inner()).await))
    }

    async fn show_forum(&self, request: Request<v1::ShowForumRequest>) -> Answer<v1::ForumInfo> {
        let mut info = lists::forum(&self.hub, request.get_ref().clone())?;
        info.blocked = plan::blocked(&self.hub, &request, info.forum_id).await;
        Ok(Response::new(info))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksReply> {
        Ok(Response::new(v1::ListTasksReply { tasks: lists::tasks(&self.hub, request.into_inner()) }))
    }

    async fn ids(&self, _: Request<v1::IdsRequest>) -> Answer<v1::IdsReply> {
        Ok(Response::new(lists::ids(&self.hub)))
    }

    async fn add_hub(&self, request: Request<v1::AddHubRequest>) -> Answer<v1::AddHubReply> {
        members::add_hub(&self.hub, request).await.map(Response::new)
    }

    async fn remove_hub(&self, request: Request<v1::RemoveHubRequest>) -> Answer<v1::RemoveHubReply> {
        members::remove_hub(&self.hub, &request).await.map(Response::new)
    }

    async fn move_forum(&self, request: Request<v1::MoveForumRequest>) -> Answer<v1::MoveForumReply> {
        changes::move_forum(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn reverse_forum(&self, request: Request<v1::ReverseForumRequest>) -> Answer<v1::MoveForumReply> {
        changes::reverse_forum(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn change_forum_replicas(
        &self,
        request: Request<v1::ChangeForumReplicasRequest>,
    ) -> Answer<v1::ChangeForumReplicasReply> {
        changes::forum_replicas(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn change_peer_state(
        &self,
        request: Request<v1::ChangePeerStateRequest>,
    ) -> Answer<v1::ChangePeerStateReply> {
        changes::peer_state(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn list_invitations(
        &self,
        request: Request<v1::ListInvitationsRequest>,
    ) -> Answer<v1::ListInvitationsReply> {
        Ok(Response::new(invitations::list(&self.hub, request.into_inner())))
    }

    async fn show_plan(&self, request: Request<v1::ShowPlanRequest>) -> Answer<v1::ShowPlanReply> {
        plan::show(&self.hub, &request).await.map(Response::new)
    }

    async fn verify_forum(&self, request: Request<v1::VerifyForumRequest>) -> Answer<v1::VerifyForumReply> {
        verify::verify(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn list_content(&self, request: Request<v1::ListContentRequest>) -> Answer<v1::ListContentReply> {
        content::list(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn upload_content(
        &self,
        request: Request<Streaming<v1::UploadContentRequest>>,
    ) -> Answer<v1::UploadContentReply> {
        content::upload(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn publish_content(
        &self,
        request: Request<v1::PublishContentRequest>,
    ) -> Answer<v1::PublishContentReply> {
        content::publish(&self.hub, request.into_inner()).await.map(Response::new)
    }

    async fn remove_content(
        &self,
        request: Request<v1::RemoveContentRequest>,
    ) -> Answer<v1::RemoveContentReply> {
        content::remove(&self.hub, request.into_inner()).await.map(Response::new)
    }
}
