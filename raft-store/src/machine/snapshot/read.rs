//! Reads frames back into a state. Trusts nothing: each id is checked, each count ends where the bytes end.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use loop_proto::{
    breakage::{self, Breakage},
    ids::{ForumEpoch, ForumId, ForumKey, HubTime, MessageId, PeerId, RequestId, TaskId},
    v1,
};
use prost::Message;

use super::{
    super::{
        attendance::Attendance,
        content::ContentFile,
        forum::{Forum, Forums},
        invitations::{Invitation, InvitationStatus, Invitations},
        occupancy::Occupancy,
        open_messages::OpenMessage,
        peers::{Breach, Peer, PeerState, Peers},
        receipts::{Made, SeenAnswer},
        record::Record,
        replica::{JoinStage, Replica, ReplicaRole},
        sessions::{Session, SessionId},
        state::HubState,
        tasks::Tasks,
    },
    error::BadSnapshot,
    wire::{
        AnsweredFrame, AttendanceFrame, ForumFrame, Head, InvitationFrame, MadeFrame, OpenFrame,
        OpenMessageFrame, PeerFrame, ProposalFrame, ReplicaFrame, RoleFrame, SessionFrame,
    },
};

type Read<T> = Result<T, BadSnapshot>;

/// The frames that are left.
struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    fn bytes(&mut self) -> Read<&'a [u8]> {
        let len = prost::decode_length_delimiter(&mut self.rest).map_err(|_| bad("a frame is cut off"))?;
        if len > self.rest.len() {
            return Err(bad("a frame is cut off"));
        }
        let (frame, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(frame)
    }

    fn message<M: Message + Default>(&mut self) -> Read<M> {
        M::decode(self.bytes()?).map_err(|_| bad("a frame cannot be read"))
    }

    /// Records keep a copy of their own bytes, or one of them would keep the whole snapshot in memory.
    fn record(&mut self) -> Read<Arc<Record>> {
        let bytes = Bytes::copy_from_slice(self.bytes()?);
        Record::decode(bytes).map_err(|_| bad("a record cannot be read"))
    }
}

/// Reads all frames. The state's invariants are the caller's to check.
pub(super) fn state(bytes: &[u8]) -> Read<HubState> {
    let mut frames = Frames { rest: bytes };
    let head: Head = frames.message()?;
    let mut state = HubState::new((&head.bounds).into());
    state.now = HubTime(head.now_ms);
    state.skipped_ms = head.skipped_ms;
    state.next_message = head.next_message;
    state.next_user = head.next_user;
    state.directory_newest = head.directory_newest;
    state.kept_through = head.kept_through;
    state.tasks = Tasks::after(head.trimmed_through);
    read_peers(&mut frames, head.peers, &mut state.peers)?;
    read_forums(&mut frames, &head, &mut state.forums)?;
    read_invitations(&mut frames, &head, &mut state.invitations)?;
    read_tasks(&mut frames, &head, &mut state)?;
    read_receipts(&mut frames, &head, &mut state)?;
    for _ in 0..head.sessions {
        read_session(frames.message()?, &mut state)?;
    }
    if state.sessions.len() as u64 != head.sessions {
        return Err(bad("a session is kept twice"));
    }
    for _ in 0..head.open_messages {
        read_open_message(frames.message()?, &mut state)?;
    }
    let lapsed = state.open_messages.lapsed().count();
    if (state.open_messages.len() + lapsed) as u64 != head.open_messages {
        return Err(bad("an unfinished message is listed twice"));
    }
    for _ in 0..head.content_files {
        let entry: v1::ContentEntry = frames.message()?;
        let file = ContentFile::of_wire(&entry).map_err(|_| bad("a published file"))?;
        state.manifest.put(entry.path, file);
    }
    if state.manifest.len() as u64 != head.content_files {
        return Err(bad("a published file is listed twice"));
    }
    if !frames.rest.is_empty() {
        return Err(bad("bytes follow the last frame"));
    }
    Ok(state)
}

