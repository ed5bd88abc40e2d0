//! A peer that lies: what it says to a hub is changed on its way there, by somebody who sits at its own end of the wire.
//!
//! Owns the words of gRPC's PeerService as they pass; the peer behind it is the one that ships and knows nothing of it.
//! It is told to lie at one time and to stop at another, and passes everything on as it is in between.

mod content;

use std::{io, pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use loop_peer::io::BoxedIo;
use loop_proto::v1::{
    self,
    peer_service_client::PeerServiceClient,
    peer_service_server::{PeerService, PeerServiceServer},
    peer_to_hub::Kind,
};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, Uri},
};
use tower::service_fn;

pub use content::SCRIPT;

use super::net::Socket;

/// Messages that may wait between the peer and the hub; a peer's own outbox is shorter.
const WAITING_MAX: usize = 1024;
/// Largest message passed on, bytes; as hubs and peers take them.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// What may lie in the pipe between the peer and whoever changes its words, bytes.
const PIPE_BYTES: usize = 256 << 10;

/// What a peer may lie about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Answers under the epoch before.
    OldEpoch,
    /// Answers under an epoch that has not come.
    FutureEpoch,
    /// Says it has more on disk than it has.
    CursorAhead,
    /// Says when it comes that it has more than there is.
    HelloAhead,
    /// Says it has less on disk than it has, and asks again for what it has.
    CursorBehind,
    /// Holds its answers back for seconds.
    Late,
    /// Says everything it answers twice.
    Twice,
    /// Says that it gives as much disk as anybody wants and has used none, and refuses what it is then offered.
    EndlessDisk,
    /// Says that it has a forum's copy as soon as it has accepted it, and gets none.
    SeededAtOnce,
    /// Says that a request has changed what it cannot have changed.
    FalseFacts,
    /// Sends rows that cannot be those that were asked for.
    FalseRows,
}

/// All of them.
pub const LIES: [Lie; 11] = [
    Lie::OldEpoch,
    Lie::FutureEpoch,
    Lie::CursorAhead,
    Lie::HelloAhead,
    Lie::CursorBehind,
    Lie::Late,
    Lie::Twice,
    Lie::EndlessDisk,
    Lie::SeededAtOnce,
    Lie::FalseFacts,
    Lie::FalseRows,
];

/// Makes a peer's words what they are when they leave its machine. Clones are the same.
#[derive(Clone)]
pub struct Tongue(Arc<Mutex<Inner>>);

struct Inner {
    lie: Option<Lie>,
    /// Since it lied for the first time, every connection goes through somebody who could change words.
    ever: bool,
    /// It has said that it has a copy that it had not.
    faked: bool,
    rng: StdRng,
    told: u64,
}

/// A message, and how long it is held back.
type Said = (Duration, v1::PeerToHub);

