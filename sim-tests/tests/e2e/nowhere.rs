//! What an operator asks for and nobody can give: a fourth copy on three peers, a peer to be emptied while no other can
//! take what it holds. `plan`, `forum show` and `peer drain --watch` say who stands in the way and why, the exit codes
//! are the documented ones, and it is done as soon as it can be.

use std::time::Duration;

use anyhow::{Context, Result};
use loop_local::Who;
use loop_sim_tests::{
    client::{Commit, Visitor},
    copies::Copies,
    expect::{ensure, eventually, unique},
    guest::{Guest, Leaving},
    hubctl::{ask, done},
    operator,
    statements::{are_true, machines},
    system::System,
};
use serde_json::Value;

/// Copies of a few messages on a machine that runs everything.
const DONE_WITHIN: Duration = Duration::from_secs(90);

/// The time was up.
const UNFINISHED: i32 = 6;
/// It cannot be done now.
const IMPOSSIBLE: i32 = 7;

async fn open_forum(system: &System) -> Result<(String, u32)> {
    let name = unique("ajps_nowhere_");
    let visitor = Visitor::open(&system.hub(0), &name).await?;
    visitor.commit(&system.hub(1), &Commit::new(1, "hello")).await?;
    let id = system.forum(&name).await?.forum_id;
    Ok((name, id))
}

/// The plan's entry for a forum that lacks what nobody can give, once there is one.
async fn blocked(system: &System, forum: u32) -> Value {
    eventually("told by plan as blocked", DONE_WITHIN, || async {
        let plan = done(system, 2, "plan").await.map_err(|error| format!("{error:#}"))?;
        let entry =
            plan["blocked"].as_array().and_then(|all| all.iter().find(|entry| entry["forum"] == forum));
        entry.cloned().ok_or_else(|| plan.to_string())
    })
    .await
}

/// Why each peer is no help, by name.
fn obstacles(entry: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<(String, String)> = entry["obstacles"]
        .as_array()
        .map(|all| all.iter().map(|one| (text(&one["name"]), text(&one["why"]))).collect())
        .unwrap_or_default();
    all.sort();
    all
}

fn named(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, why)| ((*name).to_owned(), (*why).to_owned())).collect()
}

const HOLDS: &str = "holds it already";

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_copy_on_three_peers_is_said_to_be_impossible_until_a_fourth_peer_comes() -> Result<()> {
    let mut system = System::start().await?;
    let (_, forum) = open_forum(&system).await?;
    let (_, other) = open_forum(&system).await?;
    are_true("at the start", &system, 1, &machines(&system, [], [])).await;

    let changed = done(&system, 0, &format!("forum replicas f{forum} 4")).await?;
    let three = named(&[("peer-1", HOLDS), ("peer-2", HOLDS), ("peer-3", HOLDS)]);
    assert_eq!(obstacles(&changed["blocked"]), three, "{changed}");
    let entry = blocked(&system, forum).await;
    assert_eq!(obstacles(&entry), three, "{entry}");
    let shown = ask(&system, 1, &format!("forum show f{forum}")).await?;
    for words in ["3 live, 4 wanted", "needs one more copy", "peer-2", HOLDS] {
        assert!(shown.code == Some(0) && shown.out.contains(words), "{words:?} in {shown:?}");
    }
    let plan = ask(&system, 1, "plan").await?;
    assert!(plan.out.contains(&format!("f{forum} needs one more copy")), "{plan:?}");
    assert!(
        !plan.out.contains("nothing is to be done") && !plan.out.contains(&format!("f{other} ")),
        "{plan:?}"
    );
    are_true("four are wanted, three are there", &system, 1, &machines(&system, [], [])).await;

    let attic = Guest::arrive(&system, "attic", &[])?;
    eventually("on four peers", DONE_WITHIN, || async {
        let shown =
            done(&system, 0, &format!("forum show f{forum}")).await.map_err(|error| format!("{error:#}"))?;
        let live = shown["live"].as_array().map_or(0, Vec::len);
        ensure(live == 4, || shown.to_string())
    })
    .await;
    are_true("the attic has the fourth", &system, 1, &machines(&system, [&attic], [])).await;
    let plan = done(&system, 0, "plan").await?;
    assert_eq!(plan["blocked_total"], 0, "{plan}");
    attic.leave(Leaving::Asked).await?;
    are_true("the attic has left", &system, 1, &machines(&system, [], ["attic"])).await;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_with_nowhere_to_go_says_who_stands_in_the_way_and_ends_when_somebody_comes() -> Result<()> {
    let mut system = System::start_with(|config| config.peers = 4).await?;
    let (name, forum) = open_forum(&system).await?;
    let outsider = operator::outsiders(&system, &name).await?[0];
    let drained = system.replicas(&name).await?[1];
    let called = |who: Who| system.cluster.member(who).name;
    let (outsider_name, drained_name) = (called(outsider), called(drained));
    system.cluster.kill(outsider).await?;
    are_true("the fourth peer is away", &system, 0, &machines(&system, [], [])).await;

    let said = ask(&system, 0, &format!("peer drain {drained_name} --watch --wait 3")).await?;
    assert_eq!(said.code, Some(UNFINISHED), "{said:?}");
    let entry = blocked(&system, forum).await;
    let mut reasons: Vec<(String, String)> = obstacles(&entry);
    assert!(reasons.contains(&(outsider_name.clone(), "away".to_owned())), "{entry}");
    reasons.retain(|(name, _)| *name != outsider_name && *name != drained_name);
    assert!(reasons.len() == 2 && reasons.iter().all(|(_, why)| why == HOLDS), "{entry}");

    let said = ask(&system, 0, &format!("peer drain {drained_name} --watch")).await?;
    assert_eq!(said.code, Some(IMPOSSIBLE), "{said:?}");
    for words in
        [&format!("f{forum}"), &outsider_name, "away", HOLDS, "no other peer can take", "peer resume"]
    {
        assert!(format!("{}{}", said.out, said.err).contains(words), "{words:?} in {said:?}");
    }
    let held = Copies::look(&system.cluster.data_dir(drained))?;
    assert!(held.forums.contains_key(&forum), "what nobody takes over stays where it is: {held:?}");
    are_true("it cannot be emptied", &system, 0, &machines(&system, [], [])).await;

    system.cluster.start_one(outsider)?;
    let said = ask(&system, 0, &format!("peer drain {drained_name} --watch --wait 120")).await?;
    assert!(said.code == Some(0) && said.out.contains("is empty"), "{said:?}");
    operator::rows_are_gone(&system, drained, &name).await;
    let holders = system.replicas(&name).await?;
    assert!(holders.len() == 3 && holders.contains(&outsider) && !holders.contains(&drained), "{holders:?}");
    are_true("it is empty", &system, 0, &machines(&system, [], [])).await;
    let shown = Visitor::arrive(&system.hub(2), &name).await?.messages(&system.hub(2), 25).await?;
    assert_eq!(shown.len(), 1, "{shown:?}");
    system.cluster.member(drained).pid.context("it still runs")?;
    system.assert_nobody_fell();
    Ok(())
}
