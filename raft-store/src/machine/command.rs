//! What may be proposed: the log's commands, typed. The only reader of [`v1::Command`].
//!
//! Checks what can be checked without the state (lengths, ids that exist at all, characters). The maxima here belong
//! to the log's format: all versions must agree on them. Maxima an operator chooses are [`super::Bounds`].

use std::collections::BTreeMap;

use bytes::Bytes;
use loop_atomjump::{DEGREES_CHARS_MAX, NAME_CHARS_MAX, new_rows::TITLE_CHARS_MAX};
use loop_proto::{
    content::{self, FILES_PER_COMMAND_MAX},
    ids::{ForumEpoch, ForumId, ForumKey, HubTime, MessageId, PeerId, RequestId, TaskId},
    v1,
};

use super::{
    content::ContentFile,
    invitations::{Cause, InvitationStatus},
    peers::PeerState,
    sessions::SessionId,
};

/// Longest label (name, owner, network) of a peer, bytes.
pub const LABEL_BYTES_MAX: usize = 256;
/// Most peer ids in one command.
pub const REPLICAS_LISTED_MAX: usize = 64;
/// Most peers whose presence one command notes.
pub const PRESENCE_LISTED_MAX: usize = 256;
/// Longest text of a receipt, bytes. A receipt echoes `msg_id`, which PHP does not bound and our shim does.
pub const RECEIPT_TEXT_BYTES_MAX: usize = 64 << 10;

/// A command with what the leader stamped on it.
#[derive(Clone)]
pub struct Stamped {
    /// The leader's time.
    pub at: HubTime,
    /// Names this proposal: the same id again is the same command.
    pub request: RequestId,
    /// What is asked.
    pub command: Command,
}

/// What may be asked of the hub group. Fields are those of the messages in `log.proto`.
#[derive(Clone)]
#[allow(missing_docs)] // log.proto describes each command.
pub enum Command {
    OpenForum(OpenForum),
    AppendTask(AppendTask),
    AnswerTask(AnswerTask),
    RegisterPeer(RegisterPeer),
    MovePrimary { forum: ForumId, to: PeerId, expected_epoch: ForumEpoch },
    TrimTasks { through: u64, kept_through: u64 },
    InvitePeer(InvitePeer),
    AnswerInvitation(AnswerInvitation),
    SeedReplica { forum: ForumId, invitation: TaskId, peer: PeerId, cursor: u64 },
    CutOver { forum: ForumId, invitation: TaskId, caught_up_through: u64 },
    CloseInvitation(CloseInvitation),
    RemoveReplica(RemoveReplica),
    RestartReplica { forum: ForumId, peer: PeerId },
    SetForumReplicas { forum: ForumId, replicas: u32 },
    SetPeerState { peer: PeerId, state: PeerState },
    AuditForum { forum: ForumId },
    NotePresence(Vec<(PeerId, bool)>),
    NoteBreach { peer: PeerId, rule: u32 },
    ConfirmReplica { forum: ForumId, peer: PeerId, audit: Option<TaskId> },
    ReinstateReplica { forum: ForumId, peer: PeerId },
    CloseForum { forum: ForumId, forced: bool },
    PublishContent(BTreeMap<String, ContentFile>),
    RemoveContent(Vec<String>),
}

/// Gives a forum its id, its replicas and its row.
#[derive(Clone)]
pub struct OpenForum {
    /// Stands for the forum's name.
    pub key: ForumKey,
    /// Who shall hold it; the first is the primary.
    pub replicas: Vec<PeerId>,
    /// Made of the name; at most [`TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// When it decays, seconds of Unix time.
    pub decays_at_s: Option<u64>,
}

/// Appends a request that some peer must execute.
#[derive(Clone)]
pub struct AppendTask {
    /// The forum it is routed by.
    pub forum: ForumId,
    /// An encoded [`v1::ClientRequest`].
    pub request: Bytes,
    /// The session it was sent under; gets a user with its first task. `None`: none, as robots have.
    pub session: Option<SessionId>,
    /// Whether it takes the next message id.
    pub creates_message: bool,
    /// The message it goes on with, as the request names it.
    pub named_message: Option<MessageId>,
}

/// The primary's answer to the oldest open task of a forum.
#[derive(Clone)]
pub struct AnswerTask {
    /// The task it answers.
    pub task: TaskId,
    /// The task's forum.
    pub forum: ForumId,
    /// Who executed it.
    pub peer: PeerId,
    /// The epoch it was executed under.
    pub epoch: ForumEpoch,
    /// What re-sends are told.
    pub receipt: v1::Receipt,
    /// Encoded [`v1::Facts`] of the forum; may be empty.
    pub facts: Bytes,
    /// What changed of the task's own session.
    pub session: Option<v1::SessionChange>,
}

