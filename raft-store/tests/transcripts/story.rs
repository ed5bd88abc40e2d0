//! Tells what commands come to, line by line: `> command`, its outcome, its events.

use std::fmt::Write;

use bytes::Bytes;
use loop_atomjump::Executed;
use loop_proto::{
    ids::{ForumKey, PeerId, RequestId, TaskId},
    v1::{self, Endpoint, command::Body, outcome::Kind},
};
use loop_raft_store::machine::{Applied, Bounds, Event, HubState, Invitation, apply_command, snapshot};
use prost::Message;

use crate::executor::{self, Copies};

/// A hub group of one, and the tale so far.
pub struct Story {
    pub state: HubState,
    pub copies: Copies,
    told: String,
    now_ms: u64,
    proposals: u8,
}

/// A change of what an honest peer would say.
pub type Lie = fn(&mut Executed);

/// Who answers what; executed honestly, and then changed by the lie.
#[derive(Clone, Copy, Default)]
pub struct Answer {
    pub task: u64,
    pub forum: u32,
    pub peer: u32,
    pub epoch: u64,
    pub lie: Option<Lie>,
}

/// A browser's write.
#[derive(Clone, Copy)]
pub struct Sent {
    pub forum: u32,
    pub endpoint: Endpoint,
    pub params: &'static str,
    pub session: &'static str,
    pub creates: bool,
    /// The message it goes on with; 0: none.
    pub named: u32,
}

