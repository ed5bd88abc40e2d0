//! Since when which forums have had fewer live copies than they should. Bounded: what is well leaves no trace.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::ids::ForumId;
use tokio::time::Instant;

/// Forums that are followed one by one. Of further ones it is known how many they are, and since when there are any.
pub const FOLLOWED_MAX: usize = 65_536;

/// Forums with too few live copies.
#[derive(Debug)]
pub struct Below {
    since: BTreeMap<ForumId, Seen>,
    /// Counts walks over all forums.
    walk: u64,
    followed_max: usize,
    /// Those of the last walk for which there was no room.
    beyond: u64,
    beyond_since: Option<Instant>,
    /// Those of the walk that is under way.
    beyond_so_far: u64,
}

/// A forum that is below.
#[derive(Clone, Copy, Debug)]
struct Seen {
    since: Instant,
    /// In which walk it was last seen. One that is closed is not seen any more.
    walk: u64,
}

impl Default for Below {
    fn default() -> Self {
        Self::new(FOLLOWED_MAX)
    }
}

impl Below {
    fn new(followed_max: usize) -> Self {
        Self {
            since: BTreeMap::new(),
            walk: 0,
            followed_max,
            beyond: 0,
            beyond_since: None,
            beyond_so_far: 0,
        }
    }

    /// A forum was looked at.
    pub fn note(&mut self, forum: ForumId, is_below: bool, now: Instant) {
        if !is_below {
            self.since.remove(&forum);
        } else if self.since.len() < self.followed_max || self.since.contains_key(&forum) {
            self.since.entry(forum).or_insert(Seen { since: now, walk: self.walk }).walk = self.walk;
        } else {
            self.beyond_so_far += 1;
        }
    }

    /// All forums were looked at.
    pub fn walked(&mut self, now: Instant) {
        let walk = self.walk;
        self.since.retain(|_, seen| seen.walk == walk);
        self.walk += 1;
        self.beyond = std::mem::take(&mut self.beyond_so_far);
        self.beyond_since = (self.beyond > 0).then(|| self.beyond_since.unwrap_or(now));
    }

    /// How long a forum has been below; `None`: it is not, or there was no room for it.
    pub fn for_how_long(&self, forum: ForumId, now: Instant) -> Option<Duration> {
        self.since.get(&forum).map(|seen| now.saturating_duration_since(seen.since))
    }

    /// How many are below.
    pub fn count(&self) -> u64 {
        self.since.len() as u64 + self.beyond
    }

    /// How many of them are followed one by one, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        (self.since.len(), self.followed_max)
    }

    /// How long the one has been below that has been it for the longest.
    pub fn longest(&self, now: Instant) -> Option<Duration> {
        let since = self.since.values().map(|seen| seen.since).chain(self.beyond_since).min();
        since.map(|since| now.saturating_duration_since(since))
    }

    /// Those that have been below for longer than `grace`, by id; beside them, how many others there are.
    pub fn longer_than(&self, grace: Duration, now: Instant) -> (impl Iterator<Item = ForumId> + '_, u64) {
        let is_longer = move |since: &Instant| now.saturating_duration_since(*since) > grace;
        let followed =
            self.since.iter().filter(move |(_, seen)| is_longer(&seen.since)).map(|(forum, _)| *forum);
        let others = self.beyond_since.filter(|since| is_longer(since)).map_or(0, |_| self.beyond);
        (followed, others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(600);

    fn forum(id: u32) -> ForumId {
        ForumId::new(id).unwrap()
    }

    fn longer(below: &Below, now: Instant) -> (Vec<u32>, u64) {
        let (followed, others) = below.longer_than(GRACE, now);
        (followed.map(ForumId::get).collect(), others)
    }

    #[test]
    fn a_forum_is_below_since_it_was_first_seen_so_and_leaves_no_trace_when_it_is_well_again() {
        let (mut below, start) = (Below::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        below.note(forum(1), true, start);
        below.note(forum(2), false, start);
        below.walked(start);
        below.note(forum(1), true, at(599));
        below.walked(at(599));
        assert_eq!(below.for_how_long(forum(1), at(599)), Some(Duration::from_secs(599)));
        assert_eq!((below.count(), below.longest(at(599))), (1, Some(Duration::from_secs(599))));
        assert_eq!(longer(&below, at(600)), (vec![], 0), "it may be for as long as the grace");
        assert_eq!(longer(&below, at(601)), (vec![1], 0));
        below.note(forum(1), false, at(602));
        below.note(forum(1), true, at(603));
        assert_eq!(below.for_how_long(forum(1), at(603)), Some(Duration::ZERO), "that is another time");
        below.note(forum(1), false, at(604));
        assert_eq!((below.count(), below.held().0, below.longest(at(604))), (0, 0, None));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_pushes_out_nobody() {
        let (mut below, start) = (Below::new(2), Instant::now());
        let later = start + GRACE + Duration::from_secs(1);
        let walk = |below: &mut Below, forums: &[u32], now| {
            forums.iter().for_each(|id| below.note(forum(*id), true, now));
            below.walked(now);
        };
        walk(&mut below, &[7, 8], start);
        walk(&mut below, &[1, 2, 3, 7, 8], start + Duration::from_secs(1));
        assert_eq!((below.count(), below.held()), (5, (2, 2)));
        assert_eq!(longer(&below, later), (vec![7, 8], 0));
        assert_eq!(longer(&below, later + Duration::from_secs(2)), (vec![7, 8], 3));
        assert_eq!(below.for_how_long(forum(1), later), None);
        below.note(forum(7), false, later);
        walk(&mut below, &[1, 2, 3, 8], later);
        assert_eq!((below.count(), below.held().0), (4, 2), "room for the next one");
        assert_eq!(below.for_how_long(forum(1), later), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_forum_that_is_closed_is_followed_no_more() {
        let mut below = Below::default();
        let (first, second) = (ForumId::new(1).unwrap(), ForumId::new(2).unwrap());
        let now = Instant::now();
        below.note(first, true, now);
        below.note(second, true, now);
        below.walked(now);
        assert_eq!(below.count(), 2);
        below.note(second, true, now);
        below.walked(now);
        assert_eq!((below.count(), below.for_how_long(first, now)), (1, None));
    }
}
