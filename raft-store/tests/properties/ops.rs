//! Random but sensible histories: small numbers, so that requests repeat, sessions race and bounds are hit.

use bytes::Bytes;
use loop_atomjump::Executed;
use loop_proto::{
    ids::{PeerId, TaskId},
    v1::{self, Endpoint, command::Body, fact::Kind},
};
use loop_raft_store::machine::{Bounds, InvitationStatus, JoinStage};
use proptest::prelude::*;
use prost::Message;

use crate::executor::{self, Copies};

/// One step of a history. Ids are drawn from small ranges and may be wrong.
#[derive(Clone, Debug)]
pub enum Op {
    Register {
        name: u8,
        label: u8,
    },
    Open {
        key: u8,
        replicas: Vec<u32>,
    },
    Append {
        forum: u32,
        request: u8,
        session: Option<u8>,
        asks: Asks,
    },
    Answer {
        forum: u32,
        task: Pick,
        peer: Option<u32>,
        epoch: i8,
        proposal: u8,
        lie: Lie,
    },
    Move {
        forum: u32,
        to: u32,
        epoch: i8,
        proposal: u8,
    },
    Trim {
        through: u64,
        kept: bool,
    },
    Invite {
        forum: u32,
        target: Option<u32>,
        source: Option<u32>,
        replaces: Replaced,
        proposal: u8,
    },
    /// The next right step of the forum's first or second joining replica.
    Advance {
        forum: u32,
        nth: u8,
    },
    Step {
        forum: u32,
        nth: u8,
        peer: Option<u32>,
        step: InvitationStep,
    },
    Remove {
        forum: u32,
        peer: Option<u32>,
        passed: bool,
        others_min: u32,
    },
    Presence {
        peer: u32,
        connected: bool,
    },
    Confirm {
        forum: u32,
        peer: Option<u32>,
        audited: bool,
    },
    Reinstate {
        forum: u32,
        peer: Option<u32>,
    },
    Restart {
        forum: u32,
        peer: u32,
        proposal: u8,
    },
    Want {
        forum: u32,
        replicas: u32,
    },
    Employ {
        peer: u32,
        state: v1::PeerState,
    },
    Audit {
        forum: u32,
        proposal: u8,
    },
    Close {
        forum: u32,
        forced: bool,
    },
}

/// Whom an invited peer is to replace.
#[derive(Clone, Copy, Debug)]
pub enum Replaced {
    Nobody,
    Primary,
    Peer(u32),
}

/// A step of an invitation, in turn or not.
#[derive(Clone, Copy, Debug)]
pub enum InvitationStep {
    Answer { accepted: bool },
    Seed { whole: bool },
    CutOver,
    Close { rejected: bool },
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

/// What a browser asks.
#[derive(Clone, Copy, Debug)]
pub enum Asks {
    /// A new message, finished at once or not.
    New { typing: bool },
    /// To go on with the forum's newest unfinished message, whose ever it is.
    GoOn { typing: bool },
    /// To hide or delete it.
    Hide { just_typing: bool },
    /// Something that nobody answers by executing it.
    Nonsense,
}

/// How an answer differs from what an honest peer would say.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    None,
    NoFacts,
    FactsTwice,
    OtherAuthor,
    OtherForum,
    Finished,
    Renamed,
    Receipt,
    NotFacts,
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
        peers_max: 6,
        invitations_open_max: 2,
        invitations_kept: 3,
        replicas_max: 3,
        open_tasks_max: 7,
        open_tasks_per_forum_max: 4,
        open_tasks_bytes_max: 2_500,
        records_max: 20,
        records_bytes_max: 7_000,
        receipts_max: 5,
        receipts_bytes_max: 900,
        receipt_age_ms: 2_000,
        proposals_max: 6,
        proposal_age_ms: 1_000,
        sessions_max: 3,
        sessions_bytes_max: 1_200,
        session_age_ms: 3_000,
        open_messages_max: 2,
        open_message_age_ms: 1_500,
        empty_forum_age_ms: 800,
        message_id_max: 2867 + 20,
        user_id_max: 414 + 6,
        ..Bounds::STANDARD
    }
}

/// Bounds no history reaches, and windows that never close: for the model that forgets nothing.
pub fn wide() -> Bounds {
    Bounds {
        receipt_age_ms: u64::MAX,
        proposal_age_ms: u64::MAX,
        open_message_age_ms: u64::MAX,
        ..Bounds::STANDARD
    }
}

