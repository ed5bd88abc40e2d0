//! The leader's door as hubs use it: one `HubService.Propose` stream, answers in any order.
//!
//! Owns the stream and the commands of the driver: a forum of its own, and marks in it.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use loop_net::group_secret::ShowSecret;
use loop_proto::{
    ids::ForumKey,
    v1::{self, command::Body, from_leader, hub_service_client::HubServiceClient, outcome, to_leader},
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    grpc,
    system::{System, request_id},
};

/// Most commands handed to the stream that it has not taken yet.
const QUEUE: usize = 4096;

/// A stream to the leader.
pub struct Door {
    asks: mpsc::Sender<v1::ToLeader>,
    answers: Streaming<v1::FromLeader>,
}

impl Door {
    /// Opens a stream to the hub that leads.
    pub async fn open(system: &System) -> Result<Self> {
        let (asks, rx) = mpsc::channel(QUEUE);
        let secret = Some(&system.secrets.group_secret).filter(|secret| !secret.is_empty());
        let secret = ShowSecret::new(secret.map(|secret| secret.clone().into()).as_ref());
        let leader = grpc::connect(&system.leader().await?.grpc).await?;
        let mut client = HubServiceClient::new(secret.on(leader));
        let answers = client.propose(ReceiverStream::new(rx)).await?.into_inner();
        Ok(Self { asks, answers })
    }

    /// Sends a command; its answer will carry `seq`.
    pub async fn send(&self, seq: u64, command: Bytes) -> Result<()> {
        let ask = v1::ToLeader { seq, kind: Some(to_leader::Kind::Command(command)) };
        self.asks.send(ask).await.ok().context("the leader closed the stream")
    }

    /// The next answer: which command, and what it came to.
    pub async fn answer(&mut self) -> Result<(u64, Result<outcome::Kind, String>)> {
        let answer = self.answers.message().await?.context("the leader ended the stream")?;
        let came_to = match answer.kind {
            Some(from_leader::Kind::Outcome(v1::Outcome { kind: Some(kind) })) => match kind {
                outcome::Kind::Rejection(no) => Err(format!("rejected: {:?}", no.code())),
                kind => Ok(kind),
            },
            Some(from_leader::Kind::NotLeader(_)) => Err("the leader has changed".to_owned()),
            other => Err(format!("no outcome: {other:?}")),
        };
        Ok((answer.seq, came_to))
    }

    /// Sends one command and waits for it. Only while nothing else is under way.
    pub async fn ask(&mut self, body: Body) -> Result<outcome::Kind> {
        self.send(0, encode(body)).await?;
        self.answer().await?.1.map_err(anyhow::Error::msg)
    }

    /// Opens a forum on these peers, the first as its primary.
    pub async fn open_forum(&mut self, name: &str, replicas: Vec<u32>) -> Result<u32> {
        let key = ForumKey::of_name(name.as_bytes()).0.to_vec().into();
        match self.ask(Body::OpenForum(v1::OpenForum { key, replicas, ..Default::default() })).await? {
            outcome::Kind::ForumOpened(opened) => Ok(opened.forum_id),
            other => bail!("opening a forum came to {other:?}"),
        }
    }
}

/// A command with a request id of its own.
pub fn encode(body: Body) -> Bytes {
    v1::Command { request_id: request_id(), at_ms: 0, body: Some(body) }.encode_to_vec().into()
}

/// A mark in the forum's stream, as a command of `bytes` bytes: what is missing is a field that no hub knows, so that the log
/// carries it and nobody reads it.
pub fn audit_of_size(forum_id: u32, bytes: usize) -> Bytes {
    let mut command = encode(Body::AuditForum(v1::AuditForum { forum_id })).to_vec();
    let missing = bytes.saturating_sub(command.len() + PADDING_HEAD.len() + 1);
    command.extend(PADDING_HEAD);
    prost::encoding::encode_varint(missing as u64, &mut command);
    command.resize(command.len() + missing, b'm');
    command.into()
}

/// Key of field 1,000, bytes.
const PADDING_HEAD: [u8; 2] = [0xc2, 0x3e];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_size_asked_for_and_reads_as_what_it_is() {
        for bytes in [100, 512, 4000] {
            let command = audit_of_size(200, bytes);
            assert!(command.len().abs_diff(bytes) <= 2, "{} for {bytes}", command.len());
            let read = v1::Command::decode(command).unwrap();
            assert_eq!(read.body, Some(Body::AuditForum(v1::AuditForum { forum_id: 200 })));
        }
    }
}
