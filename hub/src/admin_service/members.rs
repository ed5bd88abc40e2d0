//! The group of hubs as this one sees it, and how a new hub enters.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use loop_proto::v1;
use loop_raft_store::raft_types::HubNode;
use openraft::{ChangeMembers, async_runtime::watch::WatchReceiver};
use tonic::Status;

use crate::{config::is_authority, hub::Hub};

/// How long a new hub may take to copy the log before it becomes a voter.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(120);

pub(super) fn status(hub: &Hub) -> v1::StatusReply {
    let metrics = hub.raft.metrics().borrow_watched().clone();
    let matched = metrics.replication.as_ref();
    let membership = metrics.membership_config.membership();
    let voters: Vec<u64> = membership.voter_ids().collect();
    let hubs = membership.nodes().map(|(id, node)| v1::HubInfo {
        node: Some(v1::HubNode {
            node_id: *id,
            grpc_addr: node.grpc_addr.clone(),
            http_addr: node.http_addr.clone(),
        }),
        voter: voters.contains(id),
        matched_index: matched.and_then(|m| m.get(id)).and_then(|log_id| log_id.as_ref()).map(|l| l.index()),
    });
    let hubs = hubs.collect();
    let connected = hub.presence.everyone().len() as u64;
    hub.state.read(|state| {
        let counts = state.counts();
        v1::StatusReply {
            hub_id: hub.group.own_id(),
            leader: metrics.current_leader,
            term: metrics.current_term,
            version: env!("CARGO_PKG_VERSION").into(),
            applied_index: hub.state.applied_index(),
            hubs,
            newest_task: state.newest(),
            trimmed_through: state.trimmed_through(),
            open_tasks: counts.open_tasks as u64,
            forums: counts.forums as u64,
            peers: counts.peers as u64,
            connected_peers: connected,
            sessions: counts.sessions as u64,
        }
    })
}

pub(super) async fn add_hub(hub: &Arc<Hub>, request: v1::AddHubRequest) -> Result<v1::AddHubReply, Status> {
    let node = request.node.ok_or_else(|| Status::invalid_argument("which hub?"))?;
    if node.node_id == 0 || !is_authority(&node.grpc_addr) || !is_authority(&node.http_addr) {
        return Err(Status::invalid_argument("a hub has an id above 0 and two addresses host:port"));
    }
    if !hub.raft.is_leader() {
        let leader = hub.raft.current_leader().await;
        let at = hub.group.all().into_iter().find(|node| Some(node.node_id) == leader);
        let at = at.map(|node| node.grpc_addr).unwrap_or_default();
        return Err(Status::failed_precondition(format!("not-leader:{at}")));
    }
    admit(hub, node).await?;
    Ok(v1::AddHubReply { members: hub.group.all() })
}

/// Learner first; voter once it has what the others have.
async fn admit(hub: &Hub, node: v1::HubNode) -> Result<(), Status> {
    let raft = &hub.raft;
    let id = node.node_id;
    let hub_node = HubNode { grpc_addr: node.grpc_addr.clone(), http_addr: node.http_addr.clone() };
    tracing::info!(hub = id, addr = node.grpc_addr, "a hub asks to enter the group");
    raft.add_learner(id, hub_node, false).await.map_err(|e| Status::unavailable(e.to_string()))?;
    let target = raft.metrics().borrow_watched().last_log_index.unwrap_or(0);
    // openraft's own waiting is satisfied by an empty learner within the lag threshold, so look at the log itself.
    let caught_up = async {
        loop {
            let metrics = raft.metrics().borrow_watched().clone();
            let matched = metrics.replication.as_ref().and_then(|m| m.get(&id)).and_then(|l| l.as_ref());
            if matched.is_some_and(|log_id| log_id.index() >= target) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(CATCH_UP_WITHIN, caught_up).await.map_err(|_| {
        Status::deadline_exceeded("the new hub has not copied the log in time; start it and retry")
    })?;
    let voters = ChangeMembers::AddVoterIds(BTreeSet::from([id]));
    raft.change_membership(voters, false).await.map_err(|e| Status::unavailable(e.to_string()))?;
    tracing::info!(hub = id, "a hub has entered the group");
    Ok(())
}
