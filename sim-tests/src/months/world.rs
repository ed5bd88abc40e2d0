//! A modelled group: the real machine of the hubs, and around it machines, forums and a leader that are modelled. Owns
//! how a command is applied and what follows from it on the disks, and the promises that are checked on the way.

use std::collections::{BTreeMap, VecDeque};

use loop_hub::placement::balance::ForumRate;
use loop_proto::{
    ids::{ForumId, PeerId, TaskId},
    v1::{self, command, outcome},
};
use loop_raft_store::machine::{
    self, Event as HubEvent, Forum, HubState, Replica, ReplicaRole, bounds::Bounds,
};
use rand::rngs::StdRng;

use super::{
    agenda::{Agenda, Event, MINUTE, Ms, SECOND},
    chance::generator,
    copying::Copying,
    leader::Leader,
    machines::{DiskCopy, Habit, Machine},
    measure::{Meter, Standing},
    plan_adapter,
    scenarios::Scenario,
    story::{Stories, clock},
};

/// When a run begins, on the clock of the log.
pub const BEGINS_AT: u64 = 1_700_000_000_000;
/// Records the log may hold: small enough for machines to come back to a log that has forgotten them.
const RECORDS_MAX: u64 = 100_000;
/// Ended invitations that are remembered.
const INVITATIONS_KEPT: u64 = 1_000;

/// What is true of a forum besides what hubs know.
pub struct Topic {
    /// The forum.
    pub id: ForumId,
    /// How large its rows are.
    pub bytes: u64,
    /// Written to so much more often than others.
    pub weight: f64,
    /// Acknowledged records that are still in the log.
    pub acknowledged: VecDeque<u64>,
    /// The newest acknowledged record that has left the log.
    pub acknowledged_before: u64,
    /// Nobody has it any more.
    pub lost: bool,
    /// How it was served.
    pub meter: Meter,
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Broken {
    /// When.
    pub at: Ms,
    /// What it is about, if it is about one.
    pub forum: Option<ForumId>,
    /// Which promise.
    pub what: String,
    /// What had happened to the forum.
    pub story: Vec<String>,
}

/// Counts of what happened.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Plans made.
    pub plans: u64,
    /// Steps proposed, by their reason.
    pub steps: BTreeMap<String, u64>,
    /// Steps that were refused.
    pub refused: BTreeMap<String, u64>,
    /// Steps that waited for others, over all plans.
    pub held_back: u64,
    /// Needs nobody could meet, over all plans.
    pub blocked: u64,
    /// Messages acknowledged.
    pub acknowledged: u64,
    /// Machines that found the log's end above theirs and started over.
    pub started_over: u64,
    /// Visits.
    pub visits: u64,
}

/// Everything of a run.
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) now: Ms,
    pub(super) agenda: Agenda,
    pub(super) state: HubState,
    pub(super) machines: Vec<Machine>,
    pub(super) topics: Vec<Topic>,
    pub(super) copying: Copying,
    pub(super) leader: Leader,
    pub(super) rates: BTreeMap<ForumId, ForumRate>,
    pub(super) stories: Stories,
    pub(super) counts: Counts,
    /// Promises that were not kept, the first ones with their stories.
    pub(super) broken: Vec<Broken>,
    pub(super) steady_up: usize,
    pub(super) writers: StdRng,
    pub(super) openers: StdRng,
    pub(super) seed: u64,
    proposals: u64,
    commands_per_forum: u64,
}

/// Parts of a run with a generator of their own.
const WRITERS: u64 = 1;
const OPENERS: u64 = 2;
const MACHINES: u64 = 3;
/// Joining, by habit.
pub(super) const JOINERS: u64 = 4;

/// How long a forum may not be served while somebody who is connected has all of it: takeovers, and the next look.
const NEEDLESS_MAX: Ms = 5 * SECOND;
/// Broken promises that are kept with their stories.
const STORIES_MAX: usize = 8;

