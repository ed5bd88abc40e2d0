//! One entry of the task log, typed beside its wire bytes.
//!
//! Owns the encoding of [`v1::Record`], made once when a record is appended: the feed of every hub sends these bytes
//! as they are. Never knows who reads them.

use std::{fmt, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use loop_proto::{
    ids::{ForumEpoch, ForumId, HubTime, MessageId, PeerId, RequestId, TaskId},
    v1,
};
use prost::Message;

use super::replica::{JoinStage, Joining, Replica};

/// What a record costs in memory besides its encoded bytes: allocations, typed body, its places in the indexes.
pub(super) const RECORD_OVERHEAD_BYTES: u64 = 256;

/// One entry of the task log.
#[derive(Clone)]
pub struct Record {
    /// Its place in the log.
    pub id: TaskId,
    /// When it was committed, by the leader's clock.
    pub at: HubTime,
    /// The forum whose stream it is on; `None`: the directory, which every peer follows.
    pub forum: Option<ForumId>,
    /// What it says.
    pub body: RecordBody,
    /// The record as a [`v1::Record`]; what peers are sent.
    pub encoded: Bytes,
}

/// The kinds of record.
#[derive(Clone, PartialEq)]
pub enum RecordBody {
    /// A request somebody must execute.
    Task(TaskBody),
    /// What an execution changed.
    Facts(FactsBody),
    /// Who holds a forum from here on.
    Assignment(Assignment),
    /// Every serving replica computes its digest here.
    Audit,
    /// A forum is gone; on the directory stream.
    Closed {
        /// Which.
        forum: ForumId,
        /// An operator said so, whatever was in it.
        forced: bool,
    },
}

/// A request somebody must execute.
#[derive(Clone, PartialEq)]
pub struct TaskBody {
    /// Names the client's request, however often it is sent.
    pub request_id: RequestId,
    /// An encoded [`v1::ClientRequest`].
    pub request: Bytes,
    /// The id of the message it creates, if it creates one.
    pub message_id: Option<MessageId>,
    /// The session as committed at this position, with its user; `None`: the request has none.
    pub session: Option<Arc<v1::SessionRecord>>,
    /// The unfinished message it goes on with.
    pub open_message: Option<MessageId>,
}

/// What an execution changed.
#[derive(Clone, PartialEq)]
pub struct FactsBody {
    /// The task these facts close; `None` for facts that the hubs make.
    pub task: Option<TaskId>,
    /// Who executed; `None`: the hubs.
    pub peer: Option<PeerId>,
    /// Under which epoch; 0 in the directory.
    pub epoch: ForumEpoch,
    /// An encoded [`v1::Facts`].
    pub facts: Bytes,
    /// What re-sends of the closed task are told.
    pub receipt: Option<Arc<v1::Receipt>>,
}

/// Who holds a forum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The epoch that starts here.
    pub epoch: ForumEpoch,
    /// Who executes its tasks.
    pub primary: PeerId,
    /// Who serves it, the primary included.
    pub replicas: Vec<PeerId>,
    /// Who is on the way to serve it.
    pub joining: Vec<Joining>,
    /// Who was replaced and waits to be let go.
    pub draining: Vec<PeerId>,
    /// Of those that serve, whose copies have not been found equal to another's yet.
    pub unconfirmed: Vec<PeerId>,
}

impl From<&Assignment> for v1::Assignment {
    fn from(assignment: &Assignment) -> Self {
        Self {
            epoch: assignment.epoch.0,
            primary: assignment.primary.get(),
            replicas: assignment.replicas.iter().map(|peer| peer.get()).collect(),
            joining: assignment.joining.iter().map(v1::JoiningReplica::from).collect(),
            draining: assignment.draining.iter().map(|peer| peer.get()).collect(),
            unconfirmed: assignment.unconfirmed.iter().map(|peer| peer.get()).collect(),
        }
    }
}

impl From<&Joining> for v1::JoiningReplica {
    fn from(joining: &Joining) -> Self {
        Self {
            peer_id: joining.peer.get(),
            invitation_id: joining.invitation.get(),
            source: joining.source.get(),
            stage: v1::JoinStage::from(joining.stage).into(),
        }
    }
}

