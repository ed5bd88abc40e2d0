//! Record ids are dense. Message ids are unique over all forums and increase in log order, time never falls; and
//! what was acknowledged before another message's id was asked for has the smaller id.

use std::collections::BTreeMap;

use loop_proto::v1::{self, record::Body};

use super::{Commit, Invariant};

/// The rule.
#[derive(Default)]
pub struct DenseAndIncreasingIds {
    newest: u64,
    newest_at_ms: u64,
    newest_message: u32,
    /// The largest id acknowledged so far, by when: both grow.
    acked: BTreeMap<u64, u64>,
}

impl Invariant for DenseAndIncreasingIds {
    fn name(&self) -> &'static str {
        "ids are dense and increase"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        if record.id != self.newest + 1 {
            return Err(format!("record {} follows {}", record.id, self.newest));
        }
        if record.at_ms < self.newest_at_ms {
            return Err(format!(
                "record {} is of {} ms, after {}",
                record.id, record.at_ms, self.newest_at_ms
            ));
        }
        (self.newest, self.newest_at_ms) = (record.id, record.at_ms);
        if let Some(Body::Task(v1::Task { message_id: Some(id), .. })) = record.body {
            if id <= self.newest_message {
                return Err(format!("message {id} was given after {}", self.newest_message));
            }
            self.newest_message = id;
        }
        Ok(())
    }

    fn on_ack(&mut self, commit: &Commit) -> Result<(), String> {
        let Some((id, at)) = commit.acked else { return Ok(()) };
        if let Some((_, before)) =
            self.acked.range(..commit.id_asked()).next_back().filter(|(_, before)| **before >= id)
        {
            return Err(format!(
                "{} was sent after message {before} had been acknowledged, and is message {id}",
                commit.text
            ));
        }
        let largest = self.acked.last_key_value().map_or(id, |(_, largest)| id.max(*largest));
        self.acked.insert(at, largest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_a_fall_in_time_and_an_id_given_twice_are_seen() {
        let task = |id, at_ms, message_id| v1::Record {
            id,
            at_ms,
            forum_id: 1,
            body: Some(Body::Task(v1::Task { message_id, ..v1::Task::default() })),
        };
        let mut rule = DenseAndIncreasingIds::default();
        assert_eq!(rule.on_record(&task(1, 5, Some(3))), Ok(()));
        assert!(rule.on_record(&task(3, 5, Some(4))).is_err());
        assert!(rule.on_record(&task(2, 4, Some(4))).is_err());
        assert!(rule.on_record(&task(2, 5, Some(3))).is_err());
    }

    #[test]
    fn a_later_message_with_a_smaller_id_is_seen() {
        let commit = |sent, at, id| Commit { sent, acked: Some((id, at)), ..Commit::default() };
        let mut rule = DenseAndIncreasingIds::default();
        assert_eq!(rule.on_ack(&commit(1, 5, 20)), Ok(()));
        assert_eq!(rule.on_ack(&commit(4, 7, 10)), Ok(()), "both were under way at once");
        assert!(rule.on_ack(&commit(6, 8, 15)).is_err());
        assert_eq!(rule.on_ack(&commit(6, 9, 21)), Ok(()));
        let typed = |asked| Commit { typed: Some((15, asked)), ..commit(10, 11, 15) };
        assert_eq!(rule.on_ack(&typed(4)), Ok(()), "it was typed while the others were under way");
        assert!(rule.on_ack(&typed(6)).is_err());
    }
}
