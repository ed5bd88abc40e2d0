//! What an operator has in hand: `loop-local` and `hubctl`, as binaries.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use loop_local::Who;
use loop_sim_tests::{
    client::{Commit, Visitor, sid},
    expect::{eventually, unique},
    operator,
    system::{ADMIN_TOKEN, System, binary},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn hubctl(arguments: &[&str]) -> Result<Said> {
    hubctl_showing(Some(ADMIN_TOKEN), arguments).await
}

async fn hubctl_showing(token: Option<&str>, arguments: &[&str]) -> Result<Said> {
    let token = token.map(|token| ("LOOP_HUBCTL_ADMIN_TOKEN", token));
    let output =
        Command::new(binary("hubctl")).args(arguments).envs(token).stdin(Stdio::null()).output().await?;
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
    let visitor = Visitor::open(&system.hub(0), &forum).await?;
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
    let scheme = hubctl(&["--hub", &format!("http://{hub}"), "ids"]).await?;
    assert_eq!(scheme.code, Some(0), "{}", scheme.err);
    let http = hubctl(&["--hub", &system.cluster.hub_http(0).to_string(), "ids"]).await?;
    assert_eq!(http.code, Some(3), "{}", http.err);
    assert!(http.err.contains("a hub's HTTP port") && http.err.contains("--grpc-listen"), "{}", http.err);

    for (question, code, word) in [
        (vec!["forums", "--peer", "p9"], 4, "not-found"),
        (vec!["forums", "--peer", "attic"], 4, "not-found"),
        (vec!["tasks", "--forum", "f4000000"], 4, "not-found"),
        (vec!["peer", "drain", "p99"], 4, "not-found"),
        (vec!["hub", "remove", "h9"], 4, "not-found"),
        (vec!["hub", "remove", "h1"], 2, "usage"),
        (vec!["no-such-question"], 2, "usage"),
    ] {
        let said = hubctl(&[&["--json", "--hub", &hub], question.as_slice()].concat()).await?;
        assert_eq!(said.code, Some(code), "{question:?}: {}", said.err);
        let error: Value = serde_json::from_str(&said.err).with_context(|| said.err.clone())?;
        assert_eq!(error["error"]["code"], word, "{question:?}: {error}");
        assert!(said.out.is_empty(), "{question:?}: {}", said.out);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_named_by_what_their_owners_called_them() -> Result<()> {
    let system = System::start_with(|config| (config.hubs, config.peers) = (1, 2)).await?;
    let visitor = Visitor::open(&system.hub(0), &unique("ajps_names_")).await?;
    visitor.commit(&system.hub(0), &Commit::new(1, "hello")).await?;
    let hub = system.cluster.hub_grpc(0).to_string();
    let id = operator::peer_id(&system, Who::Peer(1)).await?;
    let held = done(&hub, "forums --peer peer-2").await?;
    assert_eq!(held["forums"].as_array().map(Vec::len), Some(1));
    assert_eq!(held["peer_names"][id.to_string()], "peer-2");
    let paused = done(&hub, "peer pause peer-2").await?;
    assert_eq!((&paused["peer"], &paused["state"]), (&id.into(), &"paused".into()));
    let drained = hubctl(&["--hub", &hub, "peer", "drain", "peer-2", "--watch", "--wait", "3"]).await?;
    assert_eq!(drained.code, Some(6), "it has nowhere to go: {}", drained.err);
    assert!(drained.out.contains(&format!("p{id} peer-2: 1 of 1 forums still to move")), "{}", drained.out);
    assert!(drained.err.contains("peer resume peer-2"), "{}", drained.err);

    // A second machine that was given the same name.
    let folder = tempfile::tempdir()?;
    let _twin = Command::new(binary("loop-peer"))
        .args(["--name", "peer-2", "--owner", "ann", "--hub", &hub, "--data-dir"])
        .arg(folder.path())
        .env("LOOP_PEER_JOIN_TOKEN", system.cluster.join_token())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    eventually("two peers have the name", Duration::from_secs(30), || async {
        let said = hubctl(&["--hub", &hub, "peer", "resume", "peer-2"]).await.map_err(|e| e.to_string())?;
        let listed = said.err.contains("owner ann") && said.err.contains(&format!("p{id}: no owner named"));
        if said.code == Some(2) && listed { Ok(()) } else { Err(said.err) }
    })
    .await;
    done(&hub, &format!("peer resume p{id}")).await?;
    Ok(())
}

/// What hubctl says when a hub will not do what it is asked: the sentence, and the exit code.
async fn refused(hub: &str, line: &str) -> Result<(Option<i32>, String)> {
    let arguments: Vec<&str> = ["--hub", hub].into_iter().chain(line.split(' ')).collect();
    let said = hubctl(&arguments).await?;
    anyhow::ensure!(said.out.is_empty(), "{line}: {}", said.out);
    Ok((said.code, said.err))
}

/// The same for what is done; what was printed as JSON.
async fn done(hub: &str, line: &str) -> Result<Value> {
    let arguments: Vec<&str> = ["--hub", hub, "--json"].into_iter().chain(line.split(' ')).collect();
    let said = hubctl(&arguments).await?;
    anyhow::ensure!(said.code == Some(0), "{line}: {:?} {}", said.code, said.err);
    serde_json::from_str(&said.out).with_context(|| said.out.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_moves_a_forum_and_is_told_what_stands_against_it() -> Result<()> {
    let mut system = System::start_with(|config| {
        config.peers = 4;
        // What moves here is what the test moves.
        config.hub_args = vec!["--balance".into(), "false".into()];
    })
    .await?;
    let name = unique("ajps_operator_move_");
    let visitor = Visitor::open(&system.hub(0), &name).await?;
    visitor.commit(&system.hub(1), &Commit::new(1, "hello")).await?;
    let forum = system.forum(&name).await?.forum_id;
    let from = operator::peer_id(&system, system.replicas(&name).await?[0]).await?;
    let outsider = operator::outsiders(&system, &name).await?[0];
    let to = operator::peer_id(&system, outsider).await?;
    let hub = system.cluster.hub_grpc(1).to_string();

    for (line, code, words) in [
        (format!("forum move f{forum} --from p{from} --to p{from}"), 1, "is no move"),
        (format!("forum move f{forum} --from p{to} --to p{from}"), 1, "already"),
        (format!("forum move f{forum} --from p{from} --to p99"), 4, "no peer p99"),
        (format!("forum move f4000000 --from p{from} --to p{to}"), 4, "f4000000"),
        (format!("forum reverse f{forum}"), 1, "no completed move"),
        ("forum reverse f4000000".to_owned(), 4, "f4000000"),
        (format!("forum replicas f{forum} 9"), 1, "more than a forum may have"),
        ("forum replicas f4000000 3".to_owned(), 4, "f4000000"),
        ("peer pause p99".to_owned(), 4, "no peer p99"),
        (format!("peer remove p{to}"), 2, "--yes"),
        ("verify f4000000".to_owned(), 4, "f4000000"),
    ] {
        let (exit, said) = refused(&hub, &line).await?;
        assert_eq!(exit, Some(code), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
    }
    done(&hub, &format!("peer pause p{to}")).await?;
    let (_, said) = refused(&hub, &format!("forum move f{forum} --from p{from} --to p{to}")).await?;
    assert!(said.contains("is paused") && said.contains("peer resume"), "{said}");
    done(&hub, &format!("peer resume p{to}")).await?;

    let invited = done(&hub, &format!("forum move f{forum} --from p{from} --to p{to}")).await?;
    let id = invited["invitation"].as_u64().context("a number")?;
    let settled = operator::settled(&system, &name, id).await;
    assert_eq!(settled, loop_proto::v1::InvitationStatus::Completed);
    let shown = done(&hub, &format!("forum show f{forum}")).await?;
    assert_eq!(shown["primary"], to);
    assert_eq!(done(&hub, &format!("verify f{forum}")).await?["equal"], true);

    let back = done(&hub, &format!("forum reverse f{forum}")).await?;
    let id = back["invitation"].as_u64().context("a number")?;
    assert_eq!(operator::settled(&system, &name, id).await, loop_proto::v1::InvitationStatus::Completed);
    let listed = done(&hub, "invitations").await?;
    assert_eq!(listed["invitations"][0]["cause"], "reverse");
    assert_eq!(listed["invitations"][1]["cause"], "operator");
    assert!(done(&hub, "migrations").await?["migrations"].as_array().is_some_and(Vec::is_empty));

    let added = done(&hub, &format!("forum add f{forum} --to p{to}")).await?;
    let id = added["invitation"].as_u64().context("a number")?;
    assert_eq!(operator::settled(&system, &name, id).await, loop_proto::v1::InvitationStatus::Completed);
    let shown = done(&hub, &format!("forum show f{forum}")).await?;
    assert_eq!(shown["replicas"].as_array().map(Vec::len), Some(4));
    assert_eq!(shown["replicas_wanted"], 4, "an added replica is there to stay");

    system.cluster.kill(outsider).await?;
    eventually("seen as away", Duration::from_secs(20), || async {
        let told = refused_verify(&hub, forum).await.map_err(|error| error.to_string())?;
        let fits = told.0 == Some(6) && told.1.contains("have answered");
        if fits { Ok(()) } else { Err(format!("{told:?}")) }
    })
    .await;
    Ok(())
}

/// What `verify` says on standard error; its table is there all the same.
async fn refused_verify(hub: &str, forum: u32) -> Result<(Option<i32>, String)> {
    let said = hubctl(&["--hub", hub, "verify", &format!("f{forum}")]).await?;
    anyhow::ensure!(said.out.contains("DIGEST"), "{}", said.out);
    Ok((said.code, said.err))
}

/// A hub alone, started by hand.
struct LoneHub {
    /// Killed when this is dropped.
    _process: Child,
    grpc: String,
}

impl LoneHub {
    fn start(id: u64, folder: &Path, more: &[&str]) -> Result<Self> {
        let port = || anyhow::Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string());
        let (grpc, http) = (port()?, port()?);
        let process = Command::new(binary("loop-hub"))
            .args(["--node-id", &id.to_string(), "--http-listen", &http, "--grpc-listen", &grpc])
            .args(["--join-token", "volunteers", "--log", "warn"])
            .args(more)
            .arg("--data-dir")
            .arg(folder.join(format!("hub-{id}")))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { _process: process, grpc })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_an_admin_token_serves_those_who_show_it_and_lets_only_such_hubs_in() -> Result<()> {
    const TOKEN: &str = "0123456789-operators-only";
    let folder = tempfile::tempdir()?;
    let first = LoneHub::start(1, folder.path(), &["--bootstrap", "--admin-token", TOKEN])?;
    let status = |token: Option<&'static str>| {
        let arguments = ["--hub".to_owned(), first.grpc.clone(), "--json".into(), "status".into()];
        async move { hubctl_showing(token, &arguments.each_ref().map(String::as_str)).await }
    };
    eventually("served", Duration::from_secs(30), || async {
        let said = status(Some(TOKEN)).await.map_err(|error| error.to_string())?;
        // Without peers not all is well, and it says so.
        if said.code == Some(5) { Ok(()) } else { Err(said.err) }
    })
    .await;
    for token in [None, Some("0123456789-operators-onlx"), Some("0123456789-operators-only-not")] {
        let said = status(token).await?;
        assert_eq!(said.code, Some(1), "{token:?}: {}", said.err);
        assert!(said.err.contains("admin token") && said.out.is_empty(), "{}", said.err);
        assert!(!said.err.contains("0123456789"), "no token is ever printed: {}", said.err);
    }

    let hubs = || async {
        let said = status(Some(TOKEN)).await.map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(&said.out).map_err(|error| error.to_string())?;
        Ok::<_, String>(value["hubs"].as_array().map_or(0, Vec::len))
    };
    let _stranger = LoneHub::start(2, folder.path(), &["--join", &first.grpc])?;
    let _wrong = LoneHub::start(
        3,
        folder.path(),
        &["--join", &first.grpc, "--admin-token", "another-token-entirely"],
    )?;
    // Its admin token is right, but it could not speak with the hub that asks for no group secret.
    let other_group = ["--group-secret", "0123456789-of-other-hubs"];
    let arguments = [&["--join", &first.grpc, "--admin-token", TOKEN], other_group.as_slice()].concat();
    let _of_another_group = LoneHub::start(5, folder.path(), &arguments)?;
    let _friend = LoneHub::start(4, folder.path(), &["--join", &first.grpc, "--admin-token", TOKEN])?;
    eventually("joined", Duration::from_secs(60), || async {
        let count = hubs().await?;
        if count >= 2 { Ok(()) } else { Err(format!("{count} hubs")) }
    })
    .await;
    assert_eq!(hubs().await, Ok(2), "only the hub that belongs to it is in the group");
    Ok(())
}

/// A `loop-local` and what it prints.
struct Local {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Local {
    fn start(folder: &Path) -> Result<Self> {
        Self::again(folder, &["--http-port", "0", "--grpc-port", "0"])
    }

    /// A later run on the same folder, with more flags.
    fn again(folder: &Path, more: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary("loop-local"))
            .arg("--data-dir")
            .arg(folder)
            .args(more)
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
        let visitor = Visitor::open(&hub, &forum).await?;
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

/// Where hubs answer operators, from what a run of `loop-local` printed.
fn grpc_of(name: &str, lines: &[String]) -> String {
    let line = lines.iter().find(|line| line.starts_with(name)).expect(name);
    let words: Vec<&str> = line.split_whitespace().collect();
    words[words.iter().position(|word| *word == "grpc").expect("an address") + 1].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_was_taken_out_stops_nobody_and_a_new_one_takes_its_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let forum = unique("ajps_out_");
    let mut local = Local::start(folder.path())?;
    let lines = local.until(|line| line.starts_with("Open ")).await?;
    let visitor = Visitor::open(&address(&lines), &forum).await?;
    visitor.commit(&address(&lines), &Commit::new(1, "with three hubs")).await?;
    let token = std::fs::read_to_string(folder.path().join("admin-token"))?;
    let (token, hub) = (token.trim().to_owned(), grpc_of("hub-1", &lines));
    let ask = |line: &'static str| {
        let arguments: Vec<String> =
            ["--hub", &hub].into_iter().chain(line.split(' ')).map(str::to_owned).collect();
        let token = token.clone();
        async move {
            let output = Command::new(binary("hubctl"))
                .args(arguments)
                .env("LOOP_HUBCTL_ADMIN_TOKEN", token)
                .stdin(Stdio::null())
                .output()
                .await?;
            let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
            anyhow::Ok(Said { code: output.status.code(), out, err })
        }
    };
    let no = ask("hub remove h2").await?;
    assert!(no.code == Some(2) && no.err.contains("for ever") && no.err.contains("--yes"), "{}", no.err);
    // A hub that has just begun to lead, or that another one still takes for the leader, asks to be asked again.
    let yes = eventually("answered", Duration::from_secs(20), || async {
        let said = ask("hub remove h2 --yes").await.map_err(|error| error.to_string())?;
        if said.code == Some(3) { Err(said.err) } else { Ok(said) }
    })
    .await;
    assert!(yes.code == Some(0) && yes.out.contains("for ever"), "{}", yes.err);
    // It is told once, with the way back, and not started again.
    let out = |line: &str| line.starts_with("hub-2 is not running: it was taken out");
    local.until(out).await?;
    let way_back = local.until(|line| line.contains("--replace-hub 2")).await?;
    assert!(way_back.iter().any(|line| line.contains("Ctrl-C")), "{way_back:?}");
    local.interrupt().await?;

    let mut local = Local::again(folder.path(), &[])?;
    let lines = local.until(|line| line.starts_with("Open ")).await?;
    assert!(lines.iter().any(|line| out(line)), "{lines:?}");
    visitor.commit(&address(&lines), &Commit::new(2, "with two hubs")).await?;
    local.interrupt().await?;

    let mut local = Local::again(folder.path(), &["--replace-hub", "2"])?;
    let lines = local.until(|line| line.starts_with("Open ")).await?;
    assert!(pid_of("hub-4", &lines) > 0 && !lines.iter().any(|line| out(line)), "{lines:?}");
    let status = ask("status --json").await?.out;
    let status: Value = serde_json::from_str(&status).with_context(|| status.clone())?;
    let hubs: Vec<u64> =
        status["hubs"].as_array().context("hubs")?.iter().filter_map(|h| h["hub"].as_u64()).collect();
    assert_eq!(hubs, [1, 3, 4]);
    let line = lines.iter().find(|line| line.starts_with("hub-4")).context("the new one")?;
    let http = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).context("its address")?;
    let messages = visitor.messages(&format!("http://{http}"), 25).await?;
    assert_eq!(messages.len(), 2, "the new hub serves what was written before: {messages:?}");
    local.interrupt().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_lost_its_data_is_named_and_the_rest_runs_or_says_that_nothing_is_served() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut local = Local::start(folder.path())?;
    let lines = local.until(|line| line.starts_with("Open ")).await?;
    let port: u16 = grpc_of("hub-3", &lines).rsplit(':').next().context("a port")?.parse()?;
    local.interrupt().await?;

    let taken = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let mut local = Local::again(folder.path(), &[])?;
    let lines = local.until(|line| line.starts_with("Open ")).await?;
    let why = lines.iter().find(|line| line.starts_with("hub-3 is not running")).context("the reason")?;
    assert!(why.contains(&format!("gRPC port {port} is in use")), "{why}");
    drop(taken);
    local.until(|line| line.starts_with("hub-3 started again")).await?;
    local.interrupt().await?;

    std::fs::remove_dir_all(folder.path().join("hub-2"))?;
    let mut local = Local::again(folder.path(), &[])?;
    let lines = local.until(|line| line.starts_with("Open ")).await?;
    assert!(
        lines.iter().any(|line| line.starts_with("hub-2 was not started: its data is gone")),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.contains("--replace-hub 2")), "{lines:?}");
    local.interrupt().await?;

    std::fs::remove_dir_all(folder.path().join("hub-3"))?;
    let mut local = Local::again(folder.path(), &[])?;
    let lines = local.until(|line| line.starts_with("NOTHING IS SERVED")).await?;
    assert!(lines[lines.len() - 1].contains("loop-peer export"), "{lines:?}");
    assert!(
        !lines.iter().any(|line| line.contains("--replace-hub 2")),
        "there is nobody to copy from: {lines:?}"
    );
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
