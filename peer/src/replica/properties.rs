//! The core against a small, honest model of hubs, log and backend, under arbitrary interleavings.
//!
//! The model commits an answer as the hubs do: from the primary, under the newest epoch, for the oldest open task.
//! Each execution names everything it was built on, so that a commit can be checked to continue the forum's history
//! exactly: that is what "execute once, in order, on the right state" comes to.

use std::collections::VecDeque;

use loop_proto::ids::HubTime;
use proptest::prelude::*;

use super::*;
use crate::backend::Work;

const ME: u32 = 1;

#[derive(Clone, Debug)]
enum Action {
    Append,
    Move { to_me: bool },
    OtherAnswers,
    Feed { records: usize },
    FinishExecution,
    FailExecution,
    Answer { lost: bool },
    Verdict,
    Timers,
    Tick,
    Flush,
    Reconnect { in_flight_survive: bool },
    Crash,
    Poll { records: usize },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => Just(Action::Append),
        1 => any::<bool>().prop_map(|to_me| Action::Move { to_me }),
        3 => Just(Action::OtherAnswers),
        8 => (0..4_usize).prop_map(|records| Action::Feed { records }),
        8 => Just(Action::FinishExecution),
        1 => Just(Action::FailExecution),
        6 => prop::bool::weighted(0.2).prop_map(|lost| Action::Answer { lost }),
        3 => Just(Action::Verdict),
        2 => Just(Action::Timers),
        1 => Just(Action::Tick),
        2 => Just(Action::Flush),
        1 => any::<bool>().prop_map(|in_flight_survive| Action::Reconnect { in_flight_survive }),
        1 => Just(Action::Crash),
        1 => (0..3_usize).prop_map(|records| Action::Poll { records }),
    ]
}

fn forum() -> ForumId {
    ForumId::new(7).unwrap()
}

fn peer(id: u32) -> PeerId {
    PeerId::new(id).unwrap()
}

/// What the hubs agree on.
struct Hubs {
    log: Vec<Entry>,
    assignment: Assignment,
    open: BTreeSet<u64>,
    history: Vec<Bytes>,
}

impl Hubs {
    fn newest(&self) -> u64 {
        self.log.len() as u64
    }

    fn append(&mut self, body: EntryBody) -> u64 {
        let id = self.newest() + 1;
        self.log.push(Entry { id: TaskId::new(id).unwrap(), forum: Some(forum()), body });
        id
    }

    fn commit(&mut self, task: u64, by: u32, epoch: u64, rows: Bytes) -> Result<(), Refusal> {
        if epoch != self.assignment.epoch.0 || by != self.assignment.primary.get() {
            return Err(Refusal::FeedKnows);
        }
        match self.open.first() {
            Some(oldest) if *oldest == task => {}
            Some(oldest) if task > *oldest => return Err(Refusal::SendAgain),
            _ => return Err(Refusal::FeedKnows),
        }
        if by == ME {
            assert_eq!(built_on(&rows), digest(&self.history), "{task} was executed on another history");
        }
        self.open.remove(&task);
        self.history.push(rows.clone());
        let facts = Facts {
            closes: TaskId::new(task),
            peer: Some(peer(by)),
            epoch: ForumEpoch(epoch),
            rows,
            sessions: Vec::new(),
        };
        self.append(EntryBody::Facts(facts));
        Ok(())
    }
}

