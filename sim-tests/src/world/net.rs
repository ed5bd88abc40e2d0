//! The simulated network as hubs, peers and browsers get it: turmoil's sockets, with everything sent going into the
//! trace. A machine may be made to read slowly, or to lose its connections.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::BoxFuture;
use loop_net::io::{Acceptor, BoxedConnection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
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

/// How long a slow reader waits before it reads on.
const SIP_EVERY: Duration = Duration::from_millis(10);
/// Most that a slow reader reads at once, bytes.
const SIP_MAX: usize = 1024;

/// One host's way to the network. Clones are the same way.
#[derive(Clone)]
pub struct Net {
    /// The host's number, for the trace.
    host: u64,
    trace: Trace,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Counts the host's connections.
    connections: AtomicU64,
    /// Connections before this one are broken.
    hung_up: AtomicU64,
    /// Bytes each connection reads in 10 ms; 0: as many as there are.
    sip: AtomicUsize,
}

impl Net {
    /// For the host of this number.
    pub fn new(host: u64, trace: Trace) -> Self {
        Self { host, trace, state: Arc::default() }
    }

    fn wrap(&self, stream: TcpStream, port: u16, is_client: bool) -> Socket {
        let serial = self.state.connections.fetch_add(1, Ordering::Relaxed);
        let frames = (port == GRPC_PORT).then(|| Frames::new(is_client));
        let (trace, state, label) = (self.trace.clone(), self.state.clone(), self.host << 32 | serial);
        Socket { stream, trace, state, serial, label, frames, pause: None }
    }

    /// Each of its connections reads this many bytes in 10 ms from now on; 0: as many as there are.
    pub fn read_slowly(&self, bytes: usize) {
        self.state.sip.store(bytes.min(SIP_MAX), Ordering::Relaxed);
    }

    /// Breaks the connections it has; noticed at the next thing sent.
    pub fn hang_up(&self) {
        self.state.hung_up.store(self.state.connections.load(Ordering::Relaxed), Ordering::Relaxed);
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
    state: Arc<State>,
    serial: u64,
    label: u64,
    frames: Option<Frames>,
    /// Of a slow reader, until it reads on.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    fn check(&self) -> io::Result<()> {
        match self.serial < self.state.hung_up.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let sip = self.state.sip.load(Ordering::Relaxed);
        if sip == 0 {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let mut bytes = [0; SIP_MAX];
        let mut few = ReadBuf::new(&mut bytes[..sip.min(buf.remaining())]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut few))?;
        buf.put_slice(few.filled());
        self.pause = Some(Box::pin(sleep(SIP_EVERY)));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
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
