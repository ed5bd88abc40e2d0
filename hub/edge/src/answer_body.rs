//! The body of an answer: bytes that are there, or events that go on.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::timed_io::InFlight;

/// What hyper sends.
pub struct AnswerBody {
    kind: Kind,
    /// While events go on, the client is not the one who is silent.
    request: Option<InFlight>,
}

enum Kind {
    Whole(Full<Bytes>),
    Events(BoxStream<'static, Bytes>),
}

impl AnswerBody {
    /// All of it.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::from(Full::new(bytes.into()))
    }

    /// What comes, as it comes.
    pub fn events(events: BoxStream<'static, Bytes>) -> Self {
        Self { kind: Kind::Events(events), request: None }
    }

    /// The request is in flight until the body has ended.
    pub fn hold(&mut self, request: InFlight) {
        if matches!(self.kind, Kind::Events(_)) {
            self.request = Some(request);
        }
    }
}

impl From<Full<Bytes>> for AnswerBody {
    fn from(whole: Full<Bytes>) -> Self {
        Self { kind: Kind::Whole(whole), request: None }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.kind {
            Kind::Whole(whole) => Pin::new(whole).poll_frame(cx),
            Kind::Events(events) => {
                let event = ready!(events.poll_next_unpin(cx));
                if event.is_none() {
                    self.request = None;
                }
                Poll::Ready(event.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(whole) => whole.is_end_stream(),
            Kind::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(whole) => whole.size_hint(),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}
