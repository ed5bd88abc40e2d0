//! Keeps a link open to every other hub, for as long as this one runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use loop_net::{channel::MESSAGE_BYTES_MAX, queue::Queue};
use loop_proto::{
    ids::PeerId,
    v1::{self, hub_service_client::HubServiceClient, link_reply, link_request},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::{
    links::{Link, OUTGOING_KILOBYTES_MAX, OUTGOING_MAX},
    parts::Mesh,
};
use crate::group::Freshness;

/// How often the set of hubs is looked at, and how long a broken link waits.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a link waits that the other hub has refused: only an operator can change that.
const REFUSED_WAIT: Duration = Duration::from_secs(5);

/// Keeps the links. Cheap to clone.
#[derive(Clone)]
pub struct LinkKeeper {
    /// Where what is heard goes.
    pub mesh: Mesh,
    /// Whether what is heard happens now.
    pub freshness: Arc<Freshness>,
    /// How often hubs and peers speak at least.
    pub heartbeat: Duration,
    /// Ends all links.
    pub shutdown: CancellationToken,
}

impl LinkKeeper {
    /// Runs until shutdown.
    pub async fn run(self) {
        let mut running: BTreeMap<u64, JoinHandle<()>> = BTreeMap::new();
        while !self.shutdown.is_cancelled() {
            let others: Vec<u64> = self.mesh.group.others().iter().map(|node| node.node_id).collect();
            running.retain(|id, task| {
                if !others.contains(id) {
                    task.abort();
                }
                others.contains(id)
            });
            for id in others {
                let ended = running.get(&id).is_none_or(JoinHandle::is_finished);
                if ended {
                    let keeper = self.clone();
                    running.insert(id, tokio::spawn(async move { keeper.keep(id).await }));
                }
            }
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        running.into_values().for_each(|task| task.abort());
    }

    /// One link, until it breaks.
    async fn keep(&self, other: u64) {
        let Mesh { group, .. } = &self.mesh;
        let Some(channel) = group.channel(other) else { return };
        let (tx, rx) = Queue::new(OUTGOING_MAX, OUTGOING_KILOBYTES_MAX);
        let hello = link_request::Kind::Hello(group.own_id());
        // The channel is new and has room for its first message.
        let _ = tx.try_send(v1::LinkRequest { kind: Some(hello) });
        let mut client = HubServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let replies = match client.link(rx).await {
            Ok(replies) => replies,
            Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => {
                tracing::warn!(
                    hub = other,
                    why = status.message(),
                    "another hub takes this one for a stranger"
                );
                return tokio::time::sleep(REFUSED_WAIT).await;
            }
            Err(_) => return,
        };
        let link = Link { outgoing: tx, unanswered: Arc::default(), next_request: Arc::default() };
        let _open = Open::new(&self.mesh, other, &link);
        let mut replies = replies.into_inner();
        // The other hub speaks at least once every heartbeat; a silent link is a broken one.
        let silence = self.heartbeat * 4;
        while let Ok(Some(Ok(v1::LinkReply { kind }))) = tokio::time::timeout(silence, replies.next()).await {
            if let Some(kind) = kind {
                self.hear(other, &link, kind);
            }
        }
    }

    fn hear(&self, other: u64, link: &Link, kind: link_reply::Kind) {
        match kind {
            link_reply::Kind::Presence(presence) => self.mesh.presence.heard(other, presence),
            link_reply::Kind::Rows(v1::LinkRowsReply { link_id, reply }) => {
                let asker = link.unanswered.lock().remove(&link_id);
                // Without a reply the sender is dropped, which tells the asker to ask elsewhere.
                if let (Some(asker), Some(reply)) = (asker, reply) {
                    let _ = asker.send(reply);
                }
            }
            link_reply::Kind::Audit(v1::LinkAudit { peer_id, report }) => {
                if let (Some(peer), Some(report)) = (PeerId::new(peer_id), report) {
                    self.mesh.audits.heard(peer, &report);
                }
            }
            // What has waited while this hub stood still does not happen now.
            link_reply::Kind::Traffic(traffic) if self.freshness.is_current() => {
                self.mesh.traffic.heard(&traffic)
            }
            link_reply::Kind::Traffic(_) => {}
            link_reply::Kind::RealtimeUsers(news) => {
                if !self.mesh.realtime.heard_users(other, news) {
                    // If there is no room for it now, the next news ask again.
                    link.send(link_request::Kind::RealtimeResync(true));
                }
            }
        }
    }
}

/// A link that counts as open. Dropped, also when its task is aborted because the hub has left the group, it counts no
/// more: a leader would take hubs for reachable that are not.
struct Open<'a> {
    mesh: &'a Mesh,
    other: u64,
    link: &'a Link,
}

impl<'a> Open<'a> {
    fn new(mesh: &'a Mesh, other: u64, link: &'a Link) -> Self {
        mesh.links.open.lock().insert(other, link.clone());
        tracing::debug!(hub = other, "a link to another hub is open");
        Self { mesh, other, link }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        tracing::debug!(hub = self.other, "a link to another hub is broken");
        self.mesh.links.open.lock().remove(&self.other);
        self.mesh.presence.lost(self.other);
        self.mesh.realtime.lost(self.other);
        self.link.unanswered.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use loop_net::{group_secret::ShowSecret, io::Io};
    use loop_realtime::Settings;

    use super::*;
    use crate::group::Group;

    #[tokio::test]
    async fn a_link_to_a_hub_that_has_left_the_group_does_not_count_as_open_and_who_asked_over_it_is_told() {
        let own = v1::HubNode { node_id: 1, ..Default::default() };
        let group = Group::new(own, Io::system(), ShowSecret::new(None));
        let mesh = Mesh::new(group, Settings::new(1, 1, 16));
        let links = mesh.links.clone();
        let (tx, _rx) = Queue::new(8, 8);
        let link = Link { outgoing: tx, unanswered: Arc::default(), next_request: Arc::default() };
        let task = tokio::spawn({
            let mesh = mesh.clone();
            async move {
                let _open = Open::new(&mesh, 2, &link);
                std::future::pending::<()>().await;
            }
        });
        while links.count() == 0 {
            tokio::task::yield_now().await;
        }
        let asker = tokio::spawn({
            let links = links.clone();
            async move { links.ask_rows(2, 1, v1::RowsRequest::default()).await }
        });
        tokio::task::yield_now().await;
        // What happens to it when the hub is no member any more.
        task.abort();
        assert!(asker.await.unwrap().is_err());
        assert_eq!(links.count(), 0, "a leader counts its links to know whether it reaches a majority");
    }
}
