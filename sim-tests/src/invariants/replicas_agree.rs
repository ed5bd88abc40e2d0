//! Replicas of a forum that have applied the same part of its stream hold the same rows, whenever they are looked at.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{Commit, Copy, Invariant};

/// The rule.
#[derive(Default)]
pub struct ReplicasAgree {
    /// What was found at a position of a forum's stream, and with whom.
    seen: BTreeMap<(u32, u64), (u64, u32)>,
}

fn digest(copy: &Copy) -> u64 {
    let mut hasher = DefaultHasher::new();
    for row in &copy.rows {
        (row.id, &row.text, row.active, row.is_final).hash(&mut hasher);
    }
    hasher.finish()
}

impl Invariant for ReplicasAgree {
    fn name(&self) -> &'static str {
        "replicas agree"
    }

    fn on_copy(&mut self, copy: &Copy) -> Result<(), String> {
        let found = digest(copy);
        let (first, peer) = *self.seen.entry((copy.forum, copy.newest)).or_insert((found, copy.peer));
        match first == found {
            true => Ok(()),
            false => Err(format!(
                "forum {} through record {}: peers {peer} and {} hold different rows",
                copy.forum, copy.newest, copy.peer
            )),
        }
    }

    fn at_end(&mut self, _: &[Commit], copies: &BTreeMap<usize, Vec<Copy>>) -> Result<(), String> {
        copies.values().flatten().try_for_each(|copy| self.on_copy(copy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Row;

    #[test]
    fn different_rows_at_one_position_are_seen() {
        let copy = |peer, newest, ids: &[u64]| {
            let row = |id: &u64| Row { id: *id, text: "x".into(), active: true, is_final: true };
            Copy { forum: 1, number: 0, peer, cursor: 99, newest, rows: ids.iter().map(row).collect() }
        };
        let mut rule = ReplicasAgree::default();
        assert_eq!(rule.on_copy(&copy(1, 5, &[1])), Ok(()));
        assert_eq!(rule.on_copy(&copy(2, 6, &[1, 2])), Ok(()));
        assert_eq!(rule.on_copy(&copy(2, 5, &[1])), Ok(()));
        assert!(rule.on_copy(&copy(3, 6, &[1, 3])).is_err());
    }
}
