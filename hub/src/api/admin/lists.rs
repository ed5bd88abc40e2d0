//! Peers, forums, tasks and ids, from what this hub has applied and what it has heard.

use std::collections::BTreeMap;

use loop_atomjump::Rule;
use loop_proto::{
    ids::{ForumId, ForumKey, PeerId},
    v1,
};
use loop_raft_store::machine::{Forum, HubState, Peer, Record};
use prost::Message;
use tonic::Status;

use super::{context::AdminContext, page::page};
use crate::{
    mesh::presence::Whereabouts,
    placement::{
        balance::Patience,
        liveness::{self, wanted},
    },
};

/// Forums looked at in one go while the state is locked for reading.
const PORTION: usize = 1024;

pub(super) fn peers(cx: &AdminContext) -> Vec<v1::PeerInfo> {
    let present: BTreeMap<PeerId, Whereabouts> = cx.mesh.presence.everyone().into_iter().collect();
    let own = cx.mesh.group.own_id();
    let policy = cx.policy;
    cx.log.read(|state| {
        let patience = policy.patience(state);
        state.peers().map(|peer| peer_info(state, peer, own, present.get(&peer.id), &patience)).collect()
    })
}

fn peer_info(
    state: &HubState,
    peer: &Peer,
    own: u64,
    at: Option<&Whereabouts>,
    patience: &Patience,
) -> v1::PeerInfo {
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
        // What the log knows of it is a moment old: who is here is not away.
        away_ms: at.is_none().then(|| peer.attendance.away_ms(patience.now).unwrap_or(0)),
        present_permille: peer.attendance.present_permille(patience.now),
        proven: patience.is_proven(&peer.attendance) && !patience.is_doubted(peer),
        breaches: peer.breach.map_or(0, |breach| breach.count),
        breach: peer
            .breach
            .and_then(|breach| Rule::of_number(breach.rule.into()))
            .map_or(String::new(), |rule| format!("an answer with {rule}")),
        suspended_ms: state.suspended_ms(peer.id),
    }
}

pub(super) async fn forums(cx: &AdminContext, request: v1::ListForumsRequest) -> v1::ListForumsReply {
    let limit = page(request.limit, 1000);
    let look = Look::now(cx);
    let asked_for = |forum: &&Forum| !request.unhealthy || look.is_short(forum);
    let mut forums: Vec<v1::ForumInfo> = match PeerId::new(request.peer_id) {
        Some(peer) => cx.log.read(|state| {
            let later = state.forums_of(peer).filter(|forum| forum.id.get() > request.after);
            later.filter(asked_for).take(limit + 1).map(|forum| look.info(forum)).collect()
        }),
        None => all_forums(cx, request.after, limit + 1, asked_for, |forum| look.info(forum)).await,
    };
    let more = forums.len() > limit;
    forums.truncate(limit);
    forums.iter_mut().for_each(|forum| look.add_seen(forum));
    v1::ListForumsReply { forums, more }
}

/// Up to `most` forums by id above `after`, in portions: where few of a million are asked for, all are looked at, and
/// nothing can be applied while the state is read.
async fn all_forums(
    cx: &AdminContext,
    after: u32,
    most: usize,
    asked_for: impl Fn(&&Forum) -> bool,
    info: impl Fn(&Forum) -> v1::ForumInfo,
) -> Vec<v1::ForumInfo> {
    let (mut found, mut after) = (Vec::new(), after);
    while found.len() < most {
        let last = cx.log.read(|state| {
            let (mut last, mut looked_at) = (None, 0);
            for forum in state.forums_after(after).take(PORTION) {
                (last, looked_at) = (Some(forum.id.get()), looked_at + 1);
                if asked_for(&forum) {
                    found.push(info(forum));
                    if found.len() == most {
                        break;
                    }
                }
            }
            last.filter(|_| looked_at == PORTION)
        });
        let Some(last) = last else { break };
        after = last;
        tokio::task::yield_now().await;
    }
    found
}

pub(super) fn forum(cx: &AdminContext, request: v1::ShowForumRequest) -> Result<v1::ForumInfo, Status> {
    use v1::show_forum_request::Which;
    let which = request.which.ok_or_else(|| Status::invalid_argument("which forum?"))?;
    let look = Look::now(cx);
    let found = cx.log.read(|state| {
        let id = match which {
            Which::ForumId(id) => ForumId::new(id),
            Which::Key(key) => ForumKey::from_bytes(&key).and_then(|key| state.forum_by_key(key)),
        };
        id.and_then(|id| state.forum(id)).map(|forum| look.info(forum))
    });
    let mut found = found.ok_or_else(|| Status::not_found("nobody has opened this forum"))?;
    look.add_seen(&mut found);
    Ok(found)
}

/// One look at forums: who is connected, and how far, in this moment.
struct Look<'a> {
    cx: &'a AdminContext,
    cursors: BTreeMap<PeerId, u64>,
}

impl<'a> Look<'a> {
    fn now(cx: &'a AdminContext) -> Self {
        Self { cx, cursors: cx.mesh.presence.cursors() }
    }

    fn live<'b>(&'b self, forum: &'b Forum) -> impl Iterator<Item = PeerId> + 'b {
        liveness::live(forum, |peer| self.cursors.get(&peer).copied())
    }

    fn wanted(&self, forum: &Forum) -> usize {
        wanted(forum, self.cx.config.replicas)
    }

    /// Whether a forum has fewer live copies than wanted.
    fn is_short(&self, forum: &Forum) -> bool {
        self.live(forum).count() < self.wanted(forum)
    }

    fn info(&self, forum: &Forum) -> v1::ForumInfo {
        let assignment = v1::Assignment::from(&forum.assignment());
        v1::ForumInfo {
            forum_id: forum.id.get(),
            unconfirmed: assignment.unconfirmed.clone(),
            assignment: Some(assignment),
            newest_record: forum.newest_record,
            open_tasks: forum.open_tasks.len() as u64,
            tasks_appended: forum.tasks_appended,
            opened_at_ms: forum.opened_at.0,
            replicas_wanted: u32::try_from(self.wanted(forum)).unwrap_or(u32::MAX),
            messages_finished: forum.occupancy.finished_ever,
            messages_unfinished: forum.occupancy.unfinished,
            live: self.live(forum).map(PeerId::get).collect(),
            ..Default::default()
        }
    }

    /// What the forum has to do, and for how long it has been short of copies, as this hub has seen and heard.
    fn add_seen(&self, info: &mut v1::ForumInfo) {
        let Some(forum) = ForumId::new(info.forum_id) else { return };
        let rate = self.cx.mesh.traffic.forum(forum);
        info.tasks_per_minute = rate.tasks_per_minute;
        info.reads_per_minute = rate.reads_per_minute;
        if info.live.len() < info.replicas_wanted as usize {
            let below = self.cx.health.below_for(forum);
            info.below_for_ms = Some(u64::try_from(below.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

pub(super) fn tasks(cx: &AdminContext, request: v1::ListTasksRequest) -> Vec<v1::TaskInfo> {
    let limit = page(request.limit, 100);
    let wanted = |record: &Record| {
        request.forum_id == 0 || record.forum.is_some_and(|forum| forum.get() == request.forum_id)
    };
    cx.log.read(|state| {
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
    })
}

pub(super) fn ids(cx: &AdminContext) -> v1::IdsReply {
    let ids = cx.log.read(|state| state.ids());
    v1::IdsReply {
        next_message_id: ids.message,
        next_task_id: ids.task,
        next_user_id: ids.user,
        next_forum_id: ids.forum,
        message_id_limit: ids.message_max,
    }
}
