//! How well each forum was served, by the clock: sums over time, per forum. Never looks at the state.

use super::agenda::{DAY, Ms, SECOND};

/// How a forum stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// A live complete copy, and a primary that is connected.
    pub served: bool,
    /// A machine that is connected has all of it, whether hubs count on it or not.
    pub had: bool,
    /// It is led by a copy that was not compared with others, although one that was is live.
    pub doubtful: bool,
    /// Its live complete copies.
    pub live: usize,
    /// As many as it should have.
    pub wanted: usize,
}

/// One forum's sums.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    standing: Standing,
    since: Ms,
    dark_since: Option<Ms>,
    needless_since: Option<Ms>,
    /// Time that counts: a steady peer was up.
    pub counted: Ms,
    /// Of it, not served.
    pub dark: Ms,
    /// Of it, although somebody who was connected had all of it.
    pub needless: Ms,
    /// Led by a copy that was not compared with others.
    pub doubtful: Ms,
    /// Not served for longer than a takeover takes, and how often that was.
    pub dark_long: (u32, Ms),
    /// The longest time it was not served at a stretch, and when that began.
    pub dark_longest: (Ms, Ms),
    /// With fewer live copies than wanted.
    pub below: Ms,
    /// With one.
    pub one: Ms,
    /// With none.
    pub none: Ms,
    /// Bytes copied each day, in thousandths of its size.
    pub moved: Vec<u64>,
    /// Copies that came to serve.
    pub copies: u32,
    /// Copies that came to nothing.
    pub broken: u32,
    /// New primaries.
    pub primaries: u32,
    /// Live copies that were taken away while too few others lived.
    pub taken: u32,
}

impl Meter {
    /// From now on.
    pub fn new(now: Ms) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// Adds up to now. `counts`: since the last time a steady peer was up.
    pub fn advance(&mut self, now: Ms, counts: bool) {
        let length = now - self.since;
        self.since = now;
        if !counts {
            return;
        }
        self.counted += length;
        let Standing { served, had, doubtful, live, wanted } = self.standing;
        if !served {
            self.dark += length;
        }
        if !served && had {
            self.needless += length;
        }
        if live < wanted {
            self.below += length;
        }
        if doubtful {
            self.doubtful += length;
        }
        match live {
            0 => self.none += length,
            1 => self.one += length,
            _ => {}
        }
    }

    /// It stands otherwise from now on. Returns for how long it was not served although somebody who was connected had all
    /// of it, if that has come to its end.
    pub fn set(&mut self, now: Ms, counts: bool, standing: Standing) -> Option<Ms> {
        self.advance(now, counts);
        let needless = !standing.served && standing.had;
        let ended = self.needless_since.filter(|_| !needless).map(|since| now - since);
        self.needless_since = self.needless_since.filter(|_| needless).or_else(|| needless.then_some(now));
        match (self.dark_since, standing.served) {
            (None, false) => self.dark_since = Some(now),
            (Some(since), true) => {
                self.end_dark(now, since);
                self.dark_since = None;
            }
            _ => {}
        }
        self.standing = standing;
        ended
    }

    fn end_dark(&mut self, now: Ms, since: Ms) {
        let length = now - since;
        if length > 2 * SECOND {
            self.dark_long = (self.dark_long.0 + 1, self.dark_long.1 + length);
        }
        if length > self.dark_longest.0 {
            self.dark_longest = (length, since);
        }
    }

    /// The run is over.
    pub fn end(&mut self, now: Ms, counts: bool) {
        self.advance(now, counts);
        if let Some(since) = self.dark_since.take() {
            self.end_dark(now, since);
        }
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// So many bytes of a forum of this size were copied.
    pub fn moved(&mut self, now: Ms, bytes: u64, size: u64) {
        let day = usize::try_from(now / DAY).unwrap_or(usize::MAX);
        if self.moved.len() <= day {
            self.moved.resize(day + 1, 0);
        }
        self.moved[day] += (bytes as f64 * 1000.0 / size.max(1) as f64) as u64;
    }

    /// Part of the counted time in which it was served.
    pub fn availability(&self) -> f64 {
        if self.counted == 0 { 1.0 } else { 1.0 - self.dark as f64 / self.counted as f64 }
    }
}
