//! The gRPC service peers call.

use std::time::Duration;

use futures::stream::BoxStream;
use loop_proto::v1::{self, peer_service_server::PeerService};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use super::{
    context::PeersContext,
    feed::{self, Held},
    work,
};
use crate::{
    identity::{identify, secret_hash},
    log::{PROPOSE_WITHIN, ProposeError},
    transfer::CopyStream,
};

/// Bytes of a peer's secret.
const SECRET_BYTES: usize = 32;
/// Longest name or label of a peer, characters.
const LABEL_CHARS_MAX: usize = 64;
/// Longest wait of a poll, and the one used when none is given (the original's interval).
const POLL_WAIT_MAX: Duration = Duration::from_secs(30);
const POLL_WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// Serves peers.
pub struct PeerGrpc {
    /// What it uses.
    pub cx: PeersContext,
}

#[tonic::async_trait]
impl PeerService for PeerGrpc {
    type WorkStream = BoxStream<'static, Result<v1::HubToPeer, Status>>;

    type FetchCheckpointStream = CopyStream;

    async fn fetch_checkpoint(
        &self,
        request: Request<v1::FetchCheckpointRequest>,
    ) -> Result<Response<Self::FetchCheckpointStream>, Status> {
        self.cx.transfer.fetch(request.into_inner()).await.map(Response::new)
    }

    async fn give_checkpoint(
        &self,
        request: Request<Streaming<v1::GivenChunk>>,
    ) -> Result<Response<v1::GiveCheckpointReply>, Status> {
        self.cx.transfer.give(request.into_inner()).await?;
        Ok(Response::new(v1::GiveCheckpointReply {}))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinReply>, Status> {
        let request = request.into_inner();
        if !self.cx.config.join_token.matches(&request.token) {
            return Err(Status::permission_denied(
                "this join token is not the hubs' one: ask their operator for it",
            ));
        }
        if request.secret.len() != SECRET_BYTES {
            return Err(Status::invalid_argument(format!("a peer's secret has {SECRET_BYTES} bytes")));
        }
        for (what, label) in
            [("name", &request.name), ("owner", &request.owner), ("network", &request.network)]
        {
            if label.chars().count() > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
                return Err(Status::invalid_argument(format!(
                    "the {what} has at most {LABEL_CHARS_MAX} printable characters"
                )));
            }
        }
        if request.name.is_empty() {
            return Err(Status::invalid_argument("the name is empty"));
        }
        let register = v1::RegisterPeer {
            name: request.name,
            secret_hash: secret_hash(&request.secret).to_vec().into(),
            owner: request.owner,
            network: request.network,
        };
        match self.cx.log.propose(register, PROPOSE_WITHIN).await {
            Ok(v1::PeerRegistered { peer_id }) => {
                tracing::info!(peer = peer_id, "a peer has joined");
                Ok(Response::new(v1::JoinReply { peer_id }))
            }
            Err(ProposeError::Rejected(no)) => {
                Err(Status::resource_exhausted(format!("the hubs take no more peers: {:?}", no.code())))
            }
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }

    async fn work(
        &self,
        request: Request<Streaming<v1::PeerToHub>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        work::accept(self.cx.clone(), request.into_inner()).await.map(Response::new)
    }

    async fn fetch_tasks(
        &self,
        request: Request<v1::FetchTasksRequest>,
    ) -> Result<Response<v1::RecordBatch>, Status> {
        let request = request.into_inner();
        let peer = identify(&self.cx.log, request.peer_id, &request.secret).await?;
        let mut held = self.cx.log.read(|state| Held::now(state, peer));
        let wait = match request.wait_ms {
            0 => POLL_WAIT_DEFAULT,
            ms => Duration::from_millis(ms.into()).min(POLL_WAIT_MAX),
        };
        let until = Instant::now() + wait;
        let mut after = request.after;
        loop {
            let applied = self.cx.log.state().applied_index();
            let portion = feed::portion(self.cx.log.state(), &mut held, after)
                .map_err(|trimmed| Status::out_of_range(trimmed.to_string()))?;
            // What was found to be for others is not looked at again with every record that is added.
            after = portion.through;
            if !portion.records.is_empty() || portion.more || Instant::now() >= until {
                return Ok(Response::new(v1::RecordBatch {
                    records: portion.records,
                    through: portion.through,
                }));
            }
            tokio::select! {
                _ = self.cx.log.state().wait_applied(applied + 1) => {}
                () = tokio::time::sleep_until(until) => {}
                () = self.cx.shutdown.cancelled() => {
                    return Err(Status::unavailable("this hub is shutting down"));
                }
            }
        }
    }
}
