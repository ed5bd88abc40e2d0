//! Random but sensible histories: small numbers, so that requests repeat, sessions race and bounds are hit.

use bytes::Bytes;
use loop_proto::v1::{self, command::Body};
use loop_raft_store::machine::Bounds;
use proptest::prelude::*;

/// One step of a history. Ids are drawn from small ranges and may be wrong.
#[derive(Clone, Debug)]
pub enum Op {
    Register { name: u8, label: u8 },
    Open { key: u8, replicas: Vec<u32> },
    Append { forum: u32, request: u8, session: Option<u8>, creates: bool },
    Answer { forum: u32, task: Pick, peer: Option<u32>, epoch: i8, proposal: u8, facts: FactsOp },
    Store { forum: u32, peer: Option<u32>, epoch: i8, proposal: u8, facts: FactsOp },
    Lease { peer: u32, count: u32, proposal: u8 },
    Move { forum: u32, to: u32, epoch: i8, proposal: u8 },
    Trim { through: u64 },
}

/// Which task an answer is for.
#[derive(Clone, Copy, Debug)]
pub enum Pick {
    /// The forum's oldest open one.
    Oldest,
    /// Its newest open one, out of order if there are more.
    Newest,
    /// Any number.
    Number(u64),
}

#[derive(Clone, Debug)]
pub struct FactsOp {
    pub forum: u8,
    pub directory: u8,
    /// A session, whether it has a user, and whether it is based on the current version.
    pub session: Option<(u8, bool, bool)>,
}

/// A step and how long after the one before it comes; the leader's clock may stand back.
#[derive(Clone, Debug)]
pub struct Step {
    pub op: Op,
    pub clock_ms: i16,
}

/// Bounds that a history of a hundred steps reaches.
pub fn tight() -> Bounds {
    Bounds {
        forums_max: 3,
        peers_max: 4,
        replicas_max: 3,
        open_tasks_max: 7,
        open_tasks_per_forum_max: 4,
        open_tasks_bytes_max: 2_500,
        records_max: 20,
        records_bytes_max: 6_000,
        receipts_max: 5,
        receipts_bytes_max: 900,
        receipt_age_ms: 2_000,
        proposals_max: 6,
        proposal_age_ms: 1_000,
        sessions_max: 3,
        sessions_bytes_max: 1_200,
        session_age_ms: 3_000,
        session_without_user_age_ms: 500,
        user_id_block_max: 3,
        message_id_max: 2867 + 30,
        user_id_max: 414 + 9,
        ..Bounds::STANDARD
    }
}

/// Bounds no history reaches, and windows that never close: for the model that forgets nothing.
pub fn wide() -> Bounds {
    Bounds { receipt_age_ms: u64::MAX, proposal_age_ms: u64::MAX, ..Bounds::STANDARD }
}

pub fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = (op(), prop_oneof![8 => 0..300i16, 1 => -500..0i16]);
    let steps = prop::collection::vec(step.prop_map(|(op, clock_ms)| Step { op, clock_ms }), 1..120);
    // Most histories begin with peers and a forum, or they would be lists of refusals.
    (any::<bool>(), steps).prop_map(|(founded, steps)| {
        let founding = (0..3).map(|name| Op::Register { name, label: 0 });
        let founding = founding.chain([Op::Open { key: 0, replicas: vec![1, 2, 3] }]);
        let founding = founding.map(|op| Step { op, clock_ms: 1 });
        if founded { founding.chain(steps).collect() } else { steps }
    })
}

fn op() -> impl Strategy<Value = Op> {
    let forum = || 177..182u32;
    let peer = || prop_oneof![4 => Just(None), 1 => (1..6u32).prop_map(Some)];
    let epoch = || prop_oneof![6 => Just(0i8), 1 => -1..2i8];
    let proposal = || 100..130u8;
    let pick =
        prop_oneof![6 => Just(Pick::Oldest), 1 => Just(Pick::Newest), 1 => (1..60u64).prop_map(Pick::Number)];
    let session = || prop::option::of((0..5u8, any::<bool>(), prop::bool::weighted(0.8)));
    let facts = move || {
        (0..4u8, 0..2u8, session()).prop_map(|(forum, directory, session)| FactsOp {
            forum,
            directory,
            session,
        })
    };
    prop_oneof![
        1 => (0..6u8, 0..2u8).prop_map(|(name, label)| Op::Register { name, label }),
        1 => (0..5u8, prop::collection::vec(1..6u32, 0..5))
            .prop_map(|(key, replicas)| Op::Open { key, replicas }),
        8 => (forum(), 0..30u8, prop::option::of(0..5u8), any::<bool>())
            .prop_map(|(forum, request, session, creates)| Op::Append { forum, request, session, creates }),
        8 => (forum(), pick, peer(), epoch(), proposal(), facts()).prop_map(
            |(forum, task, peer, epoch, proposal, facts)|
            Op::Answer { forum, task, peer, epoch, proposal, facts }),
        3 => (forum(), peer(), epoch(), proposal(), facts()).prop_map(
            |(forum, peer, epoch, proposal, facts)| Op::Store { forum, peer, epoch, proposal, facts }),
        1 => (1..6u32, 0..5u32, proposal()).prop_map(
            |(peer, count, proposal)| Op::Lease { peer, count, proposal }),
        2 => (forum(), 1..6u32, epoch(), proposal()).prop_map(
            |(forum, to, epoch, proposal)| Op::Move { forum, to, epoch, proposal }),
        1 => (0..80u64).prop_map(|through| Op::Trim { through }),
    ]
}

