//! Where commands go: into this hub's own door when it leads, else over one gRPC stream to the leader's.

use std::sync::Arc;

use futures::StreamExt;
use loop_net::channel::MESSAGE_BYTES_MAX;
use loop_proto::v1::{self, hub_service_client::HubServiceClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::door::{BATCH_MAX, LeaderDoor};
use crate::group::Group;

/// Opens routes to hubs.
#[derive(Clone)]
pub struct Routes {
    /// The other hubs.
    pub group: Arc<Group>,
    /// This hub's own door.
    pub door: LeaderDoor,
}

/// What a route brings back, with the route's number. `None`: the route has ended.
pub(super) type Completion = (u64, Option<v1::FromLeader>);

type Completions = mpsc::Sender<Completion>;

impl Routes {
    /// A route to `leader`. It ends by itself when the connection breaks or its sender is dropped.
    pub(super) fn open(
        &self,
        leader: u64,
        generation: u64,
        completions: Completions,
    ) -> mpsc::Sender<v1::ToLeader> {
        let (tx, rx) = mpsc::channel(BATCH_MAX * 4);
        if leader == self.group.own_id() {
            tokio::spawn(local(self.door.clone(), rx, generation, completions));
        } else {
            tokio::spawn(remote(self.group.clone(), leader, rx, generation, completions));
        }
        tx
    }
}

async fn local(
    door: LeaderDoor,
    rx: mpsc::Receiver<v1::ToLeader>,
    generation: u64,
    completions: Completions,
) {
    let (tx, mut answers) = mpsc::channel(BATCH_MAX * 4);
    tokio::spawn(async move { door.serve(rx, tx).await });
    while let Some(answer) = answers.recv().await {
        if completions.send((generation, Some(answer))).await.is_err() {
            return;
        }
    }
    let _ = completions.send((generation, None)).await;
}

async fn remote(
    group: Arc<Group>,
    leader: u64,
    rx: mpsc::Receiver<v1::ToLeader>,
    generation: u64,
    completions: Completions,
) {
    if let Some(channel) = group.channel(leader) {
        let mut client = HubServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        match client.propose(ReceiverStream::new(rx)).await {
            Ok(answers) => {
                let mut answers = answers.into_inner();
                while let Some(Ok(answer)) = answers.next().await {
                    if completions.send((generation, Some(answer))).await.is_err() {
                        return;
                    }
                }
            }
            Err(status) => tracing::debug!(leader, code = ?status.code(), "cannot reach the leader"),
        }
    }
    let _ = completions.send((generation, None)).await;
}
