//! Which hub to try next, and how long to wait before. Owns the list of addresses, configured and learnt.
//! Never dials.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::config::{Config, HubAddr};

/// Addresses one Welcome may teach.
const LEARNT_MAX: usize = 16;
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Failures in a row that double the pause each, before whole rounds do: a hub that vanishes answers nobody, and all its
/// peers wait for it equally long.
const QUICK_DOUBLINGS: u32 = 3;

/// The hubs a peer knows.
pub struct Hubs {
    configured: Vec<HubAddr>,
    learnt: Vec<HubAddr>,
    last: Option<HubAddr>,
    failures: u32,
    rng: StdRng,
}

impl Hubs {
    /// Begins with the configured ones, in the operator's order.
    pub fn new(config: &Config, seed: [u8; 32]) -> Self {
        let rng = StdRng::from_seed(seed);
        Self { configured: config.hubs.clone(), learnt: Vec::new(), last: None, failures: 0, rng }
    }

    /// The hub to try now: the one after the last, as the list is now; never the same twice if there are others. After the
    /// first failure any of the others: peers that lose one hub together must not all go to the same next one, and from
    /// there to the same third.
    pub fn take(&mut self) -> HubAddr {
        let known: Vec<HubAddr> = self.known().cloned().collect();
        let last = self.last.as_ref().and_then(|last| known.iter().position(|addr| addr == last));
        let ahead = match self.failures {
            1 if known.len() > 2 => self.rng.random_range(1..known.len()),
            _ => 1,
        };
        let at = last.map_or(0, |last| (last + ahead) % known.len());
        self.last = Some(known[at].clone());
        known[at].clone()
    }

    /// Replaces what was learnt before. Returns how many addresses were left out because they are malformed, may not
    /// be dialled, or are too many.
    pub fn learn(&mut self, config: &Config, addrs: &[String]) -> usize {
        let parsed = addrs.iter().take(LEARNT_MAX).filter_map(|addr| HubAddr::parse(addr));
        self.learnt = parsed.filter(|addr| config.may_dial(addr)).collect();
        addrs.len() - self.learnt.len()
    }

    /// A connection worked: the next failure is the first one again.
    pub fn worked(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after a failure: anything up to a bound that doubles with the first failures, then with each round
    /// over all hubs, so that peers cut off together do not come back together.
    pub fn pause(&mut self) -> Duration {
        let rounds = self.failures / u32::try_from(self.known().count()).unwrap_or(u32::MAX);
        let doublings = rounds.max(self.failures.min(QUICK_DOUBLINGS)).min(10);
        self.failures = self.failures.saturating_add(1);
        let bound = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
        bound.mul_f64(self.rng.random::<f64>())
    }

    /// Failures since something last worked.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// All known addresses; never none, as a configuration names at least one.
    fn known(&self) -> impl Iterator<Item = &HubAddr> {
        let learnt = self.learnt.iter().filter(|addr| !self.configured.contains(addr));
        self.configured.iter().chain(learnt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn hubs(addrs: &[&str]) -> (Config, Hubs) {
        let flags = Flags { hub: addrs.iter().map(|addr| (*addr).to_owned()).collect(), ..Flags::default() };
        let config = Config::read(flags, "x").unwrap();
        let hubs = Hubs::new(&config, [3; 32]);
        (config, hubs)
    }

    #[test]
    fn every_hub_has_its_turn_the_learnt_ones_too() {
        let (config, mut hubs) = hubs(&["127.0.0.1:1", "127.0.0.1:2"]);
        let left_out = hubs.learn(&config, &["127.0.0.1:3".into(), "127.0.0.1:1".into(), "nonsense".into()]);
        assert_eq!(left_out, 1);
        let seen: Vec<String> = (0..4).map(|_| hubs.take().to_string()).collect();
        assert_eq!(seen, ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:1"]);
    }

    #[test]
    fn a_hub_just_learnt_of_is_tried_before_the_one_that_spoke_of_it() {
        let (config, mut hubs) = hubs(&["127.0.0.1:1"]);
        hubs.take();
        hubs.learn(&config, &["127.0.0.1:1".into(), "127.0.0.1:2".into()]);
        assert_eq!(hubs.take().as_str(), "127.0.0.1:2");
    }

    #[test]
    fn a_hub_elsewhere_is_not_learnt_without_leave() {
        let (config, mut hubs) = hubs(&["127.0.0.1:1"]);
        assert_eq!(hubs.learn(&config, &["10.0.0.7:9080".into()]), 1);
        assert_eq!(hubs.take().as_str(), "127.0.0.1:1");
        assert_eq!(hubs.take().as_str(), "127.0.0.1:1");
    }

    #[test]
    fn peers_that_lose_all_hubs_together_are_further_apart_with_each_one_that_does_not_answer() {
        let (config, _) = hubs(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let mut peers: Vec<Hubs> = (0..50).map(|seed| Hubs::new(&config, [seed; 32])).collect();
        let spreads: Vec<Duration> = (0..4)
            .map(|_| {
                let pauses: Vec<Duration> = peers.iter_mut().map(Hubs::pause).collect();
                *pauses.iter().max().unwrap() - *pauses.iter().min().unwrap()
            })
            .collect();
        let bounds = [100, 200, 400, 800].map(Duration::from_millis);
        for (spread, bound) in spreads.iter().zip(bounds) {
            assert!(*spread <= bound && *spread > bound / 2, "{spreads:?}");
        }
    }

    #[test]
    fn peers_that_lose_one_hub_together_spread_over_the_others() {
        let (config, _) = hubs(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        let next = |seed| {
            let mut hubs = Hubs::new(&config, [seed; 32]);
            hubs.take();
            hubs.worked();
            hubs.pause();
            hubs.take().to_string()
        };
        let to_second = (0..50).filter(|seed| next(*seed) == "127.0.0.1:2").count();
        let to_third = (0..50).filter(|seed| next(*seed) == "127.0.0.1:3").count();
        assert!(to_second > 10 && to_third > 10 && to_second + to_third == 50, "{to_second} {to_third}");
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_begin_anew_after_success() {
        let (_, mut hubs) = hubs(&["127.0.0.1:1"]);
        assert!(hubs.pause() <= PAUSE_MIN);
        let longest = (0..200).map(|_| hubs.pause()).max().unwrap();
        assert!(longest <= PAUSE_MAX && longest > Duration::from_secs(8), "{longest:?}");
        hubs.worked();
        assert!(hubs.pause() <= PAUSE_MIN);
    }
}
