//! The hub as its HTTP server sees it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use loop_atomjump::Answer;
use loop_hub_edge::gateway::{CallError, ClientCall, Gateway};
use loop_proto::v1::{self, rows_request};
use tokio::time::Instant;

use crate::{
    calls::Calls,
    health::Health,
    mesh::{
        Mesh,
        rows::{Holders, PeerRows},
    },
    raft::{HubRaftNode, has_leader},
};

/// The hub's own gateway.
pub struct HubGateway {
    /// Serves reads and writes.
    pub calls: Calls,
    /// The way to peers' files.
    pub rows: PeerRows,
    /// Who is there.
    pub mesh: Mesh,
    /// Whether a hub leads.
    pub raft: HubRaftNode,
    /// How well all this serves.
    pub health: Arc<Health>,
}

impl Gateway for HubGateway {
    fn write(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<Answer, CallError>> {
        Box::pin(self.calls.write(call, Instant::now() + within))
    }

    fn read(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<Answer, CallError>> {
        Box::pin(async move { self.calls.read(&call, Instant::now() + within).await })
    }

    fn file(
        &self,
        request: v1::ClientRequest,
        within: Duration,
    ) -> BoxFuture<'_, Result<v1::File, CallError>> {
        let kind = Some(rows_request::Kind::File(request));
        let request = v1::RowsRequest { kind, ..v1::RowsRequest::default() };
        let deadline = Instant::now() + within;
        Box::pin(async move {
            let take = |reply: v1::RowsReply| reply.file.ok_or("no file");
            self.rows.ask(&request, Holders::Any, deadline, take).await
        })
    }

    fn health(&self) -> v1::HealthReport {
        self.health.report()
    }

    fn serving(&self) -> bool {
        has_leader(&self.raft) && self.mesh.presence.anyone()
    }

    fn hub_http_addrs(&self) -> Vec<String> {
        self.mesh.group.all().into_iter().map(|node| node.http_addr).collect()
    }
}
