//! How much each forum and each peer has to do: moving averages, so that balance sees load and not noise.
//!
//! Soft state. Every hub counts the tasks it applies (all hubs apply all of them) and the reads it has answered, and
//! tells the others its reads. Never decides anything.

use std::{collections::BTreeMap, time::Duration};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};
use parking_lot::Mutex;

/// How often the counts become rates.
pub const TICK: Duration = Duration::from_secs(1);
/// Seconds a tick may stand for, when this process was held up: by then nothing is left of what was before.
const TICKS_MAX: u128 = 120;
/// Forums whose reads are told to the other hubs in one tick: the busiest.
const TOLD_MAX: usize = 1024;
/// Forums that are counted at once; the traffic of further ones is not seen until others are quiet.
const FORUMS_MAX: usize = 65_536;
/// Weight of a new second in an average: it follows a change within about eight of them.
const SMOOTHING: u64 = 8;
/// More than anybody can do in a second. What a peer says of itself may be any number, and sums must not overflow.
const PER_SECOND_MAX: u64 = 1_000_000_000;
/// Rates are kept in thousandths of an event per second.
const MILLI: u64 = 1000;

/// What one forum has to do, per minute, averaged over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForumRate {
    /// Tasks appended to it.
    pub tasks_per_minute: u64,
    /// Reads answered, through whichever hub.
    pub reads_per_minute: u64,
}

impl ForumRate {
    /// Requests of both kinds per minute. Every replica works for a task, one for a read; both cost a request here.
    pub const fn requests_per_minute(self) -> u64 {
        self.tasks_per_minute.saturating_add(self.reads_per_minute)
    }
}

/// Counts and averages of one hub.
#[derive(Default)]
pub struct Traffic(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Since the last tick.
    tasks: BTreeMap<ForumId, u64>,
    own_reads: BTreeMap<ForumId, u64>,
    heard_reads: BTreeMap<ForumId, u64>,
    /// Thousandths per second. Only forums and peers that had something to do lately.
    forums: BTreeMap<ForumId, (u64, u64)>,
    /// Requests answered so far, as the peer last said, and their rate.
    peers: BTreeMap<PeerId, (u64, u64)>,
}

impl Traffic {
    /// Tasks were appended to these forums.
    pub fn tasks(&self, forums: impl IntoIterator<Item = ForumId>) {
        let mut inner = self.0.lock();
        for forum in forums {
            count(&mut inner.tasks, forum, 1);
        }
    }

    /// A read of this forum was answered through this hub.
    pub fn read(&self, forum: ForumId) {
        count(&mut self.0.lock().own_reads, forum, 1);
    }

    /// What another hub has answered.
    pub fn heard(&self, traffic: &v1::ForumTraffic) {
        let mut inner = self.0.lock();
        for told in traffic.forums.iter().take(TOLD_MAX) {
            if let Some(forum) = ForumId::new(told.forum_id) {
                count(&mut inner.heard_reads, forum, told.reads.min(u64::from(u32::MAX)));
            }
        }
    }

    /// So much time has passed since the last tick, a second mostly: what was counted becomes rates. `answered` says how
    /// many requests each connected peer has answered since it was started. Returns what the other hubs are to be told.
    pub fn tick(
        &self,
        passed: Duration,
        answered: impl IntoIterator<Item = (PeerId, u64)>,
    ) -> v1::ForumTraffic {
        let averaged = |rate, counted| averaged(rate, counted, passed);
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        let (tasks, own) = (std::mem::take(&mut inner.tasks), std::mem::take(&mut inner.own_reads));
        let heard = std::mem::take(&mut inner.heard_reads);
        for forum in tasks.keys().chain(own.keys()).chain(heard.keys()) {
            if inner.forums.len() < FORUMS_MAX {
                inner.forums.entry(*forum).or_default();
            }
        }
        let of = |counts: &BTreeMap<ForumId, u64>, forum: &ForumId| counts.get(forum).copied().unwrap_or(0);
        inner.forums.retain(|forum, (task_rate, read_rate)| {
            *task_rate = averaged(*task_rate, of(&tasks, forum));
            *read_rate = averaged(*read_rate, of(&own, forum) + of(&heard, forum));
            *task_rate > 0 || *read_rate > 0
        });
        let answered: BTreeMap<PeerId, u64> = answered.into_iter().collect();
        inner.peers.retain(|peer, _| answered.contains_key(peer));
        for (peer, total) in answered {
            let (before, rate) = inner.peers.entry(peer).or_insert((total, 0));
            // A smaller total is that of a new process, which has counted from 0.
            let new = if total < *before { total } else { total - *before };
            *rate = averaged(*rate, new);
            *before = total;
        }
        busiest(own)
    }

    /// What a forum has to do.
    pub fn forum(&self, forum: ForumId) -> ForumRate {
        self.0.lock().forums.get(&forum).map_or_else(ForumRate::default, per_minute)
    }

    /// What all forums have to do that had something to do lately.
    pub fn forums(&self) -> BTreeMap<ForumId, ForumRate> {
        self.0.lock().forums.iter().map(|(forum, rates)| (*forum, per_minute(rates))).collect()
    }

    /// Requests per minute that each connected peer answers.
    pub fn peers(&self) -> BTreeMap<PeerId, u64> {
        self.0.lock().peers.iter().map(|(peer, (_, rate))| (*peer, to_minute(*rate))).collect()
    }
}