fn read_peers(frames: &mut Frames<'_>, count: u64, peers: &mut Peers) -> Read<()> {
    for _ in 0..count {
        let frame: PeerFrame = frames.message()?;
        let id = PeerId::new(frame.id).filter(|id| Some(*id) == peers.next_id());
        peers.store(Peer {
            id: id.ok_or(bad("a peer id is out of order"))?,
            name: frame.name,
            secret_hash: frame.secret_hash.as_ref().try_into().map_err(|_| bad("a secret's hash"))?,
            owner: frame.owner,
            network: frame.network,
            registered_at: HubTime(frame.registered_at_ms),
            state: peer_state(frame.state)?,
            attendance: attendance(&frame.attendance),
            doubted_at: frame.doubted_at_ms.map(HubTime),
            breach: frame.breach.map(|frame| Breach {
                count: frame.count,
                rule: frame.rule,
                at: HubTime(frame.at_ms),
            }),
        });
    }
    Ok(())
}

fn read_forums(frames: &mut Frames<'_>, head: &Head, forums: &mut Forums) -> Read<()> {
    for _ in 0..head.forums {
        let frame: ForumFrame = frames.message()?;
        let id = ForumId::new(frame.id).filter(|id| u64::from(id.get()) >= forums.next_id());
        let forum = Forum {
            id: id.ok_or(bad("a forum's id is out of order"))?,
            key: ForumKey::from_bytes(&frame.key).ok_or(bad("a forum's key"))?,
            epoch: ForumEpoch(frame.epoch),
            primary: PeerId::new(frame.primary).ok_or(bad("a forum's primary"))?,
            replicas: frame.replicas.iter().map(read_replica).collect::<Read<_>>()?,
            newest_record: frame.newest_record,
            open_tasks: Default::default(),
            tasks_appended: frame.tasks_appended,
            opened_at: HubTime(frame.opened_at_ms),
            replicas_wanted: frame.replicas_wanted,
            occupancy: read_occupancy(&frame)?,
        };
        forums.push(forum);
    }
    if head.next_forum < forums.next_id() {
        return Err(bad("the next forum's id was given out before"));
    }
    forums.go_on_from(head.next_forum);
    Ok(())
}

fn read_occupancy(frame: &ForumFrame) -> Read<Occupancy> {
    let finished: Option<BTreeSet<MessageId>> = frame.messages.iter().map(|id| MessageId::new(*id)).collect();
    let finished = finished.ok_or(bad("a forum's message"))?;
    Ok(Occupancy {
        finished_ever: frame.messages_ever,
        finished: (!frame.many_messages).then_some(finished),
        unfinished: 0,
        empty_since: frame.empty_since_ms.map(HubTime),
    })
}

fn attendance(frame: &AttendanceFrame) -> Attendance {
    Attendance {
        connected: frame.connected,
        since: HubTime(frame.since_ms),
        present_ms: frame.present_ms,
        absent_ms: frame.absent_ms,
        absence_ms: frame.absence_ms,
    }
}

fn peer_state(raw: i32) -> Read<PeerState> {
    let wire = v1::PeerState::try_from(raw).map_err(|_| bad("a peer's state"))?;
    Ok(PeerState::of_wire(wire).unwrap_or_default())
}

