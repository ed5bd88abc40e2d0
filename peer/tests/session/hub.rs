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
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::backend::Copy;

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
    fetched: mpsc::Receiver<Fetched>,
    given: mpsc::Receiver<Given>,
    server: JoinHandle<()>,
}

/// A copy a peer wants.
pub struct Fetched {
    pub request: v1::FetchCheckpointRequest,
    pub pieces: mpsc::Sender<Result<v1::CheckpointChunk, Status>>,
}

/// A copy a peer gives.
pub struct Given {
    pieces: Streaming<v1::GivenChunk>,
    /// Ends the call.
    pub taken: oneshot::Sender<()>,
}

/// One work stream, seen from the hub.
pub struct Conversation {
    from_peer: Streaming<v1::PeerToHub>,
    pub to_peer: mpsc::Sender<Result<v1::HubToPeer, Status>>,
    /// Statuses that came between the messages a test asked for.
    pub statuses: Vec<v1::PeerStatus>,
}

struct Service {
    script: Arc<Mutex<Script>>,
    streams: mpsc::Sender<Conversation>,
    fetched: mpsc::Sender<Fetched>,
    given: mpsc::Sender<Given>,
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
        let conversation = Conversation { from_peer: request.into_inner(), to_peer, statuses: Vec::new() };
        self.streams.send(conversation).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    type FetchCheckpointStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<v1::CheckpointChunk, Status>> + Send>>;

