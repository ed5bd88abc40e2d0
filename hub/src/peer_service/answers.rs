//! A peer's answer on its way into the log: checked here, then proposed in the order it came.

use std::sync::Arc;

use loop_proto::{
    ids::ForumId,
    v1::{self, command, fact, hub_to_peer, outcome},
};
use prost::Message;

use crate::{
    hub::{Hub, PROPOSE_WITHIN},
    presence::PeerConnection,
    proposer::OnOutcome,
};

/// Most rows one execution may change.
const FACTS_MAX: usize = 1000;
/// Most bytes of the facts of one stream. The machine refuses more, but only once they are in the log, and a command
/// must fit into the messages hubs send one another.
const FACTS_BYTES_MAX: usize = 4 << 20;
/// Most bytes of one text column. AtomJump's widest is 1,024 characters of four bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Most sessions stored by one execution.
const SESSIONS_MAX: usize = 4;
/// Longest session id: the width of AtomJump's column.
const SESSION_ID_MAX: usize = 32;

/// Takes an answer. An error: the peer broke a rule that an honest one cannot break.
pub(super) async fn take(
    hub: &Arc<Hub>,
    connection: &Arc<PeerConnection>,
    answer: v1::Answer,
) -> Result<(), &'static str> {
    let forum = ForumId::new(answer.forum_id).ok_or("no forum")?;
    check_facts(forum, &answer.forum_facts, &answer.directory_facts, &answer.sessions)?;
    let receipt = answer.receipt.ok_or("no receipt")?;
    check_receipt(&receipt)?;
    let peer = connection.peer;
    if let Some(body) = answer.body {
        hub.deliver_body(
            answer.origin_hub,
            v1::LinkBody {
                task_id: answer.task_id,
                peer_id: peer.get(),
                epoch: answer.epoch,
                body: Some(body),
            },
        );
    }
    let propose = command::Body::AnswerTask(v1::AnswerTask {
        task_id: answer.task_id,
        forum_id: answer.forum_id,
        peer_id: peer.get(),
        epoch: answer.epoch,
        receipt: Some(receipt),
        forum_facts: answer.forum_facts,
        directory_facts: answer.directory_facts,
        sessions: answer.sessions,
    });
    let on_outcome = tell_refusal(connection.clone(), answer.task_id, answer.forum_id);
    hub.proposer.submit(hub.new_request_id(), propose, PROPOSE_WITHIN, on_outcome).await;
    Ok(())
}

/// What was taken comes back to the peer as facts; only a refusal needs words.
fn tell_refusal(connection: Arc<PeerConnection>, task_id: u64, forum_id: u32) -> OnOutcome {
    Box::new(move |outcome| {
        let rejection = match outcome {
            Ok(v1::Outcome { kind: Some(outcome::Kind::Rejection(rejection)) }) => Some(rejection),
            Ok(_) => return,
            Err(_) => None,
        };
        // A peer whose stream is full or gone starts over from the log when it is back.
        if connection
            .try_send(hub_to_peer::Kind::Verdict(v1::Verdict { task_id, forum_id, rejection }))
            .is_err()
        {
            connection.gone.send_replace(true);
        }
    })
}

fn check_receipt(receipt: &v1::Receipt) -> Result<(), &'static str> {
    let short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= 256);
    if !(200..600).contains(&receipt.status) || !short(&receipt.sid_json) || !short(&receipt.lid) {
        return Err("a receipt out of its bounds");
    }
    Ok(())
}

/// Checks what an execution changed: rows of the forum on the forum's stream, users on the directory's, all bounded.
pub fn check_facts(
    forum: ForumId,
    forum_facts: &bytes::Bytes,
    directory_facts: &bytes::Bytes,
    sessions: &[v1::SessionRecord],
) -> Result<(), &'static str> {
    for fact in decode(forum_facts)? {
        check_forum_fact(forum, &fact)?;
    }
    for fact in decode(directory_facts)? {
        let fact::Kind::UserStored(user) = fact else {
            return Err("a row of a forum on the directory stream");
        };
        if user.id == 0 || user.encoded_len() > TEXT_BYTES_MAX {
            return Err("a user row out of its bounds");
        }
    }
    if sessions.len() > SESSIONS_MAX || !sessions.iter().all(session_is_fine) {
        return Err("a session out of its bounds");
    }
    Ok(())
}

