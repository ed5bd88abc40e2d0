//! How large a world is, and how finely its time passes.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::derive;

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// 1, 3 or 5.
    pub hubs: usize,
    /// At least 1.
    pub peers: usize,
    /// Forums that are written to.
    pub forums: usize,
    /// Browsers, spread over the forums.
    pub visitors: usize,
    /// How finely time passes.
    pub pace: Pace,
}

impl Shape {
    /// Some size or other.
    pub fn any(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(derive(seed, "shape", 0));
        Self {
            hubs: if rng.random_bool(0.25) { 5 } else { 3 },
            peers: rng.random_range(4..=6),
            forums: rng.random_range(1..=3),
            visitors: rng.random_range(3..=5),
            pace: Pace::FINE,
        }
    }
}

/// How finely simulated time passes, and how often machines tell one another that they are there. What takes hours is told
/// at a coarser pace: everything happens in the same order of events, with fewer of them in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How much simulated time passes between two looks at the world.
    pub tick: Duration,
    /// Raft's heartbeat, milliseconds.
    pub heartbeat_ms: u64,
    /// Bounds of the election timeout, milliseconds.
    pub election_ms: (u64, u64),
    /// Heartbeat between hubs and peers, milliseconds.
    pub peer_heartbeat_ms: u64,
    /// After how long an unanswered task goes to another peer, milliseconds.
    pub takeover_ms: u64,
    /// How often a healthy peer's database commits.
    pub commit_every: Duration,
    /// Bounds of the time between two looks at the peers' databases, milliseconds.
    pub look_ms: (u64, u64),
    /// How many times longer than usual everything may take until all is well.
    pub patience: u32,
}

impl Pace {
    /// As the hubs are set up by default.
    pub const FINE: Self = Self {
        tick: Duration::from_millis(1),
        heartbeat_ms: 50,
        election_ms: (200, 400),
        peer_heartbeat_ms: 250,
        takeover_ms: 1000,
        commit_every: Duration::from_millis(20),
        look_ms: (100, 1500),
        patience: 1,
    };
    /// For hours.
    pub const COARSE: Self = Self {
        tick: Duration::from_millis(50),
        heartbeat_ms: 500,
        election_ms: (2000, 4000),
        peer_heartbeat_ms: 1000,
        takeover_ms: 4000,
        commit_every: Duration::from_millis(200),
        look_ms: (5000, 20_000),
        patience: 3,
    };

    /// How long a machine may be gone before every hub knows: four silent heartbeats, and what a leader takes to look.
    pub fn known_within(self) -> Duration {
        Duration::from_millis(4 * self.peer_heartbeat_ms + 4 * self.heartbeat_ms + 1800)
    }
}
