//! Replays captured exchanges with the real AtomJump against the embedded backend, in their order, and prints for each
//! whether the answer, the rows and the session are the same, improved on purpose, or different. None may be different.
//!
//! A capture that the set lacks shows in what later ones list: its rows are put in before they are first seen. After
//! each capture the rows follow the real ones, so that an improvement does not show again in every later answer.

mod capture;
mod compare;
mod page;
mod peer;

use std::path::Path;

use capture::Capture;
use peer::Peer;

/// Captures whose outcome differs on purpose: what may differ, and why.
const IMPROVED: &[(&str, &[&str], &str)] = &[
    ("001", &["session"], "a page load stores no session"),
    ("007", &["session"], "a page load stores no session"),
    ("010", &["session"], "a page load stores no session"),
    ("112", &["session"], "a page load stores no session"),
    ("193", &["session"], "a page load stores no session"),
    ("200", &["session"], "a page load stores no session"),
    ("191", &["session", "reflects"], "values on the page are escaped; a page load stores no session"),
    ("024", &[".res", "row"], "another author's message is not taken over"),
    (
        "025",
        &["message", "content type", "body", "session"],
        "a shout_id that is no number is none: stored anew, no SQL in the answer",
    ),
    ("026", &["message", ".sid", ".res"], "a shout_id that is no number is none: stored anew"),
    ("038", &["row", ".res"], "attributes are taken out of <i>"),
    ("051", &["users"], "an address in a message is not written into the author's user row"),
    ("058", &["row", ".res", ".ses", "users", "session"], "a name with tags did not destroy the session"),
    (
        "060",
        &["message", "status", "content type", "body", "session"],
        "a latitude that is no number is ignored instead of HTTP 500",
    ),
    ("061", &["session"], "a session without its address gets it back"),
    (
        "068",
        &["message", "content type", "body", "session"],
        "a whisper to a malformed id is kept private instead of an SQL error",
    ),
    ("099", &["users"], "a robot gets no user row"),
    ("161", &["message", "body"], "only the author deletes, and the answer is valid script"),
    ("165", &["row"], "only the author hides, and only in the named forum"),
    ("166", &["row"], "only the author hides"),
    ("219", &[".res"], "a forum in the session's list is read here as through the PHP"),
    (
        "236",
        &["message", "content type", "body", "session"],
        "the message is stored: its id came with the task",
    ),
    (
        "244",
        &["message", "content type", "body", "session"],
        "a quote at the end of a name does not break the message",
    ),
    ("254", &["content type", "body", "session"], "an address in a message makes no user and no error"),
];

#[test]
fn captured_exchanges_have_the_captured_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/atomjump");
    let captures = Capture::read_all(&folder);
    assert!(captures.len() > 140, "only {} captures in {}", captures.len(), folder.display());
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Peer::open(dir.path(), &captures);

    let mut counts = [0_usize; 3];
    let mut table = String::new();
    for capture in &captures {
        peer.prepare(capture);
        let differences = peer.replay(capture);
        peer.follow(capture);
        let Some(differences) = differences else { continue };
        let improvement = IMPROVED.iter().find(|(number, ..)| *number == capture.number);
        let allowed = |difference: &String| {
            improvement.is_some_and(|(_, parts, _)| parts.iter().any(|part| difference.starts_with(part)))
        };
        let reason = improvement.filter(|_| differences.iter().all(allowed)).map(|(.., reason)| *reason);
        let (column, verdict) = match (differences.is_empty(), reason) {
            (true, _) => (0, "same".to_owned()),
            (false, Some(reason)) => (1, format!("improved: {reason}")),
            (false, None) => (2, format!("DIFFERENT: {}", differences.join("\n      "))),
        };
        counts[column] += 1;
        table.push_str(&format!("{} {:45} {verdict}\n", capture.number, capture.name));
    }
    let [same, improved, different] = counts;
    println!("{table}\n{same} same, {improved} improved, {different} different");
    assert_eq!(different, 0, "\n{table}");
    // An improvement that is none any more must leave the list.
    assert_eq!(improved, IMPROVED.len(), "\n{table}");
    assert!(same > 100, "\n{table}");
}