fn digest(history: &[Bytes]) -> u64 {
    let bytes = history.iter().flat_map(|rows| rows.iter());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn built_on(rows: &Bytes) -> u64 {
    u64::from_be_bytes(rows[..8].try_into().unwrap())
}

struct World {
    hubs: Hubs,
    replica: Replica,
    applied: Vec<Bytes>,
    pending: Vec<(u64, Bytes)>,
    cursor: u64,
    durable: (u64, usize),
    executing: VecDeque<(TaskId, ForumEpoch)>,
    answers: VecDeque<v1::Answer>,
    verdicts: VecDeque<(u64, Refusal)>,
    timers: VecDeque<Input>,
    nonce: u64,
    fed: u64,
    connected: bool,
}

impl World {
    fn new() -> Self {
        let assignment =
            Assignment { epoch: ForumEpoch(1), primary: peer(ME), replicas: vec![peer(ME), peer(2)] };
        let hubs = Hubs { log: vec![], assignment, open: BTreeSet::new(), history: vec![] };
        let mut world = Self {
            hubs,
            replica: Replica::new(peer(ME), 0),
            applied: vec![],
            pending: vec![],
            cursor: 0,
            durable: (0, 0),
            executing: VecDeque::new(),
            answers: VecDeque::new(),
            verdicts: VecDeque::new(),
            timers: VecDeque::new(),
            nonce: 0,
            fed: 0,
            connected: false,
        };
        world.reconnect();
        // The forum is opened while we are connected: we learn of it from the feed.
        world.hubs.append(EntryBody::Assignment(world.hubs.assignment.clone()));
        world
    }

    fn step(&mut self, input: Input) {
        let repeats = matches!(input, Input::ResendDue(_) | Input::Tick);
        let mut sends = Vec::new();
        for output in self.replica.step(input).unwrap() {
            match output {
                Output::Apply { records, through } => {
                    assert!(through > self.cursor);
                    for record in records {
                        assert!(record.id.get() > self.cursor, "applied twice");
                        self.pending.retain(|(task, _)| Some(*task) != record.closes.map(TaskId::get));
                        self.applied.push(record.facts);
                    }
                    self.cursor = through;
                }
                Output::Forget(_) => {
                    assert!(self.executing.is_empty(), "forgot under a running execution");
                    self.pending.clear();
                }
                Output::Execute { task, epoch, .. } => {
                    assert!(self.connected && self.executing.is_empty());
                    self.check_execution(task.get(), epoch);
                    self.executing.push_back((task, epoch));
                }
                Output::Send(answer) => {
                    sends.push(answer.task_id);
                    self.answers.push_back(*answer);
                }
                Output::RetryLater { forum, .. } => self.timers.push_back(Input::RetryDue(forum)),
                Output::ResendLater { forum, .. } => self.timers.push_back(Input::ResendDue(forum)),
            }
        }
        if repeats && !sends.is_empty() {
            let all: Vec<u64> =
                self.replica.unconfirmed(forum()).iter().map(|(task, _)| task.get()).collect();
            assert_eq!(sends, all, "a repetition is complete and in order");
        }
    }

    /// By the log as far as it was fed: we are primary under the newest epoch, and it is the oldest unexecuted task.
    fn check_execution(&self, task: u64, epoch: ForumEpoch) {
        let mut open = BTreeSet::new();
        let mut newest = None;
        for entry in &self.hubs.log[..self.replica.fed as usize] {
            match &entry.body {
                EntryBody::Task(_) => {
                    open.insert(entry.id.get());
                }
                EntryBody::Facts(facts) => {
                    open.remove(&facts.closes.unwrap().get());
                }
                EntryBody::Assignment(assignment) => newest = Some(assignment),
            }
        }
        assert_eq!(newest.map(|known| (known.epoch, known.primary)), Some((epoch, peer(ME))));
        let executed: BTreeSet<u64> = self.pending.iter().map(|(task, _)| *task).collect();
        assert_eq!(open.difference(&executed).next(), Some(&task));
        assert!(executed.last().is_none_or(|last| *last < task));
    }

    fn feed(&mut self, records: usize) {
        let end = (self.fed as usize + records).min(self.hubs.log.len());
        let entries = self.hubs.log[self.fed as usize..end].to_vec();
        self.fed = end as u64;
        self.step(Input::Records { entries, through: end as u64 });
    }

    fn finish_execution(&mut self) {
        let Some((task, epoch)) = self.executing.pop_front() else { return };
        self.nonce += 1;
        let base: Vec<_> =
            self.applied.iter().cloned().chain(self.pending.iter().map(|(_, rows)| rows.clone())).collect();
        let mut rows = digest(&base).to_be_bytes().to_vec();
        rows.extend(task.get().to_be_bytes());
        rows.extend(self.nonce.to_be_bytes());
        let rows = Bytes::from(rows);
        self.pending.push((task.get(), rows.clone()));
        let answer = v1::Answer {
            task_id: task.get(),
            forum_id: forum().get(),
            epoch: epoch.0,
            forum_facts: rows,
            ..Default::default()
        };
        self.step(Input::Executed(Box::new(answer)));
    }

    fn deliver_answer(&mut self, lost: bool) {
        let Some(answer) = self.answers.pop_front() else { return };
        if lost {
            return;
        }
        if let Err(refusal) = self.hubs.commit(answer.task_id, ME, answer.epoch, answer.forum_facts) {
            self.verdicts.push_back((answer.task_id, refusal));
        }
    }

    fn reconnect(&mut self) {
        self.step(Input::Disconnected);
        self.verdicts.clear();
        self.connected = true;
        self.fed = self.durable.0;
        self.step(Input::Connected { cursor: self.fed });
        if self.hubs.log.is_empty() {
            return;
        }
        let open = self.hubs.open.range(..=self.fed).map(|id| {
            let EntryBody::Task(task) = &self.hubs.log[*id as usize - 1].body else { unreachable!() };
            (TaskId::new(*id).unwrap(), task.clone())
        });
        let snapshot = ForumSnapshot {
            forum: forum(),
            assignment: self.hubs.assignment.clone(),
            as_of: self.hubs.newest(),
            open: open.collect(),
        };
        self.step(Input::Forum(snapshot));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Append => {
                let work = Work {
                    forum: Some(forum()),
                    request: v1::ClientRequest::default(),
                    session: None,
                    message_id: None,
                    now: HubTime(0),
                };
                let task = OpenTask { work: Arc::new(work), origin: None, size: 1 };
                let id = self.hubs.append(EntryBody::Task(task));
                self.hubs.open.insert(id);
            }
            Action::Move { to_me } => {
                self.hubs.assignment.epoch.0 += 1;
                self.hubs.assignment.primary = peer(if to_me { ME } else { 2 });
                self.hubs.append(EntryBody::Assignment(self.hubs.assignment.clone()));
            }
            Action::OtherAnswers => {
                self.nonce += 1;
                let rows = Bytes::from(vec![self.nonce as u8; 24]);
                if let Some(task) = self.hubs.open.first().copied() {
                    let _ = self.hubs.commit(task, 2, self.hubs.assignment.epoch.0, rows);
                }
            }
            Action::Feed { records } if self.connected => self.feed(records),
            Action::FinishExecution => self.finish_execution(),
            Action::FailExecution => {
                if self.executing.pop_front().is_some() {
                    self.step(Input::NotExecuted { forum: forum() });
                }
            }
            Action::Answer { lost } if self.connected => self.deliver_answer(lost),
            Action::Verdict => {
                if let Some((task, refusal)) = self.verdicts.pop_front() {
                    let task = TaskId::new(task).unwrap();
                    self.step(Input::Refused { forum: forum(), task, refusal });
                }
            }
            Action::Timers => {
                for input in std::mem::take(&mut self.timers) {
                    self.step(input);
                }
            }
            Action::Tick => self.step(Input::Tick),
            Action::Flush => self.durable = (self.cursor, self.applied.len()),
            Action::Reconnect { in_flight_survive } => {
                if !in_flight_survive {
                    self.answers.clear();
                }
                self.reconnect();
            }
            Action::Crash => {
                self.answers.clear();
                self.replica = Replica::new(peer(ME), self.durable.0);
                self.cursor = self.durable.0;
                self.applied.truncate(self.durable.1);
                self.pending.clear();
                self.executing.clear();
                self.timers.clear();
                self.reconnect();
            }
            Action::Poll { records } => {
                self.step(Input::Disconnected);
                self.connected = false;
                self.answers.clear();
                self.fed = self.durable.0;
                self.step(Input::Polling { cursor: self.fed });
                self.feed(records);
            }
            Action::Feed { .. } | Action::Answer { .. } => {}
        }
    }

    /// Faults stop: everything open must be answered and this copy become the log's.
    fn settle(&mut self) {
        if !self.connected {
            self.reconnect();
        }
        self.act(Action::Move { to_me: true });
        for _ in 0..2_000 {
            if self.hubs.open.is_empty() && self.cursor == self.hubs.newest() && self.executing.is_empty() {
                break;
            }
            for action in [
                Action::Feed { records: 3 },
                Action::FinishExecution,
                Action::Answer { lost: false },
                Action::Verdict,
                Action::Timers,
                Action::Tick,
            ] {
                self.act(action);
            }
        }
        assert!(self.hubs.open.is_empty(), "open tasks stay: {:?}", self.hubs.open);
        assert_eq!(self.applied, self.hubs.history);
        assert_eq!(self.replica.unconfirmed(forum()), []);
        assert_eq!(self.pending, []);
        assert!(self.replica.kept.is_empty() && self.replica.running.is_empty());
        assert_eq!((self.replica.unconfirmed, self.replica.open_count, self.replica.open_bytes), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_task_is_answered_once_on_the_right_state(
        actions in prop::collection::vec(action(), 0..200)
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        world.settle();
    }
}
