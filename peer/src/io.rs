//! Everything the outside supplies to a peer: sockets, chance, the wall clock.
//!
//! The only place where the real ones are named, so that a simulation can hand in its own.

use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::oneshot,
};

/// How far a thread aside steps back; 19 is the most.
const NICE_ASIDE: i32 = 15;

/// A connected byte stream.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Any connected byte stream.
pub type BoxedIo = Box<dyn Socket>;

/// Connects to `host:port`.
pub type Dial = Arc<dyn Fn(&str) -> BoxFuture<'static, io::Result<BoxedIo>> + Send + Sync>;

/// Where work that blocks is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocking {
    /// On a thread for such work.
    #[default]
    Thread,
    /// At once, by whoever asks: for a simulation, where nothing may run beside it.
    Inline,
}

impl Blocking {
    /// Runs `job` and gives what it gave; `None` if it panicked or the runtime is going down.
    pub async fn run<T: Send + 'static>(self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self {
            Self::Inline => Some(job()),
            Self::Thread => tokio::task::spawn_blocking(job).await.ok(),
        }
    }

    /// The same for seconds of work that nobody waits for, on a thread that leaves the processor to everybody else:
    /// people write and read in the forums of this machine meanwhile.
    pub async fn run_aside<T: Send + 'static>(self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if self == Self::Inline {
            return Some(job());
        }
        let (tx, done) = oneshot::channel();
        let aside = move || {
            // On Linux this is the calling thread's own. A thread that cannot step back works as it is.
            let _ = rustix::process::nice(NICE_ASIDE);
            // Nobody waits any more if the receiver is gone.
            let _ = tx.send(job());
        };
        std::thread::Builder::new().name("copies".to_owned()).spawn(aside).ok()?;
        done.await.ok()
    }
}

/// How much there is of something that is kept in memory, and the most there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// What it is.
    pub what: &'static str,
    /// How much of it there is.
    pub now: u64,
    /// The most there may be.
    pub limit: u64,
}

/// Hears how much a peer keeps.
pub type TellSizes = dyn Fn(&[Size]) + Send + Sync;

/// What a peer takes from outside.
#[derive(Clone)]
pub struct Io {
    /// How hubs are reached.
    pub dial: Dial,
    /// Bytes a hub may send on a stream before they are read; twice as many on a connection.
    pub window_bytes: u32,
    /// All chance comes from here: the peer's secret on its first start, jitter later.
    pub seed: [u8; 32],
    /// Unix time in milliseconds. Shown to operators only; nothing is decided by it.
    pub wall_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Where files are read and written.
    pub blocking: Blocking,
    /// Bytes of memory this process holds; 0: unknown. Told to the hubs.
    pub memory_bytes: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Told with every heartbeat how much this peer keeps in memory.
    pub sizes: Arc<TellSizes>,
}

impl Io {
    /// TCP without Nagle's delay, the system's randomness and clock.
    #[expect(clippy::disallowed_methods, reason = "here real chance comes in")]
    pub fn real() -> Self {
        Self {
            dial: Arc::new(dial_tcp),
            window_bytes: 4 << 20,
            seed: rand::random(),
            wall_ms: Arc::new(system_ms),
            blocking: Blocking::Thread,
            memory_bytes: Arc::new(resident_bytes),
            sizes: Arc::new(log_the_large),
        }
    }
}

/// A volunteer has no metrics to look at: what is more than half full is worth a line.
fn log_the_large(sizes: &[Size]) {
    for Size { what, now, limit } in sizes.iter().filter(|size| size.now > size.limit / 2) {
        tracing::info!(what, now, limit, "much is waiting");
    }
}

/// Linux tells it in pages, 4 KiB each on the machines this runs on; elsewhere it is unknown.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = statm.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    resident.map_or(0, |pages| pages.saturating_mul(PAGE_BYTES))
}

fn dial_tcp(addr: &str) -> BoxFuture<'static, io::Result<BoxedIo>> {
    let addr = addr.to_owned();
    Box::pin(async move {
        let stream = TcpStream::connect(&addr).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream) as BoxedIo)
    })
}

#[expect(clippy::disallowed_methods, reason = "here the real clock comes in")]
fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
