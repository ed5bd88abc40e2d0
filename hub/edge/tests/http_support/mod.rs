//! A server on a real socket with a scripted cluster behind it, and a client that shows every byte.

#![allow(dead_code, missing_docs)]

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};
use loop_atomjump::Answer;
use loop_hub_edge::{
    HttpConfig, Outside,
    gateway::{CallError, Change, ClientCall, Gateway, Published},
    serve,
};
use loop_net::io::TcpAcceptor;
use loop_proto::{
    content::{ContentHash, type_of},
    v1::{self, Endpoint},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What a test's cluster was asked.
#[derive(Clone)]
pub struct Asked {
    pub request: v1::ClientRequest,
    call: Option<ClientCall>,
    pub writes: bool,
    pub within: Duration,
}

impl Asked {
    pub fn endpoint(&self) -> Endpoint {
        self.request.endpoint()
    }

    pub fn call(&self) -> &ClientCall {
        self.call.as_ref().expect("a call, not a file")
    }
}

/// What a test's cluster tells.
pub type Told = Answer;

type Script = dyn Fn(&Asked) -> Result<Told, CallError> + Send + Sync;

/// A published file, and what comes of asking peers for it.
#[derive(Clone)]
pub struct Held {
    pub file: Published,
    pub bytes: Result<Bytes, CallError>,
}

/// A cluster that answers by script, after a delay.
pub struct Scripted {
    script: Box<Script>,
    pub delay: Mutex<Duration>,
    pub ready: std::sync::atomic::AtomicBool,
    pub peers: std::sync::atomic::AtomicBool,
    pub asked: Mutex<Vec<Asked>>,
    pub files: Mutex<BTreeMap<String, Held>>,
    /// Paths of files that peers were asked for.
    pub fetched: Mutex<Vec<String>>,
}

impl Scripted {
    async fn serve(&self, asked: Asked) -> Result<Told, CallError> {
        self.asked.lock().push(asked.clone());
        let delay = *self.delay.lock();
        tokio::time::sleep(delay).await;
        (self.script)(&asked)
    }

    fn answer(
        &self,
        call: ClientCall,
        within: Duration,
        writes: bool,
    ) -> BoxFuture<'_, Result<Answer, CallError>> {
        let asked = Asked { request: call.request.clone(), call: Some(call), writes, within };
        Box::pin(self.serve(asked))
    }
}

