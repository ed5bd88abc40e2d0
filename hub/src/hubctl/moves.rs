//! Forums on the move, as an operator reads of them: invitations, migrations, plans, digests, and what was done.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use loop_proto::v1::{self, InvitationCause, InvitationStatus, JoinStage, PeerState, RejectReason};
use serde::Serialize;

use super::{
    table::Table,
    view::{View, ago, dash},
};

#[derive(Debug, Serialize)]
pub(super) struct InvitationsView {
    invitations: Vec<InvitationView>,
}

#[derive(Debug, Serialize)]
struct InvitationView {
    invitation: u64,
    forum: u32,
    source: u32,
    target: u32,
    replaces: Option<u32>,
    cause: &'static str,
    status: &'static str,
    stage: Option<&'static str>,
    reason: Option<&'static str>,
    invited_at_ms: u64,
    changed_at_ms: u64,
    waits_for: Option<String>,
}

impl From<v1::InvitationInfo> for InvitationView {
    fn from(info: v1::InvitationInfo) -> Self {
        Self {
            invitation: info.invitation_id,
            forum: info.forum_id,
            source: info.source,
            target: info.target,
            replaces: (info.replaces != 0).then_some(info.replaces),
            cause: cause(info.cause()),
            status: status(info.status()),
            stage: stage(info.stage()),
            reason: reason(info.reason()),
            invited_at_ms: info.invited_at_ms,
            changed_at_ms: info.changed_at_ms,
            waits_for: (!info.waits_for.is_empty()).then_some(info.waits_for),
        }
    }
}

impl From<Vec<v1::InvitationInfo>> for InvitationsView {
    fn from(invitations: Vec<v1::InvitationInfo>) -> Self {
        Self { invitations: invitations.into_iter().map(InvitationView::from).collect() }
    }
}

impl View for InvitationsView {
    fn text(&self, now_ms: u64) -> String {
        if self.invitations.is_empty() {
            return "no invitation\n".to_owned();
        }
        let header =
            ["INVITATION", "FORUM", "SOURCE", "TARGET", "REPLACES", "CAUSE", "STATUS", "REASON", "CHANGED"];
        let mut table = Table::new(&header);
        for row in &self.invitations {
            table.row(vec![
                format!("t{}", row.invitation),
                format!("f{}", row.forum),
                format!("p{}", row.source),
                format!("p{}", row.target),
                peer(row.replaces),
                row.cause.to_owned(),
                row.status.to_owned(),
                dash(row.reason.or(row.waits_for.as_deref()).unwrap_or_default()),
                ago(row.changed_at_ms, now_ms),
            ]);
        }
        table.render()
    }
}

/// Open invitations as they were at one moment.
#[derive(Debug, Default)]
pub(super) struct Looked {
    at: Duration,
    invitations: BTreeMap<u64, v1::InvitationInfo>,
}

