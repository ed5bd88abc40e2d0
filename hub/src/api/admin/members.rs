//! The group of hubs as this one sees it, how a new hub enters and how one leaves.

use std::{collections::BTreeSet, time::Duration};

use loop_net::group_secret::HubGuard;
use loop_proto::v1;
use loop_raft_store::raft_types::{HubNode, HubRaft};
use openraft::{ChangeMembers, Instant, RaftMetrics, ServerState, async_runtime::watch::WatchReceiver};
use tonic::{Request, Status};

use super::{
    context::AdminContext,
    pass_on::{self, Leader},
};
use crate::{
    config::is_authority,
    membership::{hand_over, votes},
};

/// How long a new hub may take to copy the log before it becomes a voter.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(120);
/// A hub that has not answered the leader for longer does not count when another one is to go.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

pub(super) fn status(cx: &AdminContext) -> v1::StatusReply {
    let metrics = cx.raft.metrics().borrow_watched().clone();
    let matched = metrics.replication.as_ref();
    let membership = metrics.membership_config.membership();
    let agreed = cx.log.state().membership();
    let hubs = membership.nodes().map(|(id, node)| v1::HubInfo {
        node: Some(v1::HubNode {
            node_id: *id,
            grpc_addr: node.grpc_addr.clone(),
            http_addr: node.http_addr.clone(),
        }),
        voter: votes(agreed.membership(), *id),
        matched_index: matched.and_then(|m| m.get(id)).and_then(|log_id| log_id.as_ref()).map(|l| l.index()),
        reachable: cx.mesh.reaches(*id),
    });
    let hubs = hubs.collect();
    let (connected, report) = (cx.mesh.presence.count() as u64, cx.health.report());
    cx.log.read(|state| {
        let counts = state.counts();
        v1::StatusReply {
            hub_id: cx.mesh.group.own_id(),
            leader: metrics.current_leader,
            term: metrics.current_term,
            version: env!("CARGO_PKG_VERSION").into(),
            applied_index: cx.log.state().applied_index(),
            hubs,
            newest_task: state.newest(),
            trimmed_through: state.trimmed_through(),
            open_tasks: counts.open_tasks as u64,
            forums: counts.forums as u64,
            peers: counts.peers as u64,
            connected_peers: connected,
            sessions: counts.sessions as u64,
            health: Some(report),
        }
    })
}

pub(super) async fn add_hub(
    cx: &AdminContext,
    request: Request<v1::AddHubRequest>,
) -> Result<v1::AddHubReply, Status> {
    // As a member it could neither reach the others nor be reached, and would stand in their way.
    HubGuard::new(cx.config.group_secret.as_ref()).check_newcomer(request.metadata())?;
    let node = request.into_inner().node.ok_or_else(|| Status::invalid_argument("which hub?"))?;
    if node.node_id == 0 || !is_authority(&node.grpc_addr) || !is_authority(&node.http_addr) {
        return Err(Status::invalid_argument("a hub has an id above 0 and two addresses host:port"));
    }
    if !cx.raft.is_leader() {
        let leader = cx.raft.current_leader().await;
        let at = cx.mesh.group.all().into_iter().find(|node| Some(node.node_id) == leader);
        let at = at.map(|node| node.grpc_addr).unwrap_or_default();
        return Err(Status::failed_precondition(format!("not-leader:{at}")));
    }
    admit(cx, node).await?;
    Ok(v1::AddHubReply { members: cx.mesh.group.all() })
}

