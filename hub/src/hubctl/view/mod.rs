//! The hubs' answers as an operator reads them: one shape each, printed as a table or as JSON.
//!
//! Never holds a forum's name or a session id: the hubs do not send them.

mod blocked;
mod changed;
mod drain;
mod forums;
mod group;
mod invitations;
mod migrations;
mod named;
mod peers;
mod plan;
mod tasks;
mod verify;

use loop_proto::v1;
use serde::Serialize;

pub use blocked::BlockedView;
pub use changed::{HubRemoved, Invited, PeerChanged, ReplicasChanged};
pub use drain::{DrainView, Moving};
pub use forums::{ForumView, ForumsView};
pub use group::{IdsView, StatusView};
pub use invitations::InvitationsView;
pub use migrations::{MigrationsView, ended};
pub use named::Named;
pub use peers::{PeersView, state};
pub use plan::PlanView;
pub use tasks::TasksView;
pub use verify::{Verdict, VerifyView};

use super::table::Width;

/// Something that prints as text for people and as JSON for scripts.
pub trait View: Serialize {
    /// For a screen of 80 columns, or none.
    fn text(&self, now_ms: u64) -> String;

    /// For a screen of this width. Only what has columns to spare looks different.
    fn text_within(&self, now_ms: u64, _width: Width) -> String {
        self.text(now_ms)
    }
}

/// Peers by their names.
fn peers(ids: &[u32]) -> String {
    ids.iter().map(|peer| format!("p{peer}")).collect::<Vec<_>>().join(" ")
}

fn stage(stage: v1::JoinStage) -> &'static str {
    match stage {
        v1::JoinStage::Unspecified => "-",
        v1::JoinStage::Invited => "invited",
        v1::JoinStage::Seeding => "seeding",
        v1::JoinStage::CatchingUp => "catching up",
    }
}

/// Who comes, and in whose place: `p2 → p4`, or `+ p4` for one more.
fn way(replaces: Option<u32>, target: u32) -> String {
    match replaces {
        Some(from) => format!("p{from} → p{target}"),
        None => format!("+ p{target}"),
    }
}

/// An id where 0 stands for none.
const fn some(id: u32) -> Option<u32> {
    if id == 0 { None } else { Some(id) }
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// How long ago a time was; two clocks may differ, so the future is "now".
fn ago(then_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1000;
    match seconds {
        _ if then_ms == 0 => "-".to_owned(),
        0 => "now".to_owned(),
        1..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A number of bytes in the unit that fits.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let Some(unit) = units.iter().enumerate().rev().find(|(at, _)| bytes >> (10 * (at + 1)) > 0) else {
        return format!("{bytes} B");
    };
    // u128: ten times a number near 2^64 would not fit.
    let tenths = (u128::from(bytes) * 10) >> (10 * (unit.0 + 1));
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let now = 10_000_000_000;
        let told = |seconds: u64| ago(now - seconds * 1000, now);
        assert_eq!(told(0), "now");
        assert_eq!(told(119), "119 s ago");
        assert_eq!(told(7_199), "119 min ago");
        assert_eq!(told(172_799), "47 h ago");
        assert_eq!(told(864_000), "10 days ago");
        assert_eq!(ago(now + 5_000, now), "now");
        assert_eq!(ago(0, now), "-");
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        for (bytes, told) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_600_000, "1.5 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), told);
        }
    }

    #[test]
    fn a_move_and_one_more_replica_look_different() {
        assert_eq!(way(Some(2), 4), "p2 → p4");
        assert_eq!(way(some(0), 4), "+ p4");
        assert_eq!(peers(&[1, 3]), "p1 p3");
    }
}
