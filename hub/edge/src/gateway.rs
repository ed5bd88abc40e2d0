//! The door between the HTTP shim and the cluster. Owns what a client call is, once it has been validated.
//! Never knows HTTP syntax, nor how a call is served.

use std::time::Duration;

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use loop_atomjump::Answer;
use loop_proto::{
    content::ContentHash,
    ids::{ForumKey, MessageId, RequestId},
    v1,
};

/// One validated call of a client.
#[derive(Clone, Debug)]
pub struct ClientCall {
    /// The forum it is routed by; `None` when it names none.
    pub forum: Option<ForumKey>,
    /// The same for every re-send of the same commit; random for everything else.
    pub request_id: RequestId,
    /// What the client sent.
    pub request: v1::ClientRequest,
    /// Whether it takes a message id: a write without a usable `shout_id`.
    pub creates_message: bool,
    /// The message it goes on with, if it names one.
    pub named_message: Option<MessageId>,
    /// With which row the forum is opened if nobody has opened it yet; `None`: it is not.
    pub opens: Option<Opening>,
}

/// What a new forum's row is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its name. A secret: only the title made of it is kept.
    pub name: Bytes,
    /// The `general` parameter, which may say when it decays.
    pub general: Bytes,
}

/// A file that is published, as browsers are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its path.
    pub path: String,
    /// What its bytes hash to.
    pub hash: ContentHash,
    /// How many they are.
    pub size: u64,
    /// What it is.
    pub kind: v1::ContentType,
}

/// Why a call was not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Refused before anything was written. Safe to send again.
    #[error("the hub is overloaded")]
    Overloaded,
    /// No leader is known or no majority is reachable. Nothing was written.
    #[error("no hub leads at the moment")]
    NoLeader,
    /// No peer that could answer is connected.
    #[error("no peer that holds this forum is connected")]
    NoPeer,
    /// A read that nobody answered in time.
    #[error("no peer answered in time")]
    Timeout,
    /// A write that is in the log and not answered yet; a re-send of the same commit will be told its outcome.
    #[error("the message is kept and will be delivered when a peer returns")]
    Pending,
    /// It may or may not be in the log. Only the same request may be sent again.
    #[error("the outcome is not known yet")]
    Indeterminate,
    /// A bound of the cluster is reached (forums, open tasks).
    #[error("the cluster is full: {0}")]
    Full(&'static str),
}

/// What a browser that watches a forum is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Through which record of the forum it has been told everything. A number to go on from.
    pub through: u64,
    /// What is new, as JSON in one line.
    pub json: Bytes,
}

/// Serves client calls. Implemented by the hub; by a scripted one in the shim's own tests.
pub trait Gateway: Send + Sync + 'static {
    /// Appends the call to the log, has it executed and answers once its facts are committed.
    fn write(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<Answer, CallError>>;

    /// Answers from rows that hold everything acknowledged before the call.
    fn read(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<Answer, CallError>>;

    /// What the call's list is, and from then on how it changes, until the hub cannot know any more. Nothing is told at first
    /// to a browser that has been told all `through` the newest record.
    fn watch(
        &self,
        call: ClientCall,
        through: Option<u64>,
        within: Duration,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Change>, CallError>>;

    /// What is published at a path. Asks nobody.
    fn published(&self, path: &str) -> Option<Published>;

    /// The bytes of a published file, from some peer; of its size and hash, or none.
    fn content<'a>(
        &'a self,
        file: &'a Published,
        within: Duration,
    ) -> BoxFuture<'a, Result<Bytes, CallError>>;

    /// Whether a read and a write would be served now, and what an operator must know.
    fn health(&self) -> v1::HealthReport;

    /// Whether a leader and a peer are known. A single forum's peers may be away all the same.
    fn serving(&self) -> bool;

    /// HTTP addresses of all hubs, this one first.
    fn hub_http_addrs(&self) -> Vec<String>;
}
