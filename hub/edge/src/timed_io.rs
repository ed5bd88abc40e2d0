//! A connection that ends itself when its client is silent, slow or stuck.
//!
//! hyper's own head time-out also runs while a kept-alive connection is idle, and does not run before the first byte
//! is understood, so that the time-outs are kept here: idle, request head, and an answer that is not taken.

use std::{
    any::Any,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use loop_net::io::BoxedConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// What an HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the connection and the requests on it tell one another.
#[derive(Debug, Default)]
pub struct Activity {
    in_flight: AtomicU32,
    heads: AtomicU64,
    upgraded: AtomicBool,
}

/// One request being answered; ends when dropped.
pub struct InFlight(Arc<Activity>);

impl Activity {
    /// From now on something else than HTTP is spoken.
    pub fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// A request head is complete.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.heads.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Without a request.
    pub idle: Duration,
    /// From the first byte of a request head to its last.
    pub head: Duration,
    /// Without taking a byte of the answer.
    pub write: Duration,
}

/// The connection.
pub struct TimedIo {
    io: BoxedConnection,
    activity: Arc<Activity>,
    patience: Patience,
    active_at: Instant,
    /// When the head being received began, and how many heads there had been.
    head: Option<(Instant, u64)>,
    /// How much of the HTTP/2 preface was seen; `None` once the bytes were something else.
    preface: Option<usize>,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Given back when the connection is closed, by whoever had it last.
    _kept: Box<dyn Any + Send>,
}

impl TimedIo {
    /// Watches over `io` from now on, and keeps `kept` for as long as it is open: a connection that is upgraded outlives its
    /// HTTP.
    pub fn new(
        io: BoxedConnection,
        activity: Arc<Activity>,
        patience: Patience,
        kept: impl Any + Send,
    ) -> Self {
        let now = Instant::now();
        Self {
            io,
            activity,
            patience,
            active_at: now,
            head: None,
            preface: Some(0),
            read_timer: Box::pin(sleep_until(now + patience.idle)),
            write_timer: None,
            _kept: Box::new(kept),
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        self.active_at = now;
        if let Some(seen) = self.preface.filter(|seen| *seen < PREFACE.len()) {
            let expected = &PREFACE[seen..(seen + bytes.len()).min(PREFACE.len())];
            self.preface = bytes.starts_with(expected).then_some(seen + expected.len());
        }
        if self.speaks_http2() || self.activity.upgraded.load(Ordering::Relaxed) {
            // Frames without a request are normal there; heads are bounded by hyper, silence by the idle time.
            self.head = None;
            return;
        }
        let heads = self.activity.heads.load(Ordering::Relaxed);
        let fresh = self.head.is_none_or(|(_, before)| before != heads);
        if fresh && self.activity.in_flight.load(Ordering::Relaxed) == 0 {
            self.head = Some((now, heads));
        }
    }

    fn speaks_http2(&self) -> bool {
        self.preface == Some(PREFACE.len())
    }

    /// When to stop waiting for the client's next byte; `None` while it waits for us.
    fn read_deadline(&self) -> Option<Instant> {
        if self.activity.in_flight.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let heads = self.activity.heads.load(Ordering::Relaxed);
        match self.head {
            Some((since, before)) if before == heads => Some(since + self.patience.head),
            _ => Some(self.active_at + self.patience.idle),
        }
    }

    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            // While a request is in flight the timer still runs, to look again: the request may end without a read.
            let now = Instant::now();
            let deadline = self.read_deadline().unwrap_or(now + self.patience.idle);
            if deadline <= now {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client is silent"));
            }
            if deadline < self.read_timer.deadline() || self.read_timer.is_elapsed() {
                self.read_timer.as_mut().reset(deadline);
            }
            ready!(self.read_timer.as_mut().poll(cx));
        }
    }

    fn poll_write_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let deadline = Instant::now() + self.patience.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer"))
    }

    fn wrote<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(done) => {
                self.write_timer = None;
                self.active_at = Instant::now();
                Poll::Ready(done)
            }
            Poll::Pending => self.poll_write_deadline(cx).map(Err),
        }
    }
}

impl AsyncRead for TimedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before {
                    this.received(&buf.filled()[before..]);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_read_deadline(cx).map(Err),
        }
    }
}

impl AsyncWrite for TimedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, buf);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => this.poll_write_deadline(cx).map(Err),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_shutdown(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => this.poll_write_deadline(cx).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(75),
        head: Duration::from_secs(10),
        write: Duration::from_secs(20),
    };

    fn pair() -> (tokio::io::DuplexStream, TimedIo, Arc<Activity>) {
        let (client, server) = duplex(64);
        let activity = Arc::new(Activity::default());
        (client, TimedIo::new(Box::new(server), activity.clone(), PATIENCE, ()), activity)
    }

    async fn silence(io: &mut TimedIo) -> (Duration, io::ErrorKind) {
        let before = Instant::now();
        let mut buf = [0; 64];
        loop {
            match io.read(&mut buf).await {
                Ok(n) => assert!(n > 0, "the client did not close"),
                Err(error) => return (before.elapsed(), error.kind()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_cut_after_the_idle_time() {
        let (_client, mut io, _) = pair();
        let (after, kind) = silence(&mut io).await;
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!((75..77).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickled_head_is_cut_after_the_head_time() {
        let (mut client, mut io, _) = pair();
        let drip = tokio::spawn(async move {
            while client.write_all(b"G").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let (after, _) = silence(&mut io).await;
        assert!((10..12).contains(&after.as_secs()), "{after:?}");
        drop(io);
        drip.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_client_may_send_frames_without_a_request() {
        let (mut client, mut io, _) = pair();
        client.write_all(&PREFACE[..10]).await.unwrap();
        let rest = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.write_all(&PREFACE[10..]).await.unwrap();
            client.write_all(b"settings").await.unwrap();
            client
        });
        let (after, _) = silence(&mut io).await;
        assert!((76..78).contains(&after.as_secs()), "{after:?}");
        drop(rest);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_upgraded_has_no_heads_and_may_be_silent_for_the_idle_time() {
        let (mut client, mut io, activity) = pair();
        client.write_all(b"GET /").await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(io.read(&mut buf).await.unwrap(), 5);
        let request = activity.begin();
        activity.upgrade();
        drop(request);
        client.write_all(b"a frame").await.unwrap();
        let (after, _) = silence(&mut io).await;
        assert!((75..77).contains(&after.as_secs()), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_request_is_answered_nobody_is_cut() {
        let (mut client, mut io, activity) = pair();
        client.write_all(b"GET /").await.unwrap();
        let mut buf = [0; 64];
        assert_eq!(io.read(&mut buf).await.unwrap(), 5);
        let request = activity.begin();
        let ends = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(request);
        });
        let (after, _) = silence(&mut io).await;
        assert!(after >= Duration::from_secs(100), "{after:?}");
        assert!(after <= Duration::from_secs(100 + 76), "{after:?}");
        ends.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_nobody_takes_is_given_up() {
        let (_client, mut io, _) = pair();
        let before = Instant::now();
        let error = io.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((20..22).contains(&before.elapsed().as_secs()));
    }
}
