//! Whoever speaks as a hub is believed, so nobody but a hub may: strangers on the gRPC port get nothing into the log.

use std::time::Duration;

use anyhow::Result;
use loop_net::group_secret::ShowSecret;
use loop_proto::v1::{
    self, command::Body, from_leader, hub_service_client::HubServiceClient, outcome,
    raft_service_client::RaftServiceClient, to_leader,
};
use loop_sim_tests::{expect::eventually, system::System};
use prost::Message;
use tonic::{
    Code, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

type Caller = InterceptedService<Channel, ShowSecret>;

async fn caller(system: &System, secret: Option<&str>) -> Result<Caller> {
    let hub = Channel::from_shared(format!("http://{}", system.cluster.hub_grpc(0)))?.connect().await?;
    Ok(ShowSecret::new(secret.map(|secret| secret.to_owned().into()).as_ref()).on(hub))
}

/// Sends the command that registers a peer, which goes round the join token and the operators' one.
async fn propose(hub: Caller) -> Result<v1::FromLeader, Status> {
    let register = Body::RegisterPeer(v1::RegisterPeer {
        name: "stranger".into(),
        secret_hash: vec![9; 32].into(),
        ..Default::default()
    });
    let command = v1::Command { request_id: vec![7; 16].into(), at_ms: 0, body: Some(register) };
    let ask = v1::ToLeader { seq: 1, kind: Some(to_leader::Kind::Command(command.encode_to_vec().into())) };
    // The stream stays open until the answer is there.
    let asks = tokio_stream::StreamExt::chain(tokio_stream::iter([ask]), tokio_stream::pending());
    let mut answers = HubServiceClient::new(hub).propose(asks).await?.into_inner();
    answers.message().await?.ok_or_else(|| Status::unavailable("no answer"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_the_grpc_port_can_neither_propose_nor_append_nor_vote() -> Result<()> {
    let mut system = System::start_with(|config| (config.hubs, config.peers) = (1, 1)).await?;
    let right = system.cluster.group_secret().to_owned();
    for wrong in [None, Some("a-secret-of-another-group"), Some(system.cluster.admin_token())] {
        let refused = propose(caller(&system, wrong).await?).await.expect_err("no stranger is a hub");
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}: {refused:?}");
        assert!(refused.message().contains("--group-secret"), "{}", refused.message());
        assert!(!refused.message().contains(&right));

        let mut raft = RaftServiceClient::new(caller(&system, wrong).await?);
        let append = v1::AppendRequest { vote: Some(v1::RaftVote::default()), ..Default::default() };
        let refused = raft.append(tokio_stream::iter([append])).await.expect_err("no append");
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}: {refused:?}");
        let vote = v1::VoteRequest { vote: Some(v1::RaftVote::default()), ..Default::default() };
        let refused = raft.vote(vote).await.expect_err("no vote");
        assert_eq!(refused.code(), Code::Unauthenticated, "{wrong:?}: {refused:?}");
    }
    assert_eq!(system.admin()?.peers().await?.len(), 1, "no stranger became a peer");

    // The same words of a hub are taken, so it is the secret that makes the difference.
    eventually("taken", Duration::from_secs(20), || async {
        let hub = caller(&system, Some(&right)).await.map_err(|error| error.to_string())?;
        let answer = propose(hub).await.map_err(|status| status.to_string())?;
        match answer.kind {
            Some(from_leader::Kind::Outcome(v1::Outcome {
                kind: Some(outcome::Kind::PeerRegistered(_)),
            })) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(system.admin()?.peers().await?.len(), 2);
    system.assert_nobody_fell();
    Ok(())
}

#[test]
fn the_secret_is_shown_on_every_call_and_marked_as_not_to_be_printed() {
    let secret = "0123456789-of-hubs".to_owned().into();
    let request =
        ShowSecret::new(Some(&secret)).call(tonic::Request::new(())).expect("it only adds a header");
    assert!(request.metadata().get("loop-group-secret").is_some_and(|value| value.is_sensitive()));
}
