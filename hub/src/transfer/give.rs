//! The giving side: a peer that was asked for a copy sends it.

use loop_proto::v1;
use metrics::counter;
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use super::{
    check::ChunkCheck,
    parts::Transfer,
    relays::{Chunks, IDLE_MAX},
};
use crate::identity::identify;

impl Transfer {
    /// Takes what a peer gives and passes it on, until it is complete or either side is gone.
    pub async fn give(&self, mut incoming: Streaming<v1::GivenChunk>) -> Result<(), Status> {
        let first =
            next(&mut incoming).await?.ok_or_else(|| Status::invalid_argument("nothing was given"))?;
        let peer = identify(&self.log, first.peer_id, &first.secret).await?;
        let expected = self
            .relays
            .take(first.relay_id, peer)
            .ok_or_else(|| Status::not_found("nobody waits for this copy any more"))?;
        if expected.begun.send(Ok(())).is_err() {
            return Err(taker_gone());
        }
        let chunks = expected.chunks;
        let mut check = ChunkCheck::new(expected.wanted);
        let began_at = Instant::now();
        let passed = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Status::unavailable("this hub is shutting down")),
            () = chunks.closed() => Err(taker_gone()),
            passed = pass_on(&mut check, first.chunk, &mut incoming, &chunks) => passed,
        };
        match &passed {
            Ok(()) => tracing::debug!(%peer, took = ?began_at.elapsed(), "a copy has passed"),
            Err(status) => {
                tracing::info!(%peer, code = ?status.code(), why = status.message(), "a copy has broken off");
                // The taker is told why, if it is still there; if its queue is full it sees the end of the stream and
                // that bytes are missing.
                let _ = chunks
                    .try_send(Err(Status::unavailable(format!("the copy broke off: {}", status.message()))));
            }
        }
        passed
    }
}

async fn pass_on(
    check: &mut ChunkCheck,
    first: Option<v1::CheckpointChunk>,
    incoming: &mut Streaming<v1::GivenChunk>,
    chunks: &Chunks,
) -> Result<(), Status> {
    let mut chunk = first;
    loop {
        if let Some(chunk) = chunk.take() {
            check.take(&chunk).map_err(Status::invalid_argument)?;
            counter!("loop_relayed_bytes_total").increment(chunk.data.len() as u64);
            timeout(IDLE_MAX, chunks.send(Ok(chunk)))
                .await
                .map_err(|_| Status::deadline_exceeded("the other side takes nothing"))?
                .map_err(|_| taker_gone())?;
        }
        match next(incoming).await? {
            Some(given) => chunk = given.chunk,
            None if check.is_complete() => return Ok(()),
            None => return Err(Status::data_loss("it ended before its last byte")),
        }
    }
}

async fn next(incoming: &mut Streaming<v1::GivenChunk>) -> Result<Option<v1::GivenChunk>, Status> {
    timeout(IDLE_MAX, incoming.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the giving side stands still"))?
}

fn taker_gone() -> Status {
    Status::cancelled("the other side has gone")
}