pub fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = (op(), prop_oneof![8 => 0..300i16, 1 => -500..0i16]);
    let steps = prop::collection::vec(step.prop_map(|(op, clock_ms)| Step { op, clock_ms }), 1..160);
    // Most histories begin with peers and a forum, or they would be lists of refusals.
    (any::<bool>(), steps).prop_map(|(founded, steps)| {
        let founding = (0..5).map(|name| Op::Register { name, label: 0 });
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
        prop_oneof![6 => Just(Pick::Oldest), 1 => Just(Pick::Newest), 2 => (1..60u64).prop_map(Pick::Number)];
    let asks = prop_oneof![
        4 => any::<bool>().prop_map(|typing| Asks::New { typing }),
        4 => any::<bool>().prop_map(|typing| Asks::GoOn { typing }),
        1 => any::<bool>().prop_map(|just_typing| Asks::Hide { just_typing }),
        1 => Just(Asks::Nonsense),
    ];
    let lie = prop_oneof![
        12 => Just(Lie::None),
        1 => Just(Lie::NoFacts),
        1 => Just(Lie::FactsTwice),
        1 => Just(Lie::OtherAuthor),
        1 => Just(Lie::OtherForum),
        1 => Just(Lie::Finished),
        1 => Just(Lie::Renamed),
        1 => Just(Lie::Receipt),
        1 => Just(Lie::NotFacts),
    ];
    prop_oneof![
        1 => (0..6u8, 0..2u8).prop_map(|(name, label)| Op::Register { name, label }),
        1 => (0..5u8, prop::collection::vec(1..6u32, 0..5))
            .prop_map(|(key, replicas)| Op::Open { key, replicas }),
        10 => (forum(), 0..30u8, prop::option::weighted(0.8, 0..5u8), asks)
            .prop_map(|(forum, request, session, asks)| Op::Append { forum, request, session, asks }),
        14 => (forum(), pick, peer(), epoch(), proposal(), lie).prop_map(
            |(forum, task, peer, epoch, proposal, lie)|
            Op::Answer { forum, task, peer, epoch, proposal, lie }),
        2 => (forum(), 1..6u32, epoch(), proposal()).prop_map(
            |(forum, to, epoch, proposal)| Op::Move { forum, to, epoch, proposal }),
        1 => (0..80u64, any::<bool>()).prop_map(|(through, kept)| Op::Trim { through, kept }),
        10 => replica_op(),
        1 => (forum(), prop::bool::weighted(0.2)).prop_map(|(forum, forced)| Op::Close { forum, forced }),
    ]
}

fn replica_op() -> impl Strategy<Value = Op> {
    let forum = || prop_oneof![3 => Just(178u32), 1 => 177..182u32];
    let peer = || 1..7u32;
    let any_peer = move || prop_oneof![4 => Just(None), 1 => peer().prop_map(Some)];
    let proposal = || 100..130u8;
    let replaces = prop_oneof![
        2 => Just(Replaced::Nobody),
        2 => Just(Replaced::Primary),
        1 => peer().prop_map(Replaced::Peer),
    ];
    let step = prop_oneof![
        any::<bool>().prop_map(|accepted| InvitationStep::Answer { accepted }),
        any::<bool>().prop_map(|whole| InvitationStep::Seed { whole }),
        Just(InvitationStep::CutOver),
        any::<bool>().prop_map(|rejected| InvitationStep::Close { rejected }),
    ];
    let state = prop_oneof![
        4 => Just(v1::PeerState::Active),
        1 => Just(v1::PeerState::Paused),
        1 => Just(v1::PeerState::Draining),
        1 => Just(v1::PeerState::Removed),
    ];
    prop_oneof![
        6 => (forum(), any_peer(), any_peer(), replaces, proposal()).prop_map(
            |(forum, target, source, replaces, proposal)|
            Op::Invite { forum, target, source, replaces, proposal }),
        16 => (forum(), 0..2u8).prop_map(|(forum, nth)| Op::Advance { forum, nth }),
        3 => (forum(), 0..2u8, any_peer(), step).prop_map(
            |(forum, nth, peer, step)| Op::Step { forum, nth, peer, step }),
        3 => (forum(), any_peer(), prop::bool::weighted(0.7), 0..3u32).prop_map(
            |(forum, peer, passed, others_min)| Op::Remove { forum, peer, passed, others_min }),
        2 => (peer(), prop::bool::weighted(0.7)).prop_map(
            |(peer, connected)| Op::Presence { peer, connected }),
        4 => (forum(), any_peer(), prop::bool::weighted(0.8)).prop_map(
            |(forum, peer, audited)| Op::Confirm { forum, peer, audited }),
        2 => (forum(), any_peer()).prop_map(|(forum, peer)| Op::Reinstate { forum, peer }),
        1 => (forum(), peer(), proposal()).prop_map(
            |(forum, peer, proposal)| Op::Restart { forum, peer, proposal }),
        1 => (forum(), 0..5u32).prop_map(|(forum, replicas)| Op::Want { forum, replicas }),
        2 => (peer(), state).prop_map(|(peer, state)| Op::Employ { peer, state }),
        1 => (forum(), proposal()).prop_map(|(forum, proposal)| Op::Audit { forum, proposal }),
    ]
}

/// What a history's author sees of the state when he makes the next command.
pub struct View<'a> {
    pub state: &'a loop_raft_store::machine::HubState,
    pub copies: &'a Copies,
    pub clock_ms: u64,
}