/// Makes a volunteer's machine known.
#[derive(Clone)]
pub struct RegisterPeer {
    /// Shown to operators.
    pub name: String,
    /// SHA-256 of the peer's secret.
    pub secret_hash: [u8; 32],
    /// Label for spreading replicas.
    pub owner: String,
    /// Label for spreading replicas.
    pub network: String,
}

/// Asks a peer to hold a forum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvitePeer {
    /// The forum.
    pub forum: ForumId,
    /// Who is asked.
    pub target: PeerId,
    /// A serving replica that gives its copy.
    pub source: PeerId,
    /// The serving replica that drains once the target serves; `None`: one more replica.
    pub replaces: Option<PeerId>,
    /// What made it due.
    pub cause: Cause,
}

/// The invited peer's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerInvitation {
    /// The forum.
    pub forum: ForumId,
    /// The record that invited.
    pub invitation: TaskId,
    /// Who answers.
    pub peer: PeerId,
    /// Whether it will hold the forum.
    pub accepted: bool,
    /// Why not.
    pub reason: v1::RejectReason,
}

/// Takes a replica out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveReplica {
    /// The forum.
    pub forum: ForumId,
    /// Whose copy goes.
    pub peer: PeerId,
    /// For a draining one: what its successor has on disk.
    pub passed: u64,
    /// How many others must serve with a confirmed copy on a peer that is present.
    pub others_min: u64,
    /// It was compared and is not what the others are.
    pub differs: bool,
}

/// Ends an invitation before its cut-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseInvitation {
    /// The forum.
    pub forum: ForumId,
    /// The record that invited.
    pub invitation: TaskId,
    /// [`InvitationStatus::Rejected`] or [`InvitationStatus::Timeout`].
    pub status: InvitationStatus,
    /// Why, if the peer said so.
    pub reason: v1::RejectReason,
}

