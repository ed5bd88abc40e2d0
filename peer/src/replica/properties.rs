//! The core against a small, honest model of hubs, log and backend, under arbitrary interleavings.
//!
//! The model commits an answer as the hubs do: from the primary, under the newest epoch, for the oldest open task.
//! Each execution names everything it was built on, so that a commit can be checked to continue the forum's history
//! exactly: that is what "execute once, in order, on the right state" comes to. This peer is invited, seeded, cut
//! over, drained, removed and invited again meanwhile, so a copy that misses anything is found out by its answers.

mod disk;
mod hubs;

use std::collections::VecDeque;

use loop_proto::ids::HubTime;
use proptest::prelude::*;

use super::*;
use crate::backend::{AppliedRecord, Given, Work};
use disk::Disk;
use hubs::{Hubs, digest};

const ME: u32 = 1;

#[derive(Clone, Debug)]
enum Action {
    Append,
    Move {
        to_me: bool,
    },
    OtherAnswers,
    Feed {
        records: usize,
    },
    FinishExecution,
    FailExecution,
    Answer {
        lost: bool,
    },
    Verdict,
    Timers,
    Tick,
    Flush,
    Reconnect {
        in_flight_survive: bool,
        lag: u64,
    },
    Crash,
    Poll {
        records: usize,
    },
    /// The next step of this peer's way in, or its first.
    Join {
        to_me: bool,
    },
    Install {
        back: u64,
    },
    ReportInstalled,
    /// Its way in is given up; or it is to serve no more; or it is removed.
    Leave,
    LosePlace,
    Audit,
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
        1 => (any::<bool>(), prop_oneof![3 => Just(0), 1 => 0..4_u64])
            .prop_map(|(in_flight_survive, lag)| Action::Reconnect { in_flight_survive, lag }),
        1 => Just(Action::Crash),
        1 => (0..3_usize).prop_map(|records| Action::Poll { records }),
        6 => any::<bool>().prop_map(|to_me| Action::Join { to_me }),
        3 => (0..5_u64).prop_map(|back| Action::Install { back }),
        3 => Just(Action::ReportInstalled),
        1 => Just(Action::Leave),
        1 => Just(Action::LosePlace),
        1 => Just(Action::Audit),
    ]
}

fn forum() -> ForumId {
    ForumId::new(7).unwrap()
}

fn peer(id: u32) -> PeerId {
    PeerId::new(id).unwrap()
}

struct World {
    hubs: Hubs,
    replica: Replica,
    disk: Disk,
    durable: Disk,
    pending: Vec<(u64, Bytes)>,
    executing: VecDeque<(TaskId, ForumEpoch)>,
    answers: VecDeque<v1::Answer>,
    verdicts: VecDeque<(u64, Refusal)>,
    timers: VecDeque<Input>,
    /// What the peer has told the hubs of its way in.
    accepted: Option<TaskId>,
    refused: Option<TaskId>,
    seeded: Option<TaskId>,
    wants: Option<TaskId>,
    reports: VecDeque<Input>,
    nonce: u64,
    fed: u64,
    /// What the hub knew when this connection began.
    greeted_at: u64,
    connected: bool,
    has_answered: bool,
}

impl World {
    fn new() -> Self {
        let assignment = Assignment {
            epoch: ForumEpoch(1),
            primary: peer(ME),
            replicas: vec![peer(ME), peer(2)],
            joining: vec![],
            draining: vec![],
            unconfirmed: vec![],
        };
        let hubs = Hubs { log: vec![], assignment, open: BTreeSet::new(), history: vec![] };
        let mut world = Self {
            hubs,
            replica: Replica::new(peer(ME), 0, []),
            disk: Disk::default(),
            durable: Disk::default(),
            pending: vec![],
            executing: VecDeque::new(),
            answers: VecDeque::new(),
            verdicts: VecDeque::new(),
            timers: VecDeque::new(),
            accepted: None,
            refused: None,
            seeded: None,
            wants: None,
            reports: VecDeque::new(),
            nonce: 0,
            fed: 0,
            greeted_at: 0,
            connected: false,
            has_answered: false,
        };
        world.reconnect(0);
        // The forum is opened while we are connected: we learn of it from the feed.
        world.hubs.assign();
        world
    }

