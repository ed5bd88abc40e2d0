//! What happens next in a modelled month: events in the order of their time. Never knows what an event does.

use std::{cmp::Reverse, collections::BinaryHeap};

use loop_proto::ids::TaskId;

/// Milliseconds, since the run's begin or of a length.
pub type Ms = u64;

/// A second.
pub const SECOND: Ms = 1000;
/// A minute.
pub const MINUTE: Ms = 60 * SECOND;
/// An hour.
pub const HOUR: Ms = 60 * MINUTE;
/// A day.
pub const DAY: Ms = 24 * HOUR;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new machine of this habit joins.
    Join(usize),
    /// A machine that was away comes back.
    Arrive(usize),
    /// A machine goes; `visit` is which of its visits ends.
    Leave {
        /// Which machine.
        machine: usize,
        /// Which visit.
        visit: u32,
    },
    /// A machine has read the log to its end.
    CaughtUp {
        /// Which machine.
        machine: usize,
        /// In which visit.
        visit: u32,
    },
    /// A copy takes its next step, if it has not taken another one since.
    Copy {
        /// By which invitation.
        invitation: TaskId,
        /// Which step it was when this was put down.
        turn: u32,
    },
    /// Somebody writes a message.
    Write,
    /// Somebody opens a forum.
    Open,
    /// A forum becomes busy, or quiet again.
    Crowd {
        /// By its place in the list of forums.
        forum: usize,
        /// It becomes busy.
        busy: bool,
    },
    /// The leader looks.
    Look,
    /// Half a minute is over.
    Tick,
    /// Another hub leads: what the last one remembered is gone.
    NewLeader,
    /// Somebody does what the scenario says.
    Deed(usize),
}

/// Events to come.
#[derive(Debug, Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<Entry>>,
    put_down: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Ms,
    /// What was put down first happens first.
    number: u64,
    event: Event,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Agenda {
    /// Puts an event down.
    pub fn at(&mut self, at: Ms, event: Event) {
        self.put_down += 1;
        self.heap.push(Reverse(Entry { at, number: self.put_down, event }));
    }

    /// The next event, if it comes before `end`.
    pub fn next_before(&mut self, end: Ms) -> Option<(Ms, Event)> {
        if self.heap.peek().is_none_or(|Reverse(next)| next.at >= end) {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| (next.at, next.event))
    }
}
