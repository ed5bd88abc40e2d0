//! A session is one user for its whole life: in every forum, on whichever peer its requests are executed, and no other
//! session's. What was acknowledged has been committed by then.

use std::collections::BTreeMap;

use loop_proto::v1::{self, fact::Kind};

use super::{Commit, Invariant, facts_of};

/// The rule.
#[derive(Default)]
pub struct OneUserPerSession {
    /// Each message's author, by the log.
    authors: BTreeMap<u64, Option<u32>>,
    users: BTreeMap<usize, u32>,
    sessions: BTreeMap<u32, usize>,
}

impl Invariant for OneUserPerSession {
    fn name(&self) -> &'static str {
        "one user per session"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        for fact in facts_of(record) {
            if let Kind::MessageStored(row) = fact {
                self.authors.insert(row.id.into(), row.author_id);
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, commit: &Commit) -> Result<(), String> {
        let Some((id, _)) = commit.acked else { return Ok(()) };
        let (text, by) = (&commit.text, commit.by);
        let user = match self.authors.get(&id) {
            Some(Some(user)) => *user,
            Some(None) => return Err(format!("{text} was stored without an author")),
            None => return Err(format!("{text} was acknowledged as {id}, which no hub has committed")),
        };
        let known = *self.users.entry(by).or_insert(user);
        if known != user {
            return Err(format!("{text} of session {by} was written by user {user}, who was {known} before"));
        }
        let first = *self.sessions.entry(user).or_insert(by);
        if first != by {
            return Err(format!("{text} of session {by} was written by user {user}, who is session {first}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::v1::record::Body;
    use prost::Message;

    use super::*;

    fn stored(id: u32, author_id: Option<u32>) -> v1::Record {
        let kind = Kind::MessageStored(v1::MessageStored { id, author_id, ..Default::default() });
        let facts = v1::Facts { facts: vec![v1::Fact { kind: Some(kind) }] }.encode_to_vec().into();
        let body = Some(Body::Facts(v1::TaskFacts { facts, ..Default::default() }));
        v1::Record { id: 1, at_ms: 1, forum_id: 1, body }
    }

    fn ack(by: usize, id: u64) -> Commit {
        Commit { by, acked: Some((id, 1)), ..Commit::default() }
    }

    #[test]
    fn a_session_that_becomes_somebody_else_and_a_user_of_two_sessions_are_seen() {
        let mut rule = OneUserPerSession::default();
        for (id, user) in [(1, 414), (2, 414), (3, 415), (4, 416)] {
            rule.on_record(&stored(id, Some(user))).unwrap();
        }
        assert_eq!(rule.on_ack(&ack(0, 1)), Ok(()));
        assert_eq!(rule.on_ack(&ack(0, 2)), Ok(()));
        assert_eq!(rule.on_ack(&ack(1, 3)), Ok(()));
        assert!(rule.on_ack(&ack(0, 4)).is_err(), "the session was user 414");
        assert!(rule.on_ack(&ack(2, 2)).is_err(), "user 414 is session 0");
    }

    #[test]
    fn an_answer_without_its_facts_and_a_message_without_author_are_seen() {
        let mut rule = OneUserPerSession::default();
        assert!(rule.on_ack(&ack(0, 1)).is_err());
        rule.on_record(&stored(1, None)).unwrap();
        assert!(rule.on_ack(&ack(0, 1)).is_err());
    }
}
