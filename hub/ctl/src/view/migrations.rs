//! What is on its way now: how far, how fast, and what it waits for.

use std::time::Duration;

use loop_proto::v1;
use serde::Serialize;

use super::{
    super::{
        names::Names,
        table::{Table, Width},
    },
    View, ago,
    invitations::{cause, reason, status},
    size, some, stage, way,
};

#[derive(Debug, Serialize)]
pub struct MigrationsView {
    migrations: Vec<Migration>,
}

/// One replica on its way, or one that was replaced and is still there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Migration {
    pub invitation: u64,
    forum: u32,
    target: u32,
    replaces: Option<u32>,
    cause: &'static str,
    stage: &'static str,
    percent: Option<u64>,
    bytes_done: u64,
    bytes_total: u64,
    /// Of the copy; while it catches up nothing.
    bytes_per_second: Option<u64>,
    lag_records: u64,
    /// By which the lag shrinks; negative where it grows.
    records_per_second: Option<i64>,
    changed_at_ms: u64,
    waits_for: String,
}

impl MigrationsView {
    /// As of now. The rates come from what was seen `before`, so long ago, or else from when the stage began.
    pub fn new(
        invitations: Vec<v1::InvitationInfo>,
        before: Option<(&[v1::InvitationInfo], Duration)>,
        now_ms: u64,
    ) -> Self {
        let migration = |info: v1::InvitationInfo| {
            let earlier = before.and_then(|(before, ago)| {
                let same = |old: &&v1::InvitationInfo| {
                    old.invitation_id == info.invitation_id && old.stage == info.stage
                };
                before.iter().find(same).map(|old| (old, ago))
            });
            migration(info, earlier, now_ms)
        };
        Self { migrations: invitations.into_iter().map(migration).collect() }
    }

    /// Every peer that is named in it.
    pub fn peers(&self) -> Vec<u32> {
        self.migrations.iter().flat_map(|m| [Some(m.target), m.replaces]).flatten().collect()
    }

    /// One by one, oldest last.
    pub fn iter(&self) -> impl Iterator<Item = &Migration> {
        self.migrations.iter()
    }
}

fn migration(
    info: v1::InvitationInfo,
    earlier: Option<(&v1::InvitationInfo, Duration)>,
    now_ms: u64,
) -> Migration {
    let mut migration = Migration {
        invitation: info.invitation_id,
        forum: info.forum_id,
        target: info.target,
        replaces: some(info.replaces),
        cause: cause(info.cause()),
        stage: match info.status() {
            v1::InvitationStatus::Completed => "draining",
            _ => stage(info.stage()),
        },
        percent: None,
        bytes_done: info.bytes_done,
        bytes_total: info.bytes_total,
        bytes_per_second: None,
        lag_records: info.lag_records,
        records_per_second: None,
        changed_at_ms: info.changed_at_ms,
        waits_for: info.waits_for.clone(),
    };
    match info.stage() {
        v1::JoinStage::Seeding => {
            // u128: a peer may say any numbers.
            let done = u128::from(info.bytes_done.min(info.bytes_total)) * 100;
            migration.percent = done.checked_div(info.bytes_total.into()).and_then(|p| u64::try_from(p).ok());
            migration.bytes_per_second = match earlier {
                Some((old, ago)) => per_second(info.bytes_done.saturating_sub(old.bytes_done), ago),
                None => {
                    let since = Duration::from_millis(now_ms.saturating_sub(info.changed_at_ms));
                    per_second(info.bytes_done, since)
                }
            };
        }
        v1::JoinStage::CatchingUp => {
            migration.records_per_second = earlier.and_then(|(old, ago)| {
                let shrunk = per_second(old.lag_records.abs_diff(info.lag_records), ago)?;
                let shrunk = i64::try_from(shrunk).ok()?;
                Some(if old.lag_records >= info.lag_records { shrunk } else { -shrunk })
            });
        }
        v1::JoinStage::Unspecified | v1::JoinStage::Invited => {}
    }
    migration
}

fn per_second(count: u64, within: Duration) -> Option<u64> {
    let millis = within.as_millis();
    u64::try_from((u128::from(count) * 1000).checked_div(millis)?).ok()
}

impl Migration {
    fn copied(&self) -> String {
        match (self.percent, self.bytes_done) {
            (Some(percent), _) => format!("{percent} % of {}", size(self.bytes_total)),
            (None, 0) => "-".to_owned(),
            (None, done) => size(done),
        }
    }

    fn rate(&self) -> String {
        match (self.bytes_per_second, self.records_per_second) {
            (Some(bytes), _) => format!("{}/s", size(bytes)),
            (None, Some(records)) => format!("{records} records/s"),
            (None, None) => "-".to_owned(),
        }
    }

    fn lag(&self) -> String {
        if self.lag_records == 0 { "-".to_owned() } else { self.lag_records.to_string() }
    }

    /// For a log: one line, without what changes by itself.
    pub fn line(&self, names: &Names) -> String {
        let mut text =
            format!("f{}  {}  {}", self.forum, named_way(self.replaces, self.target, names), self.stage);
        if self.percent.is_some() {
            text += &format!("  {}  {}", self.copied(), self.rate());
        }
        format!("{text}  {}\n", self.waits_for)
    }
}

