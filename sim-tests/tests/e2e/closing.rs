//! An operator deletes a forum: it is gone from the hubs and from every peer's disk, its name is free, and the next message opens it
//! anew.

use std::time::Duration;

use anyhow::Result;
use loop_sim_tests::{
    client::{Commit, Visitor},
    expect::{eventually, unique},
    hubctl::{ask, done},
    system::System,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_forum_that_an_operator_closes_is_gone_everywhere_and_its_next_message_opens_it_anew() -> Result<()>
{
    let mut system = System::start().await?;
    let name = unique("ajps_closing_");
    let visitor = Visitor::open(&system.hub(0), &name).await?;
    visitor.commit(&system.hub(1), &Commit::new(1, "to be forgotten")).await?;
    let peers = system.replicas(&name).await?;
    let forum = system.forum(&name).await?.forum_id;
    // Away while it is closed: it learns of that when it is back.
    let away = *peers.last().expect("three replicas");
    system.cluster.kill(away).await?;

    let asked = ask(&system, 0, &format!("forum close f{forum}")).await?;
    assert_eq!(asked.code, Some(2), "{asked:?}");
    for words in ["deleted for ever", "3 peers", "up to 1 messages", "--yes"] {
        assert!(asked.err.contains(words), "{asked:?}");
    }
    assert_eq!(system.forum(&name).await?.forum_id, forum, "nothing was changed");
    let closed = done(&system, 1, &format!("forum close --name {name} --yes")).await?;
    assert_eq!((&closed["forum"], &closed["messages"]), (&forum.into(), &1.into()));
    let gone = ask(&system, 2, &format!("forum show f{forum}")).await?;
    assert_eq!(gone.code, Some(4), "{gone:?}");

    system.cluster.restart(away).await?;
    eventually("gone from all disks", Duration::from_secs(60), || async {
        for peer in &peers {
            let rows = system.rows(*peer, &name).map_err(|error| error.to_string())?;
            if !rows.is_empty() {
                return Err(format!("{peer:?} has {} rows", rows.len()));
            }
        }
        Ok(())
    })
    .await;

    visitor.commit(&system.hub(2), &Commit::new(2, "a new beginning")).await?;
    let anew = system.forum(&name).await?.forum_id;
    assert!(anew > forum, "f{anew} after f{forum}");
    let shown = visitor.messages(&system.hub(0), 25).await?;
    assert!(matches!(shown.as_slice(), [(_, html)] if html.contains("a new beginning")), "{shown:?}");
    system.assert_nobody_fell();
    Ok(())
}
