//! What happened in a run, as one number and, if wanted, as a story.
//!
//! Owns the only record by which two runs of one seed are compared: every byte sent, every line logged, every fault
//! and promise, with its simulated time. Never decides anything.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use parking_lot::Mutex;

/// How often the number is kept, so that the moment of a first difference can be told.
const MARK_EVERY: Duration = Duration::from_millis(100);

/// A run's record. Clones share it.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

struct Inner {
    hash: Fnv,
    events: u64,
    now: Duration,
    marks: Vec<u64>,
    /// Lines are printed as they come.
    prints: bool,
    /// How often peers dialled each hub, by tenths of a second.
    dials: BTreeMap<(String, Duration), u32>,
    /// The newest lines, for the end of a run that failed.
    newest: std::collections::VecDeque<String>,
}

/// Newest lines kept.
const LINES_KEPT: usize = 60;

impl Trace {
    /// An empty one. With `prints`, the story is told on standard output as it happens.
    pub fn new(prints: bool) -> Self {
        let hash = Fnv::default();
        let newest = std::collections::VecDeque::new();
        Self(Arc::new(Mutex::new(Inner {
            hash,
            events: 0,
            now: Duration::ZERO,
            marks: Vec::new(),
            prints,
            dials: BTreeMap::new(),
            newest,
        })))
    }

    /// Whether lines are printed.
    pub fn prints(&self) -> bool {
        self.0.lock().prints
    }

    /// Simulated time goes on to `now`.
    pub fn at(&self, now: Duration) {
        let mut inner = self.0.lock();
        inner.now = now;
        while MARK_EVERY * u32::try_from(inner.marks.len() + 1).unwrap_or(u32::MAX) <= now {
            let mark = inner.hash.0;
            inner.marks.push(mark);
        }
    }

    /// Simulated time, as of the newest event.
    pub fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_else(|| self.0.lock().now)
    }

    /// Something nobody reads, but which must repeat.
    pub fn bytes(&self, who: u64, bytes: &[u8]) {
        let now = self.now();
        let mut inner = self.0.lock();
        inner.count(now, who);
        inner.hash.add(bytes);
    }

    /// Something worth a line.
    pub fn tell(&self, who: &str, what: &str) {
        let now = self.now();
        let mut inner = self.0.lock();
        inner.count(now, 0);
        inner.hash.add(who.as_bytes());
        inner.hash.add(what.as_bytes());
        inner.line(now, who, what);
    }

    /// A peer dials a hub.
    pub fn dials_hub(&self, authority: &str) {
        let tenth = self.now().as_millis() / MARK_EVERY.as_millis();
        let window = MARK_EVERY * u32::try_from(tenth).unwrap_or(u32::MAX);
        *self.0.lock().dials.entry((authority.to_owned(), window)).or_default() += 1;
    }

    /// How often peers dialled each hub, by tenths of a second.
    pub fn dials(&self) -> BTreeMap<(String, Duration), u32> {
        self.0.lock().dials.clone()
    }

    /// A line that is no part of what is compared.
    pub fn remark(&self, who: &str, what: &str) {
        let now = self.now();
        self.0.lock().line(now, who, what);
    }

    /// The number that two runs of one seed share.
    pub fn digest(&self) -> u64 {
        self.0.lock().hash.0
    }

    /// How many events went into it.
    pub fn events(&self) -> u64 {
        self.0.lock().events
    }

    /// The digest after each tenth of a simulated second.
    pub fn marks(&self) -> Vec<u64> {
        self.0.lock().marks.clone()
    }

    /// The newest lines of the story.
    pub fn newest(&self) -> Vec<String> {
        self.0.lock().newest.iter().cloned().collect()
    }
}

impl Inner {
    fn count(&mut self, now: Duration, who: u64) {
        self.events += 1;
        self.hash.number(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        self.hash.number(who);
    }

    fn line(&mut self, now: Duration, who: &str, what: &str) {
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = write!(line, "{:>9.3} {who:<10} {what}", now.as_secs_f64());
        if self.prints {
            println!("{line}");
        }
        if self.newest.len() == LINES_KEPT {
            self.newest.pop_front();
        }
        self.newest.push_back(line);
    }
}

/// FNV-1a, taken eight bytes at a time.
#[derive(Clone, Copy)]
pub struct Fnv(pub u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    }

    /// Takes in bytes and their count.
    pub fn add(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            self.number(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        words.remainder().iter().for_each(|byte| self.number(u64::from(*byte)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_told_counts_and_remarks_do_not() {
        let (one, other) = (Trace::new(false), Trace::new(false));
        one.tell("hub-1", "leads");
        one.bytes(3, b"abcdefghi");
        other.tell("hub-1", "leads");
        other.remark("hub-1", "by the way");
        other.bytes(3, b"abcdefghi");
        assert_eq!((one.digest(), one.events()), (other.digest(), 2));
        other.at(Duration::from_millis(250));
        assert_eq!(other.marks(), [other.digest(); 2]);
        other.bytes(3, b"abcdefghj");
        one.bytes(3, b"abcdefghi");
        assert_ne!(one.digest(), other.digest());
    }
}