impl World {
    /// Nobody has come yet.
    pub fn new(scenario: Scenario, seed: u64) -> Self {
        let bounds = Bounds {
            records_max: RECORDS_MAX,
            invitations_kept: INVITATIONS_KEPT,
            forum_id_first: 1,
            ..Bounds::default()
        };
        Self {
            scenario,
            now: 0,
            agenda: Agenda::default(),
            state: HubState::new(bounds),
            machines: Vec::new(),
            topics: Vec::new(),
            copying: Copying::default(),
            leader: Leader::new(0),
            rates: BTreeMap::new(),
            stories: Stories::default(),
            counts: Counts::default(),
            broken: Vec::new(),
            steady_up: 0,
            writers: generator(seed, WRITERS, 0),
            openers: generator(seed, OPENERS, 0),
            seed,
            proposals: 0,
            commands_per_forum: 0,
        }
    }

    /// Now, on the clock of the log.
    pub(super) fn log_now(&self) -> u64 {
        BEGINS_AT + self.now
    }

    pub(super) fn machine_of(&self, peer: PeerId) -> Option<&Machine> {
        self.machines.get(index(peer))
    }

    pub(super) fn topic_at(forum: ForumId) -> usize {
        forum.get() as usize - 1
    }

    /// Makes a machine known to the hubs. Peers' ids are dense, so a machine's place is its id's.
    pub(super) fn register(&mut self, habit: &Habit, habit_at: usize) -> usize {
        let at = self.machines.len();
        let mut secret_hash = vec![0; 24];
        secret_hash.extend((at as u64 + 1).to_be_bytes());
        let body = command::Body::RegisterPeer(v1::RegisterPeer {
            name: format!("{}-{}", habit.name, at + 1),
            secret_hash: secret_hash.into(),
            // Everybody is somebody else; labels of owners are the plan's own tests' affair.
            owner: String::new(),
            network: String::new(),
        });
        self.apply(body);
        let peer = PeerId::new(at as u32 + 1).expect("machines are counted from 1");
        let rng = generator(self.seed, MACHINES, at as u64);
        self.machines.push(Machine::new(peer, habit.clone(), habit_at, rng));
        at
    }

    /// Has a command committed. Everything that follows from it on connected machines' disks follows at once.
    pub(super) fn apply(&mut self, body: command::Body) -> outcome::Kind {
        self.proposals += 1;
        let mut request_id = vec![0; 8];
        request_id.extend(self.proposals.to_be_bytes());
        let at_ms = self.log_now();
        let command = v1::Command { request_id: request_id.into(), at_ms, body: Some(body) };
        let applied = machine::apply_command(&mut self.state, command);
        let trimmed = applied.events.iter().any(|event| matches!(event, HubEvent::Trimmed { .. }));
        if trimmed {
            self.forget_trimmed();
        }
        applied.outcome.kind.unwrap_or(outcome::Kind::Done(v1::Done {}))
    }

    /// Has a command about a forum committed and says so in its story. Returns whether it was taken.
    pub(super) fn change(&mut self, id: ForumId, body: command::Body, what: &str) -> bool {
        let before: Vec<Replica> =
            self.state.forum(id).map(|forum| forum.replicas.clone()).unwrap_or_default();
        if let outcome::Kind::Rejection(no) = self.apply(body) {
            self.stories.tell(self.now, id, format!("{what}: refused, {:?}", no.code()));
            *self.counts.refused.entry(format!("{:?}", no.code())).or_default() += 1;
            return false;
        }
        self.commands_per_forum += 1;
        let Some(forum) = self.state.forum(id) else { return true };
        let gone: Vec<Replica> =
            before.iter().filter(|replica| forum.replica(replica.peer).is_none()).copied().collect();
        let told = format!("{what} => {}", self.told(id));
        self.stories.tell(self.now, id, told);
        for replica in gone {
            self.taken_away(id, replica);
        }
        self.follow_invitations(id);
        self.recount(id);
        self.leader.may_plan();
        true
    }

