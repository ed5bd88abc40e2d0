//! The newest part of the task log as rows: requests, and what can be counted of them.
//!
//! Owns which requests have a row: those nobody has answered, however old they are, and all of the newest records. So the
//! rows are bounded as the log is, and follow from the log alone: replayed from the same records they are the same. Pure.

use std::collections::{BTreeMap, VecDeque};

use loop_proto::ids::{HubTime, MessageId};
use loop_raft_store::machine::{HubState, Record, RecordBody};

use super::rows::{Cell, Key, RowChange, Table};

/// What a record means for the rows.
#[derive(Clone, Debug)]
pub enum Step {
    /// Somebody asks.
    Asked(Asked),
    /// A peer has answered.
    Answered {
        /// The record that says so.
        record: u64,
        /// What was asked.
        task: u64,
        /// Where.
        forum: u32,
        /// Who.
        peer: u32,
        /// When.
        at: HubTime,
    },
    /// A forum is gone, and whoever waits in it is told of no answer.
    Closed {
        /// Which.
        forum: u32,
    },
    /// Nothing.
    Other,
}

/// A task, without what is asked and who asks.
#[derive(Clone, Debug)]
pub struct Asked {
    task: u64,
    forum: u32,
    request: [u8; 16],
    message: Option<u32>,
    session: Option<SessionMark>,
    at: HubTime,
}

/// Whose session it is, and the record that changed it last. Never its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SessionMark {
    user: u32,
    version: u64,
}

impl Step {
    /// Reads a record.
    pub fn of(record: &Record) -> Self {
        match (&record.body, record.forum) {
            (RecordBody::Task(task), Some(forum)) => {
                let mark = |user, version| SessionMark { user, version };
                Self::Asked(Asked {
                    task: record.id.get(),
                    forum: forum.get(),
                    request: task.request_id.0,
                    message: task.message_id.map(MessageId::get),
                    session: task.session.as_ref().map(|session| mark(session.user_id, session.version)),
                    at: record.at,
                })
            }
            (RecordBody::Facts(facts), Some(forum)) => match (facts.task, facts.peer) {
                (Some(task), Some(peer)) => Self::Answered {
                    record: record.id.get(),
                    task: task.get(),
                    forum: forum.get(),
                    peer: peer.get(),
                    at: record.at,
                },
                _ => Self::Other,
            },
            (RecordBody::Closed { forum, .. }, _) => Self::Closed { forum: forum.get() },
            _ => Self::Other,
        }
    }
}

/// Rows that change, each once.
#[derive(Default)]
pub struct Net(BTreeMap<(Table, Key), Option<Vec<Cell>>>);

impl Net {
    /// What becomes of a row; what was to become of it before does not matter any more.
    pub fn put(&mut self, change: RowChange) {
        self.0.insert((change.table, change.key), change.cells);
    }

    fn set(&mut self, table: Table, key: Key, cells: Option<Vec<Cell>>) {
        self.put(RowChange { table, key, cells });
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Those of one table, by key.
    pub fn of(&self, table: Table) -> impl Iterator<Item = (Key, Option<&[Cell]>)> {
        let range = self.0.range((table, [0, 0])..=(table, [u64::MAX, u64::MAX]));
        range.map(|((_, key), cells)| (*key, cells.as_deref()))
    }
}

/// A record of the window that has to be undone when it leaves it.
#[derive(Clone, Copy, Debug)]
enum Past {
    Asked { task: u64, forum: u32, session: Option<SessionMark> },
    Answered { record: u64, forum: u32, peer: u32 },
}

impl Past {
    const fn record(self) -> u64 {
        match self {
            Self::Asked { task: record, .. } | Self::Answered { record, .. } => record,
        }
    }
}

/// The newest records.
pub struct Window {
    records_max: u64,
    /// Records up to this one are behind it.
    after: u64,
    past: VecDeque<Past>,
    waiting: BTreeMap<(u32, u64), Asked>,
    users: BTreeMap<(u32, u32), u64>,
    updates: BTreeMap<(u32, u64), u64>,
    handled: BTreeMap<(u32, u32), u64>,
}

/// Where the window begins in a log of these ends.
fn begin(records_max: u64, newest: u64, trimmed_through: u64) -> u64 {
    newest.saturating_sub(records_max).max(trimmed_through)
}

impl Window {
    /// The window of a state, and all its rows.
    pub fn of(state: &HubState, records_max: u64) -> (Self, Net) {
        let after = begin(records_max, state.newest(), state.trimmed_through());
        let mut window = Self {
            records_max,
            after,
            past: VecDeque::new(),
            waiting: BTreeMap::new(),
            users: BTreeMap::new(),
            updates: BTreeMap::new(),
            handled: BTreeMap::new(),
        };
        let mut net = Net::default();
        let older = state.open_tasks().take_while(|record| record.id.get() <= after);
        for step in older.map(|record| Step::of(record)) {
            if let Step::Asked(asked) = step {
                net.set(Table::Request, [asked.task, 0], Some(waiting(&asked)));
                window.waiting.insert((asked.forum, asked.task), asked);
            }
        }
        for record in state.records_after(after) {
            window.take(Step::of(record), &mut net);
        }
        (window, net)
    }

