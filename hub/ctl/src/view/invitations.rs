//! Invitations: who was asked to hold what, why, and what became of it.

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::table::{Table, Width},
    View, ago, dash, some, stage, way,
};

#[derive(Debug, Serialize)]
pub struct InvitationsView {
    invitations: Vec<InvitationView>,
}

#[derive(Debug, Serialize)]
struct InvitationView {
    invitation: u64,
    forum: u32,
    target: u32,
    source: u32,
    replaces: Option<u32>,
    cause: &'static str,
    status: &'static str,
    stage: Option<&'static str>,
    reason: Option<&'static str>,
    invited_at_ms: u64,
    changed_at_ms: u64,
    bytes_done: u64,
    bytes_total: u64,
    lag_records: u64,
    waits_for: String,
}

/// What made it due.
pub(super) const fn cause(cause: v1::InvitationCause) -> &'static str {
    match cause {
        v1::InvitationCause::Unspecified => "unknown",
        v1::InvitationCause::Operator => "operator",
        v1::InvitationCause::TooFew => "too few",
        v1::InvitationCause::LostPeer => "lost peer",
        v1::InvitationCause::Drain => "drain",
        v1::InvitationCause::Busy => "busy",
        v1::InvitationCause::Balance => "balance",
        v1::InvitationCause::Behind => "behind",
        v1::InvitationCause::Reverse => "reverse",
        v1::InvitationCause::LastCopy => "last copy",
        v1::InvitationCause::Probation => "probation",
    }
}

/// How far it has come.
pub(super) const fn status(status: v1::InvitationStatus) -> &'static str {
    match status {
        v1::InvitationStatus::Unspecified => "unknown",
        v1::InvitationStatus::Waiting => "waiting",
        v1::InvitationStatus::Accepted => "accepted",
        v1::InvitationStatus::Completed => "completed",
        v1::InvitationStatus::Rejected => "rejected",
        v1::InvitationStatus::Timeout => "timeout",
    }
}

/// Why the peer would not, in its own words.
pub(super) const fn reason(reason: v1::RejectReason) -> Option<&'static str> {
    match reason {
        v1::RejectReason::Unspecified => None,
        v1::RejectReason::Paused => Some("the peer is paused"),
        v1::RejectReason::ForumsMax => Some("it holds as many forums as it may"),
        v1::RejectReason::DiskFull => Some("its disk, or its share of it, is full"),
        v1::RejectReason::ForumTooLarge => Some("the forum is larger than its limit for one"),
        v1::RejectReason::BadCheckpoint => Some("the copy was damaged or not allowed"),
        v1::RejectReason::Busy => Some("it takes as many copies at once as it may"),
    }
}

impl From<Vec<v1::InvitationInfo>> for InvitationsView {
    fn from(invitations: Vec<v1::InvitationInfo>) -> Self {
        let view = |info: v1::InvitationInfo| InvitationView {
            invitation: info.invitation_id,
            forum: info.forum_id,
            target: info.target,
            source: info.source,
            replaces: some(info.replaces),
            cause: cause(info.cause()),
            status: status(info.status()),
            stage: (info.stage() != v1::JoinStage::Unspecified).then(|| stage(info.stage())),
            reason: reason(info.reason()),
            invited_at_ms: info.invited_at_ms,
            changed_at_ms: info.changed_at_ms,
            bytes_done: info.bytes_done,
            bytes_total: info.bytes_total,
            lag_records: info.lag_records,
            waits_for: info.waits_for,
        };
        Self { invitations: invitations.into_iter().map(view).collect() }
    }
}

impl InvitationsView {
    /// Every peer that is named in it.
    pub fn peers(&self) -> Vec<u32> {
        self.invitations.iter().flat_map(|i| [Some(i.target), Some(i.source), i.replaces]).flatten().collect()
    }
}

impl View for InvitationsView {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, now_ms: u64, width: Width) -> String {
        if self.invitations.is_empty() {
            return "no invitation\n".to_owned();
        }
        let mut table = Table::new(&[
            "INVITATION",
            "FORUM",
            "MOVE",
            "SOURCE",
            "CAUSE",
            "STATUS",
            "INVITED",
            "CHANGED",
            "STAGE, REASON",
        ])
        .extras(&["INVITATION", "SOURCE", "INVITED"])
        .sentences(&["STAGE, REASON"]);
        for invitation in &self.invitations {
            let InvitationView { stage, reason, waits_for, .. } = invitation;
            let more = match (stage, reason) {
                (Some(stage), _) => format!("{stage}: {waits_for}"),
                (None, Some(reason)) => (*reason).to_owned(),
                (None, None) => dash(waits_for),
            };
            table.row(vec![
                format!("t{}", invitation.invitation),
                format!("f{}", invitation.forum),
                way(invitation.replaces, invitation.target),
                format!("p{}", invitation.source),
                invitation.cause.to_owned(),
                invitation.status.to_owned(),
                ago(invitation.invited_at_ms, now_ms),
                ago(invitation.changed_at_ms, now_ms),
                more,
            ]);
        }
        table.render_within(width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_invitation_says_what_it_waits_for_and_a_rejected_one_why() {
        let open = v1::InvitationInfo {
            invitation_id: 77,
            forum_id: 12,
            source: 2,
            target: 4,
            replaces: 2,
            status: v1::InvitationStatus::Waiting.into(),
            stage: v1::JoinStage::Invited.into(),
            waits_for: "waits for p4 to answer".into(),
            ..Default::default()
        };
        let rejected = v1::InvitationInfo {
            replaces: 0,
            status: v1::InvitationStatus::Rejected.into(),
            stage: 0,
            reason: v1::RejectReason::DiskFull.into(),
            waits_for: String::new(),
            ..open.clone()
        };
        let view = InvitationsView::from(vec![open, rejected]);
        assert_eq!(view.peers(), [4, 2, 2, 4, 2]);
        let text = view.text_within(0, Width::WIDE);
        for part in ["p2 → p4", "invited: waits for p4 to answer", "+ p4", "rejected", "its disk"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let json = serde_json::to_value(&view).unwrap();
        assert!(json["invitations"][1]["replaces"].is_null() && json["invitations"][1]["stage"].is_null());
        assert!(InvitationsView::from(Vec::new()).text(0).contains("no invitation"));
    }
}