    /// The forum's replicas in a line: `p1*` leads, `p2+` is connected, `p3-` is not.
    pub(super) fn told(&self, id: ForumId) -> String {
        let Some(forum) = self.state.forum(id) else { return String::new() };
        let one = |replica: &Replica| {
            let role = match replica.role {
                ReplicaRole::Serving { .. } if !plan_adapter::is_confirmed(forum, replica.peer) => "?",
                ReplicaRole::Serving { .. } => "",
                ReplicaRole::Joining { .. } => " joining",
                ReplicaRole::Draining { .. } => " draining",
            };
            let lead = if forum.primary == replica.peer { "*" } else { "" };
            let up = match self.machine_of(replica.peer) {
                Some(machine) if machine.up && machine.caught_up => "+",
                Some(machine) if machine.up => "~",
                _ => "-",
            };
            format!("{}{lead}{up}{role}", replica.peer)
        };
        forum.replicas.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// A peer is no replica any more: its machine drops the rows, now or once it reads so.
    fn taken_away(&mut self, id: ForumId, replica: Replica) {
        let was_copy = replica.joining().is_none();
        if was_copy {
            self.check_taken(id, replica.peer);
        }
        let drops = !was_copy
            || self.state.forum(id).is_none_or(|forum| plan_adapter::drops_rows(forum, replica.peer));
        let newest = self.state.newest();
        let machine = &mut self.machines[index(replica.peer)];
        let (reads, cursor) = (machine.caught_up, if machine.caught_up { newest } else { machine.cursor });
        match machine.copies.get_mut(&id) {
            // It is not known that anybody else has all of it: what was there stays.
            Some(copy) if !drops => drop(copy.stands_at.get_or_insert(cursor)),
            Some(_) if reads => {
                machine.copies.remove(&id);
                self.check_kept(id);
            }
            Some(_) => drop(machine.to_drop.insert(id)),
            None => {}
        }
    }

    /// No live complete copy is taken away while too few others live.
    fn check_taken(&mut self, id: ForumId, peer: PeerId) {
        let Some(forum) = self.state.forum(id) else { return };
        let was_live = self.is_live(forum, peer);
        let wanted = wanted(forum);
        let others = self.live(forum).filter(|other| plan_adapter::is_confirmed(forum, *other)).count();
        if was_live && others < wanted {
            let what =
                format!("{peer} had a live complete copy and lost it: {others} others, wanted {wanted}");
            self.topics[Self::topic_at(id)].meter.taken += 1;
            self.broke(Some(id), what);
        }
    }

    /// Whether this peer's rows are there, right, up to date, and connected, whatever hubs call them.
    pub(super) fn is_live(&self, forum: &Forum, peer: PeerId) -> bool {
        let Some(machine) = self.machine_of(peer).filter(|machine| machine.up) else { return false };
        let has = machine.has_through(forum.id, self.state.newest());
        let follows = machine.copies.get(&forum.id).is_some_and(|copy| copy.stands_at.is_none());
        follows && has.is_some_and(|through| through + plan_adapter::LAG_MAX >= forum.newest_record)
    }

    /// Serving replicas that are live in truth.
    pub(super) fn live<'a>(&'a self, forum: &'a Forum) -> impl Iterator<Item = PeerId> + 'a {
        forum.serving().filter(|peer| self.is_live(forum, *peer))
    }

    /// Everything acknowledged of a forum is on a machine that was not destroyed, with the log's help.
    pub(super) fn check_kept(&mut self, id: ForumId) {
        let topic = &self.topics[Self::topic_at(id)];
        if topic.lost || topic.acknowledged_before == 0 {
            return;
        }
        let newest = self.state.newest();
        let least = topic.acknowledged_before;
        let has = |machine: &Machine| machine.has_through(id, newest).is_some_and(|through| through >= least);
        if self.machines.iter().any(has) {
            return;
        }
        self.topics[Self::topic_at(id)].lost = true;
        self.broke(Some(id), "lost: what was acknowledged is on no machine any more".into());
    }

    fn forget_trimmed(&mut self) {
        let through = self.state.trimmed_through();
        for at in 0..self.topics.len() {
            let topic = &mut self.topics[at];
            let before = topic.acknowledged_before;
            while topic.acknowledged.front().is_some_and(|record| *record <= through) {
                topic.acknowledged_before = topic.acknowledged.pop_front().unwrap_or(0);
            }
            if topic.acknowledged_before != before {
                let id = topic.id;
                self.check_kept(id);
            }
        }
    }

    /// Counts a promise that was not kept, and keeps the first ones' stories.
    pub(super) fn broke(&mut self, forum: Option<ForumId>, what: String) {
        let mut story = Vec::new();
        if let Some(forum) = forum {
            self.stories.tell(self.now, forum, format!("BROKEN: {what}"));
            if self.broken.len() < STORIES_MAX {
                story = self.stories.of(forum);
            }
        }
        self.broken.push(Broken { at: self.now, forum, what, story });
    }

    /// How a forum stands from now on.
    pub(super) fn recount(&mut self, id: ForumId) {
        let Some(forum) = self.state.forum(id) else { return };
        let live = self.live(forum).count();
        let primary_up = self.machine_of(forum.primary).is_some_and(|machine| machine.up);
        let served = primary_up && live > 0;
        let had = served || self.machines.iter().any(|machine| self.is_live(forum, machine.peer));
        let compared = |peer: PeerId| plan_adapter::is_confirmed(forum, peer);
        let doubtful = !compared(forum.primary) && self.live(forum).any(compared);
        let standing = Standing { served, had, doubtful, live, wanted: wanted(forum) };
        let counts = self.counts_now();
        let now = self.now;
        let needless = self.topics[Self::topic_at(id)].meter.set(now, counts, standing);
        if let Some(length) = needless.filter(|length| *length > NEEDLESS_MAX) {
            let seconds = length as f64 / SECOND as f64;
            self.broke(
                Some(id),
                format!("not served for {seconds} s, and somebody who was connected had it"),
            );
        }
    }

    pub(super) fn counts_now(&self) -> bool {
        self.steady_up > 0
    }

    /// All meters add up to now, before it changes whether a steady peer is up.
    pub(super) fn advance_all(&mut self) {
        let (now, counts) = (self.now, self.counts_now());
        self.topics.iter_mut().for_each(|topic| topic.meter.advance(now, counts));
    }

    /// The forum's rows are on these disks from the start.
    pub(super) fn put_rows(&mut self, id: ForumId, bytes: u64) {
        let peers: Vec<PeerId> =
            self.state.forum(id).map(|forum| forum.serving().collect()).unwrap_or_default();
        for peer in peers {
            let good = self.machines[index(peer)].habit.lie.is_none();
            self.machines[index(peer)].copies.insert(id, DiskCopy { bytes, stands_at: None, good });
        }
    }

    /// Runs until a time. Stops at the first promise that is not kept, unless those are only counted.
    pub fn run_until(&mut self, end: Ms, only_count: bool) {
        while let Some((at, event)) = self.agenda.next_before(end) {
            self.now = at;
            self.counts.events += 1;
            self.step(event);
            if !only_count && !self.broken.is_empty() {
                return;
            }
        }
        self.now = end;
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Join(habit) => self.join(habit),
            Event::Arrive(machine) => self.arrive(machine),
            Event::Leave { machine, visit } => self.leave(machine, visit),
            Event::CaughtUp { machine, visit } => self.caught_up(machine, visit),
            Event::Copy { invitation, turn } => self.copy_step(invitation, turn),
            Event::Write => self.write(),
            Event::Open => self.open_another(),
            Event::Crowd { forum, busy } => self.crowd(forum, busy),
            Event::Look => self.look_if_due(),
            Event::Tick => self.tick(),
            Event::NewLeader => self.new_leader(),
            Event::Deed(at) => self.deed(at),
        }
    }

