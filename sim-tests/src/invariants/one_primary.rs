//! At any position of the log a forum has one primary and one epoch; the epoch never falls, and changes whenever the
//! primary does; nothing is taken from another, and without a task from no peer at all.

use std::collections::BTreeMap;

use loop_proto::v1::{self, record::Body};

use super::Invariant;

/// The rule.
#[derive(Default)]
pub struct OnePrimary {
    held: BTreeMap<u32, v1::Assignment>,
}

impl Invariant for OnePrimary {
    fn name(&self) -> &'static str {
        "one primary"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        let forum = record.forum_id;
        match &record.body {
            Some(Body::Assignment(now)) => {
                if !now.replicas.contains(&now.primary) {
                    return Err(format!(
                        "forum {forum}: primary {} is no replica at {}",
                        now.primary, record.id
                    ));
                }
                let before = self.held.insert(forum, now.clone());
                match before {
                    Some(before) if now.epoch < before.epoch => {
                        Err(format!("forum {forum}: epoch {} follows {}", now.epoch, before.epoch))
                    }
                    Some(before) if now.primary != before.primary && now.epoch == before.epoch => {
                        Err(format!(
                            "forum {forum}: primary {} follows {} within epoch {}",
                            now.primary, before.primary, now.epoch
                        ))
                    }
                    _ => Ok(()),
                }
            }
            // Facts for the directory come with the forum's; those are checked.
            Some(Body::Facts(facts)) if forum != 0 => {
                let Some(held) = self.held.get(&forum) else {
                    return Err(format!("facts of forum {forum}, which nobody holds"));
                };
                // The hubs' own: a new forum's row, an unfinished message that was left behind.
                let may = match facts.task_id {
                    Some(_) => facts.peer_id == held.primary && facts.epoch == held.epoch,
                    None => facts.peer_id == 0,
                };
                match may {
                    true => Ok(()),
                    false => Err(format!(
                        "record {}: facts by peer {} under epoch {}, where {held:?} holds",
                        record.id, facts.peer_id, facts.epoch
                    )),
                }
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_another_peer_or_epoch_and_a_silent_change_are_seen() {
        let record = |id, body| v1::Record { id, at_ms: 1, forum_id: 7, body: Some(body) };
        let assignment = |epoch, primary| {
            Body::Assignment(v1::Assignment { epoch, primary, replicas: vec![1, 2], ..Default::default() })
        };
        let facts = |task_id, peer_id, epoch| {
            Body::Facts(v1::TaskFacts { task_id, peer_id, epoch, ..v1::TaskFacts::default() })
        };
        let mut rule = OnePrimary::default();
        assert!(rule.on_record(&record(1, facts(Some(1), 1, 1))).is_err());
        assert_eq!(rule.on_record(&record(1, assignment(3, 1))), Ok(()));
        assert_eq!(rule.on_record(&record(2, facts(Some(1), 1, 3))), Ok(()));
        assert_eq!(rule.on_record(&record(3, facts(None, 0, 0))), Ok(()));
        assert!(rule.on_record(&record(4, facts(Some(1), 2, 3))).is_err());
        assert!(rule.on_record(&record(4, facts(Some(1), 1, 2))).is_err());
        assert!(rule.on_record(&record(4, facts(None, 9, 3))).is_err());
        assert!(rule.on_record(&record(4, assignment(3, 2))).is_err());
        assert!(rule.on_record(&record(4, assignment(2, 2))).is_err());
        assert!(rule.on_record(&record(4, assignment(5, 3))).is_err());
    }
}