impl Looked {
    /// What was seen `at` this time since the first look.
    pub fn at(at: Duration, invitations: &[v1::InvitationInfo]) -> Self {
        Self { at, invitations: invitations.iter().map(|info| (info.invitation_id, info.clone())).collect() }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct MigrationsView {
    migrations: Vec<MigrationView>,
}

#[derive(Debug, Serialize)]
struct MigrationView {
    invitation: u64,
    forum: u32,
    source: u32,
    target: u32,
    stage: &'static str,
    percent: Option<u64>,
    bytes_done: u64,
    bytes_total: u64,
    bytes_per_second: Option<u64>,
    lag_records: u64,
    waits_for: String,
    why: &'static str,
    invited_at_ms: u64,
}

impl MigrationsView {
    /// What is under way now, with rates since the look before.
    pub fn new(before: &Looked, now: &Looked) -> Self {
        let view = |info: &v1::InvitationInfo| MigrationView {
            invitation: info.invitation_id,
            forum: info.forum_id,
            source: info.source,
            target: info.target,
            stage: stage(info.stage()).unwrap_or("ended"),
            percent: percent(info.bytes_done, info.bytes_total),
            bytes_done: info.bytes_done,
            bytes_total: info.bytes_total,
            bytes_per_second: before
                .invitations
                .get(&info.invitation_id)
                .and_then(|earlier| rate(earlier.bytes_done, info.bytes_done, now.at - before.at)),
            lag_records: info.lag_records,
            waits_for: info.waits_for.clone(),
            why: cause(info.cause()),
            invited_at_ms: info.invited_at_ms,
        };
        Self { migrations: now.invitations.values().map(view).collect() }
    }
}

fn percent(done: u64, total: u64) -> Option<u64> {
    let percent = (u128::from(done) * 100).checked_div(u128::from(total))?;
    u64::try_from(percent.min(100)).ok()
}

fn rate(before: u64, now: u64, passed: Duration) -> Option<u64> {
    let millis = passed.as_millis();
    let bytes = u128::from(now.saturating_sub(before)) * 1000;
    bytes.checked_div(millis).and_then(|rate| u64::try_from(rate).ok())
}

impl View for MigrationsView {
    fn text(&self, now_ms: u64) -> String {
        if self.migrations.is_empty() {
            return "no forum is on the move\n".to_owned();
        }
        let header = ["FORUM", "FROM", "TO", "STAGE", "DONE", "RATE", "LAG", "WAITS FOR", "WHY", "SINCE"];
        let mut table = Table::new(&header);
        for row in &self.migrations {
            table.row(vec![
                format!("f{}", row.forum),
                format!("p{}", row.source),
                format!("p{}", row.target),
                row.stage.to_owned(),
                row.percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent} %")),
                row.bytes_per_second.map_or_else(|| "-".to_owned(), |rate| bytes(rate) + "/s"),
                row.lag_records.to_string(),
                dash(&row.waits_for),
                row.why.to_owned(),
                ago(row.invited_at_ms, now_ms),
            ]);
        }
        table.render()
    }
}

#[derive(Debug, Serialize)]
pub(super) struct PlanView {
    planned_in_us: u64,
    steps: Vec<StepView>,
}

#[derive(Debug, Serialize)]
struct StepView {
    forum: u32,
    what: String,
    peer: u32,
    replaces: Option<u32>,
    why: String,
    held_back: bool,
}

impl From<v1::ShowPlanReply> for PlanView {
    fn from(reply: v1::ShowPlanReply) -> Self {
        let step = |step: v1::PlannedStep| StepView {
            forum: step.forum_id,
            what: step.what,
            peer: step.peer_id,
            replaces: (step.replaces != 0).then_some(step.replaces),
            why: step.why,
            held_back: step.held_back,
        };
        Self { planned_in_us: reply.planned_in_us, steps: reply.steps.into_iter().map(step).collect() }
    }
}

impl View for PlanView {
    fn text(&self, _now_ms: u64) -> String {
        let took = format!("planned in {}.{:03} ms\n", self.planned_in_us / 1000, self.planned_in_us % 1000);
        if self.steps.is_empty() {
            return format!("nothing to do: every forum is where it should be\n{took}");
        }
        let mut table = Table::new(&["FORUM", "WHAT", "PEER", "REPLACES", "WHEN", "WHY"]);
        for step in &self.steps {
            table.row(vec![
                format!("f{}", step.forum),
                step.what.clone(),
                format!("p{}", step.peer),
                peer(step.replaces),
                if step.held_back { "later: enough is under way" } else { "now" }.to_owned(),
                step.why.clone(),
            ]);
        }
        table.render() + &took
    }
}

#[derive(Debug, Serialize)]
pub(super) struct VerifyView {
    forum: u32,
    record: u64,
    pub equal: bool,
    replicas: Vec<DigestView>,
}

#[derive(Debug, Serialize)]
struct DigestView {
    peer: u32,
    digest: Option<String>,
    messages: u64,
}

impl VerifyView {
    pub fn new(forum: u32, reply: v1::VerifyForumReply) -> Self {
        let digest = |replica: v1::ReplicaDigest| DigestView {
            peer: replica.peer_id,
            digest: (!replica.digest.is_empty()).then(|| hex(&replica.digest)),
            messages: replica.messages,
        };
        Self {
            forum,
            record: reply.record_id,
            equal: reply.equal,
            replicas: reply.replicas.into_iter().map(digest).collect(),
        }
    }
}

impl View for VerifyView {
    fn text(&self, _now_ms: u64) -> String {
        let mut table = Table::new(&["PEER", "MESSAGES", "DIGEST"]);
        for replica in &self.replicas {
            table.row(vec![
                format!("p{}", replica.peer),
                replica.messages.to_string(),
                replica.digest.clone().unwrap_or_else(|| "no answer in time".to_owned()),
            ]);
        }
        let word = if self.equal { "all equal" } else { "NOT known to be equal" };
        format!("{}f{} at t{}: {word}\n", table.render(), self.forum, self.record)
    }
}

/// What was done, and where to look for what comes of it.
#[derive(Debug, Serialize)]
pub(super) struct DoneView {
    #[serde(skip_serializing_if = "Option::is_none")]
    forum: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<u32>,
    done: String,
}

impl DoneView {
    pub fn invited(forum: u32, invitation: u64) -> Self {
        let done = format!(
            "f{forum}: invitation t{invitation} is made; `hubctl migrations --watch` shows how it goes"
        );
        Self { forum: Some(forum), invitation: Some(invitation), peer: None, done }
    }

    pub fn replicas(forum: u32, replicas: u32) -> Self {
        let count = if replicas == 0 { "the default number of".to_owned() } else { replicas.to_string() };
        let done = format!("f{forum} is to be kept on {count} peers");
        Self { forum: Some(forum), invitation: None, peer: None, done }
    }

