//! Browsers that watch a forum, as server-sent events.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::HeaderMap;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::measure::Held;
use crate::gateway::Change;

/// Without a change for so long, a comment is sent: less than the minute after which common proxies drop what is silent.
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// The first thing a browser is sent: how many milliseconds it waits before it comes back.
const BEGINNING: &[u8] = b"retry: 1000\n\n";

/// A comment, which browsers skip.
const BEAT: &[u8] = b":\n\n";

/// The browsers that watch.
pub struct Watching {
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// One browser's place among them.
pub struct Place {
    shutdown: CancellationToken,
    _held: Held,
    _permit: OwnedSemaphorePermit,
}

impl Watching {
    /// At most `most` browsers, each until `shutdown`.
    pub fn new(most: usize, shutdown: CancellationToken) -> Self {
        Self { places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), shutdown }
    }

    /// A place for one more; none if all are taken.
    pub fn enter(&self) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { shutdown: self.shutdown.clone(), _held: Held::watcher(), _permit: permit })
    }
}

/// Through which record the browser says it has been told everything: what it sends by itself when it comes back.
pub fn through(headers: &HeaderMap) -> Option<u64> {
    std::str::from_utf8(headers.get("last-event-id")?.as_bytes()).ok()?.parse().ok()
}

/// The changes as a browser reads them, until they end or the hub does.
pub fn events(changes: BoxStream<'static, Change>, place: Place) -> BoxStream<'static, Bytes> {
    let beginning = stream::once(async { Bytes::from_static(BEGINNING) });
    let following = stream::unfold((changes, place), |(mut changes, place)| async move {
        let next = tokio::select! {
            biased;
            () = place.shutdown.cancelled() => return None,
            next = timeout(BEAT_EVERY, changes.next()) => next,
        };
        let bytes = match next {
            Ok(change) => event(&change?),
            Err(_) => Bytes::from_static(BEAT),
        };
        Some((bytes, (changes, place)))
    });
    beginning.chain(following).boxed()
}

fn event(change: &Change) -> Bytes {
    let id = change.through.to_string();
    let mut bytes = Vec::with_capacity(change.json.len() + id.len() + 16);
    for part in [b"id: ", id.as_bytes(), b"\ndata: ", &change.json, b"\n\n"] {
        bytes.extend_from_slice(part);
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn change(through: u64) -> Change {
        Change { through, json: Bytes::from_static(b"{}") }
    }

    fn watching(most: usize) -> (Watching, CancellationToken) {
        let shutdown = CancellationToken::new();
        (Watching::new(most, shutdown.clone()), shutdown)
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_events_with_their_number_and_silence_is_broken_by_comments() {
        let (watching, _shutdown) = watching(1);
        let changes = stream::iter([change(7)]).chain(stream::pending()).boxed();
        let mut events = events(changes, watching.enter().unwrap());
        assert_eq!(events.next().await.unwrap(), "retry: 1000\n\n");
        assert_eq!(events.next().await.unwrap(), "id: 7\ndata: {}\n\n");
        assert!(events.next().now_or_never().is_none());
        assert_eq!(events.next().await.unwrap(), ":\n\n");
    }

    #[tokio::test]
    async fn there_are_so_many_places_and_the_end_of_the_hub_or_of_what_it_knows_is_the_end() {
        let (watching, shutdown) = watching(1);
        let mut ended = events(stream::empty().boxed(), watching.enter().unwrap());
        assert!(watching.enter().is_none());
        assert!(ended.next().await.is_some() && ended.next().await.is_none());
        drop(ended);
        let mut stopped = events(stream::pending().boxed(), watching.enter().unwrap());
        assert!(stopped.next().await.is_some());
        shutdown.cancel();
        assert!(stopped.next().await.is_none());
    }

    #[test]
    fn a_browser_that_comes_back_says_where_it_was() {
        let said = |value: &'static str| {
            through(&HeaderMap::from_iter([("last-event-id".parse().unwrap(), value.parse().unwrap())]))
        };
        assert_eq!(
            (said("7"), said("x"), said("-1"), through(&HeaderMap::new())),
            (Some(7), None, None, None)
        );
    }
}