impl Record {
    /// Makes a record and its bytes. What the body shares with the command's buffer is copied into these bytes, so
    /// that a record never keeps a whole network frame alive.
    pub(super) fn new(id: TaskId, at: HubTime, forum: Option<ForumId>, mut body: RecordBody) -> Arc<Self> {
        let encoded = encode(id, at, forum, &mut body);
        Arc::new(Self { id, at, forum, body, encoded })
    }

    /// Reads a record's bytes again, checking every id.
    pub(super) fn decode(encoded: Bytes) -> Result<Arc<Self>, BadRecord> {
        let wire = v1::Record::decode(encoded.clone()).map_err(|_| BadRecord)?;
        let forum = ForumId::new(wire.forum_id);
        let body = match wire.body.ok_or(BadRecord)? {
            v1::record::Body::Task(task) => RecordBody::Task(TaskBody::read(task)?),
            v1::record::Body::Facts(facts) => RecordBody::Facts(FactsBody::read(facts)?),
            v1::record::Body::Assignment(assignment) => RecordBody::Assignment(Assignment::read(assignment)?),
            v1::record::Body::Audit(_) => RecordBody::Audit,
            v1::record::Body::Closed(closed) => {
                let forum = ForumId::new(closed.forum_id).ok_or(BadRecord)?;
                RecordBody::Closed { forum, forced: closed.forced }
            }
        };
        let is_of_directory = match body {
            RecordBody::Facts(_) => forum.is_none(),
            RecordBody::Closed { .. } => true,
            RecordBody::Task(_) | RecordBody::Assignment(_) | RecordBody::Audit => false,
        };
        if forum.is_none() != is_of_directory {
            return Err(BadRecord);
        }
        let id = TaskId::new(wire.id).ok_or(BadRecord)?;
        Ok(Arc::new(Self { id, at: HubTime(wire.at_ms), forum, body, encoded }))
    }

    /// The task, if this record is one.
    pub fn task(&self) -> Option<&TaskBody> {
        match &self.body {
            RecordBody::Task(task) => Some(task),
            RecordBody::Facts(_)
            | RecordBody::Assignment(_)
            | RecordBody::Audit
            | RecordBody::Closed { .. } => None,
        }
    }

    /// The facts, if this record holds some.
    pub fn facts(&self) -> Option<&FactsBody> {
        match &self.body {
            RecordBody::Facts(facts) => Some(facts),
            RecordBody::Task(_)
            | RecordBody::Assignment(_)
            | RecordBody::Audit
            | RecordBody::Closed { .. } => None,
        }
    }

    /// What it costs in memory, bytes.
    pub fn bytes(&self) -> u64 {
        self.encoded.len() as u64 + RECORD_OVERHEAD_BYTES
    }
}

/// The bytes say everything.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

/// Requests, sessions and facts are their owners' secrets, so only the shape is printed.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.id)?;
        match self.forum {
            Some(forum) => write!(f, "{forum} ")?,
            None => write!(f, "directory ")?,
        }
        match &self.body {
            RecordBody::Task(task) => {
                write!(f, "task")?;
                task.message_id.map_or(Ok(()), |id| write!(f, " {id}"))?;
                task.session.as_ref().map_or(Ok(()), |s| write!(f, " u{}@{}", s.user_id, s.version))?;
                task.open_message.map_or(Ok(()), |id| write!(f, " goes on with {id}"))
            }
            RecordBody::Facts(facts) => {
                match facts.peer {
                    Some(peer) => write!(f, "facts by {peer} {}", facts.epoch)?,
                    None => write!(f, "facts by the hubs")?,
                }
                facts.task.map_or(Ok(()), |id| write!(f, " closes {id}"))?;
                write!(f, " {}B", facts.facts.len())
            }
            RecordBody::Assignment(a) => {
                write!(f, "assignment {} primary {} replicas {:?}", a.epoch, a.primary, a.replicas)?;
                for joining in &a.joining {
                    let Joining { peer, invitation, source, stage } = joining;
                    write!(f, " joining {peer} {stage:?} by {invitation} from {source}")?;
                }
                for (what, peers) in [("draining", &a.draining), ("unconfirmed", &a.unconfirmed)] {
                    if !peers.is_empty() {
                        write!(f, " {what} {peers:?}")?;
                    }
                }
                Ok(())
            }
            RecordBody::Audit => write!(f, "audit"),
            RecordBody::Closed { forum, forced } => {
                write!(f, "closed {forum}{}", if *forced { " with what was in it" } else { "" })
            }
        }
    }
}

