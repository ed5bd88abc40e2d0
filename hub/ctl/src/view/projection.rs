//! A hub's rows in MySQL: how far they are, and what comparing them has found.

use std::fmt::Write;

use loop_proto::v1::{self, projection_difference::How};
use serde::Serialize;

use super::{super::table::Table, View, long};

/// What `hubctl projection status` shows.
#[derive(Debug, Serialize)]
pub struct ProjectionView {
    hub: u64,
    /// Nothing: this hub has none.
    projection: Option<ProjectionShown>,
}

#[derive(Debug, Serialize)]
struct ProjectionShown {
    place: String,
    engine: String,
    records_max: u64,
    standing: &'static str,
    since_ms: u64,
    trouble: Option<String>,
    applied_through: u64,
    newest_record: u64,
    lag_records: u64,
    rows_waiting: u64,
    rows_waiting_max: u64,
    rebuilds: u64,
    batches: u64,
    rows_written: u64,
}

const fn standing(standing: v1::ProjectionStanding) -> &'static str {
    match standing {
        v1::ProjectionStanding::Unspecified => "unknown",
        v1::ProjectionStanding::CaughtUp => "caught-up",
        v1::ProjectionStanding::Behind => "behind",
        v1::ProjectionStanding::Rebuilding => "rebuilding",
        v1::ProjectionStanding::Down => "down",
    }
}

impl From<v1::ShowProjectionReply> for ProjectionView {
    fn from(reply: v1::ShowProjectionReply) -> Self {
        let shown = |info: v1::ProjectionInfo| ProjectionShown {
            standing: standing(info.standing()),
            place: info.place,
            engine: info.engine,
            records_max: info.records_max,
            since_ms: info.since_ms,
            trouble: Some(info.trouble).filter(|trouble| !trouble.is_empty()),
            applied_through: info.applied_through,
            newest_record: info.newest_record,
            lag_records: info.lag_records,
            rows_waiting: info.rows_waiting,
            rows_waiting_max: info.rows_waiting_max,
            rebuilds: info.rebuilds,
            batches: info.batches,
            rows_written: info.rows_written,
        };
        Self { hub: reply.hub_id, projection: reply.projection.map(shown) }
    }
}

impl ProjectionView {
    /// Why the rows are not to be relied on now.
    pub fn unwell(&self) -> Option<String> {
        let shown = self.projection.as_ref().filter(|shown| shown.standing != "caught-up")?;
        Some(match &shown.trouble {
            Some(trouble) => format!("the projection of h{} is down: {trouble}", self.hub),
            None => format!("the projection of h{} is {}", self.hub, shown.standing),
        })
    }
}

impl View for ProjectionView {
    fn text(&self, _now_ms: u64) -> String {
        let hub = self.hub;
        let Some(shown) = &self.projection else {
            return format!("h{hub} has no projection; `loop-hub --projection-url mysql://…` writes one\n");
        };
        let since = long(shown.since_ms);
        let mut text = format!(
            "h{hub}: {}, {}, {} for {since}\n\
             of entry {} of Raft's log, newest record t{}, {} records behind; {} of {} rows wait\n\
             the newest {} records have rows; {} rows written in {} batches, made anew {} times since the hub was started\n",
            shown.place,
            shown.engine,
            shown.standing,
            shown.applied_through,
            shown.newest_record,
            shown.lag_records,
            shown.rows_waiting,
            shown.rows_waiting_max,
            shown.records_max,
            shown.rows_written,
            shown.batches,
            shown.rebuilds,
        );
        if let Some(trouble) = &shown.trouble {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{trouble}");
        }
        text
    }
}

/// The rows were made anew.
#[derive(Debug, Serialize)]
pub struct ProjectionRebuilt {
    hub: u64,
    applied_through: u64,
    newest_record: u64,
}

impl From<v1::RebuildProjectionReply> for ProjectionRebuilt {
    fn from(reply: v1::RebuildProjectionReply) -> Self {
        let v1::RebuildProjectionReply { hub_id: hub, applied_through, newest_record } = reply;
        Self { hub, applied_through, newest_record }
    }
}

impl View for ProjectionRebuilt {
    fn text(&self, _now_ms: u64) -> String {
        let Self { hub, applied_through, newest_record } = self;
        format!(
            "the projection of h{hub} was made anew, as of entry {applied_through} of Raft's log and t{newest_record}\n"
        )
    }
}

