//! Peers, forums, tasks and ids, from what this hub has applied and what it has heard.

use std::collections::BTreeMap;

use loop_proto::{
    ids::{ForumId, ForumKey, PeerId},
    v1,
};
use loop_raft_store::machine::{Forum, HubState, Peer, Record};
use prost::Message;
use tonic::Status;

use super::page;
use crate::{hub::Hub, presence::Whereabouts};

pub(super) fn peers(hub: &Hub) -> Vec<v1::PeerInfo> {
    let present: BTreeMap<PeerId, Whereabouts> = hub.presence.everyone().into_iter().collect();
    let own = hub.group.own_id();
    hub.state
        .read(|state| state.peers().map(|peer| peer_info(state, peer, own, present.get(&peer.id))).collect())
}

fn peer_info(state: &HubState, peer: &Peer, own: u64, at: Option<&Whereabouts>) -> v1::PeerInfo {
    let (mut forums, mut primaries, mut joining) = (0, 0, 0);
    for forum in state.forums_of(peer.id) {
        let comes = forum.replica(peer.id).is_some_and(|replica| replica.joining().is_some());
        joining += u32::from(comes);
        forums += u32::from(!comes);
        primaries += u32::from(forum.primary == peer.id);
    }
    let status = at.and_then(Whereabouts::status).unwrap_or_default();
    v1::PeerInfo {
        peer_id: peer.id.get(),
        name: peer.name.clone(),
        owner: peer.owner.clone(),
        network: peer.network.clone(),
        connected_to: at.map(|at| at.hub(own)),
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
        ..Default::default()
    }
}

pub(super) fn forums(hub: &Hub, request: v1::ListForumsRequest) -> v1::ListForumsReply {
    let limit = page(request.limit, 1000);
    let mut forums: Vec<v1::ForumInfo> = hub.state.read(|state| match PeerId::new(request.peer_id) {
        None => {
            state.forums_after(request.after).take(limit + 1).map(|forum| forum_info(hub, forum)).collect()
        }
        Some(peer) => state
            .forums_of(peer)
            .filter(|forum| forum.id.get() > request.after)
            .take(limit + 1)
            .map(|forum| forum_info(hub, forum))
            .collect(),
    });
    let more = forums.len() > limit;
    forums.truncate(limit);
    forums.iter_mut().for_each(|forum| add_rates(hub, forum));
    v1::ListForumsReply { forums, more }
}

pub(super) fn forum(hub: &Hub, request: v1::ShowForumRequest) -> Result<v1::ForumInfo, Status> {
    use v1::show_forum_request::Which;
    let which = request.which.ok_or_else(|| Status::invalid_argument("which forum?"))?;
    let found = hub.state.read(|state| {
        let id = match which {
            Which::ForumId(id) => ForumId::new(id),
            Which::Key(key) => ForumKey::from_bytes(&key).and_then(|key| state.forum_by_key(key)),
        };
        id.and_then(|id| state.forum(id)).map(|forum| forum_info(hub, forum))
    });
    let mut found = found.ok_or_else(|| Status::not_found("nobody has opened this forum"))?;
    add_rates(hub, &mut found);
    Ok(found)
}

fn forum_info(hub: &Hub, forum: &Forum) -> v1::ForumInfo {
    let by_default = u32::try_from(hub.config.replicas).unwrap_or(u32::MAX);
    v1::ForumInfo {
        forum_id: forum.id.get(),
        assignment: Some((&forum.assignment()).into()),
        newest_record: forum.newest_record,
        open_tasks: forum.open_tasks.len() as u64,
        tasks_appended: forum.tasks_appended,
        opened_at_ms: forum.opened_at.0,
        replicas_wanted: forum.replicas_wanted.unwrap_or(by_default),
        ..Default::default()
    }
}

/// What the forum has to do, as this hub has seen and heard.
fn add_rates(hub: &Hub, info: &mut v1::ForumInfo) {
    let rate = ForumId::new(info.forum_id).map(|forum| hub.traffic.forum(forum)).unwrap_or_default();
    info.tasks_per_minute = rate.tasks_per_minute;
    info.reads_per_minute = rate.reads_per_minute;
}

pub(super) fn tasks(hub: &Hub, request: v1::ListTasksRequest) -> Vec<v1::TaskInfo> {
    let limit = page(request.limit, 100);
    let wanted = |record: &Record| {
        request.forum_id == 0 || record.forum.is_some_and(|forum| forum.get() == request.forum_id)
    };
    hub.state.read(|state| {
        let open = state.open_tasks().filter(|record| wanted(record));
        open.filter_map(|record| task_info(record)).take(limit).collect()
    })
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

pub(super) fn ids(hub: &Hub) -> v1::IdsReply {
    let ids = hub.state.read(|state| state.ids());
    v1::IdsReply {
        next_message_id: ids.message,
        next_task_id: ids.task,
        next_user_id: ids.user,
        next_forum_id: ids.forum,
        message_id_limit: ids.message_max,
    }
}
