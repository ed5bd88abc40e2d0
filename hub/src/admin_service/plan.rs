//! What balance would do now. The leader knows; every other hub asks it.

use std::{sync::Arc, time::Duration};

use loop_proto::{
    ids::PeerId,
    v1::{self, admin_service_client::AdminServiceClient},
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status, metadata::MetadataValue};

use super::guard::authorized;
use crate::{
    hub::Hub,
    leader::{
        Planned,
        balance::{Action, Step},
    },
};

/// Marks a question one hub passes on to another, which does not pass it on again.
const PASSED_ON: &str = "loop-passed-on";
/// How long the leader may take. Less than hubctl waits for one hub.
const ASK_WITHIN: Duration = Duration::from_secs(4);
/// How long a new leader may take to plan.
const PLANNED_WITHIN: Duration = Duration::from_millis(3500);
/// How often its plan is looked for.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn show(
    hub: &Arc<Hub>,
    request: &Request<v1::ShowPlanRequest>,
) -> Result<v1::ShowPlanReply, Status> {
    if hub.raft.is_leader() {
        let Planned { steps, took } = newest(hub).await?;
        let planned_in_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        return Ok(v1::ShowPlanReply { steps: steps.iter().map(step).collect(), planned_in_us });
    }
    if request.metadata().contains_key(PASSED_ON) {
        return Err(Status::unavailable("the lead is moving from hub to hub: ask again"));
    }
    ask_leader(hub).await
}

/// The plan in force, which is a second old at most. A new leader has none before it has seen who is there.
async fn newest(hub: &Hub) -> Result<Planned, Status> {
    let until = Instant::now() + PLANNED_WITHIN;
    loop {
        if let Some(planned) = hub.plan.newest() {
            return Ok(planned);
        }
        if Instant::now() >= until || !hub.raft.is_leader() {
            return Err(Status::unavailable(
                "the hub that leads has no plan yet: it leads since a moment ago, or reaches no majority of hubs",
            ));
        }
        sleep(LOOK).await;
    }
}

async fn ask_leader(hub: &Hub) -> Result<v1::ShowPlanReply, Status> {
    let leader = hub.raft.current_leader().await;
    let channel = leader.and_then(|leader| Some((leader, hub.group.channel(leader)?)));
    let Some((leader, channel)) = channel else {
        return Err(Status::unavailable("no hub leads at the moment, so nobody plans: ask again"));
    };
    let request = Request::new(v1::ShowPlanRequest {});
    let mut request = authorized(request, hub.config.admin_token.as_ref());
    request.metadata_mut().insert(PASSED_ON, MetadataValue::from_static("1"));
    let mut client = AdminServiceClient::new(channel);
    match timeout(ASK_WITHIN, client.show_plan(request)).await {
        Ok(Ok(reply)) => Ok(reply.into_inner()),
        Ok(Err(status)) if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) => {
            Err(Status::failed_precondition(format!(
                "h{leader} leads and takes no questions from this hub: give all hubs the same --admin-token, or ask \
                 h{leader} itself (`hubctl status` shows its address)"
            )))
        }
        Ok(Err(status)) => Err(Status::unavailable(format!("h{leader} leads: {}", status.message()))),
        Err(_) => {
            Err(Status::unavailable(format!("h{leader} leads and did not answer within {ASK_WITHIN:?}")))
        }
    }
}

fn step(step: &Step) -> v1::PlannedStep {
    let (what, peer, replaces) = match step.action {
        Action::Invite { target, replaces, .. } => ("invite", target, replaces),
        Action::MovePrimary { to, .. } => ("move primary", to, None),
        Action::Remove { peer } => ("remove replica", peer, None),
    };
    v1::PlannedStep {
        forum_id: step.forum.get(),
        what: what.into(),
        peer_id: peer.get(),
        replaces: replaces.map_or(0, PeerId::get),
        why: step.why.to_string(),
        held_back: step.held_back,
    }
}
