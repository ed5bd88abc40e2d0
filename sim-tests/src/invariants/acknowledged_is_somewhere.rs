//! Every acknowledged message is, at any moment, on the disk of a machine that has not been destroyed, or in the log for as
//! long as the hubs keep that part of it; unless its writer has asked to hide it.

use std::collections::{BTreeMap, BTreeSet};

use loop_proto::v1::{self, fact::Kind};

use super::{Commit, Disks, Hide, Invariant, facts_of};

/// The rule.
#[derive(Default)]
pub struct AcknowledgedIsSomewhere {
    /// The messages that must be somewhere, with their forum's number.
    acked: BTreeMap<u64, usize>,
    /// The record with which each message came to be what it is.
    records: BTreeMap<u64, u64>,
    leaving: BTreeSet<u64>,
}

impl Invariant for AcknowledgedIsSomewhere {
    fn name(&self) -> &'static str {
        "acknowledged is somewhere"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        for fact in facts_of(record) {
            if let Kind::MessageStored(row) = fact {
                self.records.insert(row.id.into(), record.id);
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, commit: &Commit) -> Result<(), String> {
        self.acked.extend(commit.acked.map(|(id, _)| (id, commit.forum)));
        Ok(())
    }

    fn on_hide(&mut self, hide: &Hide) -> Result<(), String> {
        if hide.own {
            self.leaving.insert(hide.id);
        }
        Ok(())
    }

    fn on_disks(&mut self, disks: &Disks) -> Result<(), String> {
        let is_in_log = |id: &u64| self.records.get(id).is_some_and(|record| *record > disks.trimmed_through);
        let is_on_disk =
            |id: &u64, forum: &usize| disks.messages.get(forum).is_some_and(|held| held.contains(id));
        let mut due = self.acked.iter().filter(|(id, _)| !self.leaving.contains(id));
        match due.find(|(id, forum)| !is_on_disk(id, forum) && !is_in_log(id)) {
            Some((id, forum)) => {
                Err(format!("message {id} of forum number {forum} was acknowledged and nobody has it"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::v1::record::Body;
    use prost::Message;

    use super::*;

    #[test]
    fn a_message_may_be_on_any_disk_or_in_the_log_or_hidden_and_nowhere_else() {
        let stored = v1::MessageStored { id: 7, ..Default::default() };
        let facts = v1::Facts { facts: vec![v1::Fact { kind: Some(Kind::MessageStored(stored)) }] };
        let body = v1::TaskFacts { facts: facts.encode_to_vec().into(), ..Default::default() };
        let record = v1::Record { id: 3, at_ms: 1, forum_id: 1, body: Some(Body::Facts(body)) };
        let mut rule = AcknowledgedIsSomewhere::default();
        let mut ask = |on_disk: &[u64], trimmed_through, hidden| {
            rule.on_record(&record).unwrap();
            rule.on_ack(&Commit { forum: 2, acked: Some((7, 1)), ..Default::default() }).unwrap();
            rule.leaving.clear();
            if hidden {
                rule.on_hide(&Hide { id: 7, own: true, ..Default::default() }).unwrap();
            }
            let messages = BTreeMap::from([(2, on_disk.iter().copied().collect())]);
            rule.on_disks(&Disks { messages, trimmed_through })
        };
        assert_eq!(ask(&[7], 9, false), Ok(()));
        assert_eq!(ask(&[6], 2, false), Ok(()));
        assert_eq!(ask(&[6], 3, true), Ok(()));
        assert!(ask(&[6], 3, false).is_err());
    }
}
