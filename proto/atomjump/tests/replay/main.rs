//! Replays captured exchanges with the real AtomJump, in their order, over rows in memory: each write is executed, checked as
//! the hubs check it, and rendered. Prints for each whether the answer, the rows and the session are the same, improved on
//! purpose, or different. None may be different, and none may break a rule.
//!
//! A capture that the set lacks shows in what later ones list: its rows are put in before they are first seen. After
//! each capture the rows follow the real ones, so that an improvement does not show again in every later answer.

mod answers;
mod capture;
mod compare;
mod improved;
mod page;
mod replay;
mod sessions;
mod stories;
mod world;

use std::path::Path;

use capture::Capture;
use improved::IMPROVED;
use replay::Replay;

#[test]
fn captured_exchanges_have_the_captured_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../peer/tests/fixtures/atomjump");
    let captures = Capture::read_all(&folder);
    assert!(captures.len() > 140, "only {} captures in {}", captures.len(), folder.display());
    let mut replay = Replay::of(&captures);

    let mut counts = [0_usize; 3];
    let mut table = String::new();
    for capture in &captures {
        replay.prepare(capture);
        let differences = replay.replay(capture);
        replay.follow(capture);
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
