//! A forum that has had a complete copy on a connected peer for a while, with nothing wrong but that peers come and go,
//! serves reads and writes.

use std::{collections::BTreeMap, time::Duration};

use super::{Invariant, Unanswered};

/// How long such a forum may leave everybody without an answer: a takeover, a browser's patience of up to eight seconds,
/// and another attempt.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

/// The rule.
#[derive(Default)]
pub struct LiveForumsAreServed {
    live_since: BTreeMap<usize, Duration>,
}

impl Invariant for LiveForumsAreServed {
    fn name(&self) -> &'static str {
        "live forums are served"
    }

    fn on_live(&mut self, live_since: &BTreeMap<usize, Duration>) -> Result<(), String> {
        self.live_since.clone_from(live_since);
        Ok(())
    }

    fn on_unanswered(&mut self, unanswered: &Unanswered) -> Result<(), String> {
        let Unanswered { forum, what, since, now } = *unanswered;
        let Some(live_since) = self.live_since.get(&forum) else { return Ok(()) };
        let waited = now.saturating_sub(since.max(*live_since));
        match waited > UNANSWERED_MAX {
            true => Err(format!(
                "no {what:?} of forum number {forum} was answered for {waited:?}, and it had a live copy all the time"
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::Call;

    #[test]
    fn who_waits_for_a_forum_that_lives_waits_no_longer_than_that() {
        let ask = |live: Option<u64>, since, now| {
            let mut rule = LiveForumsAreServed::default();
            let live = live.map(|at| (1, Duration::from_secs(at)));
            rule.on_live(&live.into_iter().collect()).unwrap();
            let (since, now) = (Duration::from_secs(since), Duration::from_secs(now));
            rule.on_unanswered(&Unanswered { forum: 1, what: Call::Read, since, now })
        };
        assert_eq!(ask(None, 0, 999), Ok(()));
        assert_eq!(ask(Some(0), 100, 130), Ok(()));
        assert!(ask(Some(0), 100, 131).is_err());
        assert_eq!(ask(Some(110), 100, 140), Ok(()), "it lives since then only");
        assert!(ask(Some(110), 100, 141).is_err());
    }
}