    pub fn peer(peer: u32, state: PeerState) -> Self {
        let done = format!("p{peer} is {} now", peer_state(state));
        Self { forum: None, invitation: None, peer: Some(peer), done }
    }
}

impl View for DoneView {
    fn text(&self, _now_ms: u64) -> String {
        format!("{}\n", self.done)
    }
}

fn peer(id: Option<u32>) -> String {
    id.map_or_else(|| "-".to_owned(), |id| format!("p{id}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A number of bytes in the unit that fits.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{}.{} GiB", bytes >> 30, (bytes & ((1 << 30) - 1)) * 10 >> 30),
    }
}

pub(super) fn peer_state(state: PeerState) -> &'static str {
    match state {
        PeerState::Unspecified => "unknown",
        PeerState::Active => "active",
        PeerState::Paused => "paused",
        PeerState::Draining => "draining",
        PeerState::Removed => "removed",
    }
}

fn cause(cause: InvitationCause) -> &'static str {
    match cause {
        InvitationCause::Unspecified => "unknown",
        InvitationCause::Operator => "operator",
        InvitationCause::TooFew => "too few",
        InvitationCause::LostPeer => "lost peer",
        InvitationCause::Drain => "drain",
        InvitationCause::Busy => "busy",
        InvitationCause::Balance => "balance",
        InvitationCause::Behind => "behind",
        InvitationCause::Reverse => "reverse",
    }
}

fn status(status: InvitationStatus) -> &'static str {
    match status {
        InvitationStatus::Unspecified => "unknown",
        InvitationStatus::Waiting => "waiting",
        InvitationStatus::Accepted => "accepted",
        InvitationStatus::Completed => "completed",
        InvitationStatus::Rejected => "rejected",
        InvitationStatus::Timeout => "timeout",
    }
}

pub(super) fn stage(stage: JoinStage) -> Option<&'static str> {
    match stage {
        JoinStage::Unspecified => None,
        JoinStage::Invited => Some("invited"),
        JoinStage::Seeding => Some("seeding"),
        JoinStage::CatchingUp => Some("catching up"),
    }
}

fn reason(reason: RejectReason) -> Option<&'static str> {
    match reason {
        RejectReason::Unspecified => None,
        RejectReason::Paused => Some("it is paused"),
        RejectReason::ForumsMax => Some("it holds as many forums as it may"),
        RejectReason::DiskFull => Some("its disk is full or its cap reached"),
        RejectReason::ForumTooLarge => Some("the forum is too large for it"),
        RejectReason::BadCheckpoint => Some("the copy was damaged or not allowed"),
        RejectReason::Busy => Some("it gets as many forums at once as it may"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_invitation_shows_the_peers_reason() {
        let info = v1::InvitationInfo {
            invitation_id: 9,
            forum_id: 1,
            target: 3,
            status: InvitationStatus::Rejected.into(),
            reason: RejectReason::DiskFull.into(),
            ..Default::default()
        };
        let text = InvitationsView::from(vec![info]).text(0);
        assert!(text.contains("rejected") && text.contains("disk is full"), "{text}");
    }

    #[test]
    fn a_migration_shows_its_share_and_from_the_second_look_on_its_rate() {
        let info = |bytes_done| v1::InvitationInfo {
            invitation_id: 9,
            stage: JoinStage::Seeding.into(),
            bytes_done,
            bytes_total: 4 << 20,
            waits_for: "p3 to receive the copy".into(),
            ..Default::default()
        };
        let first = Looked::at(Duration::ZERO, &[info(0)]);
        let second = Looked::at(Duration::from_secs(2), &[info(2 << 20)]);
        assert!(MigrationsView::new(&Looked::default(), &first).text(0).contains("0 %"));
        let text = MigrationsView::new(&first, &second).text(0);
        assert!(
            text.contains("50 %") && text.contains("1 MiB/s") && text.contains("p3 to receive"),
            "{text}"
        );
        assert_eq!(rate(5, 9, Duration::ZERO), None);
    }

    #[test]
    fn replicas_that_differ_or_are_silent_are_told_apart() {
        let replica = |peer_id, digest: &[u8]| v1::ReplicaDigest {
            peer_id,
            digest: digest.to_vec().into(),
            messages: 1,
        };
        let replicas = vec![replica(1, &[0xab; 32]), replica(2, &[])];
        let view = VerifyView::new(7, v1::VerifyForumReply { record_id: 9, replicas, equal: false });
        let text = view.text(0);
        assert!(
            text.contains(&"ab".repeat(32)) && text.contains("no answer") && text.contains("NOT"),
            "{text}"
        );
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        let told = [(0, "0 B"), (2048, "2 KiB"), (5 << 20, "5 MiB"), ((3 << 30) + (1 << 29), "3.5 GiB")];
        for (size, text) in told {
            assert_eq!(bytes(size), text);
        }
        assert!(bytes(u64::MAX).ends_with("GiB"));
    }
}