/// Bytes that are no record of this log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record")]
pub struct BadRecord;

impl TaskBody {
    fn read(wire: v1::Task) -> Result<Self, BadRecord> {
        let message = |raw: Option<u32>| raw.map(|raw| MessageId::new(raw).ok_or(BadRecord)).transpose();
        Ok(Self {
            request_id: RequestId::from_bytes(&wire.request_id).ok_or(BadRecord)?,
            request: wire.request,
            message_id: message(wire.message_id)?,
            session: wire.session.map(Arc::new),
            open_message: message(wire.open_message)?,
        })
    }
}

impl FactsBody {
    /// One row that the hubs make themselves.
    pub(super) fn of_hubs(epoch: ForumEpoch, row: v1::fact::Kind) -> Self {
        let facts = v1::Facts { facts: vec![v1::Fact { kind: Some(row) }] };
        Self { task: None, peer: None, epoch, facts: Bytes::from(facts.encode_to_vec()), receipt: None }
    }

    fn read(wire: v1::TaskFacts) -> Result<Self, BadRecord> {
        let task = match wire.task_id {
            None => None,
            Some(raw) => Some(TaskId::new(raw).ok_or(BadRecord)?),
        };
        Ok(Self {
            task,
            peer: PeerId::new(wire.peer_id),
            epoch: ForumEpoch(wire.epoch),
            facts: wire.facts,
            receipt: wire.receipt.map(Arc::new),
        })
    }
}

impl Assignment {
    /// The assignment that shows this set of replicas.
    pub(super) fn of(epoch: ForumEpoch, primary: PeerId, replicas: &[Replica]) -> Self {
        let peers = |wanted: fn(&Replica) -> bool| {
            replicas.iter().filter(move |replica| wanted(replica)).map(|replica| replica.peer).collect()
        };
        Self {
            epoch,
            primary,
            replicas: peers(Replica::is_serving),
            joining: replicas.iter().filter_map(Replica::joining).collect(),
            draining: peers(Replica::is_draining),
            unconfirmed: peers(|replica| replica.is_serving() && !replica.is_confirmed()),
        }
    }

    fn read(wire: v1::Assignment) -> Result<Self, BadRecord> {
        let replicas: Option<Vec<_>> = wire.replicas.into_iter().map(PeerId::new).collect();
        let draining: Option<Vec<_>> = wire.draining.into_iter().map(PeerId::new).collect();
        let unconfirmed: Option<Vec<_>> = wire.unconfirmed.into_iter().map(PeerId::new).collect();
        Ok(Self {
            epoch: ForumEpoch(wire.epoch),
            primary: PeerId::new(wire.primary).ok_or(BadRecord)?,
            replicas: replicas.ok_or(BadRecord)?,
            joining: wire.joining.iter().map(Joining::read).collect::<Result<_, _>>()?,
            draining: draining.ok_or(BadRecord)?,
            unconfirmed: unconfirmed.ok_or(BadRecord)?,
        })
    }
}

impl Joining {
    fn read(wire: &v1::JoiningReplica) -> Result<Self, BadRecord> {
        Ok(Self {
            peer: PeerId::new(wire.peer_id).ok_or(BadRecord)?,
            invitation: TaskId::new(wire.invitation_id).ok_or(BadRecord)?,
            source: PeerId::new(wire.source).ok_or(BadRecord)?,
            stage: JoinStage::of_wire(wire.stage()).ok_or(BadRecord)?,
        })
    }
}

