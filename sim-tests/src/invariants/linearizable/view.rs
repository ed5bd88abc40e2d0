//! What one read says of each message it could show, so that reads that ran at the same time can be compared.

use std::collections::BTreeMap;

use super::Message;
use crate::invariants::{Look, Shown};

/// How far a message is. In the order in which that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Absent,
    Typed,
    Said,
    Hidden,
}

/// One read.
pub struct View {
    /// When it ended.
    pub answered: u64,
    /// It says something of messages from here on.
    from: u64,
    /// What it says; of others that they are absent. `None`: absent or hidden, who knows.
    stages: BTreeMap<u64, Option<Stage>>,
}

impl View {
    pub(super) fn new(shown: &Shown, from: u64, messages: &BTreeMap<u64, Message>) -> Self {
        let mut stages = BTreeMap::new();
        for (id, message) in messages.range(from..).filter(|(_, message)| message.hidden.asked.is_some()) {
            // It was there before the read was asked, so the read found it hidden.
            let there = message.begun.is_before(shown.asked);
            stages.insert(*id, there.then_some(Stage::Hidden));
        }
        for (id, look) in &shown.rows {
            let stage = if *look == Look::Typing { Stage::Typed } else { Stage::Said };
            stages.insert(*id, Some(stage));
        }
        Self { answered: shown.answered, from, stages }
    }

    fn stage(&self, id: u64) -> Option<Stage> {
        self.stages.get(&id).copied().unwrap_or(Some(Stage::Absent))
    }

    /// Of two reads one must be as far as the other in everything.
    pub(super) fn check_beside(&self, other: &Self) -> Result<(), String> {
        let from = self.from.max(other.from);
        let (mut ahead, mut behind) = (None, None);
        for id in self.stages.range(from..).chain(other.stages.range(from..)).map(|(id, _)| *id) {
            let (Some(one), Some(two)) = (self.stage(id), other.stage(id)) else { continue };
            match one.cmp(&two) {
                std::cmp::Ordering::Greater => ahead = Some(id),
                std::cmp::Ordering::Less => behind = Some(id),
                std::cmp::Ordering::Equal => {}
            }
        }
        match (ahead, behind) {
            (Some(ahead), Some(behind)) => Err(format!(
                "two reads at once have seen messages {ahead} and {behind} in two orders, each only one of them"
            )),
            _ => Ok(()),
        }
    }
}
