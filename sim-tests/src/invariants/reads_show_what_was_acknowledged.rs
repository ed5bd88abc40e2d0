//! Whoever reads a forum, through any hub, sees everything that was acknowledged before the read was asked.

use std::collections::BTreeMap;

use super::{Commit, Invariant, Shown};

/// The rule.
#[derive(Default)]
pub struct ReadsShowWhatWasAcknowledged {
    /// By forum: id, text and when it was acknowledged.
    acked: BTreeMap<usize, BTreeMap<u64, (String, u64)>>,
}

impl Invariant for ReadsShowWhatWasAcknowledged {
    fn name(&self) -> &'static str {
        "reads show what was acknowledged"
    }

    fn on_ack(&mut self, commit: &Commit) -> Result<(), String> {
        if let Some((id, at)) = commit.acked {
            self.acked.entry(commit.forum).or_default().insert(id, (commit.text.clone(), at));
        }
        Ok(())
    }

    fn on_shown(&mut self, shown: &Shown) -> Result<(), String> {
        if shown.rows.windows(2).any(|pair| pair[0].0 <= pair[1].0) {
            return Err(format!("a read shows its messages out of order: {:?}", shown.rows));
        }
        // A page that is not full is everything; of a full one the newest are everything.
        let is_full = shown.rows.len() >= shown.records;
        let oldest = shown.rows.last().filter(|_| is_full).map_or(0, |(id, _)| *id);
        let Some(acked) = self.acked.get(&shown.forum) else { return Ok(()) };
        for (id, (text, at)) in acked.range(oldest..) {
            if *at < shown.asked
                && !shown.rows.iter().any(|(shown, words)| shown == id && words.contains(text))
            {
                let ids: Vec<u64> = shown.rows.iter().map(|(id, _)| *id).collect();
                return Err(format!(
                    "{text} was acknowledged as {id} before a read was asked that does not show it, but {ids:?}"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_read_is_seen() {
        let mut rule = ReadsShowWhatWasAcknowledged::default();
        let ack =
            |id, at| Commit { forum: 0, text: format!("t{id}"), sent: 1, sendings: 1, acked: Some((id, at)) };
        rule.on_ack(&ack(5, 10)).unwrap();
        rule.on_ack(&ack(6, 20)).unwrap();
        let shown = |asked, records, ids: &[u64]| Shown {
            forum: 0,
            asked,
            records,
            rows: ids.iter().map(|id| (*id, format!("Anon: t{id}"))).collect(),
        };
        assert_eq!(rule.on_shown(&shown(15, 25, &[5])), Ok(()));
        assert_eq!(rule.on_shown(&shown(25, 25, &[6, 5])), Ok(()));
        assert_eq!(rule.on_shown(&shown(25, 1, &[6])), Ok(()), "the page is full");
        assert!(rule.on_shown(&shown(25, 25, &[5])).is_err());
        assert!(rule.on_shown(&shown(25, 25, &[6])).is_err());
        assert!(rule.on_shown(&shown(25, 25, &[5, 6])).is_err());
        assert!(rule.on_shown(&shown(15, 25, &[])).is_err());
    }
}
