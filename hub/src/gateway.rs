//! The door between the HTTP shim and the cluster. Owns what a client call is, once it has been validated.
//! Never knows HTTP syntax (that is `http`) nor how a call is served (that is `router`, `proposer`).

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use loop_proto::{
    ids::{ForumKey, RequestId},
    v1,
};
use tokio::time::Instant;

use crate::{
    health,
    hub::Hub,
    reads::{self, Read},
    writes,
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
    /// Whether the forum is opened if nobody has opened it yet.
    pub opens_forum: bool,
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

/// Serves client calls. Implemented by the hub; by a scripted one in the shim's own tests.
pub trait Gateway: Send + Sync + 'static {
    /// Appends the call to the log, has it executed and answers once its facts are committed.
    fn write(&self, call: ClientCall, within: Duration)
    -> BoxFuture<'_, Result<v1::ResponseBody, CallError>>;

    /// Answers from a replica that has applied everything acknowledged before the call.
    fn read(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<v1::ResponseBody, CallError>>;

    /// Whether a read and a write would be served now, and what an operator must know.
    fn health(&self) -> v1::HealthReport;

    /// Whether a leader and a peer are known. A single forum's peers may be away all the same.
    fn serving(&self) -> bool;

    /// HTTP addresses of all hubs, this one first.
    fn hub_http_addrs(&self) -> Vec<String>;
}

/// The hub's own gateway.
pub struct HubGateway {
    /// The hub behind it.
    pub hub: Arc<Hub>,
}

impl Gateway for HubGateway {
    fn write(
        &self,
        call: ClientCall,
        within: Duration,
    ) -> BoxFuture<'_, Result<v1::ResponseBody, CallError>> {
        Box::pin(writes::serve(&self.hub, call, Instant::now() + within))
    }

    fn read(&self, call: ClientCall, within: Duration) -> BoxFuture<'_, Result<v1::ResponseBody, CallError>> {
        Box::pin(async move {
            let deadline = Instant::now() + within;
            let mut forum = call.forum.and_then(|key| self.hub.state.read(|state| state.forum_by_key(key)));
            if let (None, Some(key)) = (forum, call.forum) {
                // Another hub may have opened it just now.
                reads::fresh(&self.hub, deadline).await?;
                forum = self.hub.state.read(|state| state.forum_by_key(key));
                if forum.is_none() && call.opens_forum {
                    forum = Some(writes::open(&self.hub, key, deadline).await?);
                }
            }
            reads::serve(&self.hub, &Read::new(forum, &call), deadline).await
        })
    }

    fn health(&self) -> v1::HealthReport {
        health::report(&self.hub)
    }

    fn serving(&self) -> bool {
        self.hub.has_leader() && self.hub.presence.anyone()
    }

    fn hub_http_addrs(&self) -> Vec<String> {
        self.hub.group.all().into_iter().map(|node| node.http_addr).collect()
    }
}