impl Tongue {
    /// An honest one.
    pub fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(Inner { lie: None, ever: false, faked: false, rng, told: 0 })))
    }

    /// Lies from now on, or no more. Connections that exist are to be broken for it to begin.
    pub fn set(&self, lie: Option<Lie>) {
        let mut inner = self.0.lock();
        inner.lie = lie;
        inner.ever |= lie.is_some();
    }

    /// Whether it was ever to lie.
    pub fn lied(&self) -> bool {
        self.0.lock().ever
    }

    /// Whether it ever said that it has a copy that it had not.
    pub fn faked(&self) -> bool {
        self.0.lock().faked
    }

    fn tells(&self, lie: Lie) -> bool {
        self.0.lock().lie == Some(lie)
    }

    /// How many lies it has told.
    pub fn told(&self) -> u64 {
        self.0.lock().told
    }

    /// The connection as the peer is to have it.
    pub fn behind(&self, socket: Socket) -> io::Result<BoxedIo> {
        if !self.0.lock().ever {
            return Ok(Box::new(socket));
        }
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let hub = PeerServiceClient::new(only(socket)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let service = PeerServiceServer::new(Between { hub, tongue: self.clone() })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        // One connection comes; the server stays for it, and goes with the machine.
        let incoming = futures::stream::iter([Ok::<_, io::Error>(far)]).chain(futures::stream::pending());
        tokio::spawn(async move {
            // The peer sees a broken connection, which is all there is to know.
            let _ = Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
        Ok(Box::new(near))
    }

    /// What leaves the machine in place of `message`.
    fn twist(&self, message: v1::PeerToHub) -> Vec<Said> {
        let inner = &mut *self.0.lock();
        let Some(lie) = inner.lie else { return vec![(Duration::ZERO, message)] };
        let mut message = message;
        let answers = matches!(message.kind, Some(Kind::Answer(_) | Kind::Rows(_)));
        let by = inner.rng.random_range(1..50);
        let lied = match lie {
            Lie::OldEpoch => about_epoch(&mut message, |epoch| epoch.saturating_sub(1)),
            Lie::FutureEpoch => about_epoch(&mut message, |epoch| epoch + by),
            Lie::CursorAhead => about_cursor(&mut message, |cursor| cursor + by),
            Lie::HelloAhead => match &mut message.kind {
                Some(Kind::Hello(hello)) => {
                    hello.cursor += 1_000_000 * by;
                    true
                }
                _ => false,
            },
            Lie::CursorBehind => {
                // It asks again for what it has. Asking for less than it needs would be its own loss, and its readers'.
                if let Some(Kind::Hello(hello)) = &mut message.kind {
                    hello.cursor = hello.cursor.saturating_sub(by);
                }
                about_cursor(&mut message, |cursor| cursor.saturating_sub(by))
            }
            Lie::EndlessDisk => about_disk(&mut message),
            Lie::FalseFacts => match &mut message.kind {
                Some(Kind::Answer(answer)) => content::about_facts(answer, &mut inner.rng),
                _ => false,
            },
            Lie::FalseRows => match &mut message.kind {
                Some(Kind::Rows(reply)) => content::about_rows(reply, &mut inner.rng),
                _ => false,
            },
            Lie::SeededAtOnce => return inner.seeded_at_once(message),
            Lie::Late | Lie::Twice => answers,
        };
        inner.told += u64::from(lied);
        match lie {
            Lie::Late if answers => {
                vec![(Duration::from_millis(inner.rng.random_range(500..5000)), message)]
            }
            Lie::Twice if answers => {
                let again = Duration::from_millis(inner.rng.random_range(0..500));
                vec![(Duration::ZERO, message.clone()), (again, message)]
            }
            _ => vec![(Duration::ZERO, message)],
        }
    }
}

impl Inner {
    /// What is said of a copy once it has been accepted.
    fn seeded_at_once(&mut self, message: v1::PeerToHub) -> Vec<Said> {
        let accepted = match &message.kind {
            Some(Kind::Invitation(reply)) if reply.accepted => Some(v1::Seeded {
                forum_id: reply.forum_id,
                invitation_id: reply.invitation_id,
                // The least that a copy's position may be.
                cursor: reply.invitation_id,
            }),
            _ => None,
        };
        let mut said = vec![(Duration::ZERO, message)];
        if let Some(seeded) = accepted {
            self.told += 1;
            self.faked = true;
            // The hub must have taken the first word before it hears the second.
            let kind = Some(Kind::Seeded(seeded));
            said.push((Duration::from_millis(100), v1::PeerToHub { kind }));
        }
        said
    }
}

/// Takes the limits from what a peer says of its disk, and what it uses of it. Whether there was something to lie about.
fn about_disk(message: &mut v1::PeerToHub) -> bool {
    match &mut message.kind {
        Some(Kind::Hello(hello)) => hello.limits = None,
        Some(Kind::Status(status)) => status.disk_bytes = 0,
        _ => return false,
    }
    true
}

/// Changes the epoch of an answer. Whether there was one to lie about.
fn about_epoch(message: &mut v1::PeerToHub, lie: impl FnOnce(u64) -> u64) -> bool {
    let epoch = match &mut message.kind {
        Some(Kind::Answer(answer)) => &mut answer.epoch,
        _ => return false,
    };
    let truth = *epoch;
    *epoch = lie(truth);
    *epoch != truth
}

/// Changes what a report says is on disk. Whether there was something to lie about.
fn about_cursor(message: &mut v1::PeerToHub, lie: impl FnOnce(u64) -> u64) -> bool {
    let cursor = match &mut message.kind {
        Some(Kind::Status(status)) => &mut status.cursor,
        Some(Kind::Seeded(seeded)) => &mut seeded.cursor,
        _ => return false,
    };
    *cursor = lie(*cursor);
    true
}

/// A channel over this one connection, which is never made again.
fn only(socket: Socket) -> io::Result<Channel> {
    let one = Arc::new(Mutex::new(Some(socket)));
    let connector = service_fn(move |_: Uri| {
        let one = one.clone();
        async move { one.lock().take().map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let endpoint = Endpoint::from_shared("http://hub").map_err(io::Error::other)?;
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// Between a peer and its hub.
struct Between {
    hub: PeerServiceClient<Channel>,
    tongue: Tongue,
}

type Answer<T> = Result<Response<T>, Status>;
type Down<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn received<T: Send + 'static>(mut rx: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::poll_fn(move |cx| rx.poll_recv(cx))
}

#[tonic::async_trait]
impl PeerService for Between {
    type WorkStream = Down<v1::HubToPeer>;
    type FetchCheckpointStream = Down<v1::CheckpointChunk>;

    async fn join(&self, request: Request<v1::JoinRequest>) -> Answer<v1::JoinReply> {
        self.hub.clone().join(request.into_inner()).await
    }

    async fn work(&self, request: Request<Streaming<v1::PeerToHub>>) -> Answer<Self::WorkStream> {
        let mut said = request.into_inner();
        let (tx, rx) = mpsc::channel(WAITING_MAX);
        let tongue = self.tongue.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = said.next().await {
                for (held, message) in tongue.twist(message) {
                    if held.is_zero() {
                        if tx.send(message).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    let tx = tx.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(held).await;
                        // Whoever is gone by then has nothing to be told.
                        let _ = tx.send(message).await;
                    });
                }
            }
        });
        let told = self.hub.clone().work(received(rx)).await?.into_inner();
        Ok(Response::new(Box::pin(told)))
    }

    async fn fetch_tasks(&self, request: Request<v1::FetchTasksRequest>) -> Answer<v1::RecordBatch> {
        self.hub.clone().fetch_tasks(request.into_inner()).await
    }

    async fn fetch_checkpoint(
        &self,
        request: Request<v1::FetchCheckpointRequest>,
    ) -> Answer<Self::FetchCheckpointStream> {
        if self.tongue.tells(Lie::SeededAtOnce) {
            return Err(Status::unavailable("somebody between says that it has come already"));
        }
        let chunks = self.hub.clone().fetch_checkpoint(request.into_inner()).await?.into_inner();
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn give_checkpoint(
        &self,
        request: Request<Streaming<v1::GivenChunk>>,
    ) -> Answer<v1::GiveCheckpointReply> {
        let given = request.into_inner().filter_map(|chunk| std::future::ready(chunk.ok()));
        self.hub.clone().give_checkpoint(given).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lie_is_told_about_what_it_is_about_and_nothing_else() {
        let said = |kind| v1::PeerToHub { kind: Some(kind) };
        let limits = Some(v1::PeerLimits { disk_bytes: 5, ..Default::default() });
        let hello = said(Kind::Hello(v1::Hello { cursor: 99, limits, ..Default::default() }));
        let status = said(Kind::Status(v1::PeerStatus { cursor: 99, disk_bytes: 5, ..Default::default() }));
        let answer = said(Kind::Answer(v1::Answer { epoch: 9, ..Default::default() }));
        let accepts = said(Kind::Invitation(v1::InvitationReply { accepted: true, ..Default::default() }));
        let rows = said(Kind::Rows(v1::RowsReply { as_of: 9, complete: true, ..Default::default() }));
        for lie in LIES {
            let about = match lie {
                Lie::FalseRows => vec![&rows],
                Lie::HelloAhead => vec![&hello],
                Lie::CursorAhead => vec![&status],
                Lie::CursorBehind | Lie::EndlessDisk => vec![&hello, &status],
                Lie::SeededAtOnce => vec![&accepts],
                Lie::Late | Lie::Twice => vec![&answer, &rows],
                Lie::OldEpoch | Lie::FutureEpoch | Lie::FalseFacts => vec![&answer],
            };
            let tongue = Tongue::new(1);
            let as_it_is = |message: &v1::PeerToHub| vec![(Duration::ZERO, message.clone())];
            assert_eq!(tongue.twist(answer.clone()), as_it_is(&answer));
            tongue.set(Some(lie));
            for message in [&hello, &status, &answer, &accepts, &rows] {
                let is_true = tongue.twist(message.clone()) == as_it_is(message);
                assert_eq!(is_true, !about.contains(&message), "{lie:?} {message:?}");
            }
            assert_eq!(tongue.told(), about.len() as u64 - u64::from(lie == Lie::CursorBehind), "{lie:?}");
            tongue.set(None);
            assert_eq!(tongue.twist(answer.clone()), as_it_is(&answer));
        }
    }
}
