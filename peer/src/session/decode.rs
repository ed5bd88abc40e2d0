//! The one reader of what a hub sends: wire messages in, typed ones out. Nothing here panics on any input.
//! Never knows what is done with it.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use loop_proto::{
    content::{self, ContentHash, FILE_BYTES_MAX, FILES_MAX, PIECE_BYTES_MAX},
    ids::{ForumEpoch, ForumId, HubTime, MessageId, PeerId, TaskId, is_session_id},
    v1,
};
use prost::Message;

use crate::{
    backend::{Given, Work},
    replica::{Assignment, Entry, EntryBody, Facts, ForumSnapshot, Joining, OpenTask, Refusal, Stage},
};

/// Replicas an assignment may name; the design's most is 4.
const REPLICAS_MAX: usize = 64;
/// Messages of one answer, whatever is asked for.
const PAGE_MESSAGES_MAX: u32 = 1000;

/// What a hub may not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message from the hub: {0}")]
pub struct Malformed(pub &'static str);

/// A question for rows, as the peer works on it.
#[derive(Debug)]
pub struct Read {
    /// The hub's name for it.
    pub id: u64,
    /// Answer only after this position is applied.
    pub fence: u64,
    /// What is asked for.
    pub wanted: Wanted,
}

/// Which rows.
#[derive(Debug, PartialEq)]
pub enum Wanted {
    /// A forum's messages.
    Forum {
        /// Which forum.
        forum: ForumId,
        /// Only those older than this time and id.
        before: Option<(u64, u32)>,
        /// At most so many.
        limit: usize,
    },
    /// A user.
    User(u32),
    /// Bytes of a published file.
    Part(ContentPart),
    /// Bytes of a published file, to keep.
    Keep(ContentPiece),
    /// Something a newer hub knows and this peer does not.
    Unknown,
}

/// Which bytes of which published file.
#[derive(Debug, PartialEq)]
pub struct ContentPart {
    /// Which file.
    pub hash: ContentHash,
    /// Its size.
    pub size: u64,
    /// From where on; within the file.
    pub offset: u64,
    /// Where it is published.
    pub path: String,
}

/// Bytes of a published file.
#[derive(Debug, PartialEq)]
pub struct ContentPiece {
    /// Which file.
    pub hash: ContentHash,
    /// Its size.
    pub size: u64,
    /// Where they belong.
    pub offset: u64,
    /// The bytes; none at offset 0: a question.
    pub data: Bytes,
    /// Where it is published.
    pub path: String,
}

/// One encoded record.
pub fn record(bytes: &Bytes) -> Result<Entry, Malformed> {
    let record = v1::Record::decode(bytes.clone()).map_err(|_| Malformed("a record cannot be decoded"))?;
    let id = TaskId::new(record.id).ok_or(Malformed("a record has no id"))?;
    let forum = ForumId::new(record.forum_id);
    let body = match record.body.ok_or(Malformed("a record has no body"))? {
        v1::record::Body::Task(task) => {
            let forum = forum.ok_or(Malformed("a task belongs to no forum"))?;
            EntryBody::Task(open_task(forum, HubTime(record.at_ms), task, bytes.len())?)
        }
        v1::record::Body::Facts(facts) => EntryBody::Facts(task_facts(facts)?),
        v1::record::Body::Assignment(assigned) => {
            forum.ok_or(Malformed("an assignment belongs to no forum"))?;
            EntryBody::Assignment(assignment(assigned)?)
        }
        v1::record::Body::Audit(_) => {
            forum.ok_or(Malformed("an audit belongs to no forum"))?;
            EntryBody::Audit
        }
        v1::record::Body::Closed(closed) => {
            let closed_forum = ForumId::new(closed.forum_id).filter(|_| forum.is_none());
            let closed_forum =
                closed_forum.ok_or(Malformed("no forum is closed, or not on the directory"))?;
            EntryBody::Closed { forum: closed_forum, forced: closed.forced }
        }
    };
    Ok(Entry { id, forum, body })
}

/// A batch of records, with `through`.
pub fn batch(batch: &v1::RecordBatch) -> Result<(Vec<Entry>, u64), Malformed> {
    let entries: Result<Vec<Entry>, Malformed> = batch.records.iter().map(record).collect();
    Ok((entries?, batch.through))
}

/// A forum as the hub describes it on connecting.
pub fn forum_state(state: v1::ForumState) -> Result<ForumSnapshot, Malformed> {
    let forum = ForumId::new(state.forum_id).ok_or(Malformed("a forum state has no forum"))?;
    let assigned = state.assignment.ok_or(Malformed("a forum state has no assignment"))?;
    let mut open = Vec::with_capacity(state.open_tasks.len());
    for bytes in &state.open_tasks {
        let entry = record(bytes)?;
        match entry.body {
            EntryBody::Task(task) if entry.forum == Some(forum) && entry.id.get() <= state.as_of => {
                open.push((entry.id, task));
            }
            _ => return Err(Malformed("an open task is none, or of another forum, or of the future")),
        }
    }
    Ok(ForumSnapshot { forum, assignment: assignment(assigned)?, as_of: state.as_of, open })
}

/// A question for rows.
pub fn read(asked: v1::RowsRequest) -> Result<Read, Malformed> {
    let wanted = match asked.kind {
        Some(v1::rows_request::Kind::Forum(rows)) => Wanted::Forum {
            forum: ForumId::new(rows.forum_id).ok_or(Malformed("rows of no forum are asked for"))?,
            before: rows.before.map(|before| (before.shouted_at_s, before.id)),
            limit: rows.limit.min(PAGE_MESSAGES_MAX) as usize,
        },
        Some(v1::rows_request::Kind::UserId(id)) => Wanted::User(id),
        Some(v1::rows_request::Kind::Content(part)) => {
            let hash = published(&part.sha256, part.size, part.offset, &part.path)?;
            Wanted::Part(ContentPart { hash, size: part.size, offset: part.offset, path: part.path })
        }
        Some(v1::rows_request::Kind::Keep(piece)) => {
            let hash = published(&piece.sha256, piece.size, piece.offset, &piece.path)?;
            if piece.data.len() > PIECE_BYTES_MAX {
                return Err(Malformed("a piece of a file is too long"));
            }
            let v1::ContentPiece { size, offset, data, path, .. } = piece;
            Wanted::Keep(ContentPiece { hash, size, offset, data, path })
        }
        None => Wanted::Unknown,
    };
    Ok(Read { id: asked.id, fence: asked.fence, wanted })
}

fn published(sha256: &[u8], size: u64, offset: u64, path: &str) -> Result<ContentHash, Malformed> {
    let hash = ContentHash::from_bytes(sha256).ok_or(Malformed("a file's hash is none"))?;
    if size > FILE_BYTES_MAX || offset > size {
        return Err(Malformed("a file is too long, or bytes beyond its end are asked for"));
    }
    if content::is_path(path) { Ok(hash) } else { Err(Malformed("a file's path is none")) }
}

/// The files this peer is counted on for.
pub fn content_kept(kept: &v1::ContentKept) -> Result<BTreeSet<ContentHash>, Malformed> {
    if kept.sha256.len() > FILES_MAX {
        return Err(Malformed("more files are to be kept than can be published"));
    }
    let hashes: Option<BTreeSet<_>> = kept.sha256.iter().map(|hash| ContentHash::from_bytes(hash)).collect();
    hashes.ok_or(Malformed("a file's hash is none"))
}

/// A verdict: which answer, and what to do about it.
pub fn verdict(verdict: &v1::Verdict) -> Result<(ForumId, TaskId, Refusal), Malformed> {
    let forum = ForumId::new(verdict.forum_id).ok_or(Malformed("a verdict has no forum"))?;
    let task = TaskId::new(verdict.task_id).ok_or(Malformed("a verdict has no task"))?;
    let refusal = match &verdict.rejection {
        None => Refusal::SendAgain,
        Some(rejection) => match rejection.code() {
            // A full hub takes it later; the pause before that grows.
            v1::RejectionCode::OutOfOrder | v1::RejectionCode::Full => Refusal::SendAgain,
            _ => Refusal::FeedKnows,
        },
    };
    Ok((forum, task, refusal))
}

fn open_task(forum: ForumId, at: HubTime, task: v1::Task, size: usize) -> Result<OpenTask, Malformed> {
    if task.session.as_ref().is_some_and(|session| !is_session_id(session.id.as_bytes())) {
        return Err(Malformed("a session's id is none"));
    }
    let id = |raw: Option<u32>| {
        raw.map(|raw| MessageId::new(raw).ok_or(Malformed("a task has message id 0"))).transpose()
    };
    let given = Given { message_id: id(task.message_id)?, open_message: id(task.open_message)? };
    let work = Work { forum, request: request(task.request), session: task.session, given, now: at };
    Ok(OpenTask { work: Arc::new(work), size })
}

fn task_facts(facts: v1::TaskFacts) -> Result<Facts, Malformed> {
    let closes = match facts.task_id {
        Some(raw) => Some(TaskId::new(raw).ok_or(Malformed("facts close task 0"))?),
        None => None,
    };
    Ok(Facts { closes, peer: PeerId::new(facts.peer_id), epoch: ForumEpoch(facts.epoch), rows: facts.facts })
}

fn assignment(assigned: v1::Assignment) -> Result<Assignment, Malformed> {
    let serving = [assigned.replicas.len(), assigned.unconfirmed.len()];
    let lists = [serving[0], serving[1], assigned.joining.len(), assigned.draining.len()];
    if lists.iter().any(|named| *named > REPLICAS_MAX) {
        return Err(Malformed("an assignment names too many replicas"));
    }
    Ok(Assignment {
        epoch: ForumEpoch(assigned.epoch),
        primary: PeerId::new(assigned.primary).ok_or(Malformed("an assignment has no primary"))?,
        replicas: peers(&assigned.replicas)?,
        joining: assigned.joining.iter().map(joining).collect::<Result<_, _>>()?,
        draining: peers(&assigned.draining)?,
        unconfirmed: peers(&assigned.unconfirmed)?,
    })
}

fn peers(raw: &[u32]) -> Result<Vec<PeerId>, Malformed> {
    let peers: Option<Vec<PeerId>> = raw.iter().map(|raw| PeerId::new(*raw)).collect();
    peers.ok_or(Malformed("an assignment names peer 0"))
}

fn joining(replica: &v1::JoiningReplica) -> Result<(PeerId, Joining), Malformed> {
    let peer = PeerId::new(replica.peer_id).ok_or(Malformed("an assignment names peer 0"))?;
    let invitation = TaskId::new(replica.invitation_id).ok_or(Malformed("an invitation has no id"))?;
    let stage = match replica.stage() {
        v1::JoinStage::Invited => Stage::Invited,
        v1::JoinStage::Seeding => Stage::Seeding,
        v1::JoinStage::CatchingUp => Stage::CatchingUp,
        v1::JoinStage::Unspecified => return Err(Malformed("a joining replica is at no stage")),
    };
    Ok((peer, Joining { invitation, stage }))
}

/// The log agrees on every byte, so one that cannot be read is no hub's lie: it is a request that is refused, as the hubs judge it.
/// To part from this hub would bring the same record again, from every other one.
fn request(bytes: Bytes) -> Option<v1::ClientRequest> {
    v1::ClientRequest::decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(body: v1::record::Body, id: u64, forum_id: u32) -> Bytes {
        v1::Record { id, at_ms: 5, forum_id, body: Some(body) }.encode_to_vec().into()
    }

    #[test]
    fn a_task_becomes_work_with_the_logs_time() {
        let task = v1::Task { message_id: Some(2867), open_message: Some(2866), ..Default::default() };
        let entry = record(&encoded(v1::record::Body::Task(task), 9, 7)).unwrap();
        let EntryBody::Task(task) = entry.body else { panic!("not a task") };
        let Given { message_id, open_message } = task.work.given;
        assert_eq!((message_id, open_message), (MessageId::new(2867), MessageId::new(2866)));
        assert_eq!((task.work.now, task.work.forum.get()), (HubTime(5), 7));
    }

    #[test]
    fn what_a_hub_may_not_send_is_refused() {
        let task = || v1::record::Body::Task(v1::Task::default());
        let nameless = v1::SessionRecord { id: "../x".into(), ..Default::default() };
        let bad_session = v1::Task { session: Some(nameless), ..Default::default() };
        let no_message = v1::Task { open_message: Some(0), ..Default::default() };
        for bytes in [
            Bytes::from_static(b"\xff\xff"),
            Bytes::new(),
            encoded(task(), 0, 7),
            encoded(task(), 9, 0),
            encoded(v1::record::Body::Task(bad_session), 9, 7),
            encoded(v1::record::Body::Task(no_message), 9, 7),
            encoded(v1::record::Body::Assignment(v1::Assignment::default()), 9, 7),
            encoded(v1::record::Body::Closed(v1::ForumClosed { forum_id: 7, forced: true }), 9, 7),
            encoded(v1::record::Body::Closed(v1::ForumClosed::default()), 9, 0),
        ] {
            assert!(record(&bytes).is_err(), "{bytes:?}");
        }
        let assignment =
            Some(v1::Assignment { epoch: 1, primary: 1, replicas: vec![1], ..Default::default() });
        let elsewhere = vec![encoded(task(), 9, 8)];
        let state = v1::ForumState { forum_id: 7, assignment, as_of: 10, open_tasks: elsewhere };
        assert!(forum_state(state).is_err());
        let of_none = v1::rows_request::Kind::Forum(v1::ForumRows::default());
        assert!(read(v1::RowsRequest { kind: Some(of_none), ..Default::default() }).is_err());
    }

    #[test]
    fn a_request_that_cannot_be_read_is_a_task_all_the_same() {
        let unreadable = v1::Task { request: Bytes::from_static(b"\xff"), ..Default::default() };
        let entry = record(&encoded(v1::record::Body::Task(unreadable), 9, 7)).unwrap();
        let EntryBody::Task(task) = entry.body else { panic!("not a task") };
        assert_eq!(task.work.request, None);
    }

    #[test]
    fn a_question_for_more_than_a_page_is_one_for_a_page() {
        let before = Some(v1::MessagePosition { shouted_at_s: 9, id: 2 });
        let rows = v1::ForumRows { forum_id: 7, before, limit: u32::MAX };
        let kind = Some(v1::rows_request::Kind::Forum(rows));
        let asked = read(v1::RowsRequest { id: 1, fence: 5, kind }).unwrap();
        let forum = ForumId::new(7).unwrap();
        assert_eq!(asked.wanted, Wanted::Forum { forum, before: Some((9, 2)), limit: 1000 });
        assert_eq!(read(v1::RowsRequest::default()).unwrap().wanted, Wanted::Unknown);
    }

    #[test]
    fn verdicts_say_whether_sending_again_can_help() {
        let with = |code: Option<v1::RejectionCode>| v1::Verdict {
            task_id: 1,
            forum_id: 1,
            rejection: code.map(|code| v1::Rejection { code: code.into(), ..Default::default() }),
        };
        let told = |code| verdict(&with(code)).unwrap().2;
        assert_eq!(told(None), Refusal::SendAgain);
        assert_eq!(told(Some(v1::RejectionCode::OutOfOrder)), Refusal::SendAgain);
        assert_eq!(told(Some(v1::RejectionCode::StaleEpoch)), Refusal::FeedKnows);
        assert_eq!(told(Some(v1::RejectionCode::AlreadyAnswered)), Refusal::FeedKnows);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, id: u64, forum_id: u32) {
            let bytes = Bytes::from(bytes);
            let _ = record(&bytes);
            let task = v1::Task { request: bytes.clone(), ..Default::default() };
            let _ = record(&encoded(v1::record::Body::Task(task), id, forum_id));
            if let Ok(asked) = v1::RowsRequest::decode(bytes) {
                let _ = read(asked);
            }
        }
    }
}
