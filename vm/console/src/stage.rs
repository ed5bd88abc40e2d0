//! How far the machine has come: nothing known, joining, a member. Decides it from what is seen; never looks itself.

/// The peer's unit, as systemd tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// The process runs.
    pub is_running: bool,
    /// Its last run ended by itself with a failure.
    pub has_failed: bool,
}

/// How far the machine has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is nothing to join with.
    Unknown,
    /// It has a join string, and no hub has taken it yet.
    Joining {
        /// What the peer said last, if it said that something is in its way.
        trouble: Option<String>,
    },
    /// The hubs do not let it join with what it has: another join string is needed.
    Refused {
        /// For the person at the screen.
        why: String,
    },
    /// It has joined.
    Member {
        /// What the peer said last, if it does not run.
        trouble: Option<String>,
    },
}

/// Said by the peer as it ends because the hubs refuse it.
const REFUSED: &str = "does not let this peer join";

/// Where it stands. `words`: what the peer has said in its latest run, oldest first.
pub fn judge(has_settings: bool, has_joined: bool, unit: Unit, words: &[String]) -> Stage {
    if has_joined && has_settings {
        let trouble = (!unit.is_running).then(|| last_failure(words)).flatten();
        return Stage::Member { trouble };
    }
    if !has_settings {
        return Stage::Unknown;
    }
    if unit.is_running || !unit.has_failed {
        return Stage::Joining { trouble: last_trouble(words) };
    }
    match last_failure(words) {
        Some(said) if said.contains(REFUSED) => Stage::Refused {
            why: "The hubs do not take this join string: its token is wrong, or not good any more. \
                  Look at it once more, or ask whoever gave it to you for a new one."
                .to_owned(),
        },
        said => Stage::Joining { trouble: said },
    }
}

/// What the program said on ending: its log lines begin with a time, this begins with its name.
fn last_failure(words: &[String]) -> Option<String> {
    words.iter().rev().find_map(|line| line.strip_prefix("loop-peer: ")).map(ToOwned::to_owned)
}

/// The last line of the log, if it is about a hub that is not there.
fn last_trouble(words: &[String]) -> Option<String> {
    let line = words.iter().rev().find(|line| line.contains(" WARN ") || line.contains(" INFO "))?;
    let (_, said) = line.split_once(": ")?;
    let is_trouble =
        ["cannot be reached", "did not answer", "not available", "said no", "no hub", "does not know"]
            .iter()
            .any(|trouble| said.contains(trouble));
    // What follows are the log's fields.
    is_trouble.then(|| said.split(" addr=").next().unwrap_or(said).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Unit = Unit { is_running: true, has_failed: false };
    const FAILED: Unit = Unit { is_running: false, has_failed: true };

    fn words(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    const STARTING: &str = "2026-11-29T22:00:00.1Z  INFO loop_peer: peer starting version=\"0.1.0\"";
    const AWAY: &str = "2026-11-29T22:00:01.1Z  INFO loop_peer::session: cannot join: cannot be reached: connection refused addr=a:1";
    const REFUSAL: &str =
        "loop-peer: hub a:1 does not let this peer join: it does not know this peer. Check --join-token";

    #[test]
    fn without_a_join_string_nothing_is_known() {
        assert_eq!(judge(false, false, Unit::default(), &[]), Stage::Unknown);
        assert_eq!(judge(false, true, Unit::default(), &[]), Stage::Unknown);
    }

    #[test]
    fn it_joins_until_it_has_joined_and_says_what_is_in_the_way() {
        let joining = |lines: &[&str]| judge(true, false, RUNS, &words(lines));
        assert_eq!(joining(&[STARTING]), Stage::Joining { trouble: None });
        let trouble = Some("cannot join: cannot be reached: connection refused".to_owned());
        assert_eq!(joining(&[STARTING, AWAY]), Stage::Joining { trouble });
        assert_eq!(judge(true, true, RUNS, &words(&[AWAY])), Stage::Member { trouble: None });
    }

    #[test]
    fn a_refusal_asks_for_another_join_string_and_another_failure_does_not() {
        assert!(matches!(judge(true, false, FAILED, &words(&[STARTING, REFUSAL])), Stage::Refused { .. }));
        // A run of before is not this one.
        assert!(matches!(judge(true, false, RUNS, &words(&[STARTING, REFUSAL])), Stage::Joining { .. }));
        let full = judge(true, false, FAILED, &words(&["loop-peer: disk full"]));
        assert_eq!(full, Stage::Joining { trouble: Some("disk full".into()) });
    }

    #[test]
    fn a_member_that_does_not_run_says_why() {
        let member = judge(true, true, FAILED, &words(&["loop-peer: disk full"]));
        assert_eq!(member, Stage::Member { trouble: Some("disk full".into()) });
    }
}
