//! Sockets, the wall clock and chance.
//!
//! Owns the only place where the real ones are made, so that the simulation can hand in its own and run the code
//! that ships. Never knows what is said over a connection.

use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A byte stream to a client, a peer or another hub.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}

/// A connection of whatever kind the outside made.
pub type BoxedConnection = Box<dyn Connection>;

/// A bound listening socket.
pub trait Acceptor: Send + 'static {
    /// The next connection and where it comes from.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxedConnection, SocketAddr)>>;

    /// The address bound, with the port the system chose if it was asked for port 0.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

type Bind = dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Acceptor>>> + Send + Sync;
type Dial = dyn Fn(String) -> BoxFuture<'static, io::Result<BoxedConnection>> + Send + Sync;

/// What the outside supplies. Cheap to clone.
#[derive(Clone)]
pub struct Io {
    bind: Arc<Bind>,
    dial: Arc<Dial>,
    wall_clock_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    rng: Arc<Mutex<StdRng>>,
}

impl Io {
    /// An outside made of parts; the simulation's way in.
    pub fn new(
        bind: Arc<Bind>,
        dial: Arc<Dial>,
        wall_clock_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
        rng: StdRng,
    ) -> Self {
        Self { bind, dial, wall_clock_ms, rng: Arc::new(Mutex::new(rng)) }
    }

    /// The machine's own sockets, clock and entropy.
    #[expect(clippy::disallowed_methods, reason = "this is where the real outside is made")]
    pub fn system() -> Self {
        let bind = |addr| {
            let bound: BoxFuture<'static, io::Result<Box<dyn Acceptor>>> = Box::pin(async move {
                let listener = TcpListener::bind(addr).await?;
                Ok(Box::new(TcpAcceptor(listener)) as Box<dyn Acceptor>)
            });
            bound
        };
        let dial = |authority: String| {
            let dialled: BoxFuture<'static, io::Result<BoxedConnection>> = Box::pin(async move {
                let stream = TcpStream::connect(authority).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as BoxedConnection)
            });
            dialled
        };
        let wall_clock_ms = || {
            let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
        };
        Self::new(Arc::new(bind), Arc::new(dial), Arc::new(wall_clock_ms), StdRng::from_rng(&mut rand::rng()))
    }

    /// Binds a listening socket.
    pub async fn bind(&self, addr: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        (self.bind)(addr).await
    }

    /// Connects to `host:port`.
    pub async fn dial(&self, authority: String) -> io::Result<BoxedConnection> {
        (self.dial)(authority).await
    }

    /// Unix time, milliseconds. May jump; what is written to the log never falls (see `machine`).
    pub fn now_ms(&self) -> u64 {
        (self.wall_clock_ms)()
    }

    /// Sixteen random bytes, for request ids.
    pub fn random_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        self.fill_random(&mut id);
        id
    }

    /// Fills `bytes` with what nobody can guess: session ids are made of it.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        self.rng.lock().fill_bytes(bytes);
    }

    /// A random number below `bound`, which is not zero.
    pub fn random_below(&self, bound: usize) -> usize {
        usize::try_from(self.rng.lock().next_u64() % bound.max(1) as u64).unwrap_or(0)
    }
}

/// A TCP socket that accepts.
pub struct TcpAcceptor(pub TcpListener);

impl Acceptor for TcpAcceptor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(BoxedConnection, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            // Requests and answers are small and wait for one another: Nagle adds 40 ms to every tenth of them.
            stream.set_nodelay(true)?;
            Ok((Box::new(stream) as BoxedConnection, from))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
