//! Who is there among the Socket.IO clients: users of all hubs as this one knows, connections of this one.

use loop_proto::v1;

use super::{context::AdminContext, page::page};

/// Most rows of one page: names may be long.
const ROWS_MAX: u32 = 1_000;

pub(super) fn users(cx: &AdminContext, request: &v1::ListRealtimeUsersRequest) -> v1::ListRealtimeUsersReply {
    let limit = page(request.limit.min(ROWS_MAX), ROWS_MAX);
    let (users, more) = cx.mesh.realtime.users(&request.after, limit);
    v1::ListRealtimeUsersReply { users, more }
}

pub(super) fn connections(
    cx: &AdminContext,
    request: &v1::ListRealtimeConnectionsRequest,
) -> v1::ListRealtimeConnectionsReply {
    let limit = page(request.limit.min(ROWS_MAX), ROWS_MAX);
    let (connections, more) = cx.mesh.realtime.connections(request.after, limit);
    v1::ListRealtimeConnectionsReply { hub_id: cx.config.hub_id.get(), connections, more }
}