    fn step(&mut self, input: Input) {
        let repeats = matches!(input, Input::ResendDue(_) | Input::Tick);
        let mut sends = Vec::new();
        for output in self.replica.step(input).unwrap() {
            match output {
                Output::Apply { records, through } => {
                    assert!(through > self.disk.cursor);
                    for record in records {
                        assert!(record.id.get() > self.disk.cursor, "applied twice");
                        self.pending.retain(|(task, _)| Some(*task) != record.closes.map(TaskId::get));
                        self.disk.apply(record);
                    }
                    self.disk.cursor = through;
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
                    self.has_answered = true;
                    sends.push(answer.task_id);
                    self.answers.push_back(*answer);
                }
                Output::RetryLater { forum, .. } => self.timers.push_back(Input::RetryDue(forum)),
                Output::ResendLater { forum, .. } => self.timers.push_back(Input::ResendDue(forum)),
                other => self.joining_step(other),
            }
        }
        if repeats && !sends.is_empty() {
            let all: Vec<u64> =
                self.replica.unconfirmed(forum()).iter().map(|(task, _)| task.get()).collect();
            assert_eq!(sends, all, "a repetition is complete and in order");
        }
    }

    fn joining_step(&mut self, output: Output) {
        match output {
            Output::BeginJoining { invitation, .. } => {
                if self.disk.joining.is_none_or(|(known, _)| known != invitation) {
                    self.disk.staged.clear();
                    self.disk.joining = Some((invitation, None));
                }
                self.wants = None;
            }
            Output::EndJoining(_) => {
                assert!(matches!(self.disk.joining, Some((_, Some(_)))), "serves without a checkpoint");
                self.disk.joining = None;
            }
            Output::Drop(_) | Output::DropEmpty(_) => {
                let since = self.disk.cursor..=self.hubs.newest();
                assert!(since.clone().any(|at| self.hubs.role_at(at).is_none()), "dropped what is held");
                self.disk = Disk { cursor: self.disk.cursor, ..Disk::default() };
                self.wants = None;
            }
            Output::Keep(_) => panic!("somebody else always has a copy that counts here"),
            Output::Invited { invitation, .. } => self.accepted = Some(invitation),
            Output::Refuse { invitation, .. } => self.refused = Some(invitation),
            Output::Seed { invitation, .. } => {
                assert_eq!(self.disk.joining.map(|(known, _)| known), Some(invitation));
                self.wants = Some(invitation);
            }
            Output::Seeded { invitation, .. } => self.seeded = Some(invitation),
            Output::Audit { record, .. } => {
                let expected = self.hubs.rows_through(record.get());
                assert_eq!(digest(&self.disk.rows), digest(&expected), "another digest at {record}");
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// By the log as far as it was fed: we are primary under the newest epoch, and it is the oldest unexecuted task.
    fn check_execution(&self, task: u64, epoch: ForumEpoch) {
        let known = self.hubs.assignment_at(self.replica.fed);
        assert_eq!(known.map(|known| (known.epoch, known.primary)), Some((epoch, peer(ME))));
        assert!(self.disk.joining.is_none(), "executed on a copy that is on its way");
        let open = self.hubs.open_at(self.replica.fed);
        let executed: BTreeSet<u64> = self.pending.iter().map(|(task, _)| *task).collect();
        assert_eq!(open.difference(&executed).next(), Some(&task));
        assert!(executed.last().is_none_or(|last| *last < task));
    }

    /// A hub feeds all there is of a forum that was this peer's when it connected; later, what happens while it is,
    /// the end included. After an invitation it describes what was open before it.
    fn feed(&mut self, records: usize) {
        let end = (self.fed as usize + records).min(self.hubs.log.len());
        let at_connect = self.hubs.role_at(self.greeted_at).is_some();
        let held = |id: u64| {
            let live = id > self.greeted_at;
            let holds = self.hubs.role_at(id - 1).is_some() || self.hubs.role_at(id).is_some();
            if live { holds } else { at_connect }
        };
        let from = self.fed as usize;
        let entries: Vec<Entry> =
            self.hubs.log[from..end].iter().filter(|entry| held(entry.id.get())).cloned().collect();
        let invitation = entries.iter().rev().find_map(|entry| match &entry.body {
            EntryBody::Assignment(assignment) => match assignment.role_of(peer(ME)) {
                Some(Role::Joining(joining)) if joining.invitation == entry.id => Some(entry.id.get()),
                _ => None,
            },
            _ => None,
        });
        self.fed = end as u64;
        self.step(Input::Records { entries, through: end as u64 });
        let described = invitation.and_then(|id| self.hubs.describe(self.hubs.newest(), id));
        if let Some(snapshot) = described.filter(|_| self.connected) {
            self.step(Input::Forum(snapshot));
        }
    }

    fn finish_execution(&mut self) {
        let Some((task, epoch)) = self.executing.pop_front() else { return };
        self.nonce += 1;
        let pending = self.pending.iter().map(|(_, rows)| rows.clone());
        let base: Vec<_> = self.disk.rows.iter().cloned().chain(pending).collect();
        let mut rows = digest(&base).to_be_bytes().to_vec();
        rows.extend(task.get().to_be_bytes());
        rows.extend(self.nonce.to_be_bytes());
        let rows = Bytes::from(rows);
        self.pending.push((task.get(), rows.clone()));
        let answer = v1::Answer {
            task_id: task.get(),
            forum_id: forum().get(),
            epoch: epoch.0,
            facts: rows,
            ..Default::default()
        };
        self.step(Input::Executed(Box::new(answer)));
    }

    fn deliver_answer(&mut self, lost: bool) {
        let Some(answer) = self.answers.pop_front() else { return };
        if lost {
            return;
        }
        if let Err(refusal) = self.hubs.commit(answer.task_id, ME, answer.epoch, answer.facts) {
            self.verdicts.push_back((answer.task_id, refusal));
        }
    }

    /// To a hub that knows all but the last `lag` records.
    fn reconnect(&mut self, lag: u64) {
        self.step(Input::Disconnected);
        self.verdicts.clear();
        (self.accepted, self.refused, self.seeded) = (None, None, None);
        self.connected = true;
        self.fed = self.durable.cursor;
        // A process that has answered nothing is given its open tasks under an epoch that is committed for it first.
        let lag = if self.has_answered { lag } else { 0 };
        let newest = self.hubs.newest().saturating_sub(lag);
        // A hub never greets a peer that is ahead of it with a state older than what that peer was told to keep.
        let newest = newest.max(self.fed.min(self.hubs.newest()));
        self.greeted_at = newest;
        self.step(Input::Connected { cursor: self.fed, newest });
        match self.hubs.describe(newest, self.fed) {
            Some(snapshot) => {
                let epoch = snapshot.assignment.epoch;
                if self.replica.kept.get(&forum()).is_some_and(|(answered, _)| *answered > epoch) {
                    let refused = self.replica.step(Input::Forum(snapshot)).unwrap_err();
                    assert!(lag > 0 && matches!(refused, Violation::Lags { .. }));
                    return self.reconnect(0);
                }
                self.step(Input::Forum(snapshot));
            }
            // Nothing of the forum comes before it is this peer's again.
            None => {
                self.fed = newest;
                self.step(Input::Records { entries: vec![], through: newest });
            }
        }
    }

    fn join(&mut self, to_me: bool) {
        let replicas = &mut self.hubs.assignment;
        match replicas.role_of(peer(ME)) {
            None => return self.hubs.invite(),
            Some(Role::Joining(joining)) => {
                let stage = &mut replicas.joining[0].1.stage;
                match stage {
                    _ if self.refused == Some(joining.invitation) => replicas.joining.clear(),
                    Stage::Invited if self.accepted == Some(joining.invitation) => *stage = Stage::Seeding,
                    Stage::Seeding if self.seeded == Some(joining.invitation) => *stage = Stage::CatchingUp,
                    Stage::CatchingUp => {
                        replicas.joining.clear();
                        replicas.replicas.push(peer(ME));
                        if to_me {
                            self.hubs.move_primary(ME);
                        }
                    }
                    _ => return,
                }
            }
            Some(_) => return,
        }
        self.hubs.assign();
    }

    /// A checkpoint at up to `back` records before the newest becomes the forum's rows.
    fn install(&mut self, back: u64) {
        let Some(invitation) = self.wants else { return };
        if self.disk.joining != Some((invitation, None)) {
            return;
        }
        let cursor = self.hubs.newest().saturating_sub(back).max(invitation.get());
        self.disk.rows = self.hubs.rows_through(cursor);
        let later = std::mem::take(&mut self.disk.staged).into_iter().filter(|(id, _)| *id > cursor);
        self.disk.rows.extend(later.map(|(_, rows)| rows));
        self.disk.joining = Some((invitation, Some(cursor)));
        self.durable = self.disk.clone();
        self.reports.push_back(Input::Installed { forum: forum(), invitation, cursor });
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Append => {
                let work = Work {
                    forum: forum(),
                    request: Some(v1::ClientRequest::default()),
                    session: None,
                    given: Given::default(),
                    now: HubTime(0),
                };
                let task = OpenTask { work: Arc::new(work), size: 1 };
                let id = self.hubs.append(EntryBody::Task(task));
                self.hubs.open.insert(id);
            }
            Action::Move { to_me } => {
                let may = self.hubs.role().is_some_and(|role| role.serves() || role == Role::Draining);
                self.hubs.move_primary(if to_me && may { ME } else { 2 });
                self.hubs.assign();
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
            Action::Flush => self.durable = self.disk.clone(),
            Action::Join { to_me } => self.join(to_me),
            Action::Install { back } => self.install(back),
            Action::ReportInstalled => {
                if let Some(report) = self.reports.pop_front() {
                    self.step(report);
                }
            }
            Action::Audit => {
                self.hubs.append(EntryBody::Audit);
            }
            Action::Leave | Action::LosePlace => self.leave(matches!(action, Action::LosePlace)),
            other => self.break_off(other),
        }
    }

    fn leave(&mut self, loses_place: bool) {
        match self.hubs.role() {
            Some(role) if role.serves() => {
                self.hubs.stop_serving();
                if loses_place {
                    return self.hubs.invite();
                }
                self.hubs.assignment.draining = vec![peer(ME)];
            }
            Some(Role::Joining(_)) => self.hubs.assignment.joining.clear(),
            Some(_) => self.hubs.assignment.draining.clear(),
            None => return,
        }
        self.hubs.assign();
    }

    fn break_off(&mut self, action: Action) {
        match action {
            Action::Reconnect { in_flight_survive, lag } => {
                if !in_flight_survive {
                    self.answers.clear();
                }
                self.reconnect(lag);
            }
            Action::Crash => {
                self.answers.clear();
                self.disk = self.durable.clone();
                self.replica = Replica::new(peer(ME), self.disk.cursor, self.disk.copies());
                self.pending.clear();
                self.executing.clear();
                self.timers.clear();
                self.reports.clear();
                self.wants = None;
                self.has_answered = false;
                self.reconnect(0);
            }
            Action::Poll { records } => {
                self.step(Input::Disconnected);
                self.connected = false;
                self.answers.clear();
                self.fed = self.durable.cursor;
                self.greeted_at = self.hubs.newest();
                self.step(Input::Polling { cursor: self.fed });
                if self.hubs.role().is_some() {
                    self.feed(records);
                }
            }
            _ => {}
        }
    }

    /// Faults stop: this peer becomes primary, everything open must be answered, and its copy become the log's.
    fn settle(&mut self) {
        if !self.connected {
            self.reconnect(0);
        }
        for _ in 0..4_000 {
            let done = self.hubs.role() == Some(Role::Primary)
                && self.hubs.open.is_empty()
                && self.disk.cursor == self.hubs.newest()
                && self.fed == self.hubs.newest();
            if done && self.executing.is_empty() && self.disk.joining.is_none() {
                break;
            }
            if matches!(self.hubs.role(), Some(Role::Serving | Role::Draining)) {
                self.act(Action::Move { to_me: true });
            }
            for action in [
                Action::Feed { records: 3 },
                Action::FinishExecution,
                Action::Answer { lost: false },
                Action::Verdict,
                Action::Timers,
                Action::Tick,
                Action::Join { to_me: true },
                Action::Install { back: 1 },
                Action::ReportInstalled,
            ] {
                self.act(action);
            }
        }
        assert!(self.hubs.open.is_empty(), "open tasks stay: {:?}", self.hubs.open);
        assert_eq!(self.disk.rows, self.hubs.rows_through(u64::MAX));
        assert_eq!((self.disk.joining, self.disk.staged.len()), (None, 0));
        assert_eq!(self.replica.unconfirmed(forum()), []);
        assert_eq!(self.pending, []);
        assert!(self.replica.kept.is_empty() && self.replica.running.is_empty());
        assert_eq!((self.replica.unconfirmed, self.replica.open_count, self.replica.open_bytes), (0, 0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

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
