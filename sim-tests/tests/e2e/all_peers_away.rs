//! All peers of a forum are gone. Its newest messages are still shown; what is sent meanwhile is kept, the browser is told so
//! in time, and the message appears when a peer returns.

use std::time::Duration;

use anyhow::Result;
use loop_local::Who;
use loop_sim_tests::{
    client::{CallFailure, Commit, Visitor, sid},
    expect::{eventually, unique},
    system::System,
};
use tokio::time::Instant;

/// AtomJump's browser sends a commit again after 20 s; the answer must be there well before.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// The browser shows a warning after 3 s without an answer to a read; some room for a loaded machine.
const READ_TOLD_WITHIN: Duration = Duration::from_secs(4);

/// Peers return, connect, and execute what waited.
const BACK_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_message_sent_while_all_peers_are_away_appears_when_one_returns() -> Result<()> {
    let mut system = System::start().await?;
    let forum = unique("ajps_away_");
    let hubs = system.hubs();
    let visitor = Visitor::arrive(&hubs[0], &forum).await?;
    let before = sid(&visitor.commit(&hubs[0], &Commit::new(1, "before")).await?).expect("an id");

    for at in 0..system.cluster.peer_count() {
        system.cluster.kill(Who::Peer(at)).await?;
    }
    assert_is_told(&visitor, &hubs[1]).await;
    assert_reads_from_memory(&visitor, &hubs[2], before).await;

    // One peer is enough.
    system.cluster.start_one(Who::Peer(1))?;
    for hub in &hubs {
        assert_shows(&visitor, hub, before).await;
    }

    // The browser, which has had no answer, sends it again and learns the id it has long had.
    let again = visitor.commit(&hubs[2], &Commit::new(2, "meanwhile")).await?;
    let id = sid(&again).expect("an id");
    let messages = visitor.messages(&hubs[0], 25).await?;
    assert_eq!(messages.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id, before], "no second message");

    system.cluster.start_all().await?;
    for peer in system.replicas(&forum).await? {
        eventually("the same on every replica", BACK_WITHIN, || async {
            let rows = system.rows(peer, &forum).map_err(|error| error.to_string())?;
            let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
            if ids == [before, id] { Ok(()) } else { Err(format!("{peer:?} has {ids:?}")) }
        })
        .await;
    }
    system.assert_nobody_fell();
    Ok(())
}

async fn assert_is_told(visitor: &Visitor, hub: &str) {
    let start = Instant::now();
    let answer = visitor.commit(hub, &Commit::new(2, "meanwhile")).await;
    let took = start.elapsed();
    match answer {
        Err(CallFailure::Status { status: 503 | 504, retry_after: Some(_), .. }) => {}
        other => panic!("expected 503 or 504 with Retry-After, got {other:?}"),
    }
    println!("a commit without any peer was answered after {took:?}");
    assert!(took <= TOLD_WITHIN, "told after {took:?}");
}

/// What was written while this hub ran it still has.
async fn assert_reads_from_memory(visitor: &Visitor, hub: &str, message: u64) {
    let start = Instant::now();
    let shown = visitor.messages(hub, 25).await.expect("an answer without any peer");
    let took = start.elapsed();
    assert_eq!(shown.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [message]);
    println!("a read without any peer was answered after {took:?}");
    assert!(took <= READ_TOLD_WITHIN, "answered after {took:?}");
}

async fn assert_shows(visitor: &Visitor, hub: &str, before: u64) {
    eventually("shown", BACK_WITHIN, || async {
        let messages = visitor.messages(hub, 25).await.map_err(|failure| failure.to_string())?;
        let texts: Vec<&str> = messages.iter().map(|(_, text)| text.as_str()).collect();
        match messages.as_slice() {
            [(_, new), (id, _)] if *id == before && new.contains("meanwhile") => Ok(()),
            _ => Err(format!("{hub} shows {texts:?}")),
        }
    })
    .await;
}
