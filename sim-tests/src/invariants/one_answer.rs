//! Every task has at most one committed answer, and no request becomes two tasks.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::v1::{self, record::Body};

use super::Invariant;

/// The rule.
#[derive(Default)]
pub struct OneAnswer {
    open: BTreeSet<u64>,
    tasks: BTreeMap<Vec<u8>, u64>,
}

impl Invariant for OneAnswer {
    fn name(&self) -> &'static str {
        "one answer"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        match &record.body {
            Some(Body::Task(task)) => {
                self.open.insert(record.id);
                match self.tasks.insert(task.request_id.to_vec(), record.id) {
                    Some(first) => Err(format!("tasks {first} and {} are the same request", record.id)),
                    None => Ok(()),
                }
            }
            Some(Body::Facts(v1::TaskFacts { task_id: Some(task), .. })) if !self.open.remove(task) => {
                Err(format!("record {} answers task {task}, which is not open", record.id))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_answer_and_a_second_task_of_one_request_are_seen() {
        let record = |id, body| v1::Record { id, at_ms: 1, forum_id: 1, body: Some(body) };
        let task = |request: &'static [u8]| {
            Body::Task(v1::Task { request_id: request.into(), ..v1::Task::default() })
        };
        let answer = |task| Body::Facts(v1::TaskFacts { task_id: Some(task), ..v1::TaskFacts::default() });
        let mut rule = OneAnswer::default();
        assert_eq!(rule.on_record(&record(1, task(b"r"))), Ok(()));
        assert_eq!(rule.on_record(&record(2, answer(1))), Ok(()));
        assert!(rule.on_record(&record(3, answer(1))).is_err());
        assert!(rule.on_record(&record(3, task(b"r"))).is_err());
    }
}