impl Gateway for Scripted {
    fn write(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<Answer, CallError>> {
        self.answer(call, within, true)
    }

    fn read(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<Answer, CallError>> {
        self.answer(call, within, false)
    }

    fn watch(
        &self,
        call: ClientCall,
        through: Option<u64>,
        within: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Change>, CallError>> {
        let told = self.answer(call, within, false);
        Box::pin(async move {
            let json = Bytes::from(told.await?.body);
            let first = Change { through: through.unwrap_or(0) + 1, json };
            Ok(stream::iter([first]).chain(stream::pending()).boxed())
        })
    }

    fn published(&self, path: &str) -> Option<Published> {
        self.files.lock().get(path).map(|held| held.file.clone())
    }

    fn content<'a>(&'a self, file: &'a Published, _: Duration) -> BoxFuture<'a, Result<Bytes, CallError>> {
        self.fetched.lock().push(file.path.clone());
        let held = self.files.lock().get(&file.path).cloned().expect("a file that is published");
        Box::pin(async move { held.bytes })
    }

    fn health(&self) -> v1::HealthReport {
        let (ready, peers) = (self.ready.load(Ordering::Relaxed), self.peers.load(Ordering::Relaxed));
        let problems = [(!ready, "no majority"), (!peers, "no peer")];
        let problems = problems.iter().filter(|(is, _)| *is).map(|(_, why)| (*why).to_owned()).collect();
        v1::HealthReport { ready, quorum: ready, problems, ..Default::default() }
    }

    fn serving(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && self.peers.load(Ordering::Relaxed)
    }

    fn hub_http_addrs(&self) -> Vec<String> {
        vec!["127.0.0.1:8080".into(), "127.0.0.1:8081".into(), "127.0.0.1:8082".into()]
    }
}

/// JSON for a callback, with the endpoint's own content type.
pub fn json(body: &str) -> Result<Told, CallError> {
    Ok(Answer::jsonp("", body.into()))
}

/// The usual cluster: reads are empty.
pub fn usual(asked: &Asked) -> Result<Told, CallError> {
    match asked.endpoint() {
        Endpoint::ChatPage => Ok(Answer::html("<!doctype html>page".into())),
        Endpoint::HideMessage | Endpoint::MessageButtons => json("\"\""),
        _ => json(r#"{"res":[],"ses":"x"}"#),
    }
}

struct Fixed(AtomicU64);

impl Outside for Fixed {
    fn fill_random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = (self.0.fetch_add(0x9e37, Ordering::Relaxed) >> 3) as u8;
        }
    }

    fn unix_seconds(&self) -> u64 {
        1_795_232_963
    }
}

pub struct Server {
    pub addr: SocketAddr,
    pub cluster: Arc<Scripted>,
    pub shutdown: CancellationToken,
    pub served: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Publishes a file, and says what comes of asking peers for it. Its hash.
    pub fn publish(&self, path: &str, bytes: Result<&'static str, CallError>) -> ContentHash {
        let body = bytes.as_deref().unwrap_or("lost");
        let hash = ContentHash(Sha256::digest(body).into());
        let (size, kind) = (body.len() as u64, type_of(path));
        let file = Published { path: path.to_owned(), hash, size, kind };
        let held = Held { file, bytes: bytes.map(|bytes| Bytes::from_static(bytes.as_bytes())) };
        self.cluster.files.lock().insert(path.to_owned(), held);
        hash
    }

    /// Paths of files that peers were asked for.
    pub fn fetched(&self) -> Vec<String> {
        self.cluster.fetched.lock().clone()
    }
}

pub async fn start(
    config: HttpConfig,
    script: impl Fn(&Asked) -> Result<Told, CallError> + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let cluster = Arc::new(Scripted {
        script: Box::new(script),
        delay: Mutex::new(Duration::ZERO),
        ready: true.into(),
        peers: true.into(),
        asked: Mutex::new(Vec::new()),
        files: Mutex::default(),
        fetched: Mutex::default(),
    });
    let shutdown = CancellationToken::new();
    let prometheus = PrometheusBuilder::new().build_recorder().handle();
    let outside = Arc::new(Fixed(AtomicU64::new(1)));
    let served = tokio::spawn(serve(
        vec![Box::new(TcpAcceptor(listener))],
        config,
        cluster.clone(),
        None,
        outside,
        prometheus,
        shutdown.clone(),
    ));
    Server { addr, cluster, shutdown, served }
}

pub async fn start_usual() -> Server {
    start(HttpConfig::default(), usual).await
}

/// An answer, taken apart.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection of a client.
pub struct Client(pub TcpStream);

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads one answer. `None`: the server closed without one.
    pub async fn answer(&mut self, is_head: bool) -> Option<Response> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if self.more(&mut bytes).await == 0 {
                return None;
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap())
            .collect();
        let length = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
        let length = length.filter(|_| !is_head && status != 304).map_or(0, |(_, v)| v.parse().unwrap());
        let mut body = bytes.split_off(end + 4);
        while body.len() < length {
            if self.more(&mut body).await == 0 {
                break;
            }
        }
        Some(Response { status, headers, body })
    }

    pub async fn more(&mut self, bytes: &mut Vec<u8>) -> usize {
        let read = self.0.read_buf(bytes);
        timeout(Duration::from_secs(20), read).await.expect("an answer in time").unwrap_or(0)
    }

    pub async fn exchange(&mut self, request: &str) -> Response {
        self.send(request.as_bytes()).await;
        self.answer(request.starts_with("HEAD")).await.expect("an answer")
    }
}

impl Server {
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("Host: {}\r\n", self.addr));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut client = Client::connect(self.addr).await;
        client.send(head.as_bytes()).await;
        client.send(body).await;
        client.answer(method == "HEAD").await.expect("an answer")
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"").await
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.cluster.asked.lock().clone()
    }

    pub fn last_asked(&self) -> Asked {
        self.asked().pop().expect("the cluster was asked")
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.served.await.unwrap().unwrap();
    }
}
