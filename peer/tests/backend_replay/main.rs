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

/// Captures whose outcome differs on purpose, and why.
const IMPROVED: &[(&str, &str)] = &[
    ("001", "a page load stores no session"),
    ("007", "a page load stores no session"),
    ("010", "a page load stores no session"),
    ("112", "a page load stores no session"),
    ("193", "a page load stores no session"),
    ("200", "a page load stores no session"),
    ("191", "values on the page are escaped; a page load stores no session"),
    ("024", "another author's message is not taken over"),
    ("025", "a shout_id that is no number is none: stored as a new message, no SQL in the answer"),
    ("026", "a shout_id that is no number is none: stored as a new message"),
    ("038", "attributes are taken out of <i>"),
    ("051", "an address in a message is not written into the author's user row"),
    ("058", "a name with tags did not destroy the session"),
    ("060", "a latitude that is no number is ignored instead of HTTP 500"),
    ("057", "the name is kept without tags"),
    ("068", "a whisper to a malformed id is kept private instead of an SQL error"),
    ("099", "a robot gets no user row"),
    ("161", "only the author deletes"),
    ("165", "only the author hides, and only in the named forum"),
    ("166", "only the author hides"),
    ("223", "the place of the redirect is the same"),
    ("236", "the message is stored: its id came with the task"),
    ("244", "a quote at the end of a name does not break the message"),
    ("254", "an address in a message makes no user and no error"),
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
        let reason = IMPROVED.iter().find(|(number, _)| *number == capture.number).map(|(_, reason)| *reason);
        let Some(differences) = differences else { continue };
        let (column, verdict) = match (differences.is_empty(), reason) {
            (true, _) => (0, "same".to_owned()),
            (false, Some(reason)) => (1, format!("improved: {reason}")),
            (false, None) => (2, format!("DIFFERENT: {}", differences.join("\n      "))),
        };
        counts[column] += 1;
        table.push_str(&format!("{} {:45} {verdict}\n", capture.number, capture.name));
        if column == 1 && std::env::var_os("SHOW_IMPROVED").is_some() {
            table.push_str(&format!("      {}\n", differences.join("\n      ")));
        }
    }
    let [same, improved, different] = counts;
    println!("{table}\n{same} same, {improved} improved, {different} different");
    assert_eq!(different, 0, "\n{table}");
    assert!(same > 100, "\n{table}");
}
