//! What operators are told of live copies is what is on the disks of peers that are connected.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Told};

/// The rule. Asked at rest: hubs hear of everything a moment later than it happens.
#[derive(Default)]
pub struct OperatorsAreToldTheTruth;

impl Invariant for OperatorsAreToldTheTruth {
    fn name(&self) -> &'static str {
        "operators are told the truth"
    }

    fn on_told(&mut self, told: &Told) -> Result<(), String> {
        match told.first_untruth() {
            Some(what) => Err(what),
            None => Ok(()),
        }
    }
}

impl Told {
    /// What was told that is not so, and how it is.
    pub fn first_untruth(&self) -> Option<String> {
        let forums: BTreeSet<&u32> = self.live.keys().chain(self.seen.keys()).collect();
        let nobody = BTreeSet::new();
        let copies =
            |of: &BTreeMap<u32, BTreeSet<u32>>, forum: &u32| of.get(forum).unwrap_or(&nobody).clone();
        let differs = |forum: &&&u32| copies(&self.live, forum) != copies(&self.seen, forum);
        if let Some(forum) = forums.iter().find(differs) {
            let (told, seen) = (copies(&self.live, forum), copies(&self.seen, forum));
            return Some(format!(
                "of forum {forum} the copies {told:?} are said to be live, and {seen:?} are"
            ));
        }
        let with = |copies: usize| self.seen.values().filter(|live| live.len() == copies).count() as u64;
        let counts =
            [("without a live copy", self.without, with(0)), ("with one live copy", self.with_one, with(1))];
        let wrong = counts.iter().find(|(_, told, seen)| told != seen);
        wrong.map(|(what, told, seen)| format!("{told} forums are said to be {what}, and {seen} are"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_not_live_and_a_wrong_count_are_seen() {
        let copies = |of: &[(u32, &[u32])]| -> BTreeMap<u32, BTreeSet<u32>> {
            of.iter().map(|(forum, peers)| (*forum, peers.iter().copied().collect())).collect()
        };
        let seen = copies(&[(7, &[1, 2]), (8, &[2]), (9, &[])]);
        let truth = Told { live: seen.clone(), without: 1, with_one: 1, seen };
        let ask = |told: &Told| OperatorsAreToldTheTruth.on_told(told);
        assert_eq!(ask(&truth), Ok(()));
        assert!(ask(&Told { live: copies(&[(7, &[1, 2, 3]), (8, &[2])]), ..truth.clone() }).is_err());
        assert!(ask(&Told { live: copies(&[(7, &[1, 2])]), ..truth.clone() }).is_err());
        assert!(ask(&Told { without: 0, ..truth.clone() }).is_err());
        assert!(ask(&Told { with_one: 2, ..truth }).is_err());
    }
}
