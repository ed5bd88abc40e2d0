//! The realtime gateway as the hub's HTTP server sees it.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use loop_hub_edge::Mount;
use loop_realtime::Door;

/// The door at `/socket.io/`.
pub struct RealtimeDoor(pub Door);

impl Mount for RealtimeDoor {
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'_, Response<Full<Bytes>>> {
        Box::pin(self.0.answer(request))
    }
}