/// Why a command cannot be read. Names fields, never their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No body, or one of a kind this version does not know.
    #[error("no command body this version knows")]
    UnknownBody,
    /// An id field is zero.
    #[error("{0} is zero")]
    ZeroId(&'static str),
    /// A field of fixed length has another length.
    #[error("{field} is {bytes} bytes long")]
    BadLength {
        /// The field's name.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A field is longer than the log's format allows.
    #[error("{field} is longer than {max}")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// The longest allowed.
        max: usize,
    },
    /// An enumeration's field holds none of the values that make sense there.
    #[error("{0} has no known value")]
    UnknownValue(&'static str),
    /// A session id with a wrong length or character.
    #[error("not a session id")]
    BadSessionId,
}

impl TryFrom<v1::Command> for Stamped {
    type Error = Unreadable;

    fn try_from(wire: v1::Command) -> Result<Self, Unreadable> {
        let request = RequestId::from_bytes(&wire.request_id)
            .ok_or(Unreadable::BadLength { field: "request_id", bytes: wire.request_id.len() })?;
        let command = Command::try_from(wire.body.ok_or(Unreadable::UnknownBody)?)?;
        Ok(Self { at: HubTime(wire.at_ms), request, command })
    }
}

impl TryFrom<v1::command::Body> for Command {
    type Error = Unreadable;

    fn try_from(body: v1::command::Body) -> Result<Self, Unreadable> {
        use v1::command::Body;
        Ok(match body {
            Body::OpenForum(wire) => Self::OpenForum(wire.try_into()?),
            Body::AppendTask(wire) => Self::AppendTask(wire.try_into()?),
            Body::AnswerTask(wire) => Self::AnswerTask(wire.try_into()?),
            Body::RegisterPeer(wire) => Self::RegisterPeer(wire.try_into()?),
            Body::MovePrimary(wire) => Self::MovePrimary {
                forum: forum(wire.forum_id)?,
                to: peer(wire.to_peer)?,
                expected_epoch: ForumEpoch(wire.expected_epoch),
            },
            Body::TrimTasks(wire) => {
                Self::TrimTasks { through: wire.through, kept_through: wire.kept_through }
            }
            Body::InvitePeer(wire) => Self::InvitePeer(wire.try_into()?),
            Body::AnswerInvitation(wire) => Self::AnswerInvitation(wire.try_into()?),
            Body::SeedReplica(wire) => Self::SeedReplica {
                forum: forum(wire.forum_id)?,
                invitation: invitation(wire.invitation_id)?,
                peer: peer(wire.peer_id)?,
                cursor: wire.cursor,
            },
            Body::CutOver(wire) => Self::CutOver {
                forum: forum(wire.forum_id)?,
                invitation: invitation(wire.invitation_id)?,
                caught_up_through: wire.caught_up_through,
            },
            Body::CloseInvitation(wire) => Self::CloseInvitation(wire.try_into()?),
            Body::RemoveReplica(wire) => Self::RemoveReplica(RemoveReplica {
                forum: forum(wire.forum_id)?,
                peer: peer(wire.peer_id)?,
                passed: wire.passed,
                others_min: wire.others_min.into(),
                differs: wire.differs,
            }),
            Body::RestartReplica(wire) => {
                Self::RestartReplica { forum: forum(wire.forum_id)?, peer: peer(wire.peer_id)? }
            }
            Body::SetForumReplicas(wire) => {
                Self::SetForumReplicas { forum: forum(wire.forum_id)?, replicas: wire.replicas }
            }
            Body::SetPeerState(wire) => Self::SetPeerState {
                peer: peer(wire.peer_id)?,
                state: PeerState::of_wire(wire.state()).ok_or(Unreadable::UnknownValue("state"))?,
            },
            Body::AuditForum(wire) => Self::AuditForum { forum: forum(wire.forum_id)? },
            Body::NoteBreach(wire) => Self::NoteBreach { peer: peer(wire.peer_id)?, rule: wire.rule },
            Body::NotePresence(wire) => {
                at_most("peers", wire.connected.len() + wire.away.len(), PRESENCE_LISTED_MAX)?;
                let connected = wire.connected.into_iter().map(|id| Ok((peer(id)?, true)));
                let away = wire.away.into_iter().map(|id| Ok((peer(id)?, false)));
                Self::NotePresence(connected.chain(away).collect::<Result<_, _>>()?)
            }
            Body::ConfirmReplica(wire) => Self::ConfirmReplica {
                forum: forum(wire.forum_id)?,
                peer: peer(wire.peer_id)?,
                audit: TaskId::new(wire.audit_record),
            },
            Body::ReinstateReplica(wire) => {
                Self::ReinstateReplica { forum: forum(wire.forum_id)?, peer: peer(wire.peer_id)? }
            }
            Body::CloseForum(wire) => Self::CloseForum { forum: forum(wire.forum_id)?, forced: wire.forced },
            Body::PublishContent(wire) => Self::PublishContent(files(&wire.entries)?),
            Body::RemoveContent(wire) => Self::RemoveContent(paths(wire.paths)?),
        })
    }
}

impl TryFrom<v1::InvitePeer> for InvitePeer {
    type Error = Unreadable;

    fn try_from(wire: v1::InvitePeer) -> Result<Self, Unreadable> {
        let cause = wire.cause();
        if cause == Cause::Unspecified {
            return Err(Unreadable::UnknownValue("cause"));
        }
        Ok(Self {
            forum: forum(wire.forum_id)?,
            target: peer(wire.target)?,
            source: peer(wire.source)?,
            replaces: PeerId::new(wire.replaces),
            cause,
        })
    }
}

impl TryFrom<v1::AnswerInvitation> for AnswerInvitation {
    type Error = Unreadable;

    fn try_from(wire: v1::AnswerInvitation) -> Result<Self, Unreadable> {
        Ok(Self {
            forum: forum(wire.forum_id)?,
            invitation: invitation(wire.invitation_id)?,
            peer: peer(wire.peer_id)?,
            accepted: wire.accepted,
            reason: wire.reason(),
        })
    }
}

impl TryFrom<v1::CloseInvitation> for CloseInvitation {
    type Error = Unreadable;

    fn try_from(wire: v1::CloseInvitation) -> Result<Self, Unreadable> {
        let status = match wire.status() {
            v1::InvitationStatus::Rejected => InvitationStatus::Rejected,
            v1::InvitationStatus::Timeout => InvitationStatus::Timeout,
            _ => return Err(Unreadable::UnknownValue("status")),
        };
        Ok(Self {
            forum: forum(wire.forum_id)?,
            invitation: invitation(wire.invitation_id)?,
            status,
            reason: wire.reason(),
        })
    }
}

impl TryFrom<v1::OpenForum> for OpenForum {
    type Error = Unreadable;

    fn try_from(wire: v1::OpenForum) -> Result<Self, Unreadable> {
        let key = ForumKey::from_bytes(&wire.key)
            .ok_or(Unreadable::BadLength { field: "key", bytes: wire.key.len() })?;
        at_most("replicas", wire.replicas.len(), REPLICAS_LISTED_MAX)?;
        let replicas = wire.replicas.into_iter().map(peer).collect::<Result<_, _>>()?;
        at_most("title", wire.title.chars().count(), TITLE_CHARS_MAX)?;
        Ok(Self { key, replicas, title: wire.title, decays_at_s: wire.decays_at_s })
    }
}

impl TryFrom<v1::AppendTask> for AppendTask {
    type Error = Unreadable;

    fn try_from(wire: v1::AppendTask) -> Result<Self, Unreadable> {
        let session = match wire.session_id.as_str() {
            "" => None,
            id => Some(SessionId::parse(id).ok_or(Unreadable::BadSessionId)?),
        };
        Ok(Self {
            forum: forum(wire.forum_id)?,
            request: wire.request,
            session,
            creates_message: wire.creates_message,
            named_message: MessageId::new(wire.named_message),
        })
    }
}

impl TryFrom<v1::AnswerTask> for AnswerTask {
    type Error = Unreadable;

    fn try_from(wire: v1::AnswerTask) -> Result<Self, Unreadable> {
        let receipt = wire.receipt.unwrap_or_default();
        for text in [&receipt.sid_json, &receipt.lid].into_iter().flatten() {
            at_most("receipt", text.len(), RECEIPT_TEXT_BYTES_MAX)?;
        }
        if let Some(change) = &wire.session {
            check_session_change(change)?;
        }
        Ok(Self {
            task: TaskId::new(wire.task_id).ok_or(Unreadable::ZeroId("task_id"))?,
            forum: forum(wire.forum_id)?,
            peer: peer(wire.peer_id)?,
            epoch: ForumEpoch(wire.epoch),
            receipt,
            facts: wire.facts,
            session: wire.session,
        })
    }
}

impl TryFrom<v1::RegisterPeer> for RegisterPeer {
    type Error = Unreadable;

    fn try_from(wire: v1::RegisterPeer) -> Result<Self, Unreadable> {
        let bytes = wire.secret_hash.len();
        let secret_hash = <[u8; 32]>::try_from(wire.secret_hash.as_ref())
            .map_err(|_| Unreadable::BadLength { field: "secret_hash", bytes })?;
        at_most("name", wire.name.len(), LABEL_BYTES_MAX)?;
        at_most("owner", wire.owner.len(), LABEL_BYTES_MAX)?;
        at_most("network", wire.network.len(), LABEL_BYTES_MAX)?;
        Ok(Self { name: wire.name, secret_hash, owner: wire.owner, network: wire.network })
    }
}

fn check_session_change(change: &v1::SessionChange) -> Result<(), Unreadable> {
    let chars = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
    at_most("name", chars(&change.name), NAME_CHARS_MAX)?;
    at_most("latitude", chars(&change.latitude), DEGREES_CHARS_MAX)?;
    at_most("longitude", chars(&change.longitude), DEGREES_CHARS_MAX)
}

/// Each path once.
fn files(entries: &[v1::ContentEntry]) -> Result<BTreeMap<String, ContentFile>, Unreadable> {
    at_most("entries", entries.len(), FILES_PER_COMMAND_MAX)?;
    let read = |entry: &v1::ContentEntry| Ok((entry.path.clone(), ContentFile::of_wire(entry)?));
    let files: Result<BTreeMap<_, _>, &'static str> = entries.iter().map(read).collect();
    let files = files.map_err(Unreadable::UnknownValue)?;
    if files.len() < entries.len() {
        return Err(Unreadable::UnknownValue("path"));
    }
    Ok(files)
}

fn paths(paths: Vec<String>) -> Result<Vec<String>, Unreadable> {
    at_most("paths", paths.len(), FILES_PER_COMMAND_MAX)?;
    let fine = paths.iter().all(|path| content::is_path(path));
    if fine { Ok(paths) } else { Err(Unreadable::UnknownValue("path")) }
}

fn forum(raw: u32) -> Result<ForumId, Unreadable> {
    ForumId::new(raw).ok_or(Unreadable::ZeroId("forum_id"))
}

fn peer(raw: u32) -> Result<PeerId, Unreadable> {
    PeerId::new(raw).ok_or(Unreadable::ZeroId("peer_id"))
}

fn invitation(raw: u64) -> Result<TaskId, Unreadable> {
    TaskId::new(raw).ok_or(Unreadable::ZeroId("invitation_id"))
}

fn at_most(field: &'static str, len: usize, max: usize) -> Result<(), Unreadable> {
    if len > max { Err(Unreadable::TooLong { field, max }) } else { Ok(()) }
}