/// Learner first; voter once it has what the others have.
async fn admit(cx: &AdminContext, node: v1::HubNode) -> Result<(), Status> {
    let raft = &cx.raft;
    let id = node.node_id;
    check_id_is_free(cx, &node)?;
    if votes(cx.log.state().membership().membership(), id) {
        return Ok(());
    }
    let hub_node = HubNode { grpc_addr: node.grpc_addr.clone(), http_addr: node.http_addr.clone() };
    tracing::info!(hub = id, addr = node.grpc_addr, "a hub asks to enter the group");
    raft.add_learner(id, hub_node, false).await.map_err(|e| Status::unavailable(e.to_string()))?;
    let target = raft.metrics().borrow_watched().last_log_index.unwrap_or(0);
    // openraft's own waiting is satisfied by an empty learner within the lag threshold, so look at the log itself.
    let caught_up = async {
        while !has_copied(&raft.metrics().borrow_watched().clone(), id, target)? {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<(), Status>(())
    };
    tokio::time::timeout(CATCH_UP_WITHIN, caught_up).await.map_err(|_| {
        Status::deadline_exceeded("the new hub has not copied the log in time; start it and retry")
    })??;
    let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
    cx.changes.make(raft, voters).await.map_err(|e| Status::unavailable(e.to_string()))?;
    tracing::info!(hub = id, "a hub has entered the group");
    Ok(())
}

/// Whether a learner has the log up to `target`. An error where nobody would ever learn of it: only the hub that leads
/// knows what the others have.
fn has_copied(metrics: &RaftMetrics<HubRaft>, learner: u64, target: u64) -> Result<bool, Status> {
    if metrics.state != ServerState::Leader {
        return Err(Status::unavailable("the lead went to another hub meanwhile"));
    }
    let matched = metrics.replication.as_ref().and_then(|matched| matched.get(&learner));
    Ok(matched.and_then(Option::as_ref).is_some_and(|log_id| log_id.index() >= target))
}

/// A member keeps the address it entered with, so a second hub with its number would be told that it is in and never
/// hear of the group again.
fn check_id_is_free(cx: &AdminContext, node: &v1::HubNode) -> Result<(), Status> {
    let metrics = cx.raft.metrics().borrow_watched().clone();
    match metrics.membership_config.membership().get_node(&node.node_id) {
        Some(member) if member.grpc_addr != node.grpc_addr => Err(Status::already_exists(format!(
            "h{0} is the hub at {1}: give the new one another --node-id, or take that one out of the group first \
             (`hubctl hub remove {0}`)",
            node.node_id, member.grpc_addr
        ))),
        _ => Ok(()),
    }
}

pub(super) async fn remove_hub(
    cx: &AdminContext,
    request: &Request<v1::RemoveHubRequest>,
) -> Result<v1::RemoveHubReply, Status> {
    let id = request.get_ref().node_id;
    if cx.raft.is_leader() {
        may_go(cx, id)?;
        if id != cx.mesh.group.own_id() {
            return dismiss(cx, id).await;
        }
        // It could not see its own end through: whoever leads next does.
        hand_over(&cx.raft, cx.mesh.group.own_id()).await;
    }
    let ask = |mut leader: Leader, request| async move { leader.remove_hub(request).await };
    pass_on::to_leader(cx, request, v1::RemoveHubRequest { node_id: id }, ask).await
}

/// Whether the group can go on without it: with it gone, most of the others must be there now.
fn may_go(cx: &AdminContext, id: u64) -> Result<(), Status> {
    let metrics = cx.raft.metrics().borrow_watched().clone();
    let membership = metrics.membership_config.membership();
    if membership.get_node(&id).is_none() {
        return Err(Status::not_found(format!("no hub h{id} in the group: `hubctl status` lists them")));
    }
    let heard = metrics.heartbeat.unwrap_or_default();
    let alive = |voter: &u64| {
        let at = heard.get(voter).and_then(Option::as_ref);
        *voter == cx.mesh.group.own_id() || at.is_some_and(|at| at.elapsed() < ALIVE_WITHIN)
    };
    let staying: Vec<u64> = membership.voter_ids().filter(|voter| *voter != id).collect();
    let there = staying.iter().filter(|voter| alive(voter)).count();
    if there * 2 > staying.len() {
        return Ok(());
    }
    Err(Status::failed_precondition(match staying.len() {
        0 => format!("h{id} is the only hub there is"),
        all => format!(
            "of the {all} hubs that would stay only {there} are there now, which is no majority: start the others, or \
             add hubs, first"
        ),
    }))
}

async fn dismiss(cx: &AdminContext, id: u64) -> Result<v1::RemoveHubReply, Status> {
    let voters: BTreeSet<u64> =
        cx.raft.metrics().borrow_watched().membership_config.membership().voter_ids().collect();
    let change = match voters.contains(&id) {
        true => ChangeMembers::RemoveVoters(BTreeSet::from([id])),
        false => ChangeMembers::RemoveNodes(BTreeSet::from([id])),
    };
    cx.changes.make(&cx.raft, change).await.map_err(|e| Status::unavailable(e.to_string()))?;
    tracing::info!(hub = id, "a hub was taken out of the group");
    let mut members: Vec<v1::HubNode> = cx.mesh.group.all();
    members.retain(|node| node.node_id != id);
    members.sort_by_key(|node| node.node_id);
    Ok(v1::RemoveHubReply { members })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It waited two minutes for what only a leader is told, and the new hub with it.
    #[test]
    fn a_hub_that_leads_no_more_does_not_wait_for_the_new_one() {
        let mut metrics = RaftMetrics::new_initial(1);
        metrics.state = ServerState::Leader;
        assert!(!has_copied(&metrics, 2, 0).unwrap(), "nothing is known of it yet");
        metrics.state = ServerState::Follower;
        let refused = has_copied(&metrics, 2, 0).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
    }
}
