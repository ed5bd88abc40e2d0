//! A forum is closed while there is no message in it, finished or not, and no task that nobody has answered; nothing is said of it
//! afterwards, and its id is never another's.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::v1::{self, fact::Kind, record::Body};

use super::{Invariant, facts_of};

/// The rule.
#[derive(Default)]
pub struct OnlyEmptyForumsAreClosed {
    /// The messages of each forum.
    messages: BTreeMap<u32, BTreeSet<u32>>,
    open_tasks: BTreeMap<u32, BTreeSet<u64>>,
    closed: BTreeSet<u32>,
}

impl Invariant for OnlyEmptyForumsAreClosed {
    fn name(&self) -> &'static str {
        "only empty forums are closed"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        let forum = record.forum_id;
        if self.closed.contains(&forum) {
            return Err(format!("record {} is of forum {forum}, which was closed before", record.id));
        }
        match &record.body {
            Some(Body::Task(_)) => _ = self.open_tasks.entry(forum).or_default().insert(record.id),
            Some(Body::Facts(facts)) => {
                if let (Some(open), Some(task)) = (self.open_tasks.get_mut(&forum), facts.task_id) {
                    open.remove(&task);
                }
            }
            Some(Body::Closed(closed)) => return self.close(record.id, closed.forum_id),
            _ => {}
        }
        let messages = self.messages.entry(forum).or_default();
        for fact in facts_of(record) {
            match fact {
                Kind::MessageStored(row) => _ = messages.insert(row.id),
                Kind::MessageRemoved(row) => _ = messages.remove(&row.id),
                _ => {}
            }
        }
        Ok(())
    }
}

impl OnlyEmptyForumsAreClosed {
    fn close(&mut self, record: u64, forum: u32) -> Result<(), String> {
        self.closed.insert(forum);
        let messages = self.messages.remove(&forum).unwrap_or_default();
        let open = self.open_tasks.remove(&forum).unwrap_or_default();
        match (messages.is_empty(), open.is_empty()) {
            (true, true) => Ok(()),
            _ => Err(format!(
                "record {record} closes forum {forum} with messages {messages:?} and tasks {open:?}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn record(id: u64, forum_id: u32, body: Body) -> v1::Record {
        v1::Record { id, at_ms: 1, forum_id, body: Some(body) }
    }

    fn facts(id: u64, task_id: Option<u64>, kinds: Vec<Kind>) -> v1::Record {
        let facts =
            v1::Facts { facts: kinds.into_iter().map(|kind| v1::Fact { kind: Some(kind) }).collect() };
        let facts = facts.encode_to_vec().into();
        record(id, 7, Body::Facts(v1::TaskFacts { task_id, facts, ..Default::default() }))
    }

    #[test]
    fn a_forum_with_a_message_or_an_open_task_must_stay_and_one_that_is_closed_is_over() {
        let stored = || Kind::MessageStored(v1::MessageStored { id: 9, ..Default::default() });
        let removed = || Kind::MessageRemoved(v1::MessageRemoved { id: 9, ..Default::default() });
        let closed = |id| record(id, 0, Body::Closed(v1::ForumClosed { forum_id: 7, forced: false }));
        let task = |id| record(id, 7, Body::Task(v1::Task::default()));
        let ask = |records: Vec<v1::Record>| {
            let mut rule = OnlyEmptyForumsAreClosed::default();
            records.iter().try_for_each(|record| rule.on_record(record))
        };
        let answered = || vec![task(1), facts(2, Some(1), vec![stored()])];
        let emptied = || [answered(), vec![facts(3, None, vec![removed()]), closed(4)]].concat();
        assert_eq!(ask(emptied()), Ok(()));
        assert!(ask([answered(), vec![closed(3)]].concat()).is_err(), "a message");
        assert!(ask(vec![task(1), closed(2)]).is_err(), "a task");
        assert!(ask([emptied(), vec![task(5)]].concat()).is_err(), "over");
    }
}