fn read_replica(frame: &ReplicaFrame) -> Read<Replica> {
    let role = match frame.role.as_ref().ok_or(bad("a replica's role"))? {
        RoleFrame::Serving(since) => ReplicaRole::Serving { since: ForumEpoch(*since) },
        RoleFrame::Joining(joining) => ReplicaRole::Joining {
            invitation: TaskId::new(joining.invitation_id).ok_or(bad("a replica's invitation"))?,
            source: PeerId::new(joining.source).ok_or(bad("a replica's source"))?,
            stage: JoinStage::of_wire(joining.stage()).ok_or(bad("a replica's stage"))?,
        },
        RoleFrame::Draining(draining) => ReplicaRole::Draining {
            since_record: TaskId::new(draining.since_record).ok_or(bad("a replica's cut-over"))?,
            successor: PeerId::new(draining.successor).ok_or(bad("a replica's successor"))?,
        },
    };
    let may_be_confirmed = !frame.unconfirmed && !matches!(role, ReplicaRole::Joining { .. });
    Ok(Replica {
        peer: PeerId::new(frame.peer).ok_or(bad("a replica's peer"))?,
        role,
        confirmed_at: may_be_confirmed.then_some(HubTime(frame.confirmed_at_ms)),
    })
}

fn read_invitations(frames: &mut Frames<'_>, head: &Head, invitations: &mut Invitations) -> Read<()> {
    for _ in 0..head.invitations_open {
        invitations.store(read_invitation(frames.message()?)?, u64::MAX);
    }
    for _ in 0..head.invitations_ended {
        invitations.store(read_invitation(frames.message()?)?, u64::MAX);
    }
    let held = (invitations.open_len() as u64, invitations.ended_len() as u64);
    if held != (head.invitations_open, head.invitations_ended) {
        return Err(bad("the invitations are not as many as announced"));
    }
    Ok(())
}

fn read_invitation(frame: InvitationFrame) -> Read<Invitation> {
    let peer = |raw| PeerId::new(raw).ok_or(bad("an invitation's peer"));
    let status = v1::InvitationStatus::try_from(frame.status).ok().and_then(InvitationStatus::of_wire);
    Ok(Invitation {
        id: TaskId::new(frame.id).ok_or(bad("an invitation's id"))?,
        forum: ForumId::new(frame.forum).ok_or(bad("an invitation's forum"))?,
        source: peer(frame.source)?,
        target: peer(frame.target)?,
        replaces: PeerId::new(frame.replaces),
        cause: frame.cause.try_into().map_err(|_| bad("an invitation's cause"))?,
        status: status.ok_or(bad("an invitation's status"))?,
        reason: frame.reason.try_into().map_err(|_| bad("an invitation's reason"))?,
        invited_at: HubTime(frame.invited_at_ms),
        changed_at: HubTime(frame.changed_at_ms),
        cut_over_at: TaskId::new(frame.cut_over_at),
    })
}

fn read_tasks(frames: &mut Frames<'_>, head: &Head, state: &mut HubState) -> Read<()> {
    for _ in 0..head.trimmed_tasks {
        let record = frames.record()?;
        if record.id.get() > head.trimmed_through {
            return Err(bad("a trimmed task lies in the log"));
        }
        open(state, record)?;
    }
    for _ in 0..head.records {
        let record = frames.record()?;
        if Some(record.id) != state.tasks.next_id() {
            return Err(bad("the log is not dense"));
        }
        state.tasks.push_closed(record);
    }
    for _ in 0..head.open_records {
        let frame: OpenFrame = frames.message()?;
        for id in frame.tasks {
            let record = TaskId::new(id).and_then(|id| state.tasks.record(id)).cloned();
            open(state, record.ok_or(bad("an open task is not in the log"))?)?;
        }
    }
    Ok(())
}

/// Opens a task again, in every place that follows from its being open.
fn open(state: &mut HubState, record: Arc<Record>) -> Read<()> {
    let task = record.task().ok_or(bad("an open task is no task"))?;
    let forum = record.forum.ok_or(bad("an open task has no forum"))?;
    if state.receipts.request(task.request_id).is_some() {
        return Err(bad("a request is open twice"));
    }
    state.receipts.open(task.request_id, record.id, forum, task.message_id);
    let forum = state.forums.get_mut(forum).ok_or(bad("an open task's forum is unknown"))?;
    forum.open_tasks.insert(record.id);
    if let Some(message) = task.open_message {
        state.open_messages.begin_waiting(message);
    }
    state.tasks.open(record);
    Ok(())
}

