//! The asking side: a peer that was invited, or that starts again, gets a copy from another peer.

use std::{pin::pin, sync::Arc};

use futures::{Stream, StreamExt, stream::BoxStream};
use loop_net::channel::MESSAGE_BYTES_MAX;
use loop_proto::{
    ids::PeerId,
    v1::{self, hub_service_client::HubServiceClient, hub_to_peer},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{
    check::Wanted,
    parts::Transfer,
    relays::{CHUNKS_WAITING_MAX, IDLE_MAX, OPEN_WITHIN},
    source,
};
use crate::{
    identity::identify,
    mesh::presence::{PeerConnection, Whereabouts},
};

/// Longest hash a peer may send along, bytes.
const HASH_BYTES: usize = 32;

/// A copy, chunk by chunk.
pub type CopyStream = BoxStream<'static, Result<v1::CheckpointChunk, Status>>;

impl Transfer {
    /// Gets `request`'s copy from whichever peer can give it.
    pub async fn fetch(&self, request: v1::FetchCheckpointRequest) -> Result<CopyStream, Status> {
        let caller = identify(&self.log, request.peer_id, &request.secret).await?;
        let wanted = wanted(request.forum_id, request.invitation_id, request.offset, request.sha256)?;
        let place = self.relays.enter()?;
        let sources = source::choose(self, caller, &wanted).await?;
        let mut refusal = Status::unavailable("no peer that could give this copy is connected; ask again");
        for (peer, at) in sources {
            let opened = match at {
                Whereabouts::Here(connection) => from_here(self, &connection, wanted.clone()).await,
                Whereabouts::There { hub: other, .. } => from_there(self, other, peer, &wanted).await,
            };
            match opened {
                Ok(chunks) => return Ok(watched(self, place, chunks)),
                Err(status) => {
                    tracing::info!(%caller, source = %peer, why = status.message(), "a peer gave no copy");
                    let still_at_it = status.code() == Code::DeadlineExceeded;
                    refusal = status;
                    if still_at_it {
                        // It goes on making its copy and has it when it is asked again; others need not begin one, too.
                        break;
                    }
                }
            }
        }
        Err(Status::unavailable(format!("no peer gives this copy: {}", refusal.message())))
    }

    /// Gets a copy from a peer of this hub, for another hub.
    pub async fn relay(&self, request: v1::RelayCheckpointRequest) -> Result<CopyStream, Status> {
        let wanted = wanted(request.forum_id, request.invitation_id, request.offset, request.sha256)?;
        let connection = PeerId::new(request.source_peer).and_then(|peer| self.mesh.presence.here(peer));
        let connection =
            connection.ok_or_else(|| Status::unavailable("this peer is connected to another hub"))?;
        let place = self.relays.enter()?;
        Ok(watched(self, place, from_here(self, &connection, wanted).await?))
    }
}

fn wanted(forum_id: u32, invitation_id: u64, offset: u64, sha256: bytes::Bytes) -> Result<Wanted, Status> {
    if !matches!(sha256.len(), 0 | HASH_BYTES) || (sha256.is_empty() && offset > 0) {
        return Err(Status::invalid_argument("an offset goes with the SHA-256 of the copy it lies in"));
    }
    Ok(Wanted { forum_id, invitation_id, offset, sha256 })
}

async fn from_here(
    transfer: &Transfer,
    connection: &Arc<PeerConnection>,
    wanted: Wanted,
) -> Result<CopyStream, Status> {
    let (tx, rx) = mpsc::channel(CHUNKS_WAITING_MAX);
    let mut ticket = transfer.relays.expect(connection.peer, wanted.clone(), tx);
    let ask = v1::ExportRequest {
        relay_id: ticket.id,
        forum_id: wanted.forum_id,
        invitation_id: wanted.invitation_id,
        offset: wanted.offset,
        sha256: wanted.sha256,
    };
    let gone = || Status::unavailable("the giving peer's connection has ended");
    connection.try_send(hub_to_peer::Kind::Export(ask)).map_err(|_| gone())?;
    let mut ended = connection.gone.subscribe();
    let begun = tokio::select! {
        biased;
        () = transfer.shutdown.cancelled() => return Err(Status::unavailable("this hub is shutting down")),
        begun = timeout(OPEN_WITHIN, &mut ticket.begun) => begun,
        _ = ended.wait_for(|ended| *ended) => return Err(gone()),
    };
    match begun {
        Ok(Ok(Ok(()))) => Ok(ReceiverStream::new(rx).boxed()),
        Ok(Ok(Err(reason))) => Err(Status::unavailable(format!("{} refused: {reason}", connection.peer))),
        Ok(Err(_)) => Err(gone()),
        Err(_) => Err(Status::deadline_exceeded(format!(
            "{} has not begun within {OPEN_WITHIN:?}",
            connection.peer
        ))),
    }
}

async fn from_there(
    transfer: &Transfer,
    other: u64,
    source: PeerId,
    wanted: &Wanted,
) -> Result<CopyStream, Status> {
    let channel =
        transfer.mesh.group.channel(other).ok_or_else(|| Status::unavailable("its hub is not known"))?;
    let mut client = HubServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = v1::RelayCheckpointRequest {
        source_peer: source.get(),
        forum_id: wanted.forum_id,
        invitation_id: wanted.invitation_id,
        offset: wanted.offset,
        sha256: wanted.sha256.clone(),
    };
    // The other hub gives up first; this only guards against its silence.
    let opened = timeout(OPEN_WITHIN + OPEN_WITHIN / 2, client.relay_checkpoint(request)).await;
    let opened = opened.map_err(|_| Status::unavailable("the hub of the giving peer is silent"))??;
    Ok(opened.into_inner().boxed())
}

/// A copy as it goes out: ends with an error when it stands still or this hub goes down, and gives its place back.
fn watched(
    transfer: &Transfer,
    place: OwnedSemaphorePermit,
    chunks: impl Stream<Item = Result<v1::CheckpointChunk, Status>> + Send + 'static,
) -> CopyStream {
    let (tx, rx) = mpsc::channel(1);
    let shutdown = transfer.shutdown.clone();
    tokio::spawn(async move {
        let _place = place;
        let mut chunks = pin!(chunks);
        loop {
            let next = tokio::select! {
                biased;
                () = shutdown.cancelled() => Some(Err(Status::unavailable("this hub is shutting down"))),
                () = tx.closed() => return,
                next = timeout(IDLE_MAX, chunks.next()) => {
                    next.unwrap_or_else(|_| Some(Err(Status::unavailable("the giving side stands still"))))
                }
            };
            let Some(next) = next else { return };
            let last = next.is_err();
            let sent = timeout(IDLE_MAX, tx.send(next)).await;
            if last || !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    ReceiverStream::new(rx).boxed()
}
