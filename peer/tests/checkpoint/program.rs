//! `loop-peer export` and `import`, as an operator types them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use loop_peer::backend::Backend;

use crate::{
    forum::{NAME, digest, fill, open, rows},
    mariadb::text,
};

fn program(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loop-peer"));
    let data = dir.join("data");
    command.env_clear().current_dir(dir).args(arguments).arg("--data-dir").arg(data).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn a_forum_is_exported_by_name_or_id_and_imported_elsewhere() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backend = open(&one.path().join("data"));
    fill(&backend);
    let (held, read) = (digest(&backend), rows(&backend));
    let hex: String = held.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    backend.close();
    drop(backend);

    let written = json(&program(one.path(), &["export", NAME, "--json"]));
    assert_eq!(written["digest"], hex);
    assert_eq!((&written["forum"], &written["messages"]), (&178.into(), &held.messages.into()));
    let file = one.path().join("forum-f178.sql");
    let meta = fs::metadata(&file).unwrap();
    assert_eq!(written["bytes"], meta.len());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600, "it has password hashes in it");
    for id in ["178", "f178"] {
        let out = one.path().join(format!("{id}.sql"));
        let output = program(one.path(), &["export", id, "--out", out.to_str().unwrap()]);
        assert!(text(&output.stdout).contains(&hex), "{}", text(&output.stderr));
        assert_eq!(fs::read(&out).unwrap(), fs::read(&file).unwrap());
    }

    let read_back = json(&program(two.path(), &["import", file.to_str().unwrap(), "--json"]));
    assert_eq!((&read_back["digest"], &read_back["users"]), (&hex.into(), &5.into()));
    let backend = open(&two.path().join("data"));
    assert_eq!((digest(&backend), rows(&backend)), (held, read));
}

#[test]
fn what_cannot_be_done_is_said_with_what_to_do_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let says = |arguments: &[&str], what: &str| {
        let refusal = refusal(&program(dir.path(), arguments));
        assert!(refusal.contains(what), "{arguments:?}: {refusal}");
        assert!(!refusal.contains(NAME), "{refusal}");
    };
    says(&["export", NAME], "name it with --data-dir");
    assert!(!dir.path().join("data").exists(), "looking makes no folder");
    says(&["import", "nothing.sql"], "cannot read nothing.sql");

    let backend = open(&dir.path().join("data"));
    fill(&backend);
    let held = digest(&backend);
    says(&["export", "178"], "stop the peer, then run this again");
    fs::write(dir.path().join("forum.sql"), "DROP TABLE tbl_layer;\n").unwrap();
    says(&["import", "forum.sql"], "stop the peer, then run this again");
    backend.close();
    drop(backend);

    says(&["export", "179"], "there are f178");
    says(&["export", "178", "--out", "forum.sql"], "forum.sql exists");
    says(&["import", "forum.sql"], "forum.sql, line 1: DROP");
    assert_eq!(fs::read_to_string(dir.path().join("forum.sql")).unwrap(), "DROP TABLE tbl_layer;\n");
    assert_eq!(digest(&open(&dir.path().join("data"))), held);
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
