//! What balance would do now. The leader knows; every other hub asks it.

use std::time::Duration;

use loop_proto::{ids::PeerId, v1};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Request, Status};

use super::{
    context::AdminContext,
    pass_on::{self, Leader},
};
use crate::{
    leader::Planned,
    placement::balance::{Action, BlockedForum, Step},
};

/// How long a new leader may take to plan.
const PLANNED_WITHIN: Duration = Duration::from_millis(3500);
/// How long the leader may take to say what a forum lacks.
const BLOCKED_WITHIN: Duration = Duration::from_secs(1);
/// How often its plan is looked for.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn show(
    cx: &AdminContext,
    request: &Request<v1::ShowPlanRequest>,
) -> Result<v1::ShowPlanReply, Status> {
    if cx.raft.is_leader() {
        let Planned { steps, blocked, took } = newest(cx).await?;
        let planned_in_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let blocked_total = blocked.total as u64;
        return Ok(v1::ShowPlanReply {
            steps: steps.iter().map(step).collect(),
            planned_in_us,
            blocked: blocked.forums.iter().map(blocked_forum).collect(),
            blocked_total,
        });
    }
    let ask = |mut leader: Leader, request| async move { leader.show_plan(request).await };
    pass_on::to_leader(cx, request, v1::ShowPlanRequest {}, ask).await
}

/// What forum `id` lacks and nobody can give, as far as the hub that leads knows at once.
pub(super) async fn blocked(
    cx: &AdminContext,
    asked: &Request<v1::ShowForumRequest>,
    id: u32,
) -> Option<v1::BlockedForum> {
    if cx.raft.is_leader() {
        let planned = cx.plan.newest()?;
        let found = planned.blocked.forums.iter().find(|blocked| blocked.forum.get() == id);
        return found.map(blocked_forum);
    }
    let message = v1::ShowForumRequest { which: Some(v1::show_forum_request::Which::ForumId(id)) };
    let ask = |mut leader: Leader, request| async move { leader.show_forum(request).await };
    // Nice to know: who asks about a forum does not wait for a leader that does not answer.
    timeout(BLOCKED_WITHIN, pass_on::to_leader(cx, asked, message, ask)).await.ok()?.ok()?.blocked
}

/// The plan in force, which is a second old at most. A new leader has none before it has seen who is there.
async fn newest(cx: &AdminContext) -> Result<Planned, Status> {
    let until = Instant::now() + PLANNED_WITHIN;
    loop {
        if let Some(planned) = cx.plan.newest() {
            return Ok(planned);
        }
        if Instant::now() >= until || !cx.raft.is_leader() {
            return Err(Status::unavailable(
                "the hub that leads has no plan yet: it leads since a moment ago, or reaches no majority of hubs",
            ));
        }
        sleep(LOOK).await;
    }
}

fn step(step: &Step) -> v1::PlannedStep {
    let (what, peer, replaces) = match step.action {
        Action::Invite { target, replaces, .. } => ("invite", target, replaces),
        Action::MovePrimary { to, .. } => ("move primary", to, None),
        Action::Remove { peer, .. } => ("remove replica", peer, None),
        Action::Reinstate { peer } => ("take back", peer, None),
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

/// A forum that lacks something nobody can give, as an operator reads it.
pub(super) fn blocked_forum(blocked: &BlockedForum) -> v1::BlockedForum {
    let obstacles = blocked.obstacles.iter();
    v1::BlockedForum {
        forum_id: blocked.forum.get(),
        needs: blocked.to_string(),
        obstacles: obstacles
            .map(|(peer, why)| v1::Obstacle { peer_id: peer.get(), why: why.to_string() })
            .collect(),
        others: u32::try_from(blocked.others).unwrap_or(u32::MAX),
    }
}