/// Writes protobuf by hand, because prost would have each session cloned into the message first. The tests hold it
/// to prost's own bytes.
fn encode(id: TaskId, at: HubTime, forum: Option<ForumId>, body: &mut RecordBody) -> Bytes {
    let inner = match body {
        RecordBody::Task(task) => task_len(task),
        RecordBody::Facts(facts) => facts_len(facts),
        RecordBody::Assignment(assignment) => v1::Assignment::from(&*assignment).encoded_len(),
        RecordBody::Audit => 0,
        RecordBody::Closed { forum, forced } => number_len(forum.get().into()) + number_len((*forced).into()),
    };
    // Three head fields and the body's key and length take at most 40 bytes.
    let mut out = BytesMut::with_capacity(inner + 40);
    put_number(&mut out, 1, id.get());
    put_number(&mut out, 2, at.0);
    put_number(&mut out, 3, forum.map_or(0, |forum| u64::from(forum.get())));
    match body {
        RecordBody::Task(task) => {
            put_head(&mut out, 4, inner);
            let request = put_task(&mut out, task);
            let encoded = out.freeze();
            task.request = encoded.slice(request);
            encoded
        }
        RecordBody::Facts(body) => {
            put_head(&mut out, 5, inner);
            let facts = put_facts(&mut out, body);
            let encoded = out.freeze();
            body.facts = encoded.slice(facts);
            encoded
        }
        RecordBody::Assignment(assignment) => {
            put_head(&mut out, 6, inner);
            v1::Assignment::from(&*assignment).encode_raw(&mut out);
            out.freeze()
        }
        RecordBody::Audit => {
            put_head(&mut out, 7, 0);
            out.freeze()
        }
        RecordBody::Closed { forum, forced } => {
            put_head(&mut out, 8, inner);
            put_number(&mut out, 1, forum.get().into());
            put_number(&mut out, 2, (*forced).into());
            out.freeze()
        }
    }
}

fn task_len(task: &TaskBody) -> usize {
    field_len(task.request_id.0.len())
        + bytes_len(&task.request)
        + task.message_id.map_or(0, |id| 1 + varint_len(u64::from(id.get())))
        + task.session.as_ref().map_or(0, |session| field_len(session.encoded_len()))
        + task.open_message.map_or(0, |id| 1 + varint_len(u64::from(id.get())))
}

fn put_task(out: &mut BytesMut, task: &TaskBody) -> std::ops::Range<usize> {
    put_bytes(out, 1, &task.request_id.0);
    let request = put_bytes(out, 2, &task.request);
    if let Some(id) = task.message_id {
        put_number(out, 3, u64::from(id.get()));
    }
    if let Some(session) = &task.session {
        put_head(out, 4, session.encoded_len());
        session.encode_raw(out);
    }
    if let Some(id) = task.open_message {
        put_number(out, 5, u64::from(id.get()));
    }
    request
}

fn facts_len(body: &FactsBody) -> usize {
    body.task.map_or(0, |id| number_len(id.get()))
        + number_len(body.peer.map_or(0, |peer| u64::from(peer.get())))
        + number_len(body.epoch.0)
        + bytes_len(&body.facts)
        + body.receipt.as_ref().map_or(0, |receipt| field_len(receipt.encoded_len()))
}

fn put_facts(out: &mut BytesMut, body: &FactsBody) -> std::ops::Range<usize> {
    if let Some(id) = body.task {
        put_number(out, 1, id.get());
    }
    put_number(out, 2, body.peer.map_or(0, |peer| u64::from(peer.get())));
    put_number(out, 3, body.epoch.0);
    let facts = put_bytes(out, 4, &body.facts);
    if let Some(receipt) = &body.receipt {
        put_head(out, 6, receipt.encoded_len());
        receipt.encode_raw(out);
    }
    facts
}

/// A varint field; left out when zero, as proto3 has it.
fn put_number(out: &mut BytesMut, tag: u8, value: u64) {
    if value != 0 {
        out.put_u8(tag << 3);
        put_varint(out, value);
    }
}

/// A bytes field, and where its content lies; left out when empty.
fn put_bytes(out: &mut BytesMut, tag: u8, value: &[u8]) -> std::ops::Range<usize> {
    if value.is_empty() {
        return 0..0;
    }
    put_head(out, tag, value.len());
    let start = out.len();
    out.put_slice(value);
    start..out.len()
}

