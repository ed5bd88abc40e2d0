//! Invitations as operators see them: what is agreed, how far the copy is as the target says, and what comes next.

use std::time::Duration;

use loop_proto::{
    ids::{HubTime, PeerId},
    v1,
};
use loop_raft_store::machine::{Forum, HubState, Invitation, JoinStage, Replica, ReplicaRole};

use super::{context::AdminContext, page::page, waits_for};
use crate::mesh::presence::Whereabouts;

/// The newest ones first.
pub(super) fn list(cx: &AdminContext, request: v1::ListInvitationsRequest) -> v1::ListInvitationsReply {
    let limit = page(request.limit, 100);
    let now = cx.io.now_ms();
    let invitations = cx.log.read(|state| {
        let wanted = |invitation: &&Invitation| {
            !request.open_only || invitation.status.is_open() || replaced(state, invitation).is_some()
        };
        let chosen = state.invitations_newest_first().filter(wanted).take(limit);
        chosen.map(|invitation| info(cx, state, invitation, now)).collect()
    });
    v1::ListInvitationsReply { invitations }
}

fn info(cx: &AdminContext, state: &HubState, invitation: &Invitation, now_ms: u64) -> v1::InvitationInfo {
    let mut info = v1::InvitationInfo {
        invitation_id: invitation.id.get(),
        forum_id: invitation.forum.get(),
        source: invitation.source.get(),
        target: invitation.target.get(),
        replaces: invitation.replaces.map_or(0, PeerId::get),
        cause: invitation.cause.into(),
        status: v1::InvitationStatus::from(invitation.status).into(),
        reason: invitation.reason.into(),
        invited_at_ms: invitation.invited_at.0,
        changed_at_ms: invitation.changed_at.0,
        ..Default::default()
    };
    let joining = state.forum(invitation.forum).and_then(|forum| Some((forum, stage(forum, invitation)?)));
    if let Some((forum, stage)) = joining {
        add_progress(cx, forum, invitation, stage, now_ms, &mut info);
    } else if let Some((old, cut_over)) = replaced(state, invitation) {
        let successor = state.forum(invitation.forum).and_then(|forum| forum.replica(invitation.target));
        let age = |at: HubTime| Duration::from_millis(state.steady().0.saturating_sub(at.0));
        let replaced = waits_for::Replaced {
            old,
            successor: invitation.target,
            passed: cx.mesh.presence.find(invitation.target).map(|at| at.cursor()),
            cut_over,
            confirmed_for: successor.and_then(|replica| replica.confirmed_at).map(age),
            kept_for: cx.config.copy_grace,
        };
        info.waits_for = replaced.words();
    }
    info
}

/// Where the target of an open invitation stands.
fn stage(forum: &Forum, invitation: &Invitation) -> Option<JoinStage> {
    let joining = forum.replica(invitation.target).and_then(Replica::joining)?;
    (joining.invitation == invitation.id).then_some(joining.stage)
}

/// The replica whose place the target has taken and that is still there, and the record of the cut-over.
fn replaced(state: &HubState, invitation: &Invitation) -> Option<(PeerId, u64)> {
    let (old, cut_over) = (invitation.replaces?, invitation.cut_over_at?);
    match state.forum(invitation.forum)?.replica(old)?.role {
        ReplicaRole::Draining { since_record, .. } if since_record == cut_over => Some((old, cut_over.get())),
        _ => None,
    }
}

fn add_progress(
    cx: &AdminContext,
    forum: &Forum,
    invitation: &Invitation,
    stage: JoinStage,
    now_ms: u64,
    info: &mut v1::InvitationInfo,
) {
    let at = cx.mesh.presence.find(invitation.target);
    let status = at.as_ref().and_then(Whereabouts::status).unwrap_or_default();
    let copy = status.seeding.iter().find(|seeding| seeding.invitation_id == invitation.id.get());
    let lag = at.as_ref().map_or(0, |at| forum.newest_record.saturating_sub(at.cursor()));
    info.stage = v1::JoinStage::from(stage).into();
    info.lag_records = lag;
    if let Some(copy) = copy.filter(|_| stage == JoinStage::Seeding) {
        (info.bytes_done, info.bytes_total) = (copy.bytes_done, copy.bytes_total);
    }
    let words = waits_for::Joining {
        forum: forum.id,
        target: invitation.target,
        source: invitation.source,
        stage,
        connected: at.is_some(),
        source_connected: !cx.mesh.presence.find_all(forum.serving()).is_empty(),
        copy,
        lag,
        patience: patience(cx.config.invitation_timeout, stage, invitation.changed_at.0, now_ms),
    };
    info.waits_for = words.words();
}

/// What is left of the leader's patience with a target that has not moved since its stage changed.
fn patience(timeout: Duration, stage: JoinStage, changed_at_ms: u64, now_ms: u64) -> Option<Duration> {
    let whole = if stage == JoinStage::Invited { timeout } else { timeout * 2 };
    let gone = Duration::from_millis(now_ms.saturating_sub(changed_at_ms));
    whole.checked_sub(gone).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_counted_from_the_last_step_and_doubled_for_those_who_accepted() {
        let left = |stage, now| patience(Duration::from_secs(30), stage, 1_000_000, now);
        assert_eq!(left(JoinStage::Invited, 1_000_000), Some(Duration::from_secs(30)));
        assert_eq!(left(JoinStage::Invited, 1_012_000), Some(Duration::from_secs(18)));
        assert_eq!(left(JoinStage::Invited, 1_030_000), None);
        assert_eq!(left(JoinStage::Seeding, 1_030_000), Some(Duration::from_secs(30)));
        assert_eq!(left(JoinStage::CatchingUp, 2_000_000), None);
        assert_eq!(left(JoinStage::Invited, 5), Some(Duration::from_secs(30)), "two clocks may differ");
    }
}
