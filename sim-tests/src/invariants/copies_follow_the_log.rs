//! A copy that serves holds what the forum's facts in the log come to, up to its cursor, whenever it is looked at: no
//! record was missed, applied twice or applied early, by the feed, by a checkpoint or by what was staged beside it.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use loop_proto::v1::{self, fact::Kind};

use super::{Commit, Copy, Invariant, facts_of};

/// The rule.
#[derive(Default)]
pub struct CopiesFollowTheLog {
    forums: BTreeMap<u32, Forum>,
}

#[derive(Default)]
struct Forum {
    /// Each message's text, whether it is shown and whether it is finished.
    rows: HashMap<u32, (String, bool, bool)>,
    /// The sum of the rows' hashes, so that it can be kept as rows come and go.
    sum: u64,
    /// The sum and the number of rows after each record that changed them, ascending.
    after: Vec<(u64, u64, usize)>,
}

fn hash(id: u64, text: &str, active: bool, is_final: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, text, active, is_final).hash(&mut hasher);
    hasher.finish()
}

impl Forum {
    fn put(&mut self, id: u32, row: Option<(String, bool, bool)>) {
        let hash_of = |row: &(String, bool, bool)| hash(id.into(), &row.0, row.1, row.2);
        let added = row.as_ref().map_or(0, hash_of);
        let before = match row {
            Some(row) => self.rows.insert(id, row),
            None => self.rows.remove(&id),
        };
        self.sum = self.sum.wrapping_sub(before.as_ref().map_or(0, hash_of)).wrapping_add(added);
    }

    fn hide(&mut self, id: u32, finished: bool) {
        if let Some((text, _, is_final)) = self.rows.get(&id).cloned() {
            self.put(id, Some((text, false, is_final || finished)));
        }
    }
}

impl Invariant for CopiesFollowTheLog {
    fn name(&self) -> &'static str {
        "copies follow the log"
    }

    fn on_record(&mut self, record: &v1::Record) -> Result<(), String> {
        let facts = facts_of(record);
        if facts.is_empty() {
            return Ok(());
        }
        let forum = self.forums.entry(record.forum_id).or_default();
        for fact in facts {
            match fact {
                Kind::MessageStored(row) => {
                    let is_final = row.status() == v1::MessageStatus::Final;
                    forum.put(row.id, Some((row.text, row.active, is_final)));
                }
                Kind::MessageHidden(row) => forum.hide(row.id, row.finished),
                Kind::MessageRemoved(row) => forum.put(row.id, None),
                _ => {}
            }
        }
        forum.after.push((record.id, forum.sum, forum.rows.len()));
        Ok(())
    }

    fn on_copy(&mut self, copy: &Copy) -> Result<(), String> {
        let after = self.forums.get(&copy.forum).map(|forum| forum.after.as_slice()).unwrap_or_default();
        let at = after.partition_point(|(record, ..)| *record <= copy.cursor);
        let (sum, rows) = at.checked_sub(1).map_or((0, 0), |at| (after[at].1, after[at].2));
        let found = copy.rows.iter().map(|row| hash(row.id, &row.text, row.active, row.is_final));
        match found.fold(0, u64::wrapping_add) == sum {
            true => Ok(()),
            false => Err(format!(
                "peer {} has applied forum {} through record {} and holds {} rows that are not the {rows} of the log",
                copy.peer,
                copy.forum,
                copy.cursor,
                copy.rows.len()
            )),
        }
    }

    fn at_end(&mut self, _: &[Commit], copies: &BTreeMap<usize, Vec<Copy>>) -> Result<(), String> {
        copies.values().flatten().try_for_each(|copy| self.on_copy(copy))
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::v1::record::Body;
    use prost::Message;

    use super::*;
    use crate::replica::Row;

    fn record(id: u64, kind: Kind) -> v1::Record {
        let facts = v1::Facts { facts: vec![v1::Fact { kind: Some(kind) }] }.encode_to_vec().into();
        let body = Some(Body::Facts(v1::TaskFacts { facts, ..Default::default() }));
        v1::Record { id, at_ms: 1, forum_id: 7, body }
    }

    fn says(id: u32, text: &str) -> Kind {
        let (text, status) = (text.to_owned(), v1::MessageStatus::Final.into());
        Kind::MessageStored(v1::MessageStored { id, text, status, active: true, ..Default::default() })
    }

    fn copy(cursor: u64, rows: &[(u64, &str)]) -> Copy {
        let row = |(id, text): &(u64, &str)| Row {
            id: *id,
            text: (*text).to_owned(),
            active: true,
            is_final: true,
        };
        Copy { forum: 7, number: 0, peer: 1, cursor, newest: cursor, rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn a_missed_an_early_and_a_kept_row_are_seen_at_every_position() {
        let mut rule = CopiesFollowTheLog::default();
        rule.on_record(&record(2, says(10, "a"))).unwrap();
        rule.on_record(&record(4, says(11, "b"))).unwrap();
        rule.on_record(&record(6, says(10, "c"))).unwrap();
        let removed = v1::MessageRemoved { id: 11, ..Default::default() };
        rule.on_record(&record(8, Kind::MessageRemoved(removed))).unwrap();
        let hidden = v1::MessageHidden { id: 10, ..Default::default() };
        rule.on_record(&record(10, Kind::MessageHidden(hidden))).unwrap();
        assert!(rule.on_copy(&copy(10, &[(10, "c")])).is_err(), "shown");
        let both = [(10, "a"), (11, "b")];
        assert_eq!(rule.on_copy(&copy(1, &[])), Ok(()));
        assert_eq!(rule.on_copy(&copy(3, &both[..1])), Ok(()));
        assert_eq!(rule.on_copy(&copy(5, &both)), Ok(()));
        assert_eq!(rule.on_copy(&copy(9, &[(10, "c")])), Ok(()));
        assert!(rule.on_copy(&copy(3, &[])).is_err(), "missed");
        assert!(rule.on_copy(&copy(3, &both)).is_err(), "early");
        assert!(rule.on_copy(&copy(6, &both)).is_err(), "an older look");
        assert!(rule.on_copy(&copy(8, &[(10, "c"), (11, "b")])).is_err(), "kept");
        assert!(rule.on_copy(&copy(3, &[(10, "x")])).is_err(), "another text");
    }
}