fn decode(facts: &bytes::Bytes) -> Result<Vec<fact::Kind>, &'static str> {
    if facts.len() > FACTS_BYTES_MAX {
        return Err("too many bytes of facts");
    }
    let facts = v1::Facts::decode(facts.clone()).map_err(|_| "facts that cannot be read")?.facts;
    if facts.len() > FACTS_MAX {
        return Err("too many facts");
    }
    facts.into_iter().map(|fact| fact.kind.ok_or("a fact of an unknown kind")).collect()
}

fn check_forum_fact(forum: ForumId, fact: &fact::Kind) -> Result<(), &'static str> {
    let (of_forum, bytes) = match fact {
        fact::Kind::MessageStored(row) => (row.id != 0 && row.forum_id == forum.get(), row.encoded_len()),
        fact::Kind::MessageRemoved(row) => (row.id != 0 && row.forum_id == forum.get(), row.encoded_len()),
        fact::Kind::ForumStored(row) => (row.id == forum.get(), row.encoded_len()),
        fact::Kind::SubscriptionStored(row) => (row.forum_id == forum.get(), row.encoded_len()),
        fact::Kind::UserStored(_) => return Err("a user on a forum's stream"),
    };
    if !of_forum {
        return Err("a row of another forum");
    }
    if bytes > 4 * TEXT_BYTES_MAX {
        return Err("a row out of its bounds");
    }
    Ok(())
}

fn session_is_fine(session: &v1::SessionRecord) -> bool {
    let id_is_fine = (1..=SESSION_ID_MAX).contains(&session.id.len())
        && session.id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b',' | b'-'));
    id_is_fine && session.user_id.as_ref().is_none_or(|user| user.len() <= 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kinds: Vec<fact::Kind>) -> bytes::Bytes {
        let facts = kinds.into_iter().map(|kind| v1::Fact { kind: Some(kind) }).collect();
        v1::Facts { facts }.encode_to_vec().into()
    }

    fn message(id: u32, forum_id: u32) -> fact::Kind {
        fact::Kind::MessageStored(v1::MessageStored { id, forum_id, ..Default::default() })
    }

    fn check(forum: Vec<fact::Kind>, directory: Vec<fact::Kind>) -> Result<(), &'static str> {
        check_facts(ForumId::new(7).unwrap(), &facts(forum), &facts(directory), &[])
    }

    #[test]
    fn a_peer_may_change_its_own_forum_only() {
        assert_eq!(check(vec![message(1, 7)], vec![]), Ok(()));
        assert!(check(vec![message(1, 8)], vec![]).is_err());
        assert!(check(vec![message(0, 7)], vec![]).is_err());
        assert!(check(vec![], vec![message(1, 7)]).is_err());
        let user = fact::Kind::UserStored(v1::UserStored { id: 1, ..Default::default() });
        assert!(check(vec![user.clone()], vec![]).is_err());
        assert_eq!(check(vec![], vec![user]), Ok(()));
    }

    #[test]
    fn what_is_too_much_or_unreadable_is_refused() {
        assert!(check(vec![message(1, 7); FACTS_MAX + 1], vec![]).is_err());
        let row = v1::MessageStored { id: 1, forum_id: 7, text: "x".repeat(60 << 10), ..Default::default() };
        let rows = |count| vec![fact::Kind::MessageStored(row.clone()); count];
        assert_eq!(check(rows(68), vec![]), Ok(()));
        assert!(
            check(rows(69), vec![]).is_err(),
            "each row is fine, together they would not fit into the log"
        );
        let garbage = bytes::Bytes::from_static(b"\xff\xff\xff");
        assert!(check_facts(ForumId::new(7).unwrap(), &garbage, &facts(vec![]), &[]).is_err());
        let session = v1::SessionRecord { id: "x".repeat(33), ..Default::default() };
        assert!(check_facts(ForumId::new(7).unwrap(), &facts(vec![]), &facts(vec![]), &[session]).is_err());
    }
}