/// The rows were compared.
#[derive(Debug, Serialize)]
pub struct ProjectionVerified {
    hub: u64,
    applied_through: u64,
    rows: u64,
    equal: bool,
    differing: u64,
    /// The first of them.
    differences: Vec<DifferenceView>,
}

#[derive(Debug, Serialize)]
struct DifferenceView {
    table: String,
    key: Vec<u64>,
    how: &'static str,
    columns: Vec<String>,
}

impl From<v1::VerifyProjectionReply> for ProjectionVerified {
    fn from(reply: v1::VerifyProjectionReply) -> Self {
        let view = |found: v1::ProjectionDifference| {
            let (how, columns) = match found.how {
                Some(How::Missing(_)) => ("missing", Vec::new()),
                Some(How::Unexpected(_)) => ("unexpected", Vec::new()),
                Some(How::Columns(columns)) => ("differs", columns.names),
                None => ("unknown", Vec::new()),
            };
            DifferenceView { table: found.table, key: found.key, how, columns }
        };
        Self {
            hub: reply.hub_id,
            applied_through: reply.applied_through,
            rows: reply.rows,
            equal: reply.differing == 0,
            differing: reply.differing,
            differences: reply.differences.into_iter().map(view).collect(),
        }
    }
}

impl ProjectionVerified {
    /// In one sentence, with what to do; `None`: all rows are as they should be.
    pub fn problem(&self) -> Option<String> {
        (!self.equal).then(|| {
            format!(
                "{} of {} rows are not what h{} has applied: somebody else has changed them, or it is a bug; `hubctl \
                 projection rebuild` makes them anew",
                self.differing, self.rows, self.hub
            )
        })
    }
}

impl View for ProjectionVerified {
    fn text(&self, _now_ms: u64) -> String {
        let Self { hub, applied_through, rows, .. } = self;
        if self.equal {
            return format!(
                "all {rows} rows are what h{hub} has applied, as of entry {applied_through} of Raft's log\n"
            );
        }
        let mut table = Table::new(&["TABLE", "KEY", "HOW", "COLUMNS"]).sentences(&["COLUMNS"]);
        for found in &self.differences {
            let key: Vec<String> = found.key.iter().map(ToString::to_string).collect();
            table.row(vec![
                found.table.clone(),
                key.join(", "),
                found.how.to_owned(),
                found.columns.join(", "),
            ]);
        }
        let others = self.differing.saturating_sub(self.differences.len() as u64);
        let remark = if others > 0 { format!("and {others} more\n") } else { String::new() };
        format!("as of entry {applied_through} of Raft's log:\n{}{remark}", table.render())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(standing: v1::ProjectionStanding, trouble: &str) -> ProjectionView {
        let info = v1::ProjectionInfo {
            place: "loop_h1 at 127.0.0.1:3306".into(),
            engine: "MEMORY".into(),
            standing: standing.into(),
            trouble: trouble.into(),
            since_ms: 61_000,
            ..Default::default()
        };
        v1::ShowProjectionReply { hub_id: 1, projection: Some(info) }.into()
    }

    #[test]
    fn only_what_can_be_relied_on_is_well() {
        assert_eq!(info(v1::ProjectionStanding::CaughtUp, "").unwell(), None);
        let none = ProjectionView::from(v1::ShowProjectionReply { hub_id: 1, projection: None });
        assert_eq!(none.unwell(), None);
        assert!(none.text(0).contains("--projection-url"));
        let down = info(v1::ProjectionStanding::Down, "wrong password: check it");
        assert!(down.unwell().unwrap().contains("wrong password"));
        assert!(down.text(0).contains("MEMORY, down for 61 s") && down.text(0).contains("check it"));
        assert!(info(v1::ProjectionStanding::Behind, "").unwell().unwrap().contains("behind"));
    }

    #[test]
    fn rows_that_differ_are_listed_with_what_to_do() {
        let found = v1::ProjectionDifference {
            table: "tbl_peer".into(),
            key: vec![3],
            how: Some(How::Columns(v1::ProjectionColumns { names: vec!["enm_state".into()] })),
        };
        let reply = v1::VerifyProjectionReply {
            rows: 9,
            differing: 2,
            differences: vec![found],
            ..Default::default()
        };
        let view = ProjectionVerified::from(reply);
        let text = view.text(0);
        assert!(
            text.contains("tbl_peer") && text.contains("enm_state") && text.contains("and 1 more"),
            "{text}"
        );
        assert!(view.problem().unwrap().contains("projection rebuild"));
        assert_eq!(ProjectionVerified::from(v1::VerifyProjectionReply::default()).problem(), None);
    }
}
