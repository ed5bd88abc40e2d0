//! The frames of a snapshot: their messages, and writing them. Field numbers are for ever.

use bytes::Bytes;
use loop_proto::{
    ids::{HubTime, MessageId, PeerId, RequestId, TaskId},
    v1,
};
use prost::Message;

use super::super::{
    attendance::Attendance,
    bounds::Bounds,
    content::ContentFile,
    forum::Forum,
    invitations::Invitation,
    open_messages::OpenMessage,
    peers::Peer,
    receipts::{Made, SeenAnswer, SeenRequest},
    record::Record,
    replica::{Replica, ReplicaRole},
    sessions::Session,
    state::HubState,
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Head {
    #[prost(message, required, tag = "1")]
    pub bounds: BoundsFrame,
    #[prost(uint64, tag = "2")]
    pub now_ms: u64,
    #[prost(uint64, tag = "3")]
    pub next_message: u64,
    #[prost(uint64, tag = "4")]
    pub next_user: u64,
    #[prost(uint64, tag = "5")]
    pub directory_newest: u64,
    #[prost(uint64, tag = "6")]
    pub trimmed_through: u64,
    #[prost(uint64, tag = "7")]
    pub peers: u64,
    #[prost(uint64, tag = "8")]
    pub forums: u64,
    /// Open tasks at or below the trim point.
    #[prost(uint64, tag = "9")]
    pub trimmed_tasks: u64,
    #[prost(uint64, tag = "10")]
    pub records: u64,
    /// Ids of the records that are open tasks follow the records, packed.
    #[prost(uint64, tag = "11")]
    pub open_records: u64,
    #[prost(uint64, tag = "12")]
    pub answered: u64,
    #[prost(uint64, tag = "13")]
    pub proposals: u64,
    #[prost(uint64, tag = "14")]
    pub sessions: u64,
    #[prost(uint64, tag = "15")]
    pub kept_through: u64,
    #[prost(uint64, tag = "16")]
    pub invitations_open: u64,
    #[prost(uint64, tag = "17")]
    pub invitations_ended: u64,
    #[prost(uint64, tag = "18")]
    pub skipped_ms: u64,
    #[prost(uint64, tag = "19")]
    pub open_messages: u64,
    #[prost(uint64, tag = "20")]
    pub next_forum: u64,
    #[prost(uint64, tag = "21")]
    pub content_files: u64,
}

macro_rules! bounds_frame {
    ($($tag:literal $field:ident: $kind:ident as $repr:ty),* $(,)?) => {
        /// [`Bounds`], field by field.
        #[derive(Clone, PartialEq, Message)]
        pub(super) struct BoundsFrame {
            $(#[prost($kind, tag = $tag)] pub $field: $repr,)*
        }

        impl From<&Bounds> for BoundsFrame {
            fn from(bounds: &Bounds) -> Self {
                Self { $($field: bounds.$field,)* }
            }
        }

        impl From<&BoundsFrame> for Bounds {
            fn from(frame: &BoundsFrame) -> Self {
                Self { $($field: frame.$field,)* }
            }
        }
    };
}

bounds_frame! {
    "1" forums_max: uint64 as u64,
    "2" peers_max: uint64 as u64,
    "3" replicas_max: uint64 as u64,
    "4" open_tasks_max: uint64 as u64,
    "5" open_tasks_per_forum_max: uint64 as u64,
    "6" open_tasks_bytes_max: uint64 as u64,
    "7" request_bytes_max: uint64 as u64,
    "8" facts_bytes_max: uint64 as u64,
    "9" records_max: uint64 as u64,
    "10" records_bytes_max: uint64 as u64,
    "11" receipts_max: uint64 as u64,
    "12" receipts_bytes_max: uint64 as u64,
    "13" receipt_age_ms: uint64 as u64,
    "14" proposals_max: uint64 as u64,
    "15" proposal_age_ms: uint64 as u64,
    "16" sessions_max: uint64 as u64,
    "17" sessions_bytes_max: uint64 as u64,
    "19" session_age_ms: uint64 as u64,
    "22" message_id_first: uint32 as u32,
    "23" message_id_max: uint32 as u32,
    "24" user_id_first: uint32 as u32,
    "25" user_id_max: uint32 as u32,
    "26" forum_id_first: uint32 as u32,
    "27" invitations_open_max: uint64 as u64,
    "28" invitations_kept: uint64 as u64,
    "29" open_messages_max: uint64 as u64,
    "30" open_message_age_ms: uint64 as u64,
    "31" suspension_ms: uint64 as u64,
    "32" empty_forum_age_ms: uint64 as u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PeerFrame {
    #[prost(uint32, tag = "1")]
    pub id: u32,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub secret_hash: Bytes,
    #[prost(string, tag = "4")]
    pub owner: String,
    #[prost(string, tag = "5")]
    pub network: String,
    #[prost(uint64, tag = "6")]
    pub registered_at_ms: u64,
    /// A [`v1::PeerState`].
    #[prost(int32, tag = "7")]
    pub state: i32,
    #[prost(message, required, tag = "8")]
    pub attendance: AttendanceFrame,
    #[prost(uint64, optional, tag = "9")]
    pub doubted_at_ms: Option<u64>,
    #[prost(message, optional, tag = "10")]
    pub breach: Option<BreachFrame>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BreachFrame {
    #[prost(uint32, tag = "1")]
    pub count: u32,
    #[prost(uint32, tag = "2")]
    pub rule: u32,
    #[prost(uint64, tag = "3")]
    pub at_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AttendanceFrame {
    #[prost(bool, tag = "1")]
    pub connected: bool,
    #[prost(uint64, tag = "2")]
    pub since_ms: u64,
    #[prost(uint64, tag = "3")]
    pub present_ms: u64,
    #[prost(uint64, tag = "4")]
    pub absent_ms: u64,
    #[prost(uint64, tag = "5")]
    pub absence_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ForumFrame {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(uint32, tag = "3")]
    pub primary: u32,
    #[prost(message, repeated, tag = "4")]
    pub replicas: Vec<ReplicaFrame>,
    #[prost(uint64, tag = "5")]
    pub newest_record: u64,
    #[prost(uint64, tag = "6")]
    pub tasks_appended: u64,
    #[prost(uint64, tag = "7")]
    pub opened_at_ms: u64,
    #[prost(uint32, optional, tag = "8")]
    pub replicas_wanted: Option<u32>,
    #[prost(uint32, tag = "9")]
    pub id: u32,
    #[prost(uint64, tag = "11")]
    pub messages_ever: u64,
    /// The finished messages, while there never were many.
    #[prost(uint32, repeated, tag = "12")]
    pub messages: Vec<u32>,
    /// There were too many at once to list them.
    #[prost(bool, tag = "13")]
    pub many_messages: bool,
    #[prost(uint64, optional, tag = "14")]
    pub empty_since_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReplicaFrame {
    #[prost(uint32, tag = "1")]
    pub peer: u32,
    #[prost(oneof = "RoleFrame", tags = "2, 3, 4")]
    pub role: Option<RoleFrame>,
    #[prost(bool, tag = "5")]
    pub unconfirmed: bool,
    #[prost(uint64, tag = "6")]
    pub confirmed_at_ms: u64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum RoleFrame {
    /// The epoch it was admitted under.
    #[prost(uint64, tag = "2")]
    Serving(u64),
    /// Its `peer_id` is left out: the replica has it.
    #[prost(message, tag = "3")]
    Joining(v1::JoiningReplica),
    #[prost(message, tag = "4")]
    Draining(DrainingFrame),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct DrainingFrame {
    #[prost(uint64, tag = "1")]
    pub since_record: u64,
    #[prost(uint32, tag = "2")]
    pub successor: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct InvitationFrame {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint32, tag = "2")]
    pub forum: u32,
    #[prost(uint32, tag = "3")]
    pub source: u32,
    #[prost(uint32, tag = "4")]
    pub target: u32,
    /// 0: none.
    #[prost(uint32, tag = "5")]
    pub replaces: u32,
    /// A [`v1::InvitationCause`].
    #[prost(int32, tag = "6")]
    pub cause: i32,
    /// A [`v1::InvitationStatus`].
    #[prost(int32, tag = "7")]
    pub status: i32,
    /// A [`v1::RejectReason`].
    #[prost(int32, tag = "8")]
    pub reason: i32,
    #[prost(uint64, tag = "9")]
    pub invited_at_ms: u64,
    #[prost(uint64, tag = "10")]
    pub changed_at_ms: u64,
    /// 0: none.
    #[prost(uint64, tag = "11")]
    pub cut_over_at: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OpenFrame {
    #[prost(uint64, repeated, tag = "1")]
    pub tasks: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnsweredFrame {
    #[prost(bytes = "bytes", tag = "1")]
    pub request: Bytes,
    #[prost(uint64, tag = "2")]
    pub task: u64,
    #[prost(uint32, tag = "3")]
    pub forum: u32,
    #[prost(uint32, optional, tag = "4")]
    pub message: Option<u32>,
    #[prost(uint32, tag = "5")]
    pub peer: u32,
    #[prost(uint64, tag = "6")]
    pub record: u64,
    #[prost(bytes = "bytes", tag = "7")]
    pub proposal: Bytes,
    #[prost(uint64, tag = "8")]
    pub at_ms: u64,
    #[prost(message, required, tag = "9")]
    pub receipt: v1::Receipt,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ProposalFrame {
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    #[prost(uint64, tag = "2")]
    pub at_ms: u64,
    /// The forum.
    #[prost(uint32, tag = "3")]
    pub subject: u32,
    #[prost(oneof = "MadeFrame", tags = "6, 7, 8, 9")]
    pub made: Option<MadeFrame>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum MadeFrame {
    #[prost(uint64, tag = "6")]
    Move(u64),
    #[prost(uint64, tag = "7")]
    Invited(u64),
    #[prost(uint64, tag = "8")]
    Restarted(u64),
    #[prost(uint64, tag = "9")]
    Audited(u64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SessionFrame {
    #[prost(uint64, tag = "1")]
    pub stored_at_ms: u64,
    #[prost(message, required, tag = "2")]
    pub record: v1::SessionRecord,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OpenMessageFrame {
    #[prost(uint32, tag = "1")]
    pub id: u32,
    #[prost(uint32, tag = "2")]
    pub forum: u32,
    #[prost(uint32, optional, tag = "3")]
    pub author: Option<u32>,
    #[prost(string, tag = "4")]
    pub address: String,
    #[prost(uint64, tag = "5")]
    pub at_ms: u64,
    /// Nobody came back to it in time.
    #[prost(bool, tag = "6")]
    pub lapsed: bool,
}

/// One frame, not yet encoded.
pub(super) enum Frame<'a> {
    Head(Box<Head>),
    Peer(&'a Peer),
    Forum(&'a Forum),
    Invitation(&'a Invitation),
    Record(&'a Record),
    Open(OpenFrame),
    Answered(RequestId, &'a SeenRequest, &'a SeenAnswer),
    Proposal(HubTime, RequestId, Made),
    Session(&'a Session),
    OpenMessage(MessageId, &'a OpenMessage, bool),
    Content(&'a str, &'a ContentFile),
}

/// How many open tasks one [`OpenFrame`] lists at most.
const OPEN_PER_FRAME: usize = 4096;

/// All frames of a state, in the order they are read.
pub(super) fn frames(state: &HubState) -> impl Iterator<Item = Frame<'_>> {
    let trimmed_through = state.trimmed_through();
    let trimmed = state.open_tasks().take_while(move |record| record.id.get() <= trimmed_through);
    let open: Vec<u64> =
        state.open_tasks().map(|record| record.id.get()).filter(|id| *id > trimmed_through).collect();
    let open: Vec<OpenFrame> =
        open.chunks(OPEN_PER_FRAME).map(|tasks| OpenFrame { tasks: tasks.to_vec() }).collect();
    std::iter::once(Frame::Head(Box::new(head(state, open.len() as u64))))
        .chain(state.peers().map(Frame::Peer))
        .chain(state.forums().map(Frame::Forum))
        .chain(state.open_invitations().map(Frame::Invitation))
        .chain(state.invitations.ended().map(Frame::Invitation))
        .chain(trimmed.map(|record| Frame::Record(record)))
        .chain(state.records_after(0).map(|record| Frame::Record(record)))
        .chain(open.into_iter().map(Frame::Open))
        .chain(state.receipts.answered().map(|(id, seen, answer)| Frame::Answered(id, seen, answer)))
        .chain(state.receipts.proposals().map(|(at, id, made)| Frame::Proposal(at, id, made)))
        .chain(state.sessions.iter().map(Frame::Session))
        .chain(state.open_messages.iter().map(|(id, message)| Frame::OpenMessage(id, message, false)))
        .chain(state.open_messages.lapsed().map(|(id, message)| Frame::OpenMessage(id, message, true)))
        .chain(state.manifest.after("").map(|(path, file)| Frame::Content(path, file)))
}

/// About how many bytes the frames take.
pub(super) fn size_hint(state: &HubState) -> usize {
    let counts = state.counts();
    let bytes = counts.records_bytes + counts.sessions_bytes + counts.receipts_bytes;
    usize::try_from(bytes).unwrap_or(0)
        + counts.forums * 64
        + counts.peers * 128
        + counts.open_messages * 64
        + counts.content_files * 128
        + 1024
}

fn head(state: &HubState, open_records: u64) -> Head {
    let trimmed = |record: &&std::sync::Arc<Record>| record.id.get() <= state.trimmed_through();
    let counts = state.counts();
    Head {
        bounds: (&state.bounds).into(),
        now_ms: state.now.0,
        next_message: state.next_message,
        next_user: state.next_user,
        directory_newest: state.directory_newest,
        trimmed_through: state.trimmed_through(),
        peers: counts.peers as u64,
        forums: counts.forums as u64,
        trimmed_tasks: state.open_tasks().take_while(trimmed).count() as u64,
        records: counts.records as u64,
        open_records,
        answered: counts.receipts as u64,
        proposals: counts.proposals as u64,
        sessions: counts.sessions as u64,
        kept_through: state.kept_through,
        invitations_open: counts.invitations_open as u64,
        invitations_ended: counts.invitations_ended as u64,
        skipped_ms: state.skipped_ms,
        open_messages: (counts.open_messages + state.open_messages.lapsed().count()) as u64,
        next_forum: state.forums.next_id(),
        content_files: counts.content_files as u64,
    }
}

impl Frame<'_> {
    /// Appends the frame with its length.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Head(head) => put(head.as_ref(), out),
            Self::Peer(peer) => put(&peer_frame(peer), out),
            Self::Forum(forum) => put(&forum_frame(forum), out),
            Self::Invitation(invitation) => put(&invitation_frame(invitation), out),
            Self::Record(record) => put_bytes(&record.encoded, out),
            Self::Open(open) => put(open, out),
            Self::Answered(id, seen, answer) => put(&answered_frame(*id, seen, answer), out),
            Self::Proposal(at, id, made) => put(&proposal_frame(*at, *id, *made), out),
            Self::Session(session) => put(
                &SessionFrame { stored_at_ms: session.stored_at.0, record: session.record.as_ref().clone() },
                out,
            ),
            Self::OpenMessage(id, message, lapsed) => put(&open_message_frame(*id, message, *lapsed), out),
            Self::Content(path, file) => put(&file.to_wire(path), out),
        }
    }
}

fn peer_frame(peer: &Peer) -> PeerFrame {
    PeerFrame {
        id: peer.id.get(),
        name: peer.name.clone(),
        secret_hash: Bytes::copy_from_slice(&peer.secret_hash),
        owner: peer.owner.clone(),
        network: peer.network.clone(),
        registered_at_ms: peer.registered_at.0,
        state: v1::PeerState::from(peer.state).into(),
        attendance: attendance_frame(&peer.attendance),
        doubted_at_ms: peer.doubted_at.map(|at| at.0),
        breach: peer.breach.map(|breach| BreachFrame {
            count: breach.count,
            rule: breach.rule,
            at_ms: breach.at.0,
        }),
    }
}

fn attendance_frame(attendance: &Attendance) -> AttendanceFrame {
    AttendanceFrame {
        connected: attendance.connected,
        since_ms: attendance.since.0,
        present_ms: attendance.present_ms,
        absent_ms: attendance.absent_ms,
        absence_ms: attendance.absence_ms,
    }
}

fn forum_frame(forum: &Forum) -> ForumFrame {
    ForumFrame {
        key: Bytes::copy_from_slice(&forum.key.0),
        epoch: forum.epoch.0,
        primary: forum.primary.get(),
        replicas: forum.replicas.iter().map(replica_frame).collect(),
        newest_record: forum.newest_record,
        tasks_appended: forum.tasks_appended,
        opened_at_ms: forum.opened_at.0,
        replicas_wanted: forum.replicas_wanted,
        id: forum.id.get(),
        messages_ever: forum.occupancy.finished_ever,
        messages: forum.occupancy.finished.iter().flatten().map(|id| id.get()).collect(),
        many_messages: forum.occupancy.finished.is_none(),
        empty_since_ms: forum.occupancy.empty_since.map(|at| at.0),
    }
}

fn replica_frame(replica: &Replica) -> ReplicaFrame {
    let role = match replica.role {
        ReplicaRole::Serving { since } => RoleFrame::Serving(since.0),
        ReplicaRole::Joining { invitation, source, stage } => RoleFrame::Joining(v1::JoiningReplica {
            peer_id: 0,
            invitation_id: invitation.get(),
            source: source.get(),
            stage: v1::JoinStage::from(stage).into(),
        }),
        ReplicaRole::Draining { since_record, successor } => RoleFrame::Draining(DrainingFrame {
            since_record: since_record.get(),
            successor: successor.get(),
        }),
    };
    ReplicaFrame {
        peer: replica.peer.get(),
        role: Some(role),
        unconfirmed: replica.confirmed_at.is_none(),
        confirmed_at_ms: replica.confirmed_at.map_or(0, |at| at.0),
    }
}

fn invitation_frame(invitation: &Invitation) -> InvitationFrame {
    InvitationFrame {
        id: invitation.id.get(),
        forum: invitation.forum.get(),
        source: invitation.source.get(),
        target: invitation.target.get(),
        replaces: invitation.replaces.map_or(0, PeerId::get),
        cause: invitation.cause.into(),
        status: v1::InvitationStatus::from(invitation.status).into(),
        reason: invitation.reason.into(),
        invited_at_ms: invitation.invited_at.0,
        changed_at_ms: invitation.changed_at.0,
        cut_over_at: invitation.cut_over_at.map_or(0, TaskId::get),
    }
}

fn answered_frame(id: RequestId, seen: &SeenRequest, answer: &SeenAnswer) -> AnsweredFrame {
    AnsweredFrame {
        request: Bytes::copy_from_slice(&id.0),
        task: seen.task.get(),
        forum: seen.forum.get(),
        message: seen.message.map(|id| id.get()),
        peer: answer.peer.get(),
        record: answer.record.get(),
        proposal: Bytes::copy_from_slice(&answer.proposal.0),
        at_ms: answer.at.0,
        receipt: v1::Receipt::clone(&answer.receipt),
    }
}

fn proposal_frame(at: HubTime, id: RequestId, made: Made) -> ProposalFrame {
    let (subject, made) = match made {
        Made::Move { forum, epoch } => (forum.get(), MadeFrame::Move(epoch.0)),
        Made::Invited { forum, invitation } => (forum.get(), MadeFrame::Invited(invitation.get())),
        Made::Restarted { forum, record } => (forum.get(), MadeFrame::Restarted(record)),
        Made::Audited { forum, record } => (forum.get(), MadeFrame::Audited(record)),
    };
    ProposalFrame { id: Bytes::copy_from_slice(&id.0), at_ms: at.0, subject, made: Some(made) }
}

fn open_message_frame(id: MessageId, message: &OpenMessage, lapsed: bool) -> OpenMessageFrame {
    OpenMessageFrame {
        id: id.get(),
        forum: message.forum.get(),
        author: message.author,
        address: message.address.clone(),
        at_ms: message.at.0,
        lapsed,
    }
}

fn put(message: &impl Message, out: &mut Vec<u8>) {
    // A Vec grows as needed, so the only error prost knows here cannot happen.
    message.encode_length_delimited(out).expect("a Vec has room");
}

fn put_bytes(message: &[u8], out: &mut Vec<u8>) {
    prost::encode_length_delimiter(message.len(), out).expect("a Vec has room");
    out.extend_from_slice(message);
}
