//! Published files on real processes: served through every hub, kept through `kill -9` of everything, never wrong.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use loop_local::Who;
use loop_sim_tests::{expect::eventually, hubctl, system::System};

/// How long a hub may take to hear of what another one has committed, or a peer to come back.
const SOON: Duration = Duration::from_secs(20);

/// One file of several pieces and a small one.
fn site(system: &System) -> Result<(PathBuf, String)> {
    let folder = system.folder().join("site");
    let large: String = (0..200_000).map(|line| format!("line {line};\n")).collect();
    fs::create_dir_all(folder.join("js"))?;
    fs::write(folder.join("js/large.js"), &large)?;
    fs::write(folder.join("small.css"), "p { margin: 0 }")?;
    Ok((folder, large))
}

async fn get(system: &System, hub: usize, path: &str) -> Result<(u16, String)> {
    let answer = reqwest::get(format!("{}{path}", system.hub(hub))).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Waits until hub `at` serves it. Whatever it answers before that is no other file.
async fn serves(system: &System, at: usize, path: &str, body: &str) {
    eventually("served", SOON, || async {
        match get(system, at, path).await.map_err(|error| error.to_string())? {
            (200, got) => {
                assert!(got == body, "hub {} serves wrong bytes for {path}", at + 1);
                Ok(())
            }
            (status, _) => Err(format!("status {status}")),
        }
    })
    .await;
}

/// Times this hub has asked a peer for a published file.
async fn asked(system: &System, hub: usize) -> Result<u64> {
    let (_, metrics) = get(system, hub, "/metrics").await?;
    let line = metrics.lines().find(|line| line.starts_with("loop_content_asked_total"));
    line.map_or(Ok(0), |line| line.rsplit(' ').next().unwrap_or_default().parse().context("a number"))
}

fn everybody(system: &System) -> Vec<Who> {
    let hubs = (0..system.cluster.hub_count()).map(Who::Hub);
    hubs.chain((0..system.cluster.peer_count()).map(Who::Peer)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_folder_is_served_through_every_hub_and_outlives_kill_9_of_everything() -> Result<()> {
    let mut system = System::start().await?;
    let (folder, large) = site(&system)?;
    let told = hubctl::done(&system, 0, &format!("static publish {}", folder.display())).await?;
    ensure!(told["changed"].as_array().map(Vec::len) == Some(2), "{told}");
    serves(&system, 2, "/js/large.js", &large).await;
    serves(&system, 1, "/small.css", "p { margin: 0 }").await;

    for at in 0..3 {
        let before = asked(&system, at).await?;
        for number in 0..20 {
            ensure!(get(&system, at, &format!("/js/{number}.js")).await?.0 == 404);
        }
        ensure!(asked(&system, at).await? == before, "peers were asked for what is not published");
    }

    for who in everybody(&system) {
        system.cluster.kill(who).await?;
    }
    system.cluster.start_all().await?;
    for at in 0..3 {
        serves(&system, at, "/js/large.js", &large).await;
        ensure!(asked(&system, at).await? > 0, "hub {} had it from a peer", at + 1);
    }
    eventually("on three connected peers", SOON, || async {
        let list = hubctl::done(&system, 1, "static list").await.map_err(|error| error.to_string())?;
        if list["files"][0]["peers_connected"] == 3 { Ok(()) } else { Err(list.to_string()) }
    })
    .await;
    system.assert_nobody_fell();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_a_peers_disk_is_noticed_there_and_never_shown() -> Result<()> {
    let mut system = System::start().await?;
    let (folder, large) = site(&system)?;
    hubctl::done(&system, 0, &format!("static publish {}", folder.display())).await?;
    let stored: Vec<PathBuf> = (0..3)
        .map(|peer| {
            let content = system.cluster.data_dir(Who::Peer(peer)).join("content");
            let mut files: Vec<PathBuf> =
                fs::read_dir(content)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            files.retain(|file| fs::metadata(file).is_ok_and(|meta| meta.len() == large.len() as u64));
            files.pop().context("each peer has it")
        })
        .collect::<Result<_>>()?;
    for file in &stored[..2] {
        let mut bytes = fs::read(file)?;
        bytes[1_000_000] ^= 1;
        fs::write(file, bytes)?;
    }
    for at in 0..3 {
        serves(&system, at, "/js/large.js", &large).await;
    }
    fs::write(&stored[2], "nothing of it is left")?;
    system.restart_all().await?;
    for at in 0..3 {
        eventually("all three have noticed", SOON, || async {
            let (status, body) = get(&system, at, "/js/large.js").await.map_err(|error| error.to_string())?;
            assert_eq!((status, body.as_str()), (503, ""), "better nothing than wrong bytes");
            let left = stored.iter().filter(|file| file.exists()).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
        })
        .await;
    }
    let peers = hubctl::done(&system, 0, "peers").await?;
    let breaches =
        peers["peers"].as_array().context("peers")?.iter().filter(|peer| peer["breaches"] != 0).count();
    ensure!(breaches == 0, "who notices it lies to nobody: {peers}");
    hubctl::done(&system, 0, "static remove /js/large.js").await?;
    hubctl::done(&system, 0, &format!("static publish {}", folder.display())).await?;
    serves(&system, 1, "/js/large.js", &large).await;
    system.assert_nobody_fell();
    Ok(())
}