/// Key and length of a length-delimited field.
fn put_head(out: &mut BytesMut, tag: u8, len: usize) {
    out.put_u8(tag << 3 | 2);
    put_varint(out, len as u64);
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint_len(value: u64) -> usize {
    // 7 bits a byte; zero takes one.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn number_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

fn bytes_len(value: &[u8]) -> usize {
    if value.is_empty() { 0 } else { field_len(value.len()) }
}

fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(version: u64) -> Arc<v1::SessionRecord> {
        Arc::new(v1::SessionRecord {
            id: "abcdef".into(),
            version,
            user_id: 414,
            created_at_s: 7,
            updated_at_s: 8,
            name: "secret".into(),
            ..Default::default()
        })
    }

    fn bodies() -> Vec<RecordBody> {
        let task = TaskBody {
            request_id: RequestId([3; 16]),
            request: Bytes::from(vec![9; 300]),
            message_id: MessageId::new(2867),
            session: Some(session(5)),
            open_message: MessageId::new(2866),
        };
        let bare = TaskBody {
            request: Bytes::new(),
            message_id: None,
            session: None,
            open_message: None,
            ..task.clone()
        };
        let peer = PeerId::new(200).unwrap();
        let facts = FactsBody {
            task: TaskId::new(1 << 40),
            peer: Some(peer),
            epoch: ForumEpoch(u64::MAX),
            facts: Bytes::from(vec![8; 200]),
            receipt: Some(Arc::new(v1::Receipt { status: 200, sid_json: Some("2867".into()), lid: None })),
        };
        let empty = FactsBody {
            task: None,
            peer: None,
            facts: Bytes::new(),
            receipt: Some(Arc::default()),
            ..facts.clone()
        };
        let joining = Joining {
            peer: PeerId::new(7).unwrap(),
            invitation: TaskId::new(90).unwrap(),
            source: peer,
            stage: JoinStage::Seeding,
        };
        let assignment = Assignment {
            epoch: ForumEpoch(3),
            primary: peer,
            replicas: vec![peer],
            joining: vec![joining],
            draining: vec![PeerId::new(8).unwrap()],
            unconfirmed: vec![peer],
        };
        vec![
            RecordBody::Task(task),
            RecordBody::Task(bare),
            RecordBody::Facts(facts),
            RecordBody::Facts(empty),
            RecordBody::Assignment(assignment),
            RecordBody::Audit,
        ]
    }

    fn make(body: RecordBody) -> Arc<Record> {
        Record::new(TaskId::new(91).unwrap(), HubTime(1_700_000_000_000), ForumId::new(178), body)
    }

    #[test]
    fn a_record_encodes_as_prost_would_and_reads_back() {
        for body in bodies() {
            let record = make(body);
            let wire = v1::Record::decode(record.encoded.clone()).unwrap();
            assert_eq!(wire.encode_to_vec(), record.encoded);
            assert_eq!((wire.id, wire.at_ms, wire.forum_id), (91, 1_700_000_000_000, 178));
            let read = Record::decode(record.encoded.clone()).unwrap();
            assert!(read.body == record.body && read.forum == record.forum && read.at == record.at);
        }
    }

    #[test]
    fn a_body_shares_the_records_own_bytes_and_keeps_nothing_else_alive() {
        let record = make(bodies().remove(0));
        let inside = record.encoded.as_ptr_range();
        assert!(inside.contains(&record.task().unwrap().request.as_ptr()));
    }

    #[test]
    fn a_directory_record_holds_facts_only() {
        let [task, _, facts, ..] = &bodies()[..] else { panic!("five bodies") };
        let id = TaskId::new(1).unwrap();
        let task = Record::new(id, HubTime(0), None, task.clone());
        assert_eq!(Record::decode(task.encoded.clone()).unwrap_err(), BadRecord);
        let facts = Record::new(id, HubTime(0), None, facts.clone());
        assert!(Record::decode(facts.encoded.clone()).is_ok());
        assert_eq!(Record::decode(Bytes::from_static(b"\xff")).unwrap_err(), BadRecord);
    }

    #[test]
    fn no_secret_is_printed() {
        for body in bodies() {
            let shown = format!("{:?}", make(body));
            assert!(!shown.contains("abcdef") && !shown.contains("secret"), "{shown}");
        }
    }
}
