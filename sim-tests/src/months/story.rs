//! What happened to each forum lately, to be told when something is wrong with it. Bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use loop_proto::ids::{ForumId, PeerId};

use super::agenda::{DAY, HOUR, MINUTE, Ms, SECOND};

/// Lines kept of each forum.
const KEPT: usize = 400;

/// A line.
#[derive(Clone, Debug)]
enum Line {
    Came(PeerId),
    Went(PeerId),
    CaughtUp(PeerId),
    Told(String),
}

/// All forums' stories.
#[derive(Default)]
pub struct Stories {
    lines: BTreeMap<ForumId, VecDeque<(Ms, Line)>>,
}

impl Stories {
    fn note(&mut self, now: Ms, forum: ForumId, line: Line) {
        let lines = self.lines.entry(forum).or_default();
        if lines.len() >= KEPT {
            lines.pop_front();
        }
        lines.push_back((now, line));
    }

    /// A holder came.
    pub fn came(&mut self, now: Ms, forum: ForumId, peer: PeerId) {
        self.note(now, forum, Line::Came(peer));
    }

    /// A holder went.
    pub fn went(&mut self, now: Ms, forum: ForumId, peer: PeerId) {
        self.note(now, forum, Line::Went(peer));
    }

    /// A holder has read the log to its end.
    pub fn caught_up(&mut self, now: Ms, forum: ForumId, peer: PeerId) {
        self.note(now, forum, Line::CaughtUp(peer));
    }

    /// Something else.
    pub fn tell(&mut self, now: Ms, forum: ForumId, what: String) {
        self.note(now, forum, Line::Told(what));
    }

    /// A forum's story, oldest first.
    pub fn of(&self, forum: ForumId) -> Vec<String> {
        let lines = self.lines.get(&forum).into_iter().flatten();
        lines.map(|(at, line)| format!("{} {line}", clock(*at))).collect()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Came(peer) => write!(f, "{peer} came"),
            Self::Went(peer) => write!(f, "{peer} went"),
            Self::CaughtUp(peer) => write!(f, "{peer} has caught up"),
            Self::Told(what) => f.write_str(what),
        }
    }
}

/// Day and time of day.
pub fn clock(at: Ms) -> String {
    let (day, hour, minute) = (at / DAY, at / HOUR % 24, at / MINUTE % 60);
    format!("day {day} {hour:02}:{minute:02}:{:02}.{:03}", at / SECOND % 60, at % SECOND)
}
