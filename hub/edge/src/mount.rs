//! A service beside AtomJump's on the edge's ports, at a path of its own. It is handed whole requests, WebSockets included; what
//! it is the edge does not know. The edge's bounds of connections and of silence hold for it too.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

/// Answers requests at `/socket.io/`. Implemented by the hub.
pub trait Mount: Send + Sync + 'static {
    /// Answers one request. An answer may take as long as its client waits.
    fn answer(&self, request: Request<Incoming>) -> BoxFuture<'_, Response<Full<Bytes>>>;
}
