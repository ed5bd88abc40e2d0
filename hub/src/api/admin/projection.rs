//! The rows this hub keeps in MySQL or MariaDB: how far they are, made anew, compared.

use loop_proto::v1::{self, projection_difference};
use tonic::Status;

use super::context::AdminContext;
use crate::projection::{Difference, How, Projection, Standing, Trouble};

pub(super) fn show(cx: &AdminContext) -> v1::ShowProjectionReply {
    let newest = cx.log.read(|state| state.newest());
    let projection = cx.projection.as_ref().map(|projection| info(projection, newest));
    v1::ShowProjectionReply { hub_id: cx.mesh.group.own_id(), projection }
}

fn info(projection: &Projection, newest: u64) -> v1::ProjectionInfo {
    let report = projection.report();
    let (waiting, most) = projection.held();
    v1::ProjectionInfo {
        place: projection.place().to_owned(),
        engine: projection.engine().to_owned(),
        records_max: projection.config().records,
        standing: standing(report.standing).into(),
        since_ms: u64::try_from(report.since.as_millis()).unwrap_or(u64::MAX),
        trouble: report.trouble.unwrap_or_default(),
        applied_through: report.mark.applied,
        newest_record: report.mark.newest,
        lag_records: newest.saturating_sub(report.mark.newest),
        rows_waiting: waiting as u64,
        rows_waiting_max: most as u64,
        rebuilds: report.rebuilds,
        batches: report.batches,
        rows_written: report.rows,
    }
}

const fn standing(standing: Standing) -> v1::ProjectionStanding {
    match standing {
        Standing::CaughtUp => v1::ProjectionStanding::CaughtUp,
        Standing::Behind => v1::ProjectionStanding::Behind,
        Standing::Rebuilding => v1::ProjectionStanding::Rebuilding,
        Standing::Down => v1::ProjectionStanding::Down,
    }
}

pub(super) async fn rebuild(cx: &AdminContext) -> Result<v1::RebuildProjectionReply, Status> {
    let mark = configured(cx)?.rebuild().await.map_err(refused)?;
    Ok(v1::RebuildProjectionReply {
        hub_id: cx.mesh.group.own_id(),
        applied_through: mark.applied,
        newest_record: mark.newest,
    })
}

pub(super) async fn verify(cx: &AdminContext) -> Result<v1::VerifyProjectionReply, Status> {
    let verified = configured(cx)?.verify().await.map_err(refused)?;
    Ok(v1::VerifyProjectionReply {
        hub_id: cx.mesh.group.own_id(),
        applied_through: verified.mark.applied,
        rows: verified.rows,
        differing: verified.differing,
        differences: verified.differences.into_iter().map(difference).collect(),
    })
}

fn difference(found: Difference) -> v1::ProjectionDifference {
    use projection_difference::How as Wire;
    let (keys, _) = found.table.columns();
    v1::ProjectionDifference {
        table: found.table.name().to_owned(),
        key: found.key.into_iter().take(keys.len()).collect(),
        how: Some(match found.how {
            How::Missing => Wire::Missing(true),
            How::Unexpected => Wire::Unexpected(true),
            How::Columns(names) => {
                let names = names.into_iter().map(ToOwned::to_owned).collect();
                Wire::Columns(v1::ProjectionColumns { names })
            }
        }),
    }
}

fn configured(cx: &AdminContext) -> Result<&Projection, Status> {
    cx.projection.as_deref().ok_or_else(|| {
        Status::failed_precondition(
            "this hub has no projection: start it with --projection-url mysql://user:password@127.0.0.1:3306/database",
        )
    })
}

fn refused(trouble: Trouble) -> Status {
    Status::failed_precondition(trouble.to_string())
}
