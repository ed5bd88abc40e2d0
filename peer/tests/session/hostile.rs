//! Hubs that break the contract: the connection is dropped, the peer lives on and connects again.

use bytes::Bytes;
use loop_proto::v1::{self, hub_to_peer};

use super::{
    Peer,
    hub::{Hub, ask, asked, assigned, batch, encode},
};

fn states(open_task: v1::Record) -> hub_to_peer::Kind {
    let assignment = Some(v1::Assignment { epoch: 1, primary: 1, replicas: vec![1], ..Default::default() });
    let open_tasks = vec![encode(&open_task)];
    hub_to_peer::Kind::Forum(v1::ForumState { forum_id: 7, assignment, as_of: 5, open_tasks })
}

fn outrages(hub: &Hub) -> Vec<(&'static str, hub_to_peer::Kind)> {
    let garbage = v1::RecordBatch { records: vec![Bytes::from_static(b"\xff\xfe")], through: 1 };
    let mut bad_session = asked(3, 7, "");
    if let Some(v1::record::Body::Task(session)) = &mut bad_session.body {
        session.session = Some(v1::SessionRecord { id: "../../etc".into(), ..Default::default() });
    }
    let of_no_forum = v1::rows_request::Kind::Forum(v1::ForumRows::default());
    vec![
        ("garbage as a record", hub_to_peer::Kind::Records(garbage)),
        ("descending records", hub_to_peer::Kind::Records(batch(vec![asked(3, 7, ""), asked(2, 7, "")], 3))),
        ("records beyond through", hub_to_peer::Kind::Records(batch(vec![asked(3, 7, "")], 2))),
        ("a task without a forum", hub_to_peer::Kind::Records(batch(vec![asked(3, 0, "")], 3))),
        ("record 0", hub_to_peer::Kind::Records(batch(vec![assigned(0, 7, 1, 1)], 3))),
        ("an open task of another forum", states(asked(2, 8, ""))),
        ("an open task of the future", states(asked(6, 7, ""))),
        ("a second welcome", hub_to_peer::Kind::Welcome(hub.welcome())),
        ("a verdict on nothing", hub_to_peer::Kind::Verdict(v1::Verdict::default())),
        ("a session that cannot be", hub_to_peer::Kind::Records(batch(vec![bad_session], 3))),
        ("rows of no forum", ask(1, 0, of_no_forum)),
    ]
}

#[tokio::test]
async fn whatever_a_hub_sends_the_peer_drops_it_and_comes_back() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    for (what, outrage) in outrages(&hub) {
        println!("{what}");
        let (mut talk, _) = hub.greet().await;
        // The stream works, so what follows is no early break.
        talk.feed_through(vec![], 0).await;
        talk.say(outrage).await;
        talk.ended().await;
    }
    let (mut talk, _) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "still here")]).await;
    assert_eq!(talk.answer().await.task_id, 2);
    drop(peer);
}

#[tokio::test]
async fn a_greeting_that_cannot_be_is_refused() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    for welcome in [
        v1::Welcome { heartbeat_ms: 0, ..hub.welcome() },
        v1::Welcome { heartbeat_ms: u32::MAX, ..hub.welcome() },
        v1::Welcome { hub_id: 0, ..hub.welcome() },
    ] {
        let (mut talk, _) = hub.accept().await;
        talk.say(hub_to_peer::Kind::Welcome(welcome)).await;
        talk.ended().await;
    }
    let (mut talk, _) = hub.accept().await;
    talk.say(hub_to_peer::Kind::Heartbeat(v1::HubHeartbeat::default())).await;
    talk.ended().await;
    // Unknown kinds and strange hub addresses are borne.
    let (mut talk, _) = hub.accept().await;
    let hubs = vec!["x".repeat(100_000), String::new(), "a:b:c".into()];
    talk.say(hub_to_peer::Kind::Welcome(v1::Welcome { hubs, ..hub.welcome() })).await;
    talk.to_peer.send(Ok(v1::HubToPeer { kind: None })).await.unwrap();
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "x")]).await;
    assert_eq!(talk.answer().await.task_id, 2);
    drop(peer);
}

#[tokio::test]
async fn a_message_above_the_limit_breaks_the_connection_only() {
    let mut hub = Hub::start(1).await;
    let peer = Peer::start(&[&hub]);
    let (mut talk, _) = hub.greet().await;
    let huge = v1::RecordBatch { records: vec![vec![0; 17 << 20].into()], through: 1 };
    talk.say(hub_to_peer::Kind::Records(huge)).await;
    talk.ended().await;
    hub.greet().await;
    drop(peer);
}
