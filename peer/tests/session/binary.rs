//! The program itself: its command line, its signals, what it prints.

use std::{
    process::{Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use super::hub::{Hub, asked, assigned, committed};

fn program(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loop-peer"));
    command.env_clear().arg("--data-dir").arg(dir.path()).stdin(Stdio::null());
    command
}

async fn finished(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_it_cleanly_within_three_seconds_and_status_tells_how_far_it_came() {
    let mut hub = Hub::start(1).await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = program(&dir);
    command.args(["--hub", &hub.addr, "--join-token", "hush-token", "--name", "binary"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let (mut talk, hello) = hub.greet().await;
    talk.feed(vec![assigned(1, 7, 1, 1), asked(2, 7, "message=hi&passcode=ajps_secret&typing=off")]).await;
    let answer = talk.answer().await;
    assert_eq!(answer.task_id, 2);
    talk.feed(vec![committed(3, &answer)]).await;
    talk.cursor(3).await;

    let since = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    talk.ended().await;
    drop(talk);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(3));
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("connected") && log.contains("peer stopped"), "{log}");
    let secret: String = hello.secret.iter().map(|byte| format!("{byte:02x}")).collect();
    for hidden in ["hush-token", "ajps_secret", &secret[..16]] {
        assert!(!log.contains(hidden), "{hidden} is in the log:\n{log}");
    }

    let mut status = program(&dir);
    status.args(["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&finished(status).await.stdout).unwrap();
    assert_eq!((status["peer_id"].as_u64(), status["cursor"].as_u64()), (Some(1), Some(3)));
    assert_eq!(status["forums"].as_u64(), Some(0), "the hub has sent no forum's own row");
    let mut table = program(&dir);
    table.arg("status");
    let table = text(&finished(table).await.stdout);
    assert!(table.contains("p1") && table.contains("cursor       3"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_says_what_is_wrong_and_changes_nothing() {
    let hub = Hub::start(1).await;
    let gone = Hub::start(2).await.addr.clone();
    let dir = tempfile::tempdir().unwrap();
    let mut command = program(&dir);
    command.args(["--check", "--join-token", "t", "--hub", &hub.addr]);
    let fine = finished(command).await;
    assert!(fine.status.success(), "{}", text(&fine.stdout));

    let mut command = program(&dir);
    command.args(["--check", "--hub", &hub.addr, "--hub", &gone]);
    let wrong = finished(command).await;
    let said = text(&wrong.stdout);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(said.contains("--join-token") && said.contains(&gone), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(hub.joins().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_come_from_flag_environment_and_file_in_that_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peer.toml");
    std::fs::write(&file, "name = \"file\"\nowner = \"file\"\nnetwork = \"file\"\n").unwrap();
    let mut command = program(&dir);
    command.env("LOOP_PEER_CONFIG", &file).env("LOOP_PEER_OWNER", "env").env("LOOP_PEER_NAME", "env");
    command.env("LOOP_PEER_HUB", "127.0.0.1:1,127.0.0.1:2").env("LOOP_PEER_JOIN_TOKEN", "hush");
    command.args(["--print-config", "--name", "flag"]);
    let printed = text(&finished(command).await.stdout);
    for line in ["name = \"flag\"", "owner = \"env\"", "network = \"file\"", "\"127.0.0.1:2\"", "\"***\""] {
        assert!(printed.contains(line), "{line} is missing in\n{printed}");
    }
    assert!(!printed.contains("hush"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_answered_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, sentence) in [
        (&["--hub", "hub.example.org:9080"][..], "--insecure-plaintext"),
        (&["--hub", "nonsense"][..], "host:port"),
        (&["--log", "=[=", "--join-token", "t"][..], "--log"),
        (&["status"][..], "not a peer's data folder"),
        (&[][..], "--join-token"),
    ] {
        let mut command = program(&dir);
        command.args(arguments);
        let output = finished(command).await;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(sentence), "{arguments:?}: {said}");
    }
}