fn read_receipts(frames: &mut Frames<'_>, head: &Head, state: &mut HubState) -> Read<()> {
    for _ in 0..head.answered {
        let frame: AnsweredFrame = frames.message()?;
        let request = RequestId::from_bytes(&frame.request).ok_or(bad("a request id"))?;
        if state.receipts.request(request).is_some() {
            return Err(bad("a request was seen twice"));
        }
        let message = match frame.message {
            None => None,
            Some(raw) => Some(MessageId::new(raw).ok_or(bad("a receipt's message"))?),
        };
        let task = TaskId::new(frame.task).ok_or(bad("a receipt's task"))?;
        let forum = ForumId::new(frame.forum).ok_or(bad("a receipt's forum"))?;
        let answer = SeenAnswer {
            peer: PeerId::new(frame.peer).ok_or(bad("a receipt's peer"))?,
            record: TaskId::new(frame.record).ok_or(bad("a receipt's record"))?,
            proposal: RequestId::from_bytes(&frame.proposal).ok_or(bad("a receipt's proposal"))?,
            at: HubTime(frame.at_ms),
            receipt: Arc::new(frame.receipt),
        };
        if !breakage::is_on(Breakage::SnapshotForgetsRequests) {
            state.receipts.open(request, task, forum, message);
            state.receipts.answer(request, answer);
        }
    }
    for _ in 0..head.proposals {
        let frame: ProposalFrame = frames.message()?;
        let made = made(&frame)?;
        let id = RequestId::from_bytes(&frame.id).ok_or(bad("a proposal's id"))?;
        state.receipts.remember(HubTime(frame.at_ms), id, made);
    }
    if state.receipts.proposals_len() as u64 != head.proposals {
        return Err(bad("a proposal is remembered twice"));
    }
    Ok(())
}

fn made(frame: &ProposalFrame) -> Read<Made> {
    let forum = || ForumId::new(frame.subject).ok_or(bad("a proposal's forum"));
    Ok(match frame.made.as_ref().ok_or(bad("a proposal's outcome"))? {
        MadeFrame::Move(epoch) => Made::Move { forum: forum()?, epoch: ForumEpoch(*epoch) },
        MadeFrame::Invited(id) => {
            let invitation = TaskId::new(*id).ok_or(bad("a proposal's invitation"))?;
            Made::Invited { forum: forum()?, invitation }
        }
        MadeFrame::Restarted(record) => Made::Restarted { forum: forum()?, record: *record },
        MadeFrame::Audited(record) => Made::Audited { forum: forum()?, record: *record },
    })
}

fn read_session(frame: SessionFrame, state: &mut HubState) -> Read<()> {
    let id = SessionId::parse(&frame.record.id).ok_or(bad("a session id"))?;
    let session = Session { record: Arc::new(frame.record), stored_at: HubTime(frame.stored_at_ms) };
    let bounds = state.bounds;
    state.sessions.store(id, session, &bounds);
    Ok(())
}

fn read_open_message(frame: OpenMessageFrame, state: &mut HubState) -> Read<()> {
    let id = MessageId::new(frame.id).ok_or(bad("an unfinished message's id"))?;
    let message = OpenMessage {
        forum: ForumId::new(frame.forum).ok_or(bad("an unfinished message's forum"))?,
        author: frame.author,
        address: frame.address,
        at: HubTime(frame.at_ms),
    };
    match frame.lapsed {
        true => state.open_messages.put_lapsed(id, message),
        false => {
            let forum = state.forums.get_mut(message.forum);
            forum.ok_or(bad("an unfinished message is of no forum"))?.occupancy.unfinished += 1;
            state.open_messages.put(id, message);
        }
    }
    Ok(())
}

const fn bad(what: &'static str) -> BadSnapshot {
    BadSnapshot::Content(what)
}
