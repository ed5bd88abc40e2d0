//! A hub whose every word the test speaks: a real tonic server on a loopback port.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use loop_proto::v1::{
    self, hub_to_peer, peer_service_server, peer_service_server::PeerServiceServer, peer_to_hub,
};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Nothing in these tests takes longer, unless it hangs.
pub const SOON: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Script {
    joins: Vec<v1::JoinRequest>,
    join_error: Option<Status>,
    fetches: Vec<v1::FetchTasksRequest>,
    batches: VecDeque<v1::RecordBatch>,
}

pub struct Hub {
    pub addr: String,
    pub id: u64,
    script: Arc<Mutex<Script>>,
    streams: mpsc::Receiver<Conversation>,
    server: JoinHandle<()>,
}

/// One work stream, seen from the hub.
pub struct Conversation {
    from_peer: Streaming<v1::PeerToHub>,
    pub to_peer: mpsc::Sender<Result<v1::HubToPeer, Status>>,
    /// Statuses that came between the messages a test asked for.
    pub statuses: Vec<v1::PeerStatus>,
    pub id_requests: Vec<v1::UserIdRequest>,
}

struct Service {
    script: Arc<Mutex<Script>>,
    streams: mpsc::Sender<Conversation>,
}

#[tonic::async_trait]
impl peer_service_server::PeerService for Service {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinReply>, Status> {
        let mut script = self.script.lock().unwrap();
        script.joins.push(request.into_inner());
        match &script.join_error {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(v1::JoinReply { peer_id: 1 })),
        }
    }

    type WorkStream = std::pin::Pin<Box<dyn Stream<Item = Result<v1::HubToPeer, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<v1::PeerToHub>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let (to_peer, stream) = mpsc::channel(64);
        let conversation = Conversation {
            from_peer: request.into_inner(),
            to_peer,
            statuses: Vec::new(),
            id_requests: Vec::new(),
        };
        self.streams.send(conversation).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn fetch_tasks(
        &self,
        request: Request<v1::FetchTasksRequest>,
    ) -> Result<Response<v1::RecordBatch>, Status> {
        let mut script = self.script.lock().unwrap();
        let request = request.into_inner();
        let empty = v1::RecordBatch { records: vec![], through: request.after };
        script.fetches.push(request);
        Ok(Response::new(script.batches.pop_front().unwrap_or(empty)))
    }
}

