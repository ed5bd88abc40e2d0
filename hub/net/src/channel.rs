//! gRPC over whatever sockets [`Io`] supplies: channels to other hubs, and the server's side of a connection.
//!
//! Never knows which service is spoken.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, server::Connected};
use tower::service_fn;

use crate::io::{Acceptor, BoxedConnection, Io};

/// Largest message hubs take from one another or from peers, bytes. An append carries up to 1 MiB of entries, a peer's
/// answer facts of up to 4 MiB for each of two streams and a body.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// HTTP/2 windows: a batch must not wait for a window update.
pub const WINDOW_BYTES: u32 = 4 << 20;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A channel to `authority` that connects when first used and again whenever it broke.
pub fn connect_lazy(io: &Io, authority: &str) -> Result<Channel, tonic::transport::Error> {
    let io = io.clone();
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
        let io = io.clone();
        async move {
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            io.dial(authority).await.map(TokioIo::new)
        }
    })))
}

/// The server's side of one connection.
pub struct ServerConnection(BoxedConnection, CameFrom);

/// Where a connection comes from: in the extensions of every request on it.
#[derive(Clone, Copy, Debug)]
pub struct CameFrom(pub SocketAddr);

impl Connected for ServerConnection {
    type ConnectInfo = CameFrom;

    fn connect_info(&self) -> CameFrom {
        self.1
    }
}

impl AsyncRead for ServerConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServerConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// The connections of a listening socket, until `shutdown`. A failed accept is waited out: it is the
/// process's limit of open files, and the connections already there must live on.
pub fn incoming(
    acceptor: Box<dyn Acceptor>,
    shutdown: CancellationToken,
) -> impl Stream<Item = io::Result<ServerConnection>> {
    futures::stream::unfold((acceptor, shutdown), |(mut acceptor, shutdown)| async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                accepted = acceptor.accept() => accepted,
            };
            match accepted {
                Ok((connection, from)) => {
                    let connection = ServerConnection(connection, CameFrom(from));
                    return Some((Ok(connection), (acceptor, shutdown)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}