/// What a history's author sees of the state when he makes the next command.
pub struct View<'a> {
    pub state: &'a loop_raft_store::machine::HubState,
    pub clock_ms: u64,
}

impl View<'_> {
    /// The command a step stands for, at this point of its history.
    pub fn command(&self, op: &Op) -> v1::Command {
        let (request, body) = match op {
            Op::Register { name, label } => (0, self.register(*name, *label)),
            Op::Open { key, replicas } => {
                let key = Bytes::from(vec![*key; 16]);
                (0, Body::OpenForum(v1::OpenForum { key, replicas: replicas.clone() }))
            }
            Op::Append { forum, request, session, creates } => {
                (*request, append(*forum, *request, *session, *creates))
            }
            Op::Answer { forum, task, peer, epoch, proposal, facts } => {
                (*proposal, self.answer(*forum, *task, *peer, *epoch, facts))
            }
            Op::Store { forum, peer, epoch, proposal, facts } => {
                (*proposal, self.store(*forum, *peer, *epoch, facts))
            }
            Op::Lease { peer, count, proposal } => {
                (*proposal, Body::LeaseUserIds(v1::LeaseUserIds { peer_id: *peer, count: *count }))
            }
            Op::Move { forum, to, epoch, proposal } => (
                *proposal,
                Body::MovePrimary(v1::MovePrimary {
                    forum_id: *forum,
                    to_peer: *to,
                    expected_epoch: self.epoch(*forum, *epoch),
                }),
            ),
            Op::Trim { through } => (0, Body::TrimTasks(v1::TrimTasks { through: *through })),
        };
        let request_id = Bytes::from(vec![request; 16]);
        v1::Command { request_id, at_ms: self.clock_ms, body: Some(body) }
    }

    fn forum(&self, forum: u32) -> Option<&loop_raft_store::machine::Forum> {
        loop_proto::ids::ForumId::new(forum).and_then(|id| self.state.forum(id))
    }

    fn epoch(&self, forum: u32, off: i8) -> u64 {
        self.forum(forum).map_or(1, |forum| forum.epoch.0).saturating_add_signed(off.into())
    }

    fn primary(&self, forum: u32) -> u32 {
        self.forum(forum).map_or(1, |forum| forum.primary.get())
    }

    fn register(&self, name: u8, label: u8) -> Body {
        let owner = format!("owner {label}");
        let secret_hash = Bytes::from(vec![name; 32]);
        Body::RegisterPeer(v1::RegisterPeer {
            name: format!("peer {name}"),
            secret_hash,
            owner,
            network: String::new(),
        })
    }

    fn answer(&self, forum: u32, task: Pick, peer: Option<u32>, epoch: i8, facts: &FactsOp) -> Body {
        let oldest = || self.forum(forum).and_then(|forum| forum.oldest_open_task());
        let newest = || self.forum(forum).and_then(|forum| forum.open_tasks.last().copied());
        let task_id = match task {
            Pick::Oldest => oldest().map_or(1, |task| task.get()),
            Pick::Newest => newest().map_or(1, |task| task.get()),
            Pick::Number(task) => task,
        };
        let sid_json = Some(task_id.to_string());
        Body::AnswerTask(v1::AnswerTask {
            task_id,
            forum_id: forum,
            peer_id: peer.unwrap_or_else(|| self.primary(forum)),
            epoch: self.epoch(forum, epoch),
            receipt: Some(v1::Receipt { status: 200, sid_json, lid: None }),
            forum_facts: Bytes::from(vec![1; facts.forum.into()]),
            directory_facts: Bytes::from(vec![2; facts.directory.into()]),
            sessions: self.sessions(facts),
        })
    }

    fn store(&self, forum: u32, peer: Option<u32>, epoch: i8, facts: &FactsOp) -> Body {
        Body::StoreFacts(v1::StoreFacts {
            forum_id: forum,
            peer_id: peer.unwrap_or_else(|| self.primary(forum)),
            epoch: self.epoch(forum, epoch),
            forum_facts: Bytes::from(vec![1; facts.forum.into()]),
            directory_facts: Bytes::from(vec![2; facts.directory.into()]),
            sessions: self.sessions(facts),
        })
    }

    fn sessions(&self, facts: &FactsOp) -> Vec<v1::SessionRecord> {
        let record = |(id, has_user, is_current): (u8, bool, bool)| {
            let id = session_id(id);
            let version = self.state.session(&id).map_or(0, |session| session.version);
            v1::SessionRecord {
                id,
                version: if is_current { version } else { version + 1 },
                user_id: has_user.then(|| "414".to_owned()),
                data: Bytes::from_static(b"data"),
                ..v1::SessionRecord::default()
            }
        };
        facts.session.map(record).into_iter().collect()
    }
}

fn append(forum_id: u32, request: u8, session: Option<u8>, creates_message: bool) -> Body {
    Body::AppendTask(v1::AppendTask {
        forum_id,
        request: Bytes::from(vec![request; 40]),
        session_id: session.map_or(String::new(), session_id),
        creates_message,
        origin_hub: 1,
    })
}

fn session_id(id: u8) -> String {
    format!("session-{id}")
}