    /// The state's own rules.
    pub(super) fn check_state(&mut self) {
        if let Err(broken) = self.state.check_invariants() {
            self.broke(None, broken.to_string());
        }
    }

    /// What an open invitation's forum is.
    pub(super) fn forum_of(&self, invitation: TaskId) -> Option<&Forum> {
        self.state.forum(self.state.invitation(invitation)?.forum)
    }

    /// What happened lately to the forum of this number.
    pub fn story(&self, forum: u32) -> Vec<String> {
        ForumId::new(forum).map_or_else(Vec::new, |forum| self.stories.of(forum))
    }

    /// A line for whoever watches.
    pub fn progress(&self) -> String {
        format!(
            "{}: {} forums, {} peers, {} plans, {} broken promises",
            clock(self.now),
            self.topics.len(),
            self.machines.len(),
            self.counts.plans,
            self.broken.len()
        )
    }
}

/// How many replicas a forum shall have.
pub fn wanted(forum: &Forum) -> usize {
    forum.replicas_wanted.map_or(3, |wanted| wanted as usize)
}

/// A peer's machine.
pub fn index(peer: PeerId) -> usize {
    peer.get() as usize - 1
}

/// What a minute has of the time between two looks at nothing.
pub const TICK: Ms = MINUTE / 2;