impl View<'_> {
    /// The command a step stands for, at this point of its history.
    pub fn command(&self, op: &Op) -> v1::Command {
        let (request, body) = match op {
            Op::Register { name, label } => (0, self.register(*name, *label)),
            Op::Open { key, replicas } => {
                let key = Bytes::from(vec![*key; 16]);
                let title = "a forum".to_owned();
                (
                    0,
                    Body::OpenForum(v1::OpenForum {
                        key,
                        title,
                        replicas: replicas.clone(),
                        decays_at_s: None,
                    }),
                )
            }
            Op::Append { forum, request, session, asks } => {
                (*request, self.append(*forum, *request, *session, *asks))
            }
            Op::Answer { forum, task, peer, epoch, proposal, lie } => {
                (*proposal, self.answer(*forum, *task, *peer, *epoch, *lie))
            }
            Op::Move { forum, to, epoch, proposal } => (
                *proposal,
                Body::MovePrimary(v1::MovePrimary {
                    forum_id: *forum,
                    to_peer: *to,
                    expected_epoch: self.epoch(*forum, *epoch),
                }),
            ),
            Op::Trim { through, kept } => {
                let kept_through = if *kept { self.state.newest() } else { *through };
                (0, Body::TrimTasks(v1::TrimTasks { through: *through, kept_through }))
            }
            Op::Invite { forum, target, source, replaces, proposal } => {
                (*proposal, self.invite(*forum, *target, *source, *replaces))
            }
            Op::Advance { forum, nth } => (0, self.advance(*forum, *nth)),
            Op::Step { forum, nth, peer, step } => (0, self.step(*forum, *nth, *peer, *step)),
            Op::Remove { forum, peer, passed, others_min } => {
                (0, self.remove(*forum, *peer, *passed, *others_min))
            }
            Op::Presence { peer, connected } => (0, presence(*peer, *connected)),
            Op::Confirm { forum, peer, audited } => (0, self.confirm(*forum, *peer, *audited)),
            Op::Reinstate { forum, peer } => (0, self.reinstate(*forum, *peer)),
            Op::Restart { forum, peer, proposal } => {
                (*proposal, Body::RestartReplica(v1::RestartReplica { forum_id: *forum, peer_id: *peer }))
            }
            Op::Want { forum, replicas } => {
                let body = v1::SetForumReplicas { forum_id: *forum, replicas: *replicas };
                (0, Body::SetForumReplicas(body))
            }
            Op::Employ { peer, state } => {
                (0, Body::SetPeerState(v1::SetPeerState { peer_id: *peer, state: (*state).into() }))
            }
            Op::Close { forum, forced } => {
                (0, Body::CloseForum(v1::CloseForum { forum_id: *forum, forced: *forced }))
            }
            Op::Audit { forum, proposal } => {
                (*proposal, Body::AuditForum(v1::AuditForum { forum_id: *forum }))
            }
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

    /// What is asked follows from the request's number too, so that sessions change in one field and another.
    fn append(&self, forum: u32, request: u8, session: Option<u8>, asks: Asks) -> Body {
        let named = self.copies.unfinished(forum).next_back().map_or(2867, |message| message.id);
        let text = match request % 3 {
            0 => format!("message={request}&your_name=n{request}"),
            1 => format!("message={request}&lat={request}"),
            _ => format!("message=x&lon={request}&msg_id={request}"),
        };
        let typing = |typing: bool| if typing { "&typing=on" } else { "" };
        let (endpoint, params, named_message) = match asks {
            Asks::New { typing: is_typing } => (Endpoint::Shout, format!("{text}{}", typing(is_typing)), 0),
            Asks::GoOn { typing: is_typing } => {
                (Endpoint::Shout, format!("{text}&shout_id={named}{}", typing(is_typing)), named)
            }
            Asks::Hide { just_typing: true } => {
                (Endpoint::HideMessage, format!("mid={named}&just_typing=1"), 0)
            }
            Asks::Hide { just_typing: false } => (Endpoint::HideMessage, format!("mid={named}"), 0),
            Asks::Nonsense => (Endpoint::Index, "a".repeat(70_000 * usize::from(request % 2)), 0),
        };
        let session_id = session.map_or(String::new(), session_id);
        Body::AppendTask(v1::AppendTask {
            forum_id: forum,
            request: executor::request(endpoint, &params, &session_id),
            session_id,
            creates_message: matches!(asks, Asks::New { .. }),
            named_message,
        })
    }

    fn answer(&self, forum: u32, task: Pick, peer: Option<u32>, epoch: i8, lie: Lie) -> Body {
        let oldest = || self.forum(forum).and_then(|forum| forum.oldest_open_task());
        let newest = || self.forum(forum).and_then(|forum| forum.open_tasks.last().copied());
        let task_id = match task {
            Pick::Oldest => oldest().map_or(1, |task| task.get()),
            Pick::Newest => newest().map_or(1, |task| task.get()),
            Pick::Number(task) => task,
        };
        let open = TaskId::new(task_id).and_then(|task| self.state.open_task(task));
        let open = open.and_then(|record| Some((record, record.task()?)));
        let mut made =
            open.map_or_else(Executed::default, |(record, task)| self.copies.execute(record, task));
        lie.tell(&mut made);
        let mut facts = v1::Facts { facts: made.facts }.encode_to_vec();
        if matches!(lie, Lie::NotFacts) {
            facts.extend([0xff, 0xff]);
        }
        Body::AnswerTask(v1::AnswerTask {
            task_id,
            forum_id: forum,
            peer_id: peer.unwrap_or_else(|| self.primary(forum)),
            epoch: self.epoch(forum, epoch),
            receipt: Some(made.receipt),
            facts: Bytes::from(facts),
            session: made.session,
        })
    }

    fn invite(&self, forum: u32, target: Option<u32>, source: Option<u32>, replaces: Replaced) -> Body {
        let holds = |peer: u32| {
            let peer = PeerId::new(peer).expect("counted from 1");
            self.forum(forum).is_some_and(|forum| forum.replica(peer).is_some())
        };
        Body::InvitePeer(v1::InvitePeer {
            forum_id: forum,
            target: target.unwrap_or_else(|| (1..7).find(|peer| !holds(*peer)).unwrap_or(1)),
            source: source.unwrap_or_else(|| self.primary(forum)),
            replaces: match replaces {
                Replaced::Nobody => 0,
                Replaced::Primary => self.primary(forum),
                Replaced::Peer(peer) => peer,
            },
            cause: v1::InvitationCause::Balance.into(),
        })
    }

    /// The forum's joining replica of that number, or its newest known invitation, or none that exists.
    fn joining(&self, forum: u32, nth: u8) -> (u64, u32, Option<JoinStage>) {
        let joining = self.forum(forum).and_then(|forum| forum.joining().nth(nth.into()));
        if let Some(joining) = joining {
            return (joining.invitation.get(), joining.peer.get(), Some(joining.stage));
        }
        let mut known = self.state.invitations_newest_first();
        let known = known.find(|invitation| invitation.forum.get() == forum);
        known.map_or((1, 1, None), |invitation| (invitation.id.get(), invitation.target.get(), None))
    }

    fn advance(&self, forum: u32, nth: u8) -> Body {
        let step = match self.joining(forum, nth).2 {
            Some(JoinStage::Invited) | None => InvitationStep::Answer { accepted: true },
            Some(JoinStage::Seeding) => InvitationStep::Seed { whole: true },
            Some(JoinStage::CatchingUp) => InvitationStep::CutOver,
        };
        self.step(forum, nth, None, step)
    }

    fn step(&self, forum_id: u32, nth: u8, peer: Option<u32>, step: InvitationStep) -> Body {
        let (invitation_id, target, _) = self.joining(forum_id, nth);
        let peer_id = peer.unwrap_or(target);
        match step {
            InvitationStep::Answer { accepted } => Body::AnswerInvitation(v1::AnswerInvitation {
                forum_id,
                invitation_id,
                peer_id,
                accepted,
                reason: if accepted { 0 } else { v1::RejectReason::DiskFull.into() },
            }),
            InvitationStep::Seed { whole } => Body::SeedReplica(v1::SeedReplica {
                forum_id,
                invitation_id,
                peer_id,
                cursor: if whole { self.state.newest() } else { 0 },
            }),
            InvitationStep::CutOver => {
                Body::CutOver(v1::CutOver { forum_id, invitation_id, caught_up_through: self.state.newest() })
            }
            InvitationStep::Close { rejected } => {
                let status = if rejected { InvitationStatus::Rejected } else { InvitationStatus::Timeout };
                let status = v1::InvitationStatus::from(status).into();
                Body::CloseInvitation(v1::CloseInvitation { forum_id, invitation_id, status, reason: 0 })
            }
        }
    }

    fn remove(&self, forum_id: u32, peer: Option<u32>, passed: bool, others_min: u32) -> Body {
        let drains = self.forum(forum_id).and_then(|forum| forum.draining().next());
        let peer_id = peer.or(drains.map(PeerId::get)).unwrap_or(1);
        let passed = if passed { self.state.newest() } else { 0 };
        // What it does besides depends on nothing else.
        let differs = others_min % 2 == 1;
        Body::RemoveReplica(v1::RemoveReplica { forum_id, peer_id, passed, others_min, differs })
    }

    fn confirm(&self, forum_id: u32, peer: Option<u32>, audited: bool) -> Body {
        let replicas = self.forum(forum_id).map(|forum| forum.replicas.as_slice()).unwrap_or_default();
        let due = replicas.iter().find(|replica| replica.is_serving() && !replica.is_confirmed());
        let peer_id = peer.or(due.map(|replica| replica.peer.get())).unwrap_or(1);
        let audit_record =
            if audited { self.forum(forum_id).map_or(1, |forum| forum.newest_record) } else { 0 };
        Body::ConfirmReplica(v1::ConfirmReplica { forum_id, peer_id, audit_record })
    }

    fn reinstate(&self, forum_id: u32, peer: Option<u32>) -> Body {
        let drains = self.forum(forum_id).and_then(|forum| forum.draining().next());
        let peer_id = peer.or(drains.map(PeerId::get)).unwrap_or(1);
        Body::ReinstateReplica(v1::ReinstateReplica { forum_id, peer_id })
    }
}

impl Lie {
    fn tell(self, made: &mut Executed) {
        let message = made.facts.iter_mut().find_map(|fact| match &mut fact.kind {
            Some(Kind::MessageStored(message)) => Some(message),
            _ => None,
        });
        match (self, message) {
            (Self::None | Self::NotFacts, _) => {}
            (Self::NoFacts, _) => made.facts.clear(),
            (Self::FactsTwice, _) => made.facts.extend_from_within(..),
            (Self::OtherAuthor, Some(message)) => message.author_id = Some(9),
            (Self::OtherForum, Some(message)) => message.forum_id += 1,
            (Self::Finished, Some(message)) => message.status ^= 3,
            (Self::OtherAuthor | Self::OtherForum | Self::Finished, None) => {}
            (Self::Renamed, _) => {
                let name = Some("nobody".to_owned());
                made.session = Some(v1::SessionChange { name, ..Default::default() });
            }
            (Self::Receipt, _) => made.receipt.sid_json = Some("7".to_owned()),
        }
    }
}

fn session_id(id: u8) -> String {
    format!("session-{id}")
}

fn presence(peer: u32, connected: bool) -> Body {
    let (here, gone) = if connected { (vec![peer], vec![]) } else { (vec![], vec![peer]) };
    Body::NotePresence(v1::NotePresence { connected: here, away: gone })
}
