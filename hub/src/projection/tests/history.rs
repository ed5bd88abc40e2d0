//! A history of commands as a group of hubs commits them, from a seed: writes and honest answers, invitations, peers and forums
//! that come and go, a log that is trimmed.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use loop_atomjump::{Call, Given, Row, Session, WriteView, execute};
use loop_proto::{
    ids::PeerId,
    v1::{self, command::Body},
};
use loop_raft_store::machine::{Bounds, Forum, HubState, JoinStage, Record};
use prost::Message;

/// Bounds that a history of some thousand commands runs into.
pub fn tight() -> Bounds {
    Bounds {
        records_max: 2_000,
        invitations_kept: 20,
        open_tasks_per_forum_max: 400,
        forums_max: 40,
        ..Bounds::default()
    }
}

/// Makes commands.
pub struct History {
    seed: u64,
    made: u64,
}

impl History {
    pub fn from(seed: u64) -> Self {
        // Never zero, which would stay zero.
        Self { seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, made: 0 }
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) % bound
    }

    /// The next command, which the state may refuse.
    pub fn next(&mut self, state: &HubState) -> v1::Command {
        let body = self.body(state);
        self.command(body)
    }

    pub fn command(&mut self, body: Body) -> v1::Command {
        self.made += 1;
        let request_id = Bytes::from([self.made.to_be_bytes(), self.seed.to_be_bytes()].concat());
        v1::Command { request_id, at_ms: 1_700_000_000_000 + self.made * 7, body: Some(body) }
    }

    fn body(&mut self, state: &HubState) -> Body {
        match self.below(100) {
            _ if state.counts().peers < 3 => self.register(state),
            _ if state.counts().forums < 2 => self.open(state),
            0..45 => self.append(state),
            45..85 => self.answer(state),
            85..88 => self.invite(state),
            88..93 => self.step(state),
            93 => self.register(state),
            94 => self.employ(state),
            95..97 => self.open(state),
            97 => self.close(state),
            _ => Body::TrimTasks(v1::TrimTasks { through: 0, kept_through: state.newest() }),
        }
    }

    fn register(&mut self, state: &HubState) -> Body {
        let number = state.counts().peers.min(8) as u64 + self.below(2);
        let name = ["attic", "garden shed", "Öl \u{1F600}", "x'); DROP TABLE tbl_peer; --"];
        let name = name[self.below(4) as usize].repeat(1 + self.below(6) as usize);
        let secret_hash = vec![number as u8; 32].into();
        Body::RegisterPeer(v1::RegisterPeer { name, secret_hash, ..Default::default() })
    }

    fn open(&mut self, state: &HubState) -> Body {
        let key = (self.below(60) as u128).to_be_bytes().to_vec().into();
        let peers = state.counts().peers as u64;
        let first = 1 + self.below(peers);
        let replicas = [first, first % peers + 1].map(|peer| peer as u32).to_vec();
        Body::OpenForum(v1::OpenForum { key, replicas, title: "t".into(), decays_at_s: None })
    }

    fn forum<'a>(&mut self, state: &'a HubState) -> &'a Forum {
        let at = self.below(state.counts().forums as u64) as usize;
        state.forums().nth(at).expect("there are forums")
    }

    fn append(&mut self, state: &HubState) -> Body {
        let forum_id = self.forum(state).id.get();
        // Some have no session.
        let session_id = match self.below(24) {
            0 => String::new(),
            number => format!("session{number:020}"),
        };
        let request = request(&session_id).encode_to_vec().into();
        let task = v1::AppendTask { forum_id, request, session_id, creates_message: true, named_message: 0 };
        Body::AppendTask(task)
    }

    fn answer(&mut self, state: &HubState) -> Body {
        let with_work: Vec<&Forum> = state.forums().filter(|forum| !forum.open_tasks.is_empty()).collect();
        if with_work.is_empty() {
            return self.append(state);
        }
        let forum = with_work[self.below(with_work.len() as u64) as usize];
        let task = forum.oldest_open_task().expect("it has work");
        Body::AnswerTask(answer(state.open_task(task).expect("it is open"), forum))
    }

    fn invite(&mut self, state: &HubState) -> Body {
        let peers = state.counts().peers as u64;
        let forum = self.forum(state);
        let target = 1 + self.below(peers) as u32;
        let replaces = if self.below(2) == 0 { 0 } else { forum.primary.get() };
        let (forum_id, source) = (forum.id.get(), forum.primary.get());
        let cause = v1::InvitationCause::Operator.into();
        Body::InvitePeer(v1::InvitePeer { forum_id, target, source, replaces, cause })
    }

    /// What becomes of some open invitation next.
    fn step(&mut self, state: &HubState) -> Body {
        let open: Vec<_> = state.open_invitations().collect();
        if open.is_empty() {
            return self.invite(state);
        }
        let invitation = open[self.below(open.len() as u64) as usize];
        let (forum_id, invitation_id) = (invitation.forum.get(), invitation.id.get());
        if self.below(4) == 0 {
            let status = v1::InvitationStatus::Timeout.into();
            return Body::CloseInvitation(v1::CloseInvitation { forum_id, invitation_id, status, reason: 0 });
        }
        let forum = state.forum(invitation.forum).expect("an open invitation has a forum");
        let stage =
            forum.joining().find(|joining| joining.invitation == invitation.id).map(|joining| joining.stage);
        let peer_id = invitation.target.get();
        match stage {
            Some(JoinStage::Seeding) => {
                let cursor = state.newest();
                Body::SeedReplica(v1::SeedReplica { forum_id, invitation_id, peer_id, cursor })
            }
            Some(JoinStage::CatchingUp) => {
                let caught_up_through = state.newest();
                Body::CutOver(v1::CutOver { forum_id, invitation_id, caught_up_through })
            }
            Some(JoinStage::Invited) | None => {
                let accepted = self.below(4) > 0;
                let reason = if accepted { 0 } else { v1::RejectReason::DiskFull.into() };
                let answer = v1::AnswerInvitation { forum_id, invitation_id, peer_id, accepted, reason };
                Body::AnswerInvitation(answer)
            }
        }
    }

    fn employ(&mut self, state: &HubState) -> Body {
        let peer_id = 1 + self.below(state.counts().peers as u64) as u32;
        let state =
            [v1::PeerState::Active, v1::PeerState::Active, v1::PeerState::Paused, v1::PeerState::Draining];
        Body::SetPeerState(v1::SetPeerState { peer_id, state: state[self.below(4) as usize].into() })
    }

    fn close(&mut self, state: &HubState) -> Body {
        let forum_id = self.forum(state).id.get();
        Body::CloseForum(v1::CloseForum { forum_id, forced: true })
    }
}

