//! The gRPC side of the leader's door.

use futures::{StreamExt, stream::BoxStream};
use loop_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::door::{BATCH_MAX, LeaderDoor};

/// Serves other hubs' proposers.
#[derive(Clone)]
pub struct ProposeService {
    /// The door they come to.
    pub door: LeaderDoor,
    /// Ends all streams.
    pub shutdown: CancellationToken,
}

impl ProposeService {
    /// One proposer's stream.
    pub fn serve(
        &self,
        mut asks: Streaming<v1::ToLeader>,
    ) -> BoxStream<'static, Result<v1::FromLeader, Status>> {
        let (ask_tx, ask_rx) = mpsc::channel(BATCH_MAX);
        let (answer_tx, answer_rx) = mpsc::channel(BATCH_MAX);
        let (door, shutdown) = (self.door.clone(), self.shutdown.clone());
        tokio::spawn(async move { door.serve(ask_rx, answer_tx).await });
        tokio::spawn(async move {
            loop {
                let ask = tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    ask = asks.next() => ask,
                };
                let Some(Ok(ask)) = ask else { return };
                if ask_tx.send(ask).await.is_err() {
                    return;
                }
            }
        });
        ReceiverStream::new(answer_rx).map(Ok).boxed()
    }
}
