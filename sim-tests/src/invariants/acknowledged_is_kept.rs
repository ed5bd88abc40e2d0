//! An acknowledged write is there exactly once, under the id its writer was told, on every serving replica, unless its
//! writer had it hidden; one that was never acknowledged is there once or not at all; nothing else is there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Commit, Copy, Hide, Invariant};

/// The rule. Looks at the end only: losing something on the way and finding it again is no loss.
#[derive(Default)]
pub struct AcknowledgedIsKept {
    /// Messages their writers asked to hide.
    leaving: BTreeSet<u64>,
    /// Those of them about which they were answered.
    hidden: BTreeSet<u64>,
}

impl Invariant for AcknowledgedIsKept {
    fn name(&self) -> &'static str {
        "acknowledged is kept"
    }

    fn on_hide(&mut self, hide: &Hide) -> Result<(), String> {
        if hide.own {
            self.leaving.insert(hide.id);
            self.hidden.extend(hide.answered.map(|_| hide.id));
        }
        Ok(())
    }

    fn at_end(&mut self, commits: &[Commit], copies: &BTreeMap<usize, Vec<Copy>>) -> Result<(), String> {
        for commit in commits {
            let held = copies.get(&commit.forum).map(Vec::as_slice).unwrap_or_default();
            let is_due = commit.acked.is_some_and(|(id, _)| !self.leaving.contains(&id));
            if is_due && held.is_empty() {
                return Err(format!("{} was acknowledged and nobody holds its forum", commit.text));
            }
        }
        for (forum, copies) in copies {
            for copy in copies {
                self.check(commits.iter().filter(|commit| commit.forum == *forum), copy)?;
            }
        }
        Ok(())
    }
}

impl AcknowledgedIsKept {
    fn check<'a>(&self, commits: impl Iterator<Item = &'a Commit>, copy: &Copy) -> Result<(), String> {
        let mut by_text: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for row in copy.rows.iter().filter(|row| row.is_final) {
            // A row's text is `name: text`.
            let text = row.text.split_once(": ").map_or(row.text.as_str(), |(_, text)| text).trim();
            by_text.entry(text).or_default().push(row.id);
        }
        let peer = copy.peer;
        if let Some(row) = copy.rows.iter().find(|row| row.active && self.hidden.contains(&row.id)) {
            return Err(format!("message {} was hidden and is on peer {peer}", row.id));
        }
        for commit in commits {
            let found = by_text.remove(commit.text.as_str()).unwrap_or_default();
            match (commit.acked, found.as_slice()) {
                (Some((id, _)), [held]) if id == *held => {}
                (None, [] | [_]) => {}
                (Some((id, _)), []) if self.leaving.contains(&id) => {}
                (acked, found) => {
                    return Err(format!(
                        "{}, sent {} times, acknowledged as {:?}, is on peer {peer} as {found:?}",
                        commit.text,
                        commit.sendings,
                        acked.map(|(id, _)| id)
                    ));
                }
            }
        }
        match by_text.first_key_value() {
            Some((text, ids)) => Err(format!("peer {peer} holds {text:?} as {ids:?}, which nobody wrote")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Row;

    fn commit(text: &str, acked: Option<u64>) -> Commit {
        Commit { text: text.into(), acked: acked.map(|id| (id, 2)), ..Commit::default() }
    }

    fn holds(rows: &[(u64, &str)]) -> Copy {
        let row = |(id, text): &(u64, &str)| Row {
            id: *id,
            text: format!("Anon 07: {text}"),
            active: true,
            is_final: true,
        };
        Copy { forum: 1, number: 0, peer: 1, cursor: 9, newest: 9, rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn a_lost_a_doubled_a_renumbered_and_an_unasked_message_are_seen() {
        let commits = [commit("a", Some(1)), commit("b", None)];
        let ask = |rows: &[(u64, &str)]| {
            AcknowledgedIsKept::default().at_end(&commits, &BTreeMap::from([(0, vec![holds(rows)])]))
        };
        assert_eq!(ask(&[(1, "a")]), Ok(()));
        assert_eq!(ask(&[(1, "a"), (2, "b")]), Ok(()));
        for bad in [
            &[][..],
            &[(1, "a"), (2, "a")],
            &[(3, "a")],
            &[(1, "a"), (2, "b"), (3, "b")],
            &[(1, "a"), (2, "c")],
        ] {
            assert!(ask(bad).is_err(), "{bad:?}");
        }
        assert!(AcknowledgedIsKept::default().at_end(&commits, &BTreeMap::new()).is_err());
    }

    #[test]
    fn what_its_writer_hid_may_go_and_must_once_that_was_answered_and_nobody_elses_word_counts() {
        let ask = |own, answered, rows: &[(u64, &str)]| {
            let mut rule = AcknowledgedIsKept::default();
            rule.on_hide(&Hide { id: 1, own, answered, ..Hide::default() }).unwrap();
            rule.at_end(&[commit("a", Some(1))], &BTreeMap::from([(0, vec![holds(rows)])]))
        };
        assert_eq!(ask(true, None, &[]), Ok(()));
        assert_eq!(ask(true, None, &[(1, "a")]), Ok(()));
        assert_eq!(ask(true, Some(5), &[]), Ok(()));
        assert!(ask(true, Some(5), &[(1, "a")]).is_err());
        assert_eq!(ask(false, Some(5), &[(1, "a")]), Ok(()));
        assert!(ask(false, Some(5), &[]).is_err());
    }
}
