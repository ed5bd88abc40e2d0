//! The volunteers' machines: what is on their disks, whether they run, how they come and go. The truth that hubs do not
//! see. Never knows what hubs decide.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::{
    ids::{ForumId, PeerId},
    v1::PeerLimits,
};
use rand::rngs::StdRng;

use super::{
    agenda::Ms,
    chance::{Spread, unit},
};

/// How a volunteer comes and goes, and what the machine gives.
#[derive(Clone, Debug)]
pub struct Habit {
    /// What it is called in stories.
    pub name: &'static str,
    /// Counts when it is asked whether a steady peer was up.
    pub steady: bool,
    /// When the first of them joins.
    pub joins: Spread,
    /// How long a visit is.
    pub stay: Spread,
    /// How long it is away between two.
    pub away: Spread,
    /// Now and then it is away for longer: out of how many visits once, and how long.
    pub long_away: Option<(u32, Spread)>,
    /// Out of how many visits one is the last; 0: it always comes back. Somebody new of the same habit joins then.
    pub quits: u32,
    /// Bytes a second, both ways together.
    pub bandwidth: u64,
    /// What it says it gives.
    pub limits: PeerLimits,
    /// What is wrong with it.
    pub lie: Option<Lie>,
}

/// What is wrong with a machine that claims more than it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It takes every copy and gets no byte of it.
    Silent,
    /// It takes every copy and always says that it has got a little further.
    Busy,
    /// Its copies are not what they should be.
    Wrong,
}

/// A forum's rows on a disk.
#[derive(Clone, Copy, Debug)]
pub struct DiskCopy {
    /// How large it was when it came.
    pub bytes: u64,
    /// It follows the log: what its machine has read, it has. Otherwise this is how far it came.
    pub stands_at: Option<u64>,
    /// The rows are right.
    pub good: bool,
}

/// One machine.
pub struct Machine {
    /// Its number at the hubs.
    pub peer: PeerId,
    /// Its habit.
    pub habit: Habit,
    /// Which of the habits, so that a successor can be found.
    pub habit_at: usize,
    /// It runs and is connected.
    pub up: bool,
    /// It has read the log to its end since it came.
    pub caught_up: bool,
    /// Which visit this is.
    pub visit: u32,
    /// How far it has read while it was not at the end.
    pub cursor: u64,
    /// Its disk is no more.
    pub destroyed: bool,
    /// It will never be back.
    pub gone: bool,
    /// What is on its disk.
    pub copies: BTreeMap<ForumId, DiskCopy>,
    /// What it drops as soon as it reads that it is not wanted any more.
    pub to_drop: BTreeSet<ForumId>,
    rng: StdRng,
}

impl Machine {
    /// A new one, not running yet.
    pub fn new(peer: PeerId, habit: Habit, habit_at: usize, rng: StdRng) -> Self {
        Self {
            peer,
            habit,
            habit_at,
            up: false,
            caught_up: false,
            visit: 0,
            cursor: 0,
            destroyed: false,
            gone: false,
            copies: BTreeMap::new(),
            to_drop: BTreeSet::new(),
            rng,
        }
    }

    /// How long the visit that begins now is.
    pub fn stay(&mut self, now: Ms) -> Ms {
        self.habit.stay.draw(&mut self.rng, now)
    }

    /// For how long it goes; `None`: for ever. Draws the same numbers whatever comes of them.
    pub fn away(&mut self, now: Ms) -> Option<Ms> {
        let (quits, long) = (unit(&mut self.rng), unit(&mut self.rng));
        let away = self.habit.away.draw(&mut self.rng, now);
        let once_in = |visits: u32, drawn: f64| visits > 0 && drawn * f64::from(visits) <= 1.0;
        if once_in(self.habit.quits, quits) {
            return None;
        }
        match self.habit.long_away {
            Some((visits, spread)) if once_in(visits, long) => Some(spread.draw(&mut self.rng, now)),
            _ => Some(away),
        }
    }

    /// Bytes on its disk.
    pub fn disk_bytes(&self) -> u64 {
        self.copies.values().map(|copy| copy.bytes).sum()
    }

    /// Up to which record it has the forum, rightly; `None`: it has none, or a wrong one.
    pub fn has_through(&self, forum: ForumId, newest: u64) -> Option<u64> {
        let copy = self.copies.get(&forum).filter(|copy| copy.good && !self.destroyed)?;
        let read = if self.caught_up { newest } else { self.cursor };
        Some(copy.stands_at.unwrap_or(read))
    }
}