fn count(counts: &mut BTreeMap<ForumId, u64>, forum: ForumId, by: u64) {
    if counts.len() < FORUMS_MAX || counts.contains_key(&forum) {
        *counts.entry(forum).or_insert(0) += by;
    }
}

/// The average after some seconds in each of which as much was counted as in the others.
fn averaged(rate: u64, counted: u64, passed: Duration) -> u64 {
    let millis = passed.as_millis().max(TICK.as_millis());
    let per_second = u128::from(counted) * 1000 / millis;
    let per_second = u64::try_from(per_second).unwrap_or(u64::MAX).min(PER_SECOND_MAX);
    let seconds = ((millis + 500) / 1000).min(TICKS_MAX);
    // Rounded down, so that the average of a forum that has become quiet reaches zero.
    (0..seconds).fold(rate, |rate, _| (rate * (SMOOTHING - 1) + per_second * MILLI) / SMOOTHING)
}

const fn to_minute(rate: u64) -> u64 {
    rate.saturating_mul(60) / MILLI
}

fn per_minute(&(tasks, reads): &(u64, u64)) -> ForumRate {
    ForumRate { tasks_per_minute: to_minute(tasks), reads_per_minute: to_minute(reads) }
}

fn busiest(reads: BTreeMap<ForumId, u64>) -> v1::ForumTraffic {
    let mut forums: Vec<v1::ForumReads> =
        reads.into_iter().map(|(forum, reads)| v1::ForumReads { forum_id: forum.get(), reads }).collect();
    if forums.len() > TOLD_MAX {
        forums.sort_unstable_by_key(|forum| (std::cmp::Reverse(forum.reads), forum.forum_id));
        forums.truncate(TOLD_MAX);
    }
    v1::ForumTraffic { forums }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forum(id: u32) -> ForumId {
        ForumId::new(id).unwrap()
    }

    fn seconds(traffic: &Traffic, seconds: usize, mut each: impl FnMut(&Traffic)) {
        for _ in 0..seconds {
            each(traffic);
            traffic.tick(TICK, []);
        }
    }

    #[test]
    fn a_steady_rate_is_seen_within_ten_seconds_and_forgotten_when_the_forum_is_quiet() {
        let traffic = Traffic::default();
        seconds(&traffic, 10, |traffic| {
            traffic.tasks([forum(1); 10]);
            (0..5).for_each(|_| traffic.read(forum(1)));
        });
        let rate = traffic.forum(forum(1));
        assert!((420..=600).contains(&rate.tasks_per_minute), "{rate:?}");
        assert!((210..=300).contains(&rate.reads_per_minute), "{rate:?}");
        seconds(&traffic, 120, |_| {});
        assert!(traffic.forums().is_empty(), "nothing is kept of a quiet forum");
    }

    #[test]
    fn what_another_hub_has_read_counts_like_own_reads_and_is_not_told_on() {
        let traffic = Traffic::default();
        traffic.heard(&v1::ForumTraffic { forums: vec![v1::ForumReads { forum_id: 1, reads: 80 }] });
        traffic.read(forum(2));
        let told = traffic.tick(TICK, []);
        assert_eq!(told.forums, [v1::ForumReads { forum_id: 2, reads: 1 }]);
        assert_eq!(traffic.forum(forum(1)).reads_per_minute, 600);
    }

    #[test]
    fn a_tick_that_comes_late_stands_for_the_time_that_has_passed() {
        let (traffic, peer) = (Traffic::default(), PeerId::new(3).unwrap());
        traffic.tick(TICK, [(peer, 0)]);
        traffic.tasks([forum(1); 600]);
        traffic.tick(TICK * 60, [(peer, 600)]);
        for rate in [traffic.forum(forum(1)).tasks_per_minute, traffic.peers()[&peer]] {
            assert!((590..=600).contains(&rate), "ten a second for a minute are {rate} a minute");
        }
        traffic.tick(Duration::from_secs(3600), [(peer, 600)]);
        assert_eq!((traffic.forums().len(), traffic.peers()[&peer]), (0, 0), "nothing was done for an hour");
    }

    #[test]
    fn only_the_busiest_are_told() {
        let traffic = Traffic::default();
        for id in 1..=2000 {
            (0..1 + id % 3).for_each(|_| traffic.read(forum(id)));
        }
        let told = traffic.tick(TICK, []).forums;
        assert_eq!(told.len(), TOLD_MAX);
        assert!(told.iter().all(|forum| forum.reads > 1));
    }

    #[test]
    fn a_peer_that_tells_absurd_numbers_does_not_overflow_anything() {
        let traffic = Traffic::default();
        let peer = PeerId::new(3).unwrap();
        for total in [0, u64::MAX, 0, u64::MAX, 1, u64::MAX] {
            traffic.tick(TICK, [(peer, total)]);
        }
        assert!((1..=PER_SECOND_MAX * 60).contains(&traffic.peers()[&peer]));
    }

    #[test]
    fn a_restarted_peer_counts_from_nothing_and_one_that_is_gone_is_forgotten() {
        let traffic = Traffic::default();
        let peer = PeerId::new(3).unwrap();
        traffic.tick(TICK, [(peer, 1_000_000)]);
        assert_eq!(traffic.peers()[&peer], 0, "what it did before is not done in this second");
        traffic.tick(TICK, [(peer, 1_000_080)]);
        assert_eq!(traffic.peers()[&peer], 600);
        traffic.tick(TICK, [(peer, 8)]);
        assert_eq!(traffic.peers()[&peer], 585);
        traffic.tick(TICK, []);
        assert!(traffic.peers().is_empty());
    }
}
