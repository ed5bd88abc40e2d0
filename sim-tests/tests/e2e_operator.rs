//! What an operator has in hand: `loop-local` and `hubctl`, as binaries.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result};
use loop_sim_tests::{
    client::{Commit, Visitor, sid},
    expect::unique,
    system::System,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// Cargo puts tests one folder below the binaries.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let folder = test.ancestors().nth(2).expect("target/debug/deps/test");
    folder.join(name)
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn hubctl(arguments: &[&str]) -> Result<Said> {
    let output = Command::new(binary("hubctl")).args(arguments).stdin(Stdio::null()).output().await?;
    Ok(Said {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn hubctl_shows_a_running_system_as_table_and_as_json() -> Result<()> {
    let system = System::start().await?;
    let forum = unique("ajps_operator_");
    let visitor = Visitor::arrive(&system.hub(0), &forum).await?;
    visitor.commit(&system.hub(1), &Commit::new(1, "hello")).await?;
    let hub = system.cluster.hub_grpc(2).to_string();
    let id = format!("f{}", system.forum(&forum).await?.forum_id);

    for question in [
        vec!["status"],
        vec!["peers"],
        vec!["forums"],
        vec!["forum", "show", "--name", &forum],
        vec!["tasks"],
        vec!["ids"],
        vec!["invitations"],
        vec!["migrations"],
        vec!["plan"],
        vec!["verify", &id],
    ] {
        let table = hubctl(&[&["--hub", &hub], question.as_slice()].concat()).await?;
        assert_eq!(table.code, Some(0), "{question:?}: {}", table.err);
        assert!(!table.out.trim().is_empty() && table.err.is_empty(), "{question:?}: {}", table.err);
        let json = hubctl(&[&["--hub", &hub, "--json"], question.as_slice()].concat()).await?;
        let value: Value = serde_json::from_str(&json.out).with_context(|| json.out.clone())?;
        assert!(value.is_object(), "{question:?}");
        for text in [&table.out, &json.out] {
            assert!(!text.contains(&forum), "{question:?} shows the forum's name");
        }
        println!("hubctl {}\n{}", question[0], table.out);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hubctl_says_what_to_do_when_it_cannot_answer() -> Result<()> {
    let system = System::start_with(|config| (config.hubs, config.peers) = (1, 1)).await?;
    let hub = system.cluster.hub_grpc(0).to_string();
    let unknown = hubctl(&["--hub", &hub, "forum", "show", "f4000000"]).await?;
    assert_eq!(unknown.code, Some(4), "{}", unknown.err);
    let nobody = hubctl(&["--hub", "127.0.0.1:1", "status"]).await?;
    assert_eq!(nobody.code, Some(3), "{}", nobody.err);
    assert!(nobody.err.contains("127.0.0.1:1") && nobody.err.contains("make run"), "{}", nobody.err);
    let wrong = hubctl(&["forum", "show", "0"]).await?;
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    let second = hubctl(&["--hub", "127.0.0.1:1", "--hub", &hub, "ids"]).await?;
    assert_eq!(second.code, Some(0), "the second hub answers: {}", second.err);
    Ok(())
}

/// A `loop-local` and what it prints.
struct Local {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Local {
    fn start(folder: &Path) -> Result<Self> {
        let mut child = Command::new(binary("loop-local"))
            .args(["--http-port", "0", "--grpc-port", "0", "--data-dir"])
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = child.stdout.take().context("a pipe was asked for")?;
        Ok(Self { child, lines: BufReader::new(out).lines() })
    }

    /// Lines up to and including the first that `ends`.
    async fn until(&mut self, ends: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let mut seen = Vec::new();
        let reading = async {
            while let Some(line) = self.lines.next_line().await? {
                seen.push(line);
                if ends(&seen[seen.len() - 1]) {
                    return Ok(());
                }
            }
            anyhow::bail!("it ended")
        };
        timeout(Duration::from_secs(90), reading).await.context("nothing more was said")??;
        Ok(seen)
    }

    /// What Ctrl-C does.
    async fn interrupt(mut self) -> Result<Vec<String>> {
        let pid = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().ok()?));
        rustix::process::kill_process(pid.context("it runs")?, rustix::process::Signal::INT)?;
        let mut seen = Vec::new();
        while let Some(line) = timeout(Duration::from_secs(30), self.lines.next_line()).await?? {
            seen.push(line);
        }
        let status = self.child.wait().await?;
        anyhow::ensure!(status.success(), "{status}: {seen:?}");
        Ok(seen)
    }
}

fn address(lines: &[String]) -> String {
    let line = lines.iter().find_map(|line| line.strip_prefix("Open ")).expect("an address to open");
    line.split('/').take(3).collect::<Vec<_>>().join("/")
}

fn pid_of(name: &str, lines: &[String]) -> i32 {
    let line = lines.iter().find(|line| line.starts_with(name)).expect(name);
    let words: Vec<&str> = line.split_whitespace().collect();
    words[words.iter().position(|word| *word == "pid").expect("a pid") + 1].parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_on_the_same_folder_finds_the_messages_of_the_first() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let forum = unique("ajps_local_");
    let mut ids = Vec::new();
    for (run, text) in [(0, "first run"), (1, "second run")] {
        let mut local = Local::start(folder.path())?;
        let lines = local.until(|line| line.starts_with("Open ")).await?;
        for name in ["hub-1", "hub-2", "hub-3", "peer-1", "peer-2", "peer-3"] {
            let line = lines.iter().find(|line| line.starts_with(name)).expect(name);
            assert!(line.contains("pid ") && line.contains(&format!("{name}.log")), "{line}");
        }
        let hub = address(&lines);
        let visitor = Visitor::arrive(&hub, &forum).await?;
        assert_eq!(visitor.messages(&hub, 25).await?.len(), run, "messages of earlier runs");
        ids.push(sid(&visitor.commit(&hub, &Commit::new(1, text)).await?).expect("an id"));
        let goodbye = local.interrupt().await?;
        for name in ["hub-1", "hub-2", "hub-3", "peer-1", "peer-2", "peer-3"] {
            let line = goodbye.iter().find(|line| line.starts_with(name)).expect(name);
            assert!(line.ends_with("stopped"), "{line}");
        }
    }
    assert!(ids[0] < ids[1], "{ids:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_falls_is_reported_and_started_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut local = Local::start(folder.path())?;
    let lines = local.until(|line| line.starts_with("Open ")).await?;
    let pid = rustix::process::Pid::from_raw(pid_of("peer-2", &lines)).context("a pid")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let lines = local.until(|line| line.starts_with("peer-2 started again")).await?;
    let report = &lines[0];
    assert!(report.starts_with("peer-2 ended") && report.contains("peer-2.log"), "{report}");
    local.interrupt().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_folder_in_use_are_named() -> Result<()> {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = taken.local_addr()?.port().to_string();
    let folder = tempfile::tempdir()?;
    let run = |arguments: Vec<String>| async move {
        let output = Command::new(binary("loop-local")).args(arguments).stdin(Stdio::null()).output().await?;
        anyhow::Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    let data = ["--data-dir".to_owned(), folder.path().display().to_string()];
    let ports = ["--hubs", "1", "--http-port", &port, "--grpc-port", "0"].map(str::to_owned);
    let (code, said) = run([data.to_vec(), ports.to_vec()].concat()).await?;
    assert_eq!(code, Some(1));
    assert!(said.contains(&port) && said.contains("--http-port"), "{said}");

    let folder = tempfile::tempdir()?;
    let mut local = Local::start(folder.path())?;
    local.until(|line| line.starts_with("Open ")).await?;
    let (code, said) = run(vec!["--data-dir".to_owned(), folder.path().display().to_string()]).await?;
    assert_eq!(code, Some(1));
    assert!(said.contains("--data-dir"), "{said}");
    local.interrupt().await?;
    Ok(())
}
