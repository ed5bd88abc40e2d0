//! Which forums are busy, with patience both ways: a peak is not load, and a pause is not its end.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::ids::ForumId;

use crate::mesh::traffic::ForumRate;

/// A forum with fewer requests per minute is not busy, whatever the others do.
const BUSY_MIN: u64 = 1_800;
/// How many times the other forums' average requests make a forum busy.
const TIMES_AVERAGE: u64 = 4;
/// For how long it has to be so, milliseconds.
const HEATS_UP_MS: u64 = 2_000;
/// For how long it has to be below half of that before it counts as quiet again, milliseconds.
const COOLS_DOWN_MS: u64 = 60_000;

/// Follows the forums' rates over time.
#[derive(Clone, Debug, Default)]
pub struct Heat(BTreeMap<ForumId, Phase>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    HeatingSince(u64),
    Hot,
    CoolingSince(u64),
}

impl Heat {
    /// Takes note of the rates at `now_ms`, any clock that does not fall; `forums` is how many there are in all.
    /// Returns the forums that are busy or not yet quiet again.
    pub fn note(
        &mut self,
        rates: &BTreeMap<ForumId, ForumRate>,
        forums: usize,
        now_ms: u64,
    ) -> BTreeSet<ForumId> {
        let total: u64 = rates.values().map(|rate| rate.requests_per_minute()).sum();
        let others = forums.max(rates.len()).saturating_sub(1).max(1) as u64;
        let rate = |forum: &ForumId| rates.get(forum).map_or(0, |rate| rate.requests_per_minute());
        // Compared with the others: a forum that has all there is to do would never stand out from an average with it.
        let busy_at = |rate: u64| BUSY_MIN.max((total - rate.min(total)) / others * TIMES_AVERAGE);
        for forum in rates.keys().filter(|forum| rate(forum) >= busy_at(rate(forum))) {
            self.0.entry(*forum).or_insert(Phase::HeatingSince(now_ms));
        }
        self.0.retain(|forum, phase| {
            let (rate, busy) = (rate(forum), busy_at(rate(forum)));
            *phase = match *phase {
                Phase::HeatingSince(_) if rate < busy => return false,
                Phase::HeatingSince(since) if now_ms.saturating_sub(since) >= HEATS_UP_MS => Phase::Hot,
                Phase::Hot if rate < busy / 2 => Phase::CoolingSince(now_ms),
                Phase::CoolingSince(_) if rate >= busy / 2 => Phase::Hot,
                Phase::CoolingSince(since) if now_ms.saturating_sub(since) >= COOLS_DOWN_MS => return false,
                phase => phase,
            };
            true
        });
        let is_hot = |phase: &Phase| !matches!(phase, Phase::HeatingSince(_));
        self.0.iter().filter(|(_, phase)| is_hot(phase)).map(|(forum, _)| *forum).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hot(heat: &mut Heat, reads_per_minute: u64, now_s: u64) -> bool {
        let forum = ForumId::new(1).unwrap();
        let rates = BTreeMap::from([(forum, ForumRate { tasks_per_minute: 0, reads_per_minute })]);
        heat.note(&rates, 200, now_s * 1000).contains(&forum)
    }

    #[test]
    fn a_peak_of_a_second_is_no_load_and_a_pause_does_not_end_it() {
        let mut heat = Heat::default();
        assert!(!hot(&mut heat, 10_000, 0));
        assert!(!hot(&mut heat, 0, 1), "it was a peak");
        assert!(!hot(&mut heat, 10_000, 2));
        assert!(hot(&mut heat, 10_000, 4));
        assert!(hot(&mut heat, 0, 5));
        assert!(hot(&mut heat, 10_000, 30), "it was a pause");
        assert!(hot(&mut heat, 0, 40));
        assert!(hot(&mut heat, 0, 99));
        assert!(!hot(&mut heat, 0, 100));
        assert!(heat.0.is_empty(), "nothing is kept of a quiet forum");
    }

    #[test]
    fn a_rate_that_wavers_around_the_threshold_stays_what_it_was() {
        let mut heat = Heat::default();
        let heated = (0..3).map(|second| hot(&mut heat, 2_000, second));
        assert_eq!(heated.collect::<Vec<_>>(), [false, false, true]);
        for second in 3..300 {
            assert!(hot(&mut heat, 1_000 + 1_000 * (second % 2), second));
        }
    }

    #[test]
    fn when_all_forums_have_much_to_do_none_is_busy() {
        let mut heat = Heat::default();
        let rate = ForumRate { tasks_per_minute: 10_000, reads_per_minute: 10_000 };
        let rates = (1..=100).map(|id| (ForumId::new(id).unwrap(), rate)).collect();
        for second in 0..10 {
            assert!(heat.note(&rates, 100, second * 1000).is_empty());
        }
    }
}
