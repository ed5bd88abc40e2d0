//! The other end of a link: passes requests for rows on to this hub's peers.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use loop_proto::{
    ids::PeerId,
    v1::{self, link_reply, link_request},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{links::OUTGOING_MAX, parts::Mesh, presence::Presence, tell_realtime::tell_realtime};

/// Longest a passed-on request may take; its asker has given up long before.
const ROWS_WITHIN: Duration = Duration::from_secs(5);

type Outgoing = mpsc::Sender<Result<v1::LinkReply, Status>>;

/// Serves links. Cheap to clone.
#[derive(Clone)]
pub struct LinkService {
    /// What is told, and whose peers are asked.
    pub mesh: Mesh,
    /// How often presence is told at least.
    pub heartbeat: Duration,
    /// Ends all links.
    pub shutdown: CancellationToken,
}

impl LinkService {
    /// Serves one link.
    pub fn serve(
        &self,
        mut requests: Streaming<v1::LinkRequest>,
    ) -> BoxStream<'static, Result<v1::LinkReply, Status>> {
        let (tx, rx) = mpsc::channel(OUTGOING_MAX);
        let Self { mesh, heartbeat, shutdown } = self.clone();
        let presence = tokio::spawn(tell_presence(mesh.clone(), heartbeat, tx.clone()));
        let resync = Arc::new(Notify::new());
        let realtime =
            tokio::spawn(tell_realtime(mesh.realtime.clone(), heartbeat, resync.clone(), tx.clone()));
        tokio::spawn(async move {
            loop {
                let request = tokio::select! {
                    biased;
                    () = shutdown.cancelled() => break,
                    request = requests.next() => request,
                };
                let Some(Ok(v1::LinkRequest { kind })) = request else { break };
                match kind {
                    Some(link_request::Kind::Rows(read)) => {
                        tokio::spawn(answer(mesh.presence.clone(), read, tx.clone()));
                    }
                    Some(link_request::Kind::RealtimeMessage(message)) => {
                        mesh.realtime.heard_message(message)
                    }
                    Some(link_request::Kind::RealtimeResync(_)) => resync.notify_one(),
                    Some(link_request::Kind::Hello(_)) | None => {}
                }
            }
            presence.abort();
            realtime.abort();
        });
        ReceiverStream::new(rx).boxed()
    }
}

/// Presence when it changes and every heartbeat, and the news for everybody.
async fn tell_presence(mesh: Mesh, heartbeat: Duration, tx: Outgoing) {
    let mut changed = mesh.presence.follow();
    let mut news = mesh.links.follow_news();
    let mut heartbeat = interval(heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Digests that were reported while there was no link; an operator of the other hub may wait for them.
    for (peer, report) in mesh.audits.lately(Instant::now()) {
        let audit = v1::LinkAudit { peer_id: peer.get(), report: Some(report) };
        if tx.send(Ok(v1::LinkReply { kind: Some(link_reply::Kind::Audit(audit)) })).await.is_err() {
            return;
        }
    }
    loop {
        let kind = tokio::select! {
            _ = changed.changed() => link_reply::Kind::Presence(mesh.presence.own()),
            _ = heartbeat.tick() => link_reply::Kind::Presence(mesh.presence.own()),
            heard = news.recv() => match heard {
                Ok(kind) => kind,
                // The sender lives as long as this hub; what a slow link has missed is lost.
                Err(_) => continue,
            },
        };
        if tx.send(Ok(v1::LinkReply { kind: Some(kind) })).await.is_err() {
            return;
        }
    }
}

async fn answer(presence: Arc<Presence>, request: v1::LinkRows, tx: Outgoing) {
    let reply = match (PeerId::new(request.peer_id).and_then(|peer| presence.here(peer)), request.request) {
        (Some(connection), Some(rows)) => match connection.ask_rows(rows) {
            Ok(pending) => tokio::time::timeout(ROWS_WITHIN, pending.reply()).await.ok().and_then(Result::ok),
            Err(_) => None,
        },
        _ => None,
    };
    let kind = Some(link_reply::Kind::Rows(v1::LinkRowsReply { link_id: request.link_id, reply }));
    // A hub that has hung up asks again elsewhere.
    let _ = tx.send(Ok(v1::LinkReply { kind })).await;
}