    async fn fetch_checkpoint(
        &self,
        request: Request<v1::FetchCheckpointRequest>,
    ) -> Result<Response<Self::FetchCheckpointStream>, Status> {
        let (pieces, stream) = mpsc::channel(4);
        let fetched = Fetched { request: request.into_inner(), pieces };
        self.fetched.send(fetched).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn give_checkpoint(
        &self,
        request: Request<Streaming<v1::GivenChunk>>,
    ) -> Result<Response<v1::GiveCheckpointReply>, Status> {
        let (taken, over) = oneshot::channel();
        let given = Given { pieces: request.into_inner(), taken };
        self.given.send(given).await.map_err(|_| Status::unavailable("the test is over"))?;
        over.await.map_err(|_| Status::cancelled("nobody takes it"))?;
        Ok(Response::new(v1::GiveCheckpointReply {}))
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
        let ((fetched_tx, fetched), (given_tx, given)) = (mpsc::channel(16), mpsc::channel(16));
        let service = Service {
            script: Arc::clone(&script),
            streams: streams_tx,
            fetched: fetched_tx,
            given: given_tx,
        };
        let server = tokio::spawn(async move {
            let service = PeerServiceServer::new(service).max_decoding_message_size(16 << 20);
            let incoming = TcpListenerStream::new(listener);
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { addr, id, script, streams, fetched, given, server }
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

    /// Waits until a peer wants a copy.
    pub async fn fetched(&mut self) -> Fetched {
        timeout(SOON, self.fetched.recv()).await.expect("no copy was asked for").unwrap()
    }

    /// That no copy is asked for for a while.
    pub async fn nothing_fetched_for(&mut self, time: Duration) {
        assert!(timeout(time, self.fetched.recv()).await.is_err(), "a copy was asked for");
    }

    /// Waits until a peer gives a copy.
    pub async fn given(&mut self) -> Given {
        timeout(SOON, self.given.recv()).await.expect("no copy was given").unwrap()
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

impl Fetched {
    /// Sends a copy from where it was asked for, in pieces of `size` bytes, up to byte `end`, and leaves it open.
    pub async fn send(&self, copy: &Copy, size: usize, end: usize) {
        let from = if self.request.sha256 == copy.header.sha256 { self.request.offset as usize } else { 0 };
        let header = Some(copy.header.clone());
        let first = v1::CheckpointChunk { header, offset: from as u64, ..Default::default() };
        self.piece(first).await;
        let mut offset = from;
        for data in copy.bytes[from..end].chunks(size) {
            let chunk =
                v1::CheckpointChunk { header: None, offset: offset as u64, data: data.to_vec().into() };
            offset += data.len();
            self.piece(chunk).await;
        }
    }

    pub async fn send_all(&self, copy: &Copy) {
        self.send(copy, 7, copy.bytes.len()).await;
    }

    pub async fn piece(&self, chunk: v1::CheckpointChunk) {
        let _ = self.pieces.send(Ok(chunk)).await;
    }
}

impl Given {
    /// The next piece; `None`: that was all, or the peer has gone.
    pub async fn next(&mut self) -> Option<v1::GivenChunk> {
        timeout(SOON, self.pieces.message()).await.expect("nothing more is given").ok().flatten()
    }

    /// The first piece's copy header and offset, and all bytes after it.
    pub async fn all(mut self) -> (v1::GivenChunk, Vec<u8>) {
        let first = self.next().await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = self.next().await {
            let chunk = piece.chunk.unwrap();
            let from = first.chunk.as_ref().unwrap().offset + bytes.len() as u64;
            assert!(chunk.offset == from && chunk.data.len() <= 256 << 10);
            bytes.extend_from_slice(&chunk.data);
        }
        let _ = self.taken.send(());
        (first, bytes)
    }
}

impl Conversation {
    /// The next message of the peer; `None` when it has ended the stream or the connection.
    pub async fn next(&mut self) -> Option<peer_to_hub::Kind> {
        let message = timeout(SOON, self.from_peer.message()).await.expect("the peer says nothing");
        message.ok().flatten().map(|message| message.kind.expect("every message says something"))
    }

    /// The next message that is no heartbeat.
    pub async fn next_of_note(&mut self) -> Option<peer_to_hub::Kind> {
        loop {
            match self.next().await? {
                peer_to_hub::Kind::Status(status) => self.statuses.push(status),
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

    pub async fn rows(&mut self) -> v1::RowsReply {
        match self.next_of_note().await {
            Some(peer_to_hub::Kind::Rows(reply)) => reply,
            other => panic!("not a reply to a question for rows: {other:?}"),
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
                Some(peer_to_hub::Kind::Status(_)) => {}
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

    pub async fn describe_as(
        &self,
        forum_id: u32,
        assignment: v1::Assignment,
        as_of: u64,
        open: Vec<v1::Record>,
    ) {
        let open_tasks = open.iter().map(encode).collect();
        let assignment = Some(assignment);
        self.say(hub_to_peer::Kind::Forum(v1::ForumState { forum_id, assignment, as_of, open_tasks })).await;
    }

    /// The peer's word on an invitation.
    pub async fn invitation(&mut self) -> v1::InvitationReply {
        match self.next_of_note().await {
            Some(peer_to_hub::Kind::Invitation(reply)) => reply,
            other => panic!("not a reply to an invitation: {other:?}"),
        }
    }

    pub async fn seeded(&mut self) -> v1::Seeded {
        match self.next_of_note().await {
            Some(peer_to_hub::Kind::Seeded(seeded)) => seeded,
            other => panic!("not that a copy is installed: {other:?}"),
        }
    }

    pub async fn describe(&self, forum_id: u32, epoch: u64, as_of: u64, open: Vec<v1::Record>) {
        let open_tasks = open.iter().map(encode).collect();
        let assignment =
            Some(v1::Assignment { epoch, primary: 1, replicas: vec![1, 2], ..Default::default() });
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
    assigned_to(id, forum, v1::Assignment { epoch, primary, replicas: vec![1, 2], ..Default::default() })
}

pub fn assigned_to(id: u64, forum: u32, assignment: v1::Assignment) -> v1::Record {
    record(id, forum, v1::record::Body::Assignment(assignment))
}

/// Peer 2 serves, and peer 1 is at a stage of its way in.
pub fn joining(epoch: u64, invitation_id: u64, stage: v1::JoinStage) -> v1::Assignment {
    let joining = v1::JoiningReplica { peer_id: 1, invitation_id, source: 2, stage: stage.into() };
    v1::Assignment { epoch, primary: 2, replicas: vec![2], joining: vec![joining], ..Default::default() }
}

/// Peer 2 serves, and peer 1 is nothing to the forum.
pub fn without_this_peer(epoch: u64) -> v1::Assignment {
    v1::Assignment { epoch, primary: 2, replicas: vec![2], ..Default::default() }
}

pub fn audit(id: u64, forum: u32) -> v1::Record {
    record(id, forum, v1::record::Body::Audit(v1::Audit {}))
}

pub fn asked(id: u64, forum: u32, text: &str) -> v1::Record {
    let request = v1::ClientRequest {
        endpoint: v1::Endpoint::Shout.into(),
        query: text.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let task =
        v1::Task { request: encode(&request), message_id: Some(2866 + id as u32), ..Default::default() };
    record(id, forum, v1::record::Body::Task(task))
}

/// The forum's record of an answer that was committed.
pub fn committed(id: u64, answer: &v1::Answer) -> v1::Record {
    let facts = v1::TaskFacts {
        task_id: Some(answer.task_id),
        peer_id: 1,
        epoch: answer.epoch,
        facts: answer.facts.clone(),
        receipt: answer.receipt.clone(),
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

/// A question for a forum's newest lines.
pub fn newest(id: u64, forum_id: u32, fence: u64) -> hub_to_peer::Kind {
    let rows = v1::ForumRows { forum_id, before: None, limit: 100 };
    ask(id, fence, v1::rows_request::Kind::Forum(rows))
}

/// A question for rows.
pub fn ask(id: u64, fence: u64, kind: v1::rows_request::Kind) -> hub_to_peer::Kind {
    hub_to_peer::Kind::Rows(v1::RowsRequest { id, fence, kind: Some(kind) })
}

/// The texts of an answer's messages, newest first.
pub fn texts(reply: &v1::RowsReply) -> Vec<&str> {
    reply.messages.iter().map(|message| message.text.as_str()).collect()
}

/// What an answer says was written.
pub fn line_of(answer: &v1::Answer) -> String {
    let facts = v1::Facts::decode(answer.facts.clone()).unwrap().facts;
    match facts.into_iter().next().and_then(|fact| fact.kind) {
        Some(v1::fact::Kind::MessageStored(message)) => message.text,
        other => panic!("not a line: {other:?}"),
    }
}

pub fn verdict(answer: &v1::Answer, code: Option<v1::RejectionCode>) -> hub_to_peer::Kind {
    let rejection = code.map(|code| v1::Rejection { code: code.into(), ..Default::default() });
    let (task_id, forum_id) = (answer.task_id, answer.forum_id);
    hub_to_peer::Kind::Verdict(v1::Verdict { task_id, forum_id, rejection })
}
