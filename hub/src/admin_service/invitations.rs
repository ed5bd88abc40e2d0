//! Invitations as operators see them: what the log says, and how far peers say they are.

use loop_proto::{ids::PeerId, v1};
use loop_raft_store::machine::{HubState, Invitation, JoinStage, Replica};

use crate::{hub::Hub, presence::Whereabouts};

/// Up to `limit` invitations, newest first.
pub(super) fn list(hub: &Hub, open_only: bool, limit: usize) -> Vec<v1::InvitationInfo> {
    let mut infos: Vec<(PeerId, v1::InvitationInfo)> = hub.state.read(|state| {
        let wanted = |invitation: &&Invitation| !open_only || invitation.status.is_open();
        let wanted = state.invitations_newest_first().filter(wanted).take(limit);
        wanted.map(|invitation| (invitation.target, info(state, invitation))).collect()
    });
    for (target, info) in &mut infos {
        if info.stage() != v1::JoinStage::Unspecified {
            add_progress(info, *target, hub.presence.find(*target).as_ref());
        }
    }
    infos.into_iter().map(|(_, info)| info).collect()
}

fn info(state: &HubState, invitation: &Invitation) -> v1::InvitationInfo {
    let forum = state.forum(invitation.forum);
    let joining = forum.and_then(|forum| forum.replica(invitation.target)).and_then(Replica::joining);
    let stage = joining.filter(|joining| joining.invitation == invitation.id).map(|joining| joining.stage);
    v1::InvitationInfo {
        invitation_id: invitation.id.get(),
        forum_id: invitation.forum.get(),
        source: invitation.source.get(),
        target: invitation.target.get(),
        replaces: invitation.replaces.map_or(0, PeerId::get),
        cause: invitation.cause.into(),
        status: v1::InvitationStatus::from(invitation.status).into(),
        stage: stage.map_or(v1::JoinStage::Unspecified, v1::JoinStage::from).into(),
        reason: invitation.reason.into(),
        invited_at_ms: invitation.invited_at.0,
        changed_at_ms: invitation.changed_at.0,
        // The forum's newest record, until the target's cursor is known.
        lag_records: forum.map_or(0, |forum| forum.newest_record),
        ..Default::default()
    }
}

fn add_progress(info: &mut v1::InvitationInfo, target: PeerId, at: Option<&Whereabouts>) {
    let Some(at) = at else {
        info.lag_records = 0;
        info.waits_for = format!("{target} to connect again");
        return;
    };
    info.lag_records = info.lag_records.saturating_sub(at.cursor());
    let seeding = at.status().unwrap_or_default().seeding;
    let seeding = seeding.into_iter().find(|seeding| seeding.invitation_id == info.invitation_id);
    if let Some(seeding) = seeding {
        (info.bytes_done, info.bytes_total) = (seeding.bytes_done, seeding.bytes_total);
    }
    info.waits_for = match JoinStage::of_wire(info.stage()) {
        Some(JoinStage::Invited) => format!("{target} to answer"),
        Some(JoinStage::Seeding) => match seeding {
            Some(seeding) if seeding.installing => format!("{target} to turn the copy into rows"),
            Some(seeding) if seeding.bytes_total > 0 => format!("{target} to receive the copy"),
            _ => format!("p{} to make its copy", info.source),
        },
        Some(JoinStage::CatchingUp) if info.lag_records > 0 => {
            format!("{target} to apply {} more records", info.lag_records)
        }
        Some(JoinStage::CatchingUp) => "the leader to cut over".to_owned(),
        None => String::new(),
    };
}