    /// Where it begins: records up to this one have left it.
    pub const fn after(&self) -> u64 {
        self.after
    }

    /// The log has grown by a record.
    pub fn take(&mut self, step: Step, net: &mut Net) {
        match step {
            Step::Asked(asked) => self.asked(asked, net),
            Step::Answered { record, task, forum, peer, at } => {
                self.past.push_back(Past::Answered { record, forum, peer });
                let handled = self.handled.entry((peer, forum)).or_default();
                *handled += 1;
                net.set(Table::Traffic, [peer.into(), forum.into()], Some(vec![Cell::Number(*handled)]));
                if let Some(asked) = self.waiting.remove(&(forum, task)) {
                    let answer = Some((peer, record, at));
                    self.ended(&asked, "responded", answer, net);
                }
            }
            Step::Closed { forum } => {
                let mut rest = self.waiting.split_off(&(forum, 0));
                let mut others =
                    forum.checked_add(1).map_or_else(BTreeMap::new, |next| rest.split_off(&(next, 0)));
                self.waiting.append(&mut others);
                for asked in rest.into_values() {
                    self.ended(&asked, "timeout", None, net);
                }
            }
            Step::Other => {}
        }
    }

    fn asked(&mut self, asked: Asked, net: &mut Net) {
        let (task, forum, session) = (asked.task, asked.forum, asked.session);
        net.set(Table::Request, [task, 0], Some(waiting(&asked)));
        self.past.push_back(Past::Asked { task, forum, session });
        self.waiting.insert((forum, task), asked);
        let Some(SessionMark { user, version }) = session else { return };
        let last = || Some(vec![Cell::Number(task)]);
        self.users.insert((user, forum), task);
        net.set(Table::UserLayer, [user.into(), forum.into()], last());
        self.updates.insert((forum, version), task);
        net.set(Table::SessionUpdate, [forum.into(), version], last());
    }

    /// A task is open no more.
    fn ended(&self, asked: &Asked, status: &'static str, answer: Option<(u32, u64, HubTime)>, net: &mut Net) {
        let row = (asked.task > self.after).then(|| request(asked, status, answer));
        net.set(Table::Request, [asked.task, 0], row);
    }

    /// The log reaches from behind `trimmed_through` to `newest` now: lets go of what lies behind the window.
    pub fn slide(&mut self, newest: u64, trimmed_through: u64, net: &mut Net) {
        self.after = self.after.max(begin(self.records_max, newest, trimmed_through));
        while let Some(past) = self.past.front().copied().filter(|past| past.record() <= self.after) {
            self.past.pop_front();
            self.leaves(past, net);
        }
    }

    fn leaves(&mut self, past: Past, net: &mut Net) {
        match past {
            Past::Asked { task, forum, session } => {
                if !self.waiting.contains_key(&(forum, task)) {
                    net.set(Table::Request, [task, 0], None);
                }
                let Some(SessionMark { user, version }) = session else { return };
                if self.users.get(&(user, forum)) == Some(&task) {
                    self.users.remove(&(user, forum));
                    net.set(Table::UserLayer, [user.into(), forum.into()], None);
                }
                if self.updates.get(&(forum, version)) == Some(&task) {
                    self.updates.remove(&(forum, version));
                    net.set(Table::SessionUpdate, [forum.into(), version], None);
                }
            }
            Past::Answered { forum, peer, .. } => {
                let Some(handled) = self.handled.get_mut(&(peer, forum)) else { return };
                *handled -= 1;
                let left = *handled;
                if left == 0 {
                    self.handled.remove(&(peer, forum));
                }
                let row = (left > 0).then(|| vec![Cell::Number(left)]);
                net.set(Table::Traffic, [peer.into(), forum.into()], row);
            }
        }
    }
}

fn waiting(asked: &Asked) -> Vec<Cell> {
    request(asked, "waiting", None)
}

/// Reads and files never become tasks: hubs answer them from what they have. So each is a write.
fn request(asked: &Asked, status: &'static str, answer: Option<(u32, u64, HubTime)>) -> Vec<Cell> {
    let small = |number: u32| Cell::Number(number.into());
    vec![
        small(asked.forum),
        Cell::Bytes(asked.request),
        Cell::Word("write"),
        Cell::Word(status),
        asked.message.map_or(Cell::Null, small),
        answer.map_or(Cell::Null, |(peer, ..)| small(peer)),
        answer.map_or(Cell::Null, |(_, record, _)| Cell::Number(record)),
        Cell::Time(asked.at),
        answer.map_or(Cell::Null, |(.., at)| Cell::Time(at)),
    ]
}
