//! For operators: what hubctl asks and changes, and how a new hub enters the group.
//!
//! Any hub answers from what it has applied; only the leader knows how far the others are.

mod changes;
mod invitations;
mod plan;
mod verify;
mod words;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use loop_proto::{
    ids::{ForumId, ForumKey, PeerId},
    v1::{self, admin_service_server::AdminService},
};
use loop_raft_store::{
    machine::{Forum, HubState, Peer, Record},
    raft_types::HubNode,
};
use openraft::{ChangeMembers, async_runtime::watch::WatchReceiver};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::{hub::Hub, presence::Whereabouts};

/// Most rows of one page.
const PAGE_MAX: u32 = 10_000;
/// How long a new hub may take to copy the log before it becomes a voter.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(120);

/// Serves operators.
pub struct AdminGrpc {
    /// This hub.
    pub hub: Arc<Hub>,
}

fn page(limit: u32, default: u32) -> usize {
    let limit = if limit == 0 { default } else { limit.min(PAGE_MAX) };
    limit as usize
}

fn forum_info(hub: &Hub, forum: &Forum) -> v1::ForumInfo {
    let rate = hub.traffic.forum(forum.id);
    v1::ForumInfo {
        forum_id: forum.id.get(),
        assignment: Some((&forum.assignment()).into()),
        newest_record: forum.newest_record,
        open_tasks: forum.open_tasks.len() as u64,
        tasks_appended: forum.tasks_appended,
        opened_at_ms: forum.opened_at.0,
        replicas_wanted: changes::replicas_wanted(hub, forum),
        tasks_per_minute: rate.tasks_per_minute,
        reads_per_minute: rate.reads_per_minute,
    }
}

fn peer_info(hub: &Hub, state: &HubState, peer: &Peer, at: Option<&Whereabouts>) -> v1::PeerInfo {
    let (mut forums, mut primaries, mut joining) = (0, 0, 0);
    for forum in state.forums_of(peer.id) {
        let is_joining = forum.replica(peer.id).is_some_and(|replica| replica.joining().is_some());
        forums += u32::from(!is_joining);
        joining += u32::from(is_joining);
        primaries += u32::from(forum.primary == peer.id);
    }
    let status = at.and_then(Whereabouts::status).unwrap_or_default();
    v1::PeerInfo {
        peer_id: peer.id.get(),
        name: peer.name.clone(),
        owner: peer.owner.clone(),
        network: peer.network.clone(),
        connected_to: at.map(|at| at.hub(hub.group.own_id())),
        cursor: at.map_or(0, Whereabouts::cursor),
        executing: at.map_or(0, Whereabouts::executing),
        forums,
        primaries,
        registered_at_ms: peer.registered_at.0,
        state: v1::PeerState::from(peer.state).into(),
        limits: at.map(Whereabouts::limits),
        disk_bytes: status.disk_bytes,
        memory_bytes: status.memory_bytes,
        requests: status.requests,
        joining,
    }
}

fn task_info(record: &Record) -> Option<v1::TaskInfo> {
    let task = record.task()?;
    let endpoint = v1::ClientRequest::decode(task.request.clone()).map_or(0, |request| request.endpoint);
    Some(v1::TaskInfo {
        task_id: record.id.get(),
        forum_id: record.forum.map_or(0, ForumId::get),
        endpoint,
        message_id: task.message_id.map(|id| id.get()),
        received_at_ms: record.at.0,
        origin_hub: task.origin_hub,
    })
}

