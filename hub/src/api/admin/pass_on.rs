//! What only the hub that leads can answer: any other hub passes the question on to it, once.

use std::{future::Future, time::Duration};

use loop_net::{admin_token::authorized, group_secret::HubChannel};
use loop_proto::v1::admin_service_client::AdminServiceClient;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status, metadata::MetadataValue};

use super::context::AdminContext;

/// The leader, for questions.
pub(super) type Leader = AdminServiceClient<HubChannel>;

/// Marks a question one hub passes on to another, which does not pass it on again.
const PASSED_ON: &str = "loop-passed-on";
/// How long the leader may take. Less than hubctl waits for one hub.
const ASK_WITHIN: Duration = Duration::from_secs(4);

/// Asks the leader `message`, unless another hub has already passed it on to this one.
pub(super) async fn to_leader<M, N, T, F>(
    cx: &AdminContext,
    asked: &Request<N>,
    message: M,
    ask: impl FnOnce(Leader, Request<M>) -> F,
) -> Result<T, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    if asked.metadata().contains_key(PASSED_ON) {
        return Err(Status::unavailable("the lead is moving from hub to hub: ask again"));
    }
    let leader = cx.raft.current_leader().await;
    let channel = leader.and_then(|leader| Some((leader, cx.mesh.group.channel(leader)?)));
    let Some((leader, channel)) = channel else {
        return Err(Status::unavailable("no hub leads at the moment: ask again"));
    };
    let mut request = authorized(Request::new(message), cx.config.admin_token.as_ref());
    request.metadata_mut().insert(PASSED_ON, MetadataValue::from_static("1"));
    match timeout(ASK_WITHIN, ask(AdminServiceClient::new(channel), request)).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) => Err(refused(leader, &status)),
        Err(_) => {
            Err(Status::unavailable(format!("h{leader} leads and did not answer within {ASK_WITHIN:?}")))
        }
    }
}

/// A refusal that is the group's stays what it is; one between two hubs becomes a sentence.
fn refused(leader: u64, status: &Status) -> Status {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => Status::failed_precondition(format!(
            "h{leader} leads and takes no questions from this hub: give all hubs the same --admin-token, or ask \
             h{leader} itself (`hubctl status` shows its address)"
        )),
        code @ (Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument) => {
            Status::new(code, status.message())
        }
        _ => Status::unavailable(format!("h{leader} leads: {}", status.message())),
    }
}
