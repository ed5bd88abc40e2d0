//! What waits to be sent on a stream, bounded by count and by bytes. Never knows what a message means.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use prost::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// The stream is gone, or too full to take more.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

/// The sending side of a stream. Cheap to clone.
pub struct Queue<T> {
    messages: mpsc::Sender<(T, Option<OwnedSemaphorePermit>)>,
    room: Arc<Semaphore>,
    kilobytes_max: u32,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        let (messages, room) = (self.messages.clone(), self.room.clone());
        Self { messages, room, kilobytes_max: self.kilobytes_max }
    }
}

impl<T: Message + 'static> Queue<T> {
    /// A queue of at most so many messages and kilobytes, and the stream that empties it. A single message of any size
    /// passes when nothing else waits.
    pub fn new(
        messages_max: usize,
        kilobytes_max: u32,
    ) -> (Self, impl Stream<Item = T> + Send + Unpin + use<T>) {
        let (messages, waiting) = mpsc::channel(messages_max);
        let room = Arc::new(Semaphore::new(kilobytes_max as usize));
        // The permit falls when the message leaves the queue; HTTP/2's own window bounds what follows.
        let stream = ReceiverStream::new(waiting).map(|(message, _permit)| message);
        (Self { messages, room, kilobytes_max }, stream)
    }

    /// Queues a message, waiting for room. An error: the stream is gone.
    pub async fn send(&self, message: T) -> Result<(), Gone> {
        let room = tokio::select! {
            biased;
            room = self.room.clone().acquire_many_owned(self.kilobytes(&message)) => room.map_err(|_| Gone)?,
            // Nobody gives room back any more.
            () = self.messages.closed() => return Err(Gone),
        };
        self.messages.send((message, Some(room))).await.map_err(|_| Gone)
    }

    /// Queues a message if there is room for it at once.
    pub fn try_send(&self, message: T) -> Result<(), Gone> {
        let room = self.room.clone().try_acquire_many_owned(self.kilobytes(&message)).map_err(|_| Gone)?;
        self.messages.try_send((message, Some(room))).map_err(|_| Gone)
    }

    /// The same for a message that must not wait for bulk to be taken: only the count bounds it.
    pub fn try_send_small(&self, message: T) -> Result<(), Gone> {
        self.messages.try_send((message, None)).map_err(|_| Gone)
    }

    fn kilobytes(&self, message: &T) -> u32 {
        u32::try_from(message.encoded_len() / 1024 + 1).unwrap_or(u32::MAX).min(self.kilobytes_max)
    }

    /// Messages that wait.
    pub fn waiting(&self) -> usize {
        self.messages.max_capacity() - self.messages.capacity()
    }

    /// Kilobytes that wait.
    pub fn kilobytes_waiting(&self) -> usize {
        (self.kilobytes_max as usize).saturating_sub(self.room.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use loop_proto::v1;

    use super::*;

    fn batch(bytes: usize) -> v1::RecordBatch {
        v1::RecordBatch { records: vec![vec![0; bytes].into()], through: 1 }
    }

    #[tokio::test]
    async fn a_stream_that_nobody_reads_holds_no_more_than_its_bounds_and_small_words_still_pass() {
        let (queue, mut stream) = Queue::new(8, 64);
        for _ in 0..3 {
            queue.send(batch(20 << 10)).await.unwrap();
        }
        assert!(queue.send(batch(20 << 10)).now_or_never().is_none());
        assert!(queue.try_send(batch(20 << 10)).is_err());
        assert_eq!((queue.waiting(), queue.kilobytes_waiting()), (3, 63));
        while queue.try_send_small(batch(1)).is_ok() {}
        assert_eq!(queue.waiting(), 8);
        stream.next().await.unwrap();
        assert_eq!((queue.waiting(), queue.kilobytes_waiting()), (7, 42));
        queue.try_send(batch(20 << 10)).unwrap();
    }

    #[tokio::test]
    async fn a_message_larger_than_the_queue_passes_alone() {
        let (queue, mut stream) = Queue::new(8, 4);
        queue.send(batch(1 << 20)).await.unwrap();
        assert!(queue.send(batch(1)).now_or_never().is_none());
        assert_eq!(stream.next().await.unwrap().records[0].len(), 1 << 20);
        queue.send(batch(1)).await.unwrap();
    }

    #[tokio::test]
    async fn whoever_waits_for_room_hears_that_the_stream_has_gone() {
        let (queue, stream) = Queue::new(8, 4);
        queue.send(batch(1 << 20)).await.unwrap();
        let mut late = std::pin::pin!(queue.send(batch(1)));
        assert!((&mut late).now_or_never().is_none());
        drop(stream);
        assert!(late.await.is_err());
    }
}