#[tonic::async_trait]
impl AdminService for AdminGrpc {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        let hub = &self.hub;
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
            matched_index: matched
                .and_then(|m| m.get(id))
                .and_then(|log_id| log_id.as_ref())
                .map(|l| l.index()),
        });
        let hubs = hubs.collect();
        let connected = hub.presence.everyone().len() as u64;
        Ok(Response::new(hub.state.read(|state| {
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
        })))
    }

    async fn list_peers(
        &self,
        _: Request<v1::ListPeersRequest>,
    ) -> Result<Response<v1::ListPeersReply>, Status> {
        let present: BTreeMap<PeerId, Whereabouts> = self.hub.presence.everyone().into_iter().collect();
        let hub = &self.hub;
        let peers = hub.state.read(|state| {
            state.peers().map(|peer| peer_info(hub, state, peer, present.get(&peer.id))).collect()
        });
        Ok(Response::new(v1::ListPeersReply { peers }))
    }

    async fn list_forums(
        &self,
        request: Request<v1::ListForumsRequest>,
    ) -> Result<Response<v1::ListForumsReply>, Status> {
        let request = request.into_inner();
        let limit = page(request.limit, 1000);
        let info = |forum: &Forum| forum_info(&self.hub, forum);
        let mut forums: Vec<v1::ForumInfo> =
            self.hub.state.read(|state| match PeerId::new(request.peer_id) {
                None => state.forums_after(request.after).take(limit + 1).map(info).collect(),
                Some(peer) => state
                    .forums_of(peer)
                    .filter(|forum| forum.id.get() > request.after)
                    .take(limit + 1)
                    .map(info)
                    .collect(),
            });
        let more = forums.len() > limit;
        forums.truncate(limit);
        Ok(Response::new(v1::ListForumsReply { forums, more }))
    }

    async fn show_forum(
        &self,
        request: Request<v1::ShowForumRequest>,
    ) -> Result<Response<v1::ForumInfo>, Status> {
        use v1::show_forum_request::Which;
        let which = request.into_inner().which.ok_or_else(|| Status::invalid_argument("which forum?"))?;
        let info = |forum: &Forum| forum_info(&self.hub, forum);
        let found = self.hub.state.read(|state| {
            let id = match which {
                Which::ForumId(id) => ForumId::new(id),
                Which::Key(key) => ForumKey::from_bytes(&key).and_then(|key| state.forum_by_key(key)),
            };
            id.and_then(|id| state.forum(id)).map(info)
        });
        found.map(Response::new).ok_or_else(|| Status::not_found("nobody has opened this forum"))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<v1::ListTasksReply>, Status> {
        let request = request.into_inner();
        let limit = page(request.limit, 100);
        let wanted = |record: &Record| {
            request.forum_id == 0 || record.forum.is_some_and(|forum| forum.get() == request.forum_id)
        };
        let tasks = self.hub.state.read(|state| {
            let open = state.open_tasks().filter(|record| wanted(record));
            open.filter_map(|record| task_info(record)).take(limit).collect()
        });
        Ok(Response::new(v1::ListTasksReply { tasks }))
    }

    async fn ids(&self, _: Request<v1::IdsRequest>) -> Result<Response<v1::IdsReply>, Status> {
        let ids = self.hub.state.read(|state| state.ids());
        Ok(Response::new(v1::IdsReply {
            next_message_id: ids.message,
            next_task_id: ids.task,
            next_user_id: ids.user,
            next_forum_id: ids.forum,
            message_id_limit: ids.message_max,
        }))
    }

    async fn add_hub(
        &self,
        request: Request<v1::AddHubRequest>,
    ) -> Result<Response<v1::AddHubReply>, Status> {
        let node = request.into_inner().node.ok_or_else(|| Status::invalid_argument("which hub?"))?;
        let usable = |addr: &str| crate::config::is_authority(addr);
        if node.node_id == 0 || !usable(&node.grpc_addr) || !usable(&node.http_addr) {
            return Err(Status::invalid_argument("a hub has an id above 0 and two addresses host:port"));
        }
        if !self.hub.raft.is_leader() {
            let leader = self.hub.raft.current_leader().await;
            let at = self.hub.group.all().into_iter().find(|node| Some(node.node_id) == leader);
            let at = at.map(|node| node.grpc_addr).unwrap_or_default();
            return Err(Status::failed_precondition(format!("not-leader:{at}")));
        }
        self.admit(node).await?;
        Ok(Response::new(v1::AddHubReply { members: self.hub.group.all() }))
    }

    async fn move_forum(
        &self,
        request: Request<v1::MoveForumRequest>,
    ) -> Result<Response<v1::MoveForumReply>, Status> {
        let invitation_id = changes::move_forum(&self.hub, request.into_inner()).await?;
        Ok(Response::new(v1::MoveForumReply { invitation_id }))
    }

    async fn reverse_forum(
        &self,
        request: Request<v1::ReverseForumRequest>,
    ) -> Result<Response<v1::MoveForumReply>, Status> {
        let invitation_id = changes::reverse_forum(&self.hub, request.into_inner()).await?;
        Ok(Response::new(v1::MoveForumReply { invitation_id }))
    }

    async fn change_forum_replicas(
        &self,
        request: Request<v1::ChangeForumReplicasRequest>,
    ) -> Result<Response<v1::ChangeForumReplicasReply>, Status> {
        changes::change_replicas(&self.hub, request.into_inner()).await?;
        Ok(Response::new(v1::ChangeForumReplicasReply {}))
    }

    async fn change_peer_state(
        &self,
        request: Request<v1::ChangePeerStateRequest>,
    ) -> Result<Response<v1::ChangePeerStateReply>, Status> {
        changes::change_peer_state(&self.hub, request.into_inner()).await?;
        Ok(Response::new(v1::ChangePeerStateReply {}))
    }

    async fn list_invitations(
        &self,
        request: Request<v1::ListInvitationsRequest>,
    ) -> Result<Response<v1::ListInvitationsReply>, Status> {
        let request = request.into_inner();
        let invitations = invitations::list(&self.hub, request.open_only, page(request.limit, 100));
        Ok(Response::new(v1::ListInvitationsReply { invitations }))
    }

    async fn show_plan(
        &self,
        request: Request<v1::ShowPlanRequest>,
    ) -> Result<Response<v1::ShowPlanReply>, Status> {
        plan::show(&self.hub, &request).await.map(Response::new)
    }

    async fn verify_forum(
        &self,
        request: Request<v1::VerifyForumRequest>,
    ) -> Result<Response<v1::VerifyForumReply>, Status> {
        verify::verify(&self.hub, request.into_inner().forum_id).await.map(Response::new)
    }
}

impl AdminGrpc {
    /// Learner first; voter once it has what the others have.
    async fn admit(&self, node: v1::HubNode) -> Result<(), Status> {
        let raft = &self.hub.raft;
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
        let voters = ChangeMembers::AddVoterIds(std::collections::BTreeSet::from([id]));
        raft.change_membership(voters, false).await.map_err(|e| Status::unavailable(e.to_string()))?;
        tracing::info!(hub = id, "a hub has entered the group");
        Ok(())
    }
}
