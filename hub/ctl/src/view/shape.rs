//! What all views share: their shape, and how ids, times and sizes are told.

use loop_proto::v1;
use serde::Serialize;

use super::super::table::Width;

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
pub(super) fn peers(ids: &[u32]) -> String {
    ids.iter().map(|peer| format!("p{peer}")).collect::<Vec<_>>().join(" ")
}

pub(super) fn stage(stage: v1::JoinStage) -> &'static str {
    match stage {
        v1::JoinStage::Unspecified => "-",
        v1::JoinStage::Invited => "invited",
        v1::JoinStage::Seeding => "seeding",
        v1::JoinStage::CatchingUp => "catching up",
    }
}

/// Who comes, and in whose place: `p2 → p4`, or `+ p4` for one more.
pub(super) fn way(replaces: Option<u32>, target: u32) -> String {
    match replaces {
        Some(from) => format!("p{from} → p{target}"),
        None => format!("+ p{target}"),
    }
}

/// An id where 0 stands for none.
pub(super) const fn some(id: u32) -> Option<u32> {
    if id == 0 { None } else { Some(id) }
}

pub(super) fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// How long ago a time was; two clocks may differ, so the future is "now".
pub(super) fn ago(then_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(then_ms) {
        _ if then_ms == 0 => "-".to_owned(),
        0..1000 => "now".to_owned(),
        ms => format!("{} ago", long(ms)),
    }
}

/// A length of time in the unit that fits.
pub(super) fn long(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A number of bytes in the unit that fits.
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let Some(unit) = units.iter().enumerate().rev().find(|(at, _)| bytes >> (10 * (at + 1)) > 0) else {
        return format!("{bytes} B");
    };
    // u128: ten times a number near 2^64 would not fit.
    let tenths = (u128::from(bytes) * 10) >> (10 * (unit.0 + 1));
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.1)
}