/// `p2 attic → p4 loft`.
fn named_way(replaces: Option<u32>, target: u32, names: &Names) -> String {
    match replaces {
        Some(from) => format!("{} → {}", names.with_id(from), names.with_id(target)),
        None => format!("+ {}", names.with_id(target)),
    }
}

impl View for MigrationsView {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, now_ms: u64, width: Width) -> String {
        if self.migrations.is_empty() {
            return "nothing is on its way\n".to_owned();
        }
        let mut table = Table::new(&[
            "FORUM",
            "MOVE",
            "STAGE",
            "COPIED",
            "RATE",
            "CAUSE",
            "SINCE",
            "LAG",
            "INVITATION",
            "WAITS FOR",
        ])
        .extras(&["CAUSE", "SINCE", "LAG", "INVITATION"])
        .sentences(&["WAITS FOR"]);
        for migration in &self.migrations {
            table.row(vec![
                format!("f{}", migration.forum),
                way(migration.replaces, migration.target),
                migration.stage.to_owned(),
                migration.copied(),
                migration.rate(),
                migration.cause.to_owned(),
                ago(migration.changed_at_ms, now_ms),
                migration.lag(),
                format!("t{}", migration.invitation),
                migration.waits_for.clone(),
            ]);
        }
        table.render_within(width)
    }
}

/// How one that is not under way any more has ended.
pub fn ended(info: &v1::InvitationInfo, names: &Names) -> String {
    let way = named_way(some(info.replaces), info.target, names);
    let why = reason(info.reason()).map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("f{}  {way}  {}{why}\n", info.forum_id, status(info.status()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeding(bytes_done: u64) -> v1::InvitationInfo {
        v1::InvitationInfo {
            invitation_id: 77,
            forum_id: 12,
            target: 4,
            replaces: 2,
            status: v1::InvitationStatus::Accepted.into(),
            stage: v1::JoinStage::Seeding.into(),
            changed_at_ms: 8_000,
            bytes_done,
            bytes_total: 10 << 20,
            waits_for: "p4 has 50 % of the copy from p2".into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_rate_of_a_copy_is_that_of_its_last_stretch_or_else_of_all_of_it() {
        let whole = MigrationsView::new(vec![seeding(4 << 20)], None, 10_000);
        assert_eq!(whole.migrations[0].bytes_per_second, Some(2 << 20));
        let before = [seeding(4 << 20)];
        let last =
            MigrationsView::new(vec![seeding(5 << 20)], Some((&before, Duration::from_millis(500))), 10_500);
        let text = last.text_within(10_500, Width::WIDE);
        for part in ["p2 → p4", "seeding", "50 % of 10.0 MiB", "2.0 MiB/s", "p4 has 50 %"] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        let attic = v1::PeerInfo { peer_id: 4, name: "attic".into(), ..Default::default() };
        let line = last.migrations[0].line(&Names::new(vec![attic]));
        assert_eq!(
            line,
            "f12  p2 → p4 attic  seeding  50 % of 10.0 MiB  2.0 MiB/s  p4 has 50 % of the copy from p2\n"
        );
    }

    #[test]
    fn a_lag_that_shrinks_or_grows_has_a_rate() {
        let behind = |lag_records| v1::InvitationInfo {
            stage: v1::JoinStage::CatchingUp.into(),
            lag_records,
            ..seeding(0)
        };
        let rate = |old, new| {
            let before = [behind(old)];
            let view =
                MigrationsView::new(vec![behind(new)], Some((&before, Duration::from_secs(2))), 10_000);
            view.migrations[0].rate()
        };
        assert_eq!(rate(1_000, 200), "400 records/s");
        assert_eq!(rate(200, 1_000), "-400 records/s");
        let first = MigrationsView::new(vec![behind(5)], Some((&[seeding(9)], Duration::from_secs(1))), 1);
        assert_eq!(first.migrations[0].rate(), "-", "another stage has another unit");
    }

    #[test]
    fn numbers_out_of_range_do_no_harm() {
        let huge = v1::InvitationInfo { bytes_done: u64::MAX, bytes_total: u64::MAX, ..seeding(0) };
        let view = MigrationsView::new(vec![huge.clone()], Some((&[seeding(0)], Duration::ZERO)), 0);
        assert!(view.text(0).contains("100 %"));
        let unknown = v1::InvitationInfo { bytes_total: 0, ..huge };
        assert!(MigrationsView::new(vec![unknown], None, u64::MAX).text(0).contains("16777215.9 TiB"));
    }

    #[test]
    fn an_end_is_told_with_its_reason() {
        let rejected = v1::InvitationInfo {
            status: v1::InvitationStatus::Rejected.into(),
            reason: v1::RejectReason::ForumsMax.into(),
            ..seeding(0)
        };
        assert_eq!(
            ended(&rejected, &Names::default()),
            "f12  p2 → p4  rejected: it holds as many forums as it may\n"
        );
    }
}
