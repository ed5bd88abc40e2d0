//! The sole writer of [`HubState`]. Owns what each change does to the state and its indexes. Cannot fail, and decides
//! nothing: what reaches it has been decided.

use std::sync::Arc;

use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumId, HubTime, MessageId, PeerId, RequestId},
};

use super::{
    content::ContentFile,
    event::Event,
    forum::Forum,
    invitations::Invitation,
    open_messages::Step,
    peers::{Peer, PeerState},
    receipts::{Made, SeenAnswer},
    record::{Assignment, FactsBody, Record, RecordBody, TaskBody},
    replica::Replica,
    sessions::{Session, SessionId},
    state::HubState,
};

/// One decided change.
pub(super) enum Change {
    /// A record joins the log; it says itself what follows from it.
    RecordAppended(Arc<Record>),
    /// A record joins the log and closes its task; `proposal` brought the answer.
    TaskAnswered { proposal: RequestId, record: Arc<Record> },
    /// An assignment record joins the log, and the set of replicas it shows becomes the forum's.
    Reassigned { record: Arc<Record>, replicas: Vec<Replica> },
    /// A new invitation, or what has become of one.
    InvitationStored(Invitation),
    /// How many replicas a forum shall have.
    ReplicasWanted { forum: ForumId, wanted: Option<u32> },
    /// What a peer may hold.
    PeerStateSet { peer: PeerId, state: PeerState },
    /// Whether a peer is connected.
    PresenceNoted { peer: PeerId, connected: bool },
    /// A peer has said what cannot follow from its task.
    PeerBreached { peer: PeerId, rule: u32 },
    /// One of a peer's copies was not what the others are.
    PeerDoubted { peer: PeerId },
    /// Records up to here may be trimmed for the budget alone.
    KeptThrough(u64),
    /// A new forum; its assignment record follows.
    ForumOpened(Forum),
    /// A record joins the directory by which a forum is gone.
    ForumClosed(Arc<Record>, ForumId),
    /// A new peer, or new labels of a known one.
    PeerRegistered(Peer),
    /// A user's record joins the log, and its id is given out.
    UserMade { user: u32, record: Arc<Record> },
    /// A session is new, has changed, or begins its age anew.
    SessionStored(SessionId, Session),
    /// What facts of a forum made of the unfinished messages.
    MessageStepped { forum: ForumId, step: Step },
    /// A hub's proposal is remembered for its retries.
    ProposalMade { proposal: RequestId, made: Made },
    /// A file joins the manifest, or takes the place of the one of its path.
    ContentPublished { path: String, file: ContentFile },
    /// A path leaves the manifest.
    ContentRemoved { path: String },
    /// Records up to and including `through` leave the log.
    Trimmed { through: u64 },
}

/// What time and bounds made due.
pub(super) struct Upkeep {
    /// The new trim point.
    pub trim_through: Option<u64>,
    /// How many sessions lapse.
    pub sessions: usize,
    /// How many answered requests are forgotten.
    pub receipts: usize,
    /// How many proposals are forgotten.
    pub proposals: usize,
    /// The unfinished messages that go, and the records that remove them.
    pub messages: Vec<(MessageId, Arc<Record>)>,
}

/// Longest step of the log's time that counts as time that has passed. More is a group without requests, where nothing is
/// lost by remembering for longer, or a leader's wrong clock.
const STEP_MAX_MS: u64 = 60_000;

/// Moves the log's time forward; it never falls, whatever clock a new leader has.
pub(super) fn advance_time(state: &mut HubState, at: HubTime) {
    let step_ms = at.0.saturating_sub(state.now.0);
    state.skipped_ms = state.skipped_ms.saturating_add(step_ms.saturating_sub(STEP_MAX_MS));
    state.now = if breakage::is_on(Breakage::TimeFalls) { at } else { state.now.max(at) };
}

/// Makes one change and says what happened.
pub(super) fn evolve(state: &mut HubState, change: Change, events: &mut Vec<Event>) {
    match change {
        Change::RecordAppended(record) => append(state, record, None, events),
        Change::TaskAnswered { proposal, record } => append(state, record, Some(proposal), events),
        Change::Reassigned { record, replicas } => reassign(state, record, replicas, events),
        Change::InvitationStored(invitation) => {
            let id = invitation.id;
            let forgotten = state.invitations.store(invitation, state.bounds.invitations_kept);
            let changed = std::iter::once(id).chain(forgotten);
            events.extend(changed.map(Event::InvitationChanged));
        }
        Change::ReplicasWanted { forum, wanted } => {
            if let Some(forum) = state.forums.get_mut(forum) {
                forum.replicas_wanted = wanted;
            }
        }
        Change::PeerStateSet { peer, state: to } => {
            state.peers.set_state(peer, to);
            events.push(Event::PeerStateChanged(peer));
        }
        Change::PresenceNoted { peer, connected } => {
            let now = state.steady();
            state.peers.note_presence(peer, connected, now);
        }
        Change::PeerBreached { peer, rule } => {
            let now = state.steady();
            state.peers.breached(peer, rule, now);
            events.push(Event::PeerStateChanged(peer));
        }
        Change::PeerDoubted { peer } => {
            let now = state.steady();
            state.peers.doubt(peer, now);
        }
        Change::KeptThrough(through) => state.kept_through = through,
        Change::ForumOpened(forum) => {
            events.push(Event::ForumOpened(forum.id));
            state.forums.push(forum);
        }
        Change::ForumClosed(record, forum) => close(state, record, forum, events),
        Change::PeerRegistered(peer) => {
            events.push(Event::PeerRegistered(peer.id));
            state.peers.store(peer);
        }
        Change::UserMade { user, record } => {
            state.next_user = u64::from(user) + 1;
            append(state, record, None, events);
        }
        Change::SessionStored(id, session) => state.sessions.store(id, session, &state.bounds),
        Change::MessageStepped { forum, step } => {
            let now = state.steady();
            if let Some(was_open) = state.open_messages.step(forum, &step) {
                state.forums.change(forum, now, |forum| forum.occupancy.follow(&step, was_open));
            }
        }
        Change::ProposalMade { proposal, made } => state.receipts.remember(state.steady(), proposal, made),
        Change::ContentPublished { path, file } => state.manifest.put(path, file),
        Change::ContentRemoved { path } => state.manifest.remove(&path),
        Change::Trimmed { through } => trim(state, through, events),
    }
}