impl Story {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            state: HubState::new(bounds),
            copies: Copies::default(),
            told: String::new(),
            now_ms: 1_000_000,
            proposals: 0,
        }
    }

    /// Three peers and a forum that all of them hold, not told.
    pub fn with_a_forum(bounds: Bounds) -> Self {
        let mut story = Self::new(bounds);
        for name in ["ann", "bob", "cat"] {
            story.register(name);
        }
        story.open("ajps_test", &[1, 2, 3]);
        story.told.clear();
        story
    }

    /// The same forum, and two peers that hold nothing.
    pub fn with_room(bounds: Bounds) -> Self {
        let mut story = Self::with_a_forum(bounds);
        story.register("dan");
        story.register("eve");
        story.told.clear();
        story
    }

    pub fn told(&mut self) -> String {
        std::mem::take(&mut self.told)
    }

    pub fn later(&mut self, ms: u64) {
        self.now_ms += ms;
        writeln!(self.told, "… {ms} ms later").unwrap();
    }

    /// So many minutes pass, with something said in each; told is only what happens by itself.
    pub fn minutes_pass(&mut self, minutes: u64) {
        writeln!(self.told, "… {minutes} minutes pass").unwrap();
        for _ in 0..minutes {
            self.now_ms += 60_000;
            // Nothing is remembered of these, so they need no names of their own.
            let body = Body::NotePresence(v1::NotePresence::default());
            let applied = self.apply(RequestId([0; 16]), body);
            self.tell(&applied);
        }
    }

    /// Nothing is asked, so that only what is due happens.
    pub fn tick(&mut self) -> Kind {
        self.propose("time goes on", Body::NotePresence(v1::NotePresence::default()))
    }

    /// The leader's clock stands back; log time must not.
    pub fn clock_falls_to(&mut self, ms: u64) {
        self.now_ms = ms;
    }

    pub fn register(&mut self, name: &str) -> Kind {
        let body = Body::RegisterPeer(v1::RegisterPeer {
            name: name.into(),
            secret_hash: Bytes::from(name.bytes().cycle().take(32).collect::<Vec<_>>()),
            owner: format!("{name}'s"),
            network: "home".into(),
        });
        self.propose(&format!("register peer {name}"), body)
    }

    pub fn open(&mut self, name: &str, replicas: &[u32]) -> Kind {
        let key = Bytes::copy_from_slice(&ForumKey::of_name(name.as_bytes()).0);
        let body = Body::OpenForum(v1::OpenForum {
            key,
            replicas: replicas.to_vec(),
            title: name.into(),
            decays_at_s: None,
        });
        self.propose(&format!("open forum {name} on {replicas:?}"), body)
    }

    /// Appends a new message of a client; its text names it, however often it is sent.
    pub fn write(&mut self, forum: u32, text: &str, session: &str) -> Kind {
        let request = executor::request(Endpoint::Shout, &format!("message={text}"), session);
        let body = Body::AppendTask(v1::AppendTask {
            forum_id: forum,
            request,
            session_id: session.into(),
            creates_message: true,
            named_message: 0,
        });
        self.command(&format!("write {text:?} to f{forum}"), request_id(text), body)
    }

    /// Appends a request of a session that creates no message.
    pub fn hide(&mut self, forum: u32, name: &str, session: &str) -> Kind {
        let body = Body::AppendTask(v1::AppendTask {
            forum_id: forum,
            request: executor::request(Endpoint::HideMessage, "mid=1", session),
            session_id: session.into(),
            creates_message: false,
            named_message: 0,
        });
        self.command(&format!("hide {name:?} in f{forum}"), request_id(name), body)
    }

    /// Appends whatever a client asks; each is a request of its own.
    pub fn send(&mut self, write: Sent) -> Kind {
        let Sent { forum, endpoint, params, session, creates, named } = write;
        let body = Body::AppendTask(v1::AppendTask {
            forum_id: forum,
            request: executor::request(endpoint, params, session),
            session_id: session.into(),
            creates_message: creates,
            named_message: named,
        });
        let named = if named == 0 { String::new() } else { format!(", naming m{named}") };
        self.propose(&format!("send {params:?} to f{forum}{named}"), body)
    }

    pub fn answer(&mut self, answer: Answer) -> Kind {
        let lying = if answer.lie.is_some() { ", lying" } else { "" };
        let title = format!("p{} answers t{} under e{}{lying}", answer.peer, answer.task, answer.epoch);
        self.proposals += 1;
        let proposal = RequestId([self.proposals; 16]);
        self.answer_as(&title, proposal, answer)
    }

    pub fn answer_as(&mut self, title: &str, proposal: RequestId, answer: Answer) -> Kind {
        // Nothing is told of a task that is not open.
        let task = TaskId::new(answer.task).and_then(|task| self.state.open_task(task));
        let task = task.and_then(|record| Some((record, record.task()?)));
        let mut executed =
            task.map_or_else(Executed::default, |(record, task)| self.copies.execute(record, task));
        if let Some(lie) = answer.lie {
            lie(&mut executed);
        }
        let body = Body::AnswerTask(v1::AnswerTask {
            task_id: answer.task,
            forum_id: answer.forum,
            peer_id: answer.peer,
            epoch: answer.epoch,
            receipt: Some(executed.receipt),
            facts: Bytes::from(v1::Facts { facts: executed.facts }.encode_to_vec()),
            session: executed.session,
        });
        self.command(title, proposal, body)
    }

    pub fn move_primary(&mut self, forum: u32, to: u32, expected_epoch: u64) -> Kind {
        let body = Body::MovePrimary(v1::MovePrimary { forum_id: forum, to_peer: to, expected_epoch });
        self.propose(&format!("move primary of f{forum} to p{to}, expecting e{expected_epoch}"), body)
    }

    pub fn trim(&mut self, through: u64) -> Kind {
        let body = Body::TrimTasks(v1::TrimTasks { through, kept_through: 0 });
        self.propose(&format!("trim through t{through}"), body)
    }

    /// Every forum has a replica with everything up to here on disk.
    pub fn keep(&mut self, kept_through: u64) -> Kind {
        let body = Body::TrimTasks(v1::TrimTasks { through: 0, kept_through });
        self.propose(&format!("kept through t{kept_through}"), body)
    }

    /// Invites a peer as an operator does; `replaces` 0: nobody goes.
    pub fn invite(&mut self, forum: u32, target: u32, source: u32, replaces: u32) -> Kind {
        let title = match replaces {
            0 => format!("invite p{target} to f{forum}, p{source} gives"),
            replaced => format!("invite p{target} to f{forum} in place of p{replaced}, p{source} gives"),
        };
        self.propose(&title, invitation(forum, target, source, replaces))
    }

    pub fn accept(&mut self, forum: u32, invitation_id: u64, peer: u32) -> Kind {
        let body =
            v1::AnswerInvitation { forum_id: forum, invitation_id, peer_id: peer, accepted: true, reason: 0 };
        self.propose(&format!("p{peer} accepts t{invitation_id}"), Body::AnswerInvitation(body))
    }

    pub fn decline(&mut self, forum: u32, invitation_id: u64, peer: u32, reason: v1::RejectReason) -> Kind {
        let body = v1::AnswerInvitation {
            forum_id: forum,
            invitation_id,
            peer_id: peer,
            accepted: false,
            reason: reason.into(),
        };
        let why = reason.as_str_name().trim_start_matches("REJECT_REASON_");
        self.propose(&format!("p{peer} declines t{invitation_id}: {why}"), Body::AnswerInvitation(body))
    }

    pub fn seed(&mut self, forum: u32, invitation_id: u64, peer: u32, cursor: u64) -> Kind {
        let body = v1::SeedReplica { forum_id: forum, invitation_id, peer_id: peer, cursor };
        self.propose(&format!("p{peer} has f{forum} through t{cursor}"), Body::SeedReplica(body))
    }

    pub fn cut_over(&mut self, forum: u32, invitation_id: u64, caught_up_through: u64) -> Kind {
        let body = v1::CutOver { forum_id: forum, invitation_id, caught_up_through };
        let title = format!("cut over t{invitation_id}, caught up through t{caught_up_through}");
        self.propose(&title, Body::CutOver(body))
    }

    pub fn close(&mut self, forum: u32, invitation_id: u64) -> Kind {
        let status = v1::InvitationStatus::Timeout.into();
        let body = v1::CloseInvitation { forum_id: forum, invitation_id, status, reason: 0 };
        self.propose(&format!("close t{invitation_id}: timeout"), Body::CloseInvitation(body))
    }

    pub fn remove(&mut self, forum: u32, peer: u32, passed: u64) -> Kind {
        let body = v1::RemoveReplica { forum_id: forum, peer_id: peer, passed, ..Default::default() };
        self.propose(&format!("remove p{peer} from f{forum}, passed t{passed}"), Body::RemoveReplica(body))
    }

    pub fn remove_leaving(&mut self, forum: u32, peer: u32, others_min: u32) -> Kind {
        let body = v1::RemoveReplica {
            forum_id: forum,
            peer_id: peer,
            passed: u64::MAX,
            others_min,
            differs: false,
        };
        let title = format!("remove p{peer} from f{forum} if {others_min} others are left");
        self.propose(&title, Body::RemoveReplica(body))
    }

    pub fn confirm(&mut self, forum: u32, peer: u32, audit_record: u64) -> Kind {
        let body = v1::ConfirmReplica { forum_id: forum, peer_id: peer, audit_record };
        self.propose(
            &format!("p{peer}'s copy of f{forum} was compared at t{audit_record}"),
            Body::ConfirmReplica(body),
        )
    }

    pub fn reinstate(&mut self, forum: u32, peer: u32) -> Kind {
        let body = v1::ReinstateReplica { forum_id: forum, peer_id: peer };
        self.propose(&format!("reinstate p{peer} in f{forum}"), Body::ReinstateReplica(body))
    }

    pub fn presence(&mut self, connected: &[u32], away: &[u32]) -> Kind {
        let body = v1::NotePresence { connected: connected.to_vec(), away: away.to_vec() };
        self.propose(&format!("connected {connected:?}, away {away:?}"), Body::NotePresence(body))
    }

    pub fn breach(&mut self, peer: u32, rule: u32) -> Kind {
        let body = Body::NoteBreach(v1::NoteBreach { peer_id: peer, rule });
        self.propose(&format!("p{peer} breaks rule {rule}"), body)
    }

    pub fn restart(&mut self, forum: u32, peer: u32) -> Kind {
        let body = v1::RestartReplica { forum_id: forum, peer_id: peer };
        self.propose(&format!("restart p{peer} of f{forum}"), Body::RestartReplica(body))
    }

    pub fn want(&mut self, forum: u32, replicas: u32) -> Kind {
        let body = v1::SetForumReplicas { forum_id: forum, replicas };
        self.propose(&format!("f{forum} shall have {replicas} replicas"), Body::SetForumReplicas(body))
    }

    pub fn peer_state(&mut self, peer: u32, state: v1::PeerState) -> Kind {
        let body = v1::SetPeerState { peer_id: peer, state: state.into() };
        let name = state.as_str_name().trim_start_matches("PEER_STATE_");
        self.propose(&format!("p{peer} is {name}"), Body::SetPeerState(body))
    }

    pub fn audit(&mut self, forum: u32) -> Kind {
        self.propose(&format!("audit f{forum}"), Body::AuditForum(v1::AuditForum { forum_id: forum }))
    }

    pub fn close_forum(&mut self, forum: u32, forced: bool) -> Kind {
        let forcing = if forced { ", whatever is in it" } else { "" };
        let body = Body::CloseForum(v1::CloseForum { forum_id: forum, forced });
        self.propose(&format!("close f{forum}{forcing}"), body)
    }

    /// What the state remembers of invitations, newest first.
    pub fn invitations(&mut self) {
        let lines: Vec<String> = self.state.invitations_newest_first().map(remembered).collect();
        for line in lines {
            writeln!(self.told, "  = {line}").unwrap();
        }
    }

    fn propose(&mut self, title: &str, body: Body) -> Kind {
        self.proposals += 1;
        self.command(title, RequestId([self.proposals; 16]), body)
    }

    pub fn command(&mut self, title: &str, request: RequestId, body: Body) -> Kind {
        let applied = self.apply(request, body);
        let kind = applied.outcome.kind.clone().expect("every command has an outcome");
        writeln!(self.told, "> {title}\n  {}", outcome(&kind)).unwrap();
        self.tell(&applied);
        kind
    }

    fn apply(&mut self, request: RequestId, body: Body) -> Applied {
        let command = v1::Command {
            request_id: Bytes::copy_from_slice(&request.0),
            at_ms: self.now_ms,
            body: Some(body),
        };
        let applied = apply_command(&mut self.state, command);
        self.state.check_invariants().unwrap();
        let read = snapshot::decode(&snapshot::encode(&self.state)).unwrap();
        assert!(read == self.state, "the snapshot of {:?} reads as {read:?}", self.state);
        for event in &applied.events {
            if let Event::RecordAppended(record) = event {
                self.copies.apply(record);
            }
        }
        applied
    }

    fn tell(&mut self, applied: &Applied) {
        for event in applied.events.iter().filter_map(shown) {
            writeln!(self.told, "  - {event}").unwrap();
        }
    }
}

