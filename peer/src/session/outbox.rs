//! What waits to be sent on a work stream, bounded by count and bytes. Never knows what a message means.

use std::sync::Arc;

use loop_proto::v1;
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};

/// Messages that may wait.
const MESSAGES_MAX: usize = 1024;
/// Kilobytes that may wait; a single message of any size passes when nothing else waits.
const KILOBYTES_MAX: u32 = 64 * 1024;

/// The sending side of a work stream. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::Sender<(v1::PeerToHub, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

/// The stream is gone.
#[derive(Debug)]
pub struct Closed;

impl Outbox {
    /// An outbox and the stream tonic sends from it.
    pub fn new() -> (Self, impl Stream<Item = v1::PeerToHub> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(MESSAGES_MAX);
        let room = Arc::new(Semaphore::new(KILOBYTES_MAX as usize));
        // The permit falls when the message leaves the queue; HTTP/2's own window bounds what follows.
        (Self { queue, room }, ReceiverStream::new(waiting).map(|(message, _permit)| message))
    }

    /// What waits to be sent, and the most that may.
    pub fn held(&self) -> [(&'static str, (usize, usize)); 2] {
        let messages = self.queue.max_capacity() - self.queue.capacity();
        let kilobytes = (KILOBYTES_MAX as usize).saturating_sub(self.room.available_permits());
        [("messages", (messages, MESSAGES_MAX)), ("kilobytes", (kilobytes, KILOBYTES_MAX as usize))]
    }

    /// Queues a message, waiting for room.
    pub async fn send(&self, kind: v1::peer_to_hub::Kind) -> Result<(), Closed> {
        let message = v1::PeerToHub { kind: Some(kind) };
        let kilobytes =
            u32::try_from(message.encoded_len() / 1024 + 1).unwrap_or(u32::MAX).min(KILOBYTES_MAX);
        let permit = Arc::clone(&self.room).acquire_many_owned(kilobytes).await.map_err(|_| Closed)?;
        self.queue.send((message, permit)).await.map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn big(bytes: usize) -> v1::peer_to_hub::Kind {
        v1::peer_to_hub::Kind::Rows(v1::RowsReply { content: vec![0; bytes].into(), ..Default::default() })
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_room_comes_back() {
        let (outbox, stream) = Outbox::new();
        let mut stream = std::pin::pin!(stream);
        for _ in 0..7 {
            outbox.send(big(8 << 20)).await.unwrap();
        }
        assert!(outbox.send(big(8 << 20)).now_or_never().is_none());
        stream.next().await.unwrap();
        assert!(outbox.send(big(8 << 20)).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_closed_stream_is_noticed() {
        let (outbox, stream) = Outbox::new();
        drop(stream);
        assert!(outbox.send(big(1)).await.is_err());
    }
}