impl Hub {
    #[expect(clippy::disallowed_methods, reason = "a real hub on a real port")]
    pub async fn start(id: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(Script::default()));
        let (streams_tx, streams) = mpsc::channel(16);
        let service = Service { script: Arc::clone(&script), streams: streams_tx };
        let server = tokio::spawn(async move {
            let service = PeerServiceServer::new(service).max_decoding_message_size(16 << 20);
            let incoming = TcpListenerStream::new(listener);
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { addr, id, script, streams, server }
    }

    pub fn refuse_joins(&self, status: Status) {
        self.script.lock().unwrap().join_error = Some(status);
    }

    pub fn joins(&self) -> Vec<v1::JoinRequest> {
        self.script.lock().unwrap().joins.clone()
    }

    pub fn fetches(&self) -> Vec<v1::FetchTasksRequest> {
        self.script.lock().unwrap().fetches.clone()
    }

    pub fn will_fetch(&self, batch: v1::RecordBatch) {
        self.script.lock().unwrap().batches.push_back(batch);
    }

    /// Waits for a peer's stream and its Hello.
    pub async fn accept(&mut self) -> (Conversation, v1::Hello) {
        let mut talk = timeout(SOON, self.streams.recv()).await.expect("no stream came").unwrap();
        match talk.next().await {
            Some(peer_to_hub::Kind::Hello(hello)) => (talk, hello),
            other => panic!("not a hello: {other:?}"),
        }
    }

    /// Accepts, and greets as a hub that has trimmed nothing.
    pub async fn greet(&mut self) -> (Conversation, v1::Hello) {
        let (talk, hello) = self.accept().await;
        talk.say(hub_to_peer::Kind::Welcome(self.welcome())).await;
        (talk, hello)
    }

    pub fn welcome(&self) -> v1::Welcome {
        v1::Welcome { hub_id: self.id, heartbeat_ms: 1000, ..Default::default() }
    }

    pub async fn no_stream_for(&mut self, time: Duration) {
        assert!(timeout(time, self.streams.recv()).await.is_err(), "a stream came");
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Conversation {
    /// The next message of the peer; `None` when it has ended the stream or the connection.
    pub async fn next(&mut self) -> Option<peer_to_hub::Kind> {
        let message = timeout(SOON, self.from_peer.message()).await.expect("the peer says nothing");
        message.ok().flatten().map(|message| message.kind.expect("every message says something"))
    }

    /// The next message that is no heartbeat and no request for ids.
    pub async fn next_of_note(&mut self) -> Option<peer_to_hub::Kind> {
        loop {
            match self.next().await? {
                peer_to_hub::Kind::Status(status) => self.statuses.push(status),
                peer_to_hub::Kind::UserIds(request) => self.id_requests.push(request),
                kind => return Some(kind),
            }
        }
    }

    pub async fn answer(&mut self) -> v1::Answer {
        match self.next_of_note().await {
            Some(peer_to_hub::Kind::Answer(answer)) => answer,
            other => panic!("not an answer: {other:?}"),
        }
    }

    pub async fn read_reply(&mut self) -> v1::ReadReply {
        match self.next_of_note().await {
            Some(peer_to_hub::Kind::ReadReply(reply)) => reply,
            other => panic!("not a reply to a read: {other:?}"),
        }
    }

    /// Waits for a status with this durable cursor.
    pub async fn cursor(&mut self, cursor: u64) {
        if self.statuses.iter().any(|status| status.cursor == cursor) {
            return;
        }
        loop {
            match self.next().await {
                Some(peer_to_hub::Kind::Status(status)) if status.cursor == cursor => return,
                Some(peer_to_hub::Kind::Status(_) | peer_to_hub::Kind::UserIds(_)) => {}
                other => panic!("not a status: {other:?}"),
            }
        }
    }

    /// Waits until the peer has ended the stream, whatever it still says.
    pub async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }

    /// That nothing of note comes for a while.
    pub async fn nothing_for(&mut self, time: Duration) {
        let came = timeout(time, self.next_of_note()).await;
        assert!(came.is_err(), "{came:?} came");
    }

    pub async fn say(&self, kind: hub_to_peer::Kind) {
        self.to_peer.send(Ok(v1::HubToPeer { kind: Some(kind) })).await.expect("the peer listens");
    }

    pub async fn feed(&self, records: Vec<v1::Record>) {
        let through = records.last().unwrap().id;
        self.feed_through(records, through).await;
    }

    pub async fn feed_through(&self, records: Vec<v1::Record>, through: u64) {
        self.say(hub_to_peer::Kind::Records(batch(records, through))).await;
    }

    pub async fn describe(&self, forum_id: u32, epoch: u64, as_of: u64, open: Vec<v1::Record>) {
        let open_tasks = open.iter().map(encode).collect();
        let assignment = Some(v1::Assignment { epoch, primary: 1, replicas: vec![1, 2] });
        self.say(hub_to_peer::Kind::Forum(v1::ForumState { forum_id, assignment, as_of, open_tasks })).await;
    }
}

pub fn batch(records: Vec<v1::Record>, through: u64) -> v1::RecordBatch {
    v1::RecordBatch { records: records.iter().map(encode).collect(), through }
}

pub fn encode(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

fn record(id: u64, forum_id: u32, body: v1::record::Body) -> v1::Record {
    v1::Record { id, at_ms: 1_000 * id, forum_id, body: Some(body) }
}

pub fn assigned(id: u64, forum: u32, epoch: u64, primary: u32) -> v1::Record {
    let assignment = v1::Assignment { epoch, primary, replicas: vec![1, 2] };
    record(id, forum, v1::record::Body::Assignment(assignment))
}

pub fn asked(id: u64, forum: u32, text: &str) -> v1::Record {
    let request = v1::ClientRequest {
        endpoint: v1::Endpoint::Shout.into(),
        query: text.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let task = v1::Task {
        request: encode(&request),
        message_id: Some(2866 + id as u32),
        origin_hub: 3,
        ..Default::default()
    };
    record(id, forum, v1::record::Body::Task(task))
}

/// The forum's record of an answer that was committed.
pub fn committed(id: u64, answer: &v1::Answer) -> v1::Record {
    let facts = v1::TaskFacts {
        task_id: Some(answer.task_id),
        peer_id: 1,
        epoch: answer.epoch,
        facts: answer.forum_facts.clone(),
        receipt: answer.receipt.clone(),
        ..Default::default()
    };
    record(id, answer.forum_id, v1::record::Body::Facts(facts))
}

/// What another peer answered.
pub fn line_of_another(id: u64, forum_id: u32, closes: u64, epoch: u64, text: &str) -> v1::Record {
    let message = v1::MessageStored { forum_id, text: text.into(), ..Default::default() };
    let fact = v1::Fact { kind: Some(v1::fact::Kind::MessageStored(message)) };
    let facts = v1::TaskFacts {
        task_id: Some(closes),
        peer_id: 2,
        epoch,
        facts: encode(&v1::Facts { facts: vec![fact] }),
        ..Default::default()
    };
    record(id, forum_id, v1::record::Body::Facts(facts))
}

pub fn read(read_id: u64, forum_id: u32, fence: u64, text: &str) -> hub_to_peer::Kind {
    let request = v1::ClientRequest {
        endpoint: v1::Endpoint::SearchChat.into(),
        query: text.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let request = encode(&request);
    hub_to_peer::Kind::Read(v1::ReadRequest { read_id, forum_id, fence, request, ..Default::default() })
}

pub fn verdict(answer: &v1::Answer, code: Option<v1::RejectionCode>) -> hub_to_peer::Kind {
    let rejection = code.map(|code| v1::Rejection { code: code.into(), ..Default::default() });
    let (task_id, forum_id) = (answer.task_id, answer.forum_id);
    hub_to_peer::Kind::Verdict(v1::Verdict { task_id, forum_id, rejection })
}