fn remembered(invitation: &Invitation) -> String {
    let Invitation { id, forum, source, target, replaces, cause, status, reason, cut_over_at, .. } =
        invitation;
    let replaces = replaces.map_or(String::new(), |peer| format!(" for {peer}"));
    let cause = cause.as_str_name().trim_start_matches("INVITATION_CAUSE_");
    let reason = match reason {
        v1::RejectReason::Unspecified => String::new(),
        reason => format!(" {}", reason.as_str_name().trim_start_matches("REJECT_REASON_")),
    };
    let cut_over = cut_over_at.map_or(String::new(), |at| format!(" at {at}"));
    format!("{id} {forum} {source} to {target}{replaces} {cause}: {status:?}{reason}{cut_over}")
}

/// An operator's invitation.
pub fn invitation(forum: u32, target: u32, source: u32, replaces: u32) -> Body {
    Body::InvitePeer(v1::InvitePeer {
        forum_id: forum,
        target,
        source,
        replaces,
        cause: v1::InvitationCause::Operator.into(),
    })
}

/// A client's request id: the request itself, cut to 16 bytes.
pub fn request_id(request: &str) -> RequestId {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(request.bytes()) {
        *to = from;
    }
    RequestId(id)
}

fn outcome(kind: &Kind) -> String {
    match kind {
        Kind::Rejection(no) => {
            let code = no.code().as_str_name().trim_start_matches("REJECTION_CODE_").to_owned();
            format!("refused: {code} held {} current {}", no.held, no.current)
        }
        Kind::ForumOpened(opened) => {
            let existed = if opened.existed { "was open" } else { "opened" };
            let held = opened.assignment.as_ref().unwrap();
            format!("f{} {existed} e{} p{} {:?}", opened.forum_id, held.epoch, held.primary, held.replicas)
        }
        Kind::TaskAppended(appended) => {
            let message = appended.message_id.map_or(String::new(), |id| format!(" m{id}"));
            let known = if appended.duplicate { " known" } else { "" };
            let sid = appended.receipt.as_ref().map(|receipt| receipt.sid_json.clone().unwrap_or_default());
            let answered = sid.map_or(String::new(), |sid| format!(", answered with sid {sid}"));
            format!("t{}{message}{known}{answered}", appended.task_id)
        }
        Kind::TaskAnswered(answered) => format!("answered by t{}", answered.record_id),
        Kind::PeerRegistered(peer) => PeerId::new(peer.peer_id).unwrap().to_string(),
        Kind::PrimaryMoved(moved) => format!("now e{}", moved.epoch),
        Kind::TasksTrimmed(trimmed) => format!("trimmed through t{}", trimmed.through),
        Kind::PeerInvited(invited) => format!("invited by t{}", invited.invitation_id),
        Kind::ReplicasChanged(changed) if changed.record_id == 0 => "it was so".to_owned(),
        Kind::ReplicasChanged(changed) => format!("changed by t{}", changed.record_id),
        Kind::Done(_) => "done".to_owned(),
        Kind::ForumAudited(audited) => format!("marked at t{}", audited.record_id),
    }
}

/// What became of invitations is told apart.
fn shown(event: &Event) -> Option<String> {
    Some(match event {
        Event::RecordAppended(record) => format!("{record:?}"),
        Event::ForumOpened(id) => format!("{id} opened"),
        Event::ForumClosed(id) => format!("{id} closed"),
        Event::PeerRegistered(id) => format!("{id} registered"),
        Event::ReplicasChanged { forum, left } if left.is_empty() => format!("{forum} is held differently"),
        Event::ReplicasChanged { forum, left } => format!("{forum} is held differently, {left:?} left"),
        Event::PeerStateChanged(id) => format!("{id} is to be used differently"),
        Event::Trimmed { through } => format!("trimmed through t{through}"),
        Event::InvitationChanged(_) => return None,
    })
}