/// What the forum's primary makes of a task.
fn answer(record: &Record, forum: &Forum) -> v1::AnswerTask {
    let task = record.task().expect("a task");
    let request = v1::ClientRequest::decode(task.request.clone()).expect("a request");
    let given = Given { message_id: task.message_id, open_message: task.open_message };
    let call = Call::read(&request, Some(forum.id), given, record.at).expect("a call");
    let view = Empty(v1::ForumStored { id: forum.id.get(), ..Default::default() });
    let executed = execute(&call, Session::of(task.session.as_deref()), &view).expect("nothing can fail");
    v1::AnswerTask {
        task_id: record.id.get(),
        forum_id: forum.id.get(),
        peer_id: PeerId::get(forum.primary),
        epoch: forum.epoch.0,
        receipt: Some(executed.receipt),
        facts: v1::Facts { facts: executed.facts }.encode_to_vec().into(),
        session: executed.session,
    }
}

fn request(session_id: &str) -> v1::ClientRequest {
    let query = format!(
        "callback=jQuery1_1&action=ssshout&your_name=Ann&passcode=ajps_test&remoteapp=true&ses={session_id}&cs=21633478\
         &typing=off&msg_id=1&message=hello"
    );
    v1::ClientRequest {
        endpoint: v1::Endpoint::Shout.into(),
        method: "GET".into(),
        query: query.into(),
        session_id: session_id.to_owned(),
        base_url: "https://atomjump.com/api".into(),
        ..Default::default()
    }
}

/// A forum in which nobody else has the writer's name, and nothing was said before.
struct Empty(v1::ForumStored);

impl WriteView for Empty {
    type Error = Infallible;

    fn forum(&self) -> Option<&v1::ForumStored> {
        Some(&self.0)
    }

    fn is_subscriber(&self, _user: u32) -> bool {
        false
    }

    fn message(&self, _id: u32) -> Result<Option<Arc<Row>>, Infallible> {
        Ok(None)
    }

    fn authors_named(&self, _name: &str) -> Result<Vec<Option<u32>>, Infallible> {
        Ok(Vec::new())
    }

    fn was_said(&self, _ip: &str, _text: &str, _since_s: u64, _except: u32) -> bool {
        false
    }
}
