//! Socket.IO clients of every generation, as npm has them, at three hubs: who is there, messages between them, nonsense,
//! and hubs that are killed and return. The story is `realtime/realtime.mjs`; here its orders are carried out.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use loop_local::Who;
use loop_sim_tests::{hubctl, system::System};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long the whole story may take.
const STORY_WITHIN: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_every_generation_see_one_mesh_through_three_hubs() -> Result<()> {
    let mut system = System::start_with(|config| config.peers = 1).await?;
    let mut node = start(&system)?;
    let told = timeout(STORY_WITHIN, listen(&mut node, &mut system)).await;
    told.with_context(|| format!("the story was not told within {STORY_WITHIN:?}"))??;
    let ended = node.wait().await?;
    ensure!(ended.success(), "the story ended badly: {ended}; what node wrote is above");
    system.assert_nobody_fell();
    Ok(())
}

fn start(system: &System) -> Result<Child> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("realtime");
    ensure!(
        folder.join("node_modules").is_dir(),
        "the Socket.IO clients are missing: run scripts/install-tools.sh"
    );
    Command::new("node")
        .arg(folder.join("realtime.mjs"))
        .env("LOOP_HUBS", system.hubs().join(","))
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node does not start: run scripts/install-tools.sh")
}

/// Passes on what the story says, and does what it asks for, until it ends.
async fn listen(node: &mut Child, system: &mut System) -> Result<()> {
    let mut input = node.stdin.take().context("a pipe")?;
    let mut lines = BufReader::new(node.stdout.take().context("a pipe")?).lines();
    while let Some(line) = lines.next_line().await? {
        println!("{line}");
        let Some(order) = line.strip_prefix('!') else { continue };
        match order.split_once(' ') {
            Some(("kill", hub)) => system.cluster.kill(named(hub)?).await?,
            Some(("start", hub)) => {
                system.cluster.start_one(named(hub)?)?;
                system.cluster.wait_ready().await?;
            }
            None if order == "look" => operators_see(system).await?,
            _ => bail!("an unknown order: {order}"),
        }
        input.write_all(b"done\n").await?;
    }
    Ok(())
}

fn named(hub: &str) -> Result<Who> {
    Ok(Who::Hub(hub.parse::<usize>()?.checked_sub(1).context("hubs count from 1")?))
}

/// Three connections of Anna, two of Billy, one of Carl, and one of somebody who has not said who it is.
async fn operators_see(system: &System) -> Result<()> {
    for at in 0..3 {
        let users = hubctl::done(system, at, "realtime users").await?;
        let seen: Vec<Value> = users["users"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|user| json!([user["name"], user["connections"]]))
            .collect();
        assert_eq!(seen, [json!(["Anna", 3]), json!(["Billy", 2]), json!(["Carl", 1])], "at hub {}", at + 1);
        let mut on: Vec<Value> = users["users"][0]["on"].as_array().cloned().unwrap_or_default();
        on.sort_by_key(|on| on["hub"].as_u64());
        assert_eq!(on, [json!({"hub": 1, "connections": 2}), json!({"hub": 2, "connections": 1})]);
    }
    let table = hubctl::ask(system, 0, "realtime users --limit 2").await?.out;
    assert!(table.contains("Anna") && !table.contains("Carl") && table.contains("there are more"), "{table}");
    let here = hubctl::done(system, 0, "realtime connections").await?;
    let names: Vec<&Value> =
        here["connections"].as_array().into_iter().flatten().map(|c| &c["name"]).collect();
    assert_eq!(
        (&here["hub"], names),
        (&json!(1), vec![&json!("Anna"), &json!("Anna"), &json!("Carl"), &Value::Null])
    );
    let metrics = reqwest::get(format!("{}/metrics", system.hub(0))).await?.text().await?;
    for metric in [
        "loop_realtime_users 3",
        "loop_realtime_messages_total{way=\"to_hub\"}",
        "loop_realtime_messages_total{way=\"from_hub\"}",
        "loop_realtime_lists_sent_total",
        "loop_realtime_connections{engine=\"3\",transport=\"websocket\"}",
    ] {
        assert!(metrics.contains(metric), "{metric} is not in\n{metrics}");
    }
    Ok(())
}
