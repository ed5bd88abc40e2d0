//! The hub as its HTTP server sees it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use loop_atomjump::Answer;
use loop_hub_edge::gateway::{CallError, Change, ClientCall, Gateway, Published};
use loop_proto::v1;
use tokio::time::{Instant, timeout};

use crate::{
    calls::Calls,
    content::Content,
    health::Health,
    log::AgreedLog,
    mesh::Mesh,
    raft::{HubRaftNode, has_leader},
};

/// The hub's own gateway.
pub struct HubGateway {
    /// Serves reads and writes.
    pub calls: Arc<Calls>,
    /// What is agreed.
    pub log: AgreedLog,
    /// Published files on their way.
    pub content: Arc<Content>,
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

    fn watch(
        &self,
        call: ClientCall,
        through: Option<u64>,
        within: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Change>, CallError>> {
        Box::pin(self.calls.clone().watch(call, through, Instant::now() + within))
    }

    fn published(&self, path: &str) -> Option<Published> {
        self.log.read(|state| {
            let file = state.manifest().get(path)?;
            Some(Published { path: path.to_owned(), hash: file.hash, size: file.size, kind: file.kind })
        })
    }

    fn content<'a>(
        &'a self,
        file: &'a Published,
        within: Duration,
    ) -> BoxFuture<'a, Result<Bytes, CallError>> {
        Box::pin(async move {
            let known = self.log.read(|state| state.manifest().get(&file.path).cloned());
            // Another file may have taken its place in this moment; the browser asks again.
            let known = known.filter(|known| known.hash == file.hash).ok_or(CallError::NoPeer)?;
            let fetched = self.content.fetch(file.path.clone(), known);
            timeout(within, fetched).await.unwrap_or(Err(CallError::Timeout))
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