/// Lets go of what has lapsed or is above the bounds.
pub(super) fn upkeep(state: &mut HubState, upkeep: Upkeep, events: &mut Vec<Event>) {
    if let Some(through) = upkeep.trim_through {
        trim(state, through, events);
    }
    state.sessions.forget(upkeep.sessions);
    state.receipts.forget_answered(upkeep.receipts);
    state.receipts.forget_proposals(upkeep.proposals);
    for (message, record) in upkeep.messages {
        let now = state.steady();
        if let Some(forum) = state.open_messages.lapse(message, now, &state.bounds) {
            let removed = Step::Removed(message);
            state.forums.change(forum, now, |forum| forum.occupancy.follow(&removed, true));
        }
        append(state, record, None, events);
    }
}

fn trim(state: &mut HubState, through: u64, events: &mut Vec<Event>) {
    state.tasks.trim(through);
    events.push(Event::Trimmed { through });
}

fn reassign(state: &mut HubState, record: Arc<Record>, replicas: Vec<Replica>, events: &mut Vec<Event>) {
    let forum = record.forum;
    append(state, record, None, events);
    let Some(forum) = forum.and_then(|id| state.forum(id)) else { return };
    if forum.replicas != replicas {
        let forum = forum.id;
        let left = state.forums.set_replicas(forum, replicas);
        events.push(Event::ReplicasChanged { forum, left });
    }
}

/// Whoever waits for one of the tasks that are dropped is told of them what is told of a task that is never answered.
fn close(state: &mut HubState, record: Arc<Record>, id: ForumId, events: &mut Vec<Event>) {
    append(state, record, None, events);
    let Some(forum) = state.forums.remove(id) else { return };
    for task in &forum.open_tasks {
        let Some(record) = state.tasks.close(*task) else { continue };
        let Some(task) = record.task() else { continue };
        state.receipts.withdraw(task.request_id);
        if let Some(message) = task.open_message {
            state.open_messages.end_waiting(message);
        }
    }
    if forum.occupancy.unfinished > 0 {
        let now = state.steady();
        state.open_messages.lapse_all_of(id, now, &state.bounds);
    }
    events.push(Event::ForumClosed(id));
}

fn append(state: &mut HubState, record: Arc<Record>, proposal: Option<RequestId>, events: &mut Vec<Event>) {
    state.tasks.push(record.clone());
    match record.forum {
        Some(forum) => {
            let now = state.steady();
            state.forums.change(forum, now, |forum| append_to(forum, &record));
        }
        None => state.directory_newest = record.id.get(),
    }
    events.push(Event::RecordAppended(record.clone()));
    match &record.body {
        RecordBody::Task(task) => task_appended(state, &record, task),
        RecordBody::Facts(facts) => facts_appended(state, &record, facts, proposal),
        RecordBody::Assignment(_) | RecordBody::Audit | RecordBody::Closed { .. } => {}
    }
}

fn append_to(forum: &mut Forum, record: &Record) {
    forum.newest_record = record.id.get();
    match &record.body {
        RecordBody::Task(_) => {
            forum.open_tasks.insert(record.id);
            forum.tasks_appended += 1;
        }
        RecordBody::Facts(FactsBody { task: Some(task), .. }) => {
            forum.open_tasks.remove(task);
        }
        RecordBody::Facts(_) | RecordBody::Audit | RecordBody::Closed { .. } => {}
        RecordBody::Assignment(assignment) => assign(forum, assignment),
    }
}

/// The set of replicas follows in [`reassign`]; a new forum came with it.
fn assign(forum: &mut Forum, assignment: &Assignment) {
    forum.epoch = assignment.epoch;
    forum.primary = assignment.primary;
}

fn task_appended(state: &mut HubState, record: &Record, task: &TaskBody) {
    if let Some(message) = task.message_id {
        state.next_message = u64::from(message.get()) + 1;
    }
    if let Some(forum) = record.forum {
        state.receipts.open(task.request_id, record.id, forum, task.message_id);
    }
    if let Some(message) = task.open_message {
        state.open_messages.begin_waiting(message);
    }
}

fn facts_appended(state: &mut HubState, record: &Record, facts: &FactsBody, proposal: Option<RequestId>) {
    let Some(closed) = facts.task.and_then(|task| state.tasks.close(task)) else { return };
    let Some(task) = closed.task() else { return };
    if let Some(message) = task.open_message {
        state.open_messages.end_waiting(message);
    }
    if let (Some(peer), Some(proposal)) = (facts.peer, proposal) {
        let answer = SeenAnswer {
            peer,
            record: record.id,
            proposal,
            at: state.steady(),
            receipt: facts.receipt.clone().unwrap_or_default(),
        };
        state.receipts.answer(task.request_id, answer);
    }
}
