//! What a move waits for, in words. Pure: knows no clock and no connection, only what it is told of them.

use std::time::Duration;

use loop_proto::{
    ids::{ForumId, PeerId},
    v1,
};
use loop_raft_store::machine::JoinStage;

/// An open invitation and what is known of those who have a part in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining<'a> {
    pub forum: ForumId,
    /// Who is on the way.
    pub target: PeerId,
    /// Who gives its copy.
    pub source: PeerId,
    pub stage: JoinStage,
    /// Whether the target is connected to any hub.
    pub connected: bool,
    /// Whether anybody does who could give a copy.
    pub source_connected: bool,
    /// What the target last said of its copy.
    pub copy: Option<&'a v1::SeedProgress>,
    /// Records between the target's cursor and the forum's newest one.
    pub lag: u64,
    /// How long until the leader gives up at the earliest, if nothing moves.
    pub patience: Option<Duration>,
}

impl Joining<'_> {
    /// What has to happen next.
    pub fn words(&self) -> String {
        let Self { forum, target, source, .. } = self;
        if !self.connected {
            return format!("{target} is not connected; {}", self.given_up());
        }
        match self.stage {
            JoinStage::Invited => format!("waits for {target} to answer"),
            JoinStage::Seeding => match self.copy {
                Some(copy) if copy.installing => format!("{target} makes rows of the copy from {source}"),
                Some(copy) if copy.bytes_total > 0 => {
                    format!("{target} has {} % of the copy from {source}", percent(copy))
                }
                Some(copy) if copy.bytes_done > 0 => {
                    format!("{target} has {} bytes of the copy from {source}", grouped(copy.bytes_done))
                }
                _ if !self.source_connected => {
                    format!(
                        "no replica of {forum} that could give {target} its copy is connected; {}",
                        self.given_up()
                    )
                }
                _ => format!("{target} waits for the copy from {source} to begin"),
            },
            JoinStage::CatchingUp => match self.lag {
                0 => format!("{target} has every record; waits for the leader to let it serve"),
                1 => format!("{target} is 1 record behind"),
                lag => format!("{target} is {} records behind", grouped(lag)),
            },
        }
    }

    fn given_up(&self) -> String {
        match (self.patience, self.stage) {
            (None, _) => "given up soon".to_owned(),
            // Only the leader has seen when the target last moved, so the others know a lower bound.
            (Some(left), JoinStage::Seeding | JoinStage::CatchingUp) => {
                format!("given up in {} s or later", left.as_secs().max(1))
            }
            (Some(left), JoinStage::Invited) => format!("given up in {} s", left.as_secs().max(1)),
        }
    }
}

/// A replica that was replaced, and what is known of the one that serves in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced {
    pub old: PeerId,
    pub successor: PeerId,
    /// The successor's cursor, if it is connected.
    pub passed: Option<u64>,
    /// The record of the cut-over.
    pub cut_over: u64,
    /// How long the successor's copy has been confirmed; `None`: it has not been compared yet.
    pub confirmed_for: Option<Duration>,
    /// How long a replaced copy is kept after that.
    pub kept_for: Duration,
}

impl Replaced {
    /// What has to happen before it is let go.
    pub fn words(&self) -> String {
        let Self { old, successor, .. } = self;
        match (self.passed, self.confirmed_for) {
            (None, _) => {
                format!("waits for {successor}, which is not connected; {old} is taken back if it is needed")
            }
            (Some(passed), _) if passed < self.cut_over => {
                format!("waits until {successor} has the cut-over on disk")
            }
            (Some(_), None) => {
                format!("waits until {successor}'s copy has been live for a while and was compared")
            }
            (Some(_), Some(confirmed)) => {
                match self.kept_for.checked_sub(confirmed).map(|left| left.as_secs()) {
                    Some(left @ 1..) => format!("{old} keeps its copy for another {left} s"),
                    Some(0) | None => {
                        format!("waits until enough others are live, then the leader lets {old} go")
                    }
                }
            }
        }
    }
}

