//! Keeps a link open to every other hub, for as long as this one runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use loop_proto::{
    ids::PeerId,
    v1::{self, hub_service_client::HubServiceClient, link_reply, link_request},
};
use tokio::task::JoinHandle;

use super::{Link, OUTGOING_KILOBYTES_MAX, OUTGOING_MAX};
use crate::{channel::MESSAGE_BYTES_MAX, hub::Hub, queue::Queue};

/// How often the set of hubs is looked at, and how long a broken link waits.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Runs until shutdown.
pub async fn keep_links(hub: Arc<Hub>) {
    let mut running: BTreeMap<u64, JoinHandle<()>> = BTreeMap::new();
    while !hub.shutdown.is_cancelled() {
        let others: Vec<u64> = hub.group.others().iter().map(|node| node.node_id).collect();
        running.retain(|id, task| {
            if !others.contains(id) {
                task.abort();
                hub.presence.lost(*id);
            }
            others.contains(id)
        });
        for id in others {
            let ended = running.get(&id).is_none_or(JoinHandle::is_finished);
            if ended {
                running.insert(id, tokio::spawn(run(hub.clone(), id)));
            }
        }
        tokio::select! {
            () = hub.shutdown.cancelled() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    running.into_values().for_each(|task| task.abort());
}

/// One link, until it breaks.
async fn run(hub: Arc<Hub>, other: u64) {
    let Some(channel) = hub.group.channel(other) else { return };
    let (tx, rx) = Queue::new(OUTGOING_MAX, OUTGOING_KILOBYTES_MAX);
    let hello = link_request::Kind::Hello(hub.group.own_id());
    // The channel is new and has room for its first message.
    let _ = tx.try_send(v1::LinkRequest { kind: Some(hello) });
    let mut client = HubServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let Ok(replies) = client.link(rx).await else { return };
    let link = Link { outgoing: tx, reads: Arc::default(), next_read: Arc::default() };
    hub.links.open.lock().insert(other, link.clone());
    tracing::debug!(hub = other, "a link to another hub is open");
    let mut replies = replies.into_inner();
    // The other hub speaks at least once every heartbeat; a silent link is a broken one.
    let silence = hub.config.peer_heartbeat * 4;
    while let Ok(Some(Ok(v1::LinkReply { kind }))) = tokio::time::timeout(silence, replies.next()).await {
        match kind {
            Some(link_reply::Kind::Presence(presence)) => hub.presence.heard(other, presence),
            Some(link_reply::Kind::ReadReply(v1::LinkReadReply { link_id, reply })) => {
                let reader = link.reads.lock().remove(&link_id);
                // Without a reply the sender is dropped, which tells the reader to ask elsewhere.
                if let (Some(reader), Some(reply)) = (reader, reply) {
                    let _ = reader.send(reply);
                }
            }
            Some(link_reply::Kind::Audit(v1::LinkAudit { peer_id, report })) => {
                if let (Some(peer), Some(report)) = (PeerId::new(peer_id), report) {
                    hub.audits.heard(peer, &report);
                }
            }
            Some(link_reply::Kind::Traffic(traffic)) => hub.traffic.heard(&traffic),
            None => {}
        }
    }
    tracing::debug!(hub = other, "a link to another hub is broken");
    hub.links.open.lock().remove(&other);
    hub.presence.lost(other);
    link.reads.lock().clear();
}
