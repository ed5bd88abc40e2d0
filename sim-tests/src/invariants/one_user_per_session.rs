//! Whoever writes in a session is the same user all along: nothing has to be typed again because another peer executes.

use std::collections::BTreeMap;

use loop_proto::v1::{self, fact, record::Body};
use prost::Message;

use super::Invariant;

/// The rule. Nobody logs in in a simulation, so a session's user never changes.
#[derive(Default)]
pub struct OneUserPerSession {
    /// The session of each open task that has one.
    open: BTreeMap<u64, String>,
    /// Who wrote first in a session, and in answer to which task.
    users: BTreeMap<String, (u32, u64)>,
}

impl Invariant for OneUserPerSession {
    fn name(&self) -> &'static str {
        "one user per session"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        match &record.body {
            Some(Body::Task(task)) => {
                let request = v1::ClientRequest::decode(task.request.clone());
                let session = request.map_err(|error| format!("task {}: {error}", record.id))?.session_id;
                if !session.is_empty() {
                    self.open.insert(record.id, session);
                }
                Ok(())
            }
            Some(Body::Facts(facts)) => self.answered(facts).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }
}

impl OneUserPerSession {
    /// What is wrong with the author of what this answer wrote.
    fn answered(&mut self, facts: &v1::TaskFacts) -> Option<String> {
        let task = facts.task_id?;
        let session = self.open.remove(&task)?;
        let rows = v1::Facts::decode(facts.facts.clone()).ok()?.facts;
        let author = rows.into_iter().find_map(|fact| match fact.kind? {
            fact::Kind::MessageStored(message) => message.author_id,
            _ => None,
        })?;
        let (first, first_task) = *self.users.entry(session).or_insert((author, task));
        (author != first).then(|| {
            format!(
                "one session wrote as user {first} in answer to task {first_task} and as {author} to {task}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, session: &str) -> v1::Record {
        let request = v1::ClientRequest { session_id: session.into(), ..Default::default() };
        let task = v1::Task { request: request.encode_to_vec().into(), ..Default::default() };
        v1::Record { id, at_ms: 1, forum_id: 1, body: Some(Body::Task(task)) }
    }

    fn answer(id: u64, to: u64, author: u32) -> v1::Record {
        let message = v1::MessageStored { id: 1, forum_id: 1, author_id: Some(author), ..Default::default() };
        let fact = v1::Fact { kind: Some(fact::Kind::MessageStored(message)) };
        let facts = v1::Facts { facts: vec![fact] }.encode_to_vec().into();
        let facts = v1::TaskFacts { task_id: Some(to), facts, ..Default::default() };
        v1::Record { id, at_ms: 1, forum_id: 1, body: Some(Body::Facts(facts)) }
    }

    #[test]
    fn a_session_that_becomes_somebody_else_is_seen_and_two_sessions_are_two_users() {
        let mut rule = OneUserPerSession::default();
        let log = [task(1, "a"), task(2, "b"), answer(3, 1, 414), answer(4, 2, 415), task(5, "a")];
        assert_eq!(log.iter().try_for_each(|record| rule.on_record(record)), Ok(()));
        assert!(rule.on_record(&answer(6, 5, 415)).is_err());
        let log = [task(7, "a"), answer(8, 7, 414), task(9, ""), answer(10, 9, 416)];
        assert_eq!(log.iter().try_for_each(|record| rule.on_record(record)), Ok(()));
    }
}