fn percent(copy: &v1::SeedProgress) -> u64 {
    // u128: a peer may say any numbers.
    let percent = u128::from(copy.bytes_done.min(copy.bytes_total)) * 100 / u128::from(copy.bytes_total);
    u64::try_from(percent).unwrap_or(100)
}

/// A number with a comma before every third digit from the end.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u32) -> PeerId {
        PeerId::new(id).unwrap()
    }

    fn joining(stage: JoinStage) -> Joining<'static> {
        Joining {
            forum: ForumId::new(12).unwrap(),
            target: peer(4),
            source: peer(2),
            stage,
            connected: true,
            source_connected: true,
            copy: None,
            lag: 0,
            patience: Some(Duration::from_millis(41_700)),
        }
    }

    #[test]
    fn an_invited_peer_is_waited_for_and_given_up_when_it_is_away() {
        let invited = joining(JoinStage::Invited);
        assert_eq!(invited.words(), "waits for p4 to answer");
        let away = Joining { connected: false, ..invited };
        assert_eq!(away.words(), "p4 is not connected; given up in 41 s");
        assert_eq!(Joining { patience: None, ..away }.words(), "p4 is not connected; given up soon");
        let later = Joining { stage: JoinStage::Seeding, ..away };
        assert_eq!(later.words(), "p4 is not connected; given up in 41 s or later");
    }

    #[test]
    fn a_copy_on_its_way_is_told_as_exactly_as_it_is_known() {
        let seeding = joining(JoinStage::Seeding);
        assert_eq!(seeding.words(), "p4 waits for the copy from p2 to begin");
        let alone = Joining { source_connected: false, ..seeding };
        assert_eq!(
            alone.words(),
            "no replica of f12 that could give p4 its copy is connected; given up in 41 s or later"
        );
        let said = |bytes_done, bytes_total, installing| v1::SeedProgress {
            bytes_done,
            bytes_total,
            installing,
            ..Default::default()
        };
        for (copy, words) in [
            (said(0, 0, false), "p4 waits for the copy from p2 to begin"),
            (said(12_345, 0, false), "p4 has 12,345 bytes of the copy from p2"),
            (said(34, 100, false), "p4 has 34 % of the copy from p2"),
            (said(u64::MAX, u64::MAX, false), "p4 has 100 % of the copy from p2"),
            (said(200, 100, false), "p4 has 100 % of the copy from p2"),
            (said(100, 100, true), "p4 makes rows of the copy from p2"),
        ] {
            assert_eq!(Joining { copy: Some(&copy), ..seeding }.words(), words);
        }
    }

    #[test]
    fn one_that_catches_up_says_how_far_it_is_behind() {
        for (lag, words) in [
            (0, "p4 has every record; waits for the leader to let it serve"),
            (1, "p4 is 1 record behind"),
            (1_203, "p4 is 1,203 records behind"),
            (1_000_000, "p4 is 1,000,000 records behind"),
        ] {
            assert_eq!(Joining { lag, ..joining(JoinStage::CatchingUp) }.words(), words);
        }
    }

    #[test]
    fn a_replaced_replica_waits_until_its_successors_copy_is_as_good() {
        let words = |passed, confirmed_s: Option<u64>| {
            let replaced = Replaced {
                old: peer(2),
                successor: peer(4),
                passed,
                cut_over: 90,
                confirmed_for: confirmed_s.map(Duration::from_secs),
                kept_for: Duration::from_secs(600),
            };
            replaced.words()
        };
        assert_eq!(words(Some(89), None), "waits until p4 has the cut-over on disk");
        assert!(words(Some(90), None).contains("p4's copy has been live for a while and was compared"));
        assert_eq!(words(Some(90), Some(100)), "p2 keeps its copy for another 500 s");
        assert!(words(Some(90), Some(600)).contains("lets p2 go"));
        assert!(words(None, Some(600)).contains("p4, which is not connected"));
    }
}
