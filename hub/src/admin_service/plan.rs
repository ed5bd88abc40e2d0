//! What balance would do now: only the leader knows.

use std::sync::Arc;

use loop_proto::{
    ids::PeerId,
    v1::{self, admin_service_client::AdminServiceClient},
};
use tonic::{Request, Status, metadata::MetadataValue};

use crate::{
    hub::{Hub, PROPOSE_WITHIN},
    leader::balance::{Action, Step},
};

/// Says that a hub asks for an operator, so that two hubs that take one another for the leader do not ask in circles.
const PASSED_ON: &str = "loop-passed-on";

/// The plan, from here or from the hub that leads.
pub(super) async fn show(
    hub: &Arc<Hub>,
    request: &Request<v1::ShowPlanRequest>,
) -> Result<v1::ShowPlanReply, Status> {
    if let Some(planned) = hub.plan.newest() {
        return Ok(v1::ShowPlanReply {
            steps: planned.steps.iter().map(step).collect(),
            planned_in_us: u64::try_from(planned.took.as_micros()).unwrap_or(u64::MAX),
        });
    }
    let leader = hub.raft.current_leader().await;
    let channel = leader.and_then(|leader| hub.group.channel(leader));
    let Some(channel) = channel.filter(|_| !request.metadata().contains_key(PASSED_ON)) else {
        return Err(Status::unavailable("no hub has led for long enough to have a plan; ask again"));
    };
    let mut passed_on = Request::new(v1::ShowPlanRequest {});
    passed_on.metadata_mut().insert(PASSED_ON, MetadataValue::from_static("1"));
    passed_on.set_timeout(PROPOSE_WITHIN);
    AdminServiceClient::new(channel).show_plan(passed_on).await.map(tonic::Response::into_inner)
}

fn step(step: &Step) -> v1::PlannedStep {
    let (what, peer, replaces) = match step.action {
        Action::Invite { target, replaces, .. } => ("invite", target, replaces),
        Action::MovePrimary { to, .. } => ("move primary", to, None),
        Action::Remove { peer } => ("remove replica", peer, None),
    };
    v1::PlannedStep {
        forum_id: step.forum.get(),
        what: what.to_owned(),
        peer_id: peer.get(),
        replaces: replaces.map_or(0, PeerId::get),
        why: step.why.to_string(),
        held_back: step.held_back,
    }
}
