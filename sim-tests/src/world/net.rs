//! The simulated network as hubs, peers and browsers get it: turmoil's sockets, with everything sent going into the
//! trace.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use loop_hub::io::{Acceptor, BoxedConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use super::{frames::Frames, trace::Trace};

/// Where every hub serves browsers.
pub const HTTP_PORT: u16 = 8080;
/// Where every hub serves hubs and peers.
pub const GRPC_PORT: u16 = 9080;
/// How long anything takes from one machine to another while nothing is wrong: at least, and at most.
pub const LATENCY_MIN: Duration = Duration::from_millis(1);
/// See [`LATENCY_MIN`].
pub const LATENCY_MAX: Duration = Duration::from_millis(20);

/// One host's way to the network.
#[derive(Clone)]
pub struct Net {
    /// The host's number, for the trace.
    host: u64,
    trace: Trace,
    connections: Arc<AtomicU64>,
}

impl Net {
    /// For the host of this number.
    pub fn new(host: u64, trace: Trace) -> Self {
        Self { host, trace, connections: Arc::default() }
    }

    fn wrap(&self, stream: TcpStream, port: u16, is_client: bool) -> Socket {
        let serial = self.connections.fetch_add(1, Ordering::Relaxed);
        let frames = (port == GRPC_PORT).then(|| Frames::new(is_client));
        Socket { stream, trace: self.trace.clone(), label: self.host << 32 | serial, frames }
    }

    /// Connects to `host:port`.
    pub async fn dial(&self, authority: &str) -> io::Result<Socket> {
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0);
        let stream = TcpStream::connect(authority).await?;
        Ok(self.wrap(stream, port, true))
    }

    /// Binds a port of this host.
    pub async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        let listener = TcpListener::bind(addr).await?;
        Ok(Box::new(Listening { listener, net: self.clone() }))
    }
}

struct Listening {
    listener: TcpListener,
    net: Net,
}

impl Acceptor for Listening {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxedConnection, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            let port = self.listener.local_addr()?.port();
            Ok((Box::new(self.net.wrap(stream, port, false)) as BoxedConnection, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connected socket.
pub struct Socket {
    stream: TcpStream,
    trace: Trace,
    label: u64,
    frames: Option<Frames>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            let Self { trace, label, frames, .. } = &mut *self;
            match frames {
                Some(frames) => trace.bytes(*label, &frames.digest(&bytes[..count]).to_le_bytes()),
                None => trace.bytes(*label, &bytes[..count]),
            }
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
