//! The accept loop: how many connections, how long each may be silent, and how all of them end.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use futures::future::join_all;
use http::{Request, StatusCode};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use loop_net::io::{Acceptor, BoxedConnection};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{
    io::AsyncWriteExt,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    config::HttpConfig,
    measure,
    mount::Mount,
    outside::Outside,
    service::Edge,
    timed_io::{Activity, Patience, TimedIo},
};
use crate::gateway::Gateway;

/// Room for a URL at its limit and the headers beside it.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// After an accept error, mostly too many open files, looking again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are being told that there are too many; beyond that they are just closed.
const REFUSALS_MAX: usize = 64;

/// How long such a connection may take to hear it.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// Bytes in flight of one HTTP/2 body: a form at its limit in a few rounds.
const WINDOW_BYTES: u32 = 64 * 1024;

/// Serves HTTP on all of `acceptors` alike until `shutdown`, then stops accepting, lets running requests finish within
/// [`HttpConfig::drain_timeout`] and returns. Fails only at the start, if the folder of static files cannot be opened.
pub async fn serve(
    acceptors: Vec<Box<dyn Acceptor>>,
    config: HttpConfig,
    gateway: Arc<dyn Gateway>,
    mount: Option<Arc<dyn Mount>>,
    outside: Arc<dyn Outside>,
    prometheus: PrometheusHandle,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let edge = Arc::new(Edge::new(config, gateway, mount, outside, prometheus, shutdown.clone())?);
    let server = Server::new(edge);
    join_all(acceptors.into_iter().map(|acceptor| server.accept(acceptor, &shutdown))).await;
    server.drain().await;
    Ok(())
}

struct Server {
    edge: Arc<Edge>,
    http: Arc<auto::Builder<TokioExecutor>>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    connections: TaskTracker,
}

impl Server {
    fn new(edge: Arc<Edge>) -> Self {
        let places = edge.config().connections_max.min(Semaphore::MAX_PERMITS);
        Self {
            http: Arc::new(protocol()),
            places: Arc::new(Semaphore::new(places)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            connections: TaskTracker::new(),
            edge,
        }
    }

    async fn accept(&self, mut acceptor: Box<dyn Acceptor>, shutdown: &CancellationToken) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = acceptor.accept() => accepted,
            };
            match accepted {
                Ok((io, _)) => self.admit(io, shutdown),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }

    async fn drain(&self) {
        self.connections.close();
        // Each connection gives up by itself within the drain time; the second is for it to notice.
        let all = self.edge.config().drain_timeout + Duration::from_secs(1);
        if timeout(all, self.connections.wait()).await.is_err() {
            tracing::warn!(left = self.connections.len(), "connections did not end in time");
        }
    }

    fn admit(&self, io: BoxedConnection, shutdown: &CancellationToken) {
        match self.places.clone().try_acquire_owned() {
            Ok(place) => {
                let (edge, http, shutdown) = (self.edge.clone(), self.http.clone(), shutdown.clone());
                self.connections.spawn(connection(io, edge, http, shutdown, place));
            }
            Err(_) => {
                measure::turned_away();
                if let Ok(turn) = self.refusals.clone().try_acquire_owned() {
                    self.connections.spawn(refuse(io, turn));
                }
            }
        }
    }
}

fn protocol() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        // Kept by `TimedIo`; and the clock of `Date` is ours.
        .header_read_timeout(None)
        .auto_date_header(false)
        .half_close(true)
        .max_buf_size(HEAD_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES);
    http
}

async fn connection(
    io: BoxedConnection,
    edge: Arc<Edge>,
    http: Arc<auto::Builder<TokioExecutor>>,
    shutdown: CancellationToken,
    place: OwnedSemaphorePermit,
) {
    let kept = (place, measure::Held::connection());
    let config = edge.config();
    let patience =
        Patience { idle: config.idle_timeout, head: config.head_timeout, write: config.write_stall_timeout };
    let drain = config.drain_timeout;
    let activity = Arc::new(Activity::default());
    let io = TokioIo::new(TimedIo::new(io, activity.clone(), patience, kept));
    let service = service_fn(move |request: Request<Incoming>| {
        let (edge, activity) = (edge.clone(), activity.clone());
        let request_in_flight = activity.begin();
        async move {
            let mut answer = edge.answer(request).await;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                activity.upgrade();
            }
            answer.body_mut().hold(request_in_flight);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(http.serve_connection_with_upgrades(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = shutdown.cancelled() => None,
    };
    if ended.is_none() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(drain, connection).await;
    }
    // How a connection ended is the client's affair: garbage, resets and time-outs are everyday.
}

async fn refuse(mut io: BoxedConnection, _turn: OwnedSemaphorePermit) {
    let _ = timeout(REFUSAL_TIME, async {
        io.write_all(REFUSAL).await?;
        io.shutdown().await
    })
    .await;
}

/// The client went away between its arrival and our taking it.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | NotConnected)
}
