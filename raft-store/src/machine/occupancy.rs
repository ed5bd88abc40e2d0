//! What the hubs know of the messages in a forum without keeping any: whether there are some, and since when there are none.
//!
//! Exact while there are few; a forum that once had many counts as one that has some for ever. Counted by id, so that whoever
//! says again and again that a message is gone makes no forum look empty. Never knows what a message says.

use std::collections::BTreeSet;

use loop_proto::ids::{HubTime, MessageId};

use super::open_messages::Step;

/// As many finished messages of one forum are told apart.
const FEW_MESSAGES_MAX: usize = 8;

/// The messages of one forum, as far as hubs must know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// How many messages were ever finished in it, those that were removed since included.
    pub finished_ever: u64,
    /// The finished messages that were not removed; `None`: there were many once.
    pub(super) finished: Option<BTreeSet<MessageId>>,
    /// How many are not finished.
    pub unfinished: u64,
    /// Since when there is nothing in it and nothing on its way into it, in the log's steady time; `None`: there is something.
    pub empty_since: Option<HubTime>,
}

impl Occupancy {
    /// That of a forum that is opened now.
    pub(super) const fn of_new_forum(now: HubTime) -> Self {
        let finished = Some(BTreeSet::new());
        Self { finished_ever: 0, finished, unfinished: 0, empty_since: Some(now) }
    }

    /// Whether there is a finished message.
    pub fn has_finished(&self) -> bool {
        self.finished.as_ref().is_none_or(|few| !few.is_empty())
    }

    /// What a committed fact has changed; `was_open`: its message was an unfinished one of this forum.
    pub(super) fn follow(&mut self, step: &Step, was_open: bool) {
        self.unfinished -= u64::from(was_open);
        match step {
            Step::Opened(..) => self.unfinished += 1,
            Step::Stored(id) => self.finish(*id),
            // Of one that is not there any more nothing is left that could be hidden.
            Step::Hidden(id) if was_open => self.finish(*id),
            Step::Hidden(_) => {}
            Step::Removed(id) => {
                if let Some(few) = &mut self.finished {
                    few.remove(id);
                }
            }
        }
    }

    fn finish(&mut self, id: MessageId) {
        self.finished_ever = self.finished_ever.saturating_add(1);
        if let Some(few) = &mut self.finished {
            few.insert(id);
        }
        self.finished.take_if(|few| few.len() > FEW_MESSAGES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(raw: u32) -> MessageId {
        MessageId::new(raw).unwrap()
    }

    #[test]
    fn a_forum_is_empty_again_when_its_messages_were_removed_each_of_them() {
        let mut occupancy = Occupancy::of_new_forum(HubTime(0));
        occupancy.follow(&Step::Stored(id(1)), false);
        occupancy.follow(&Step::Stored(id(2)), false);
        for _ in 0..3 {
            occupancy.follow(&Step::Removed(id(1)), false);
            occupancy.follow(&Step::Removed(id(99)), false);
            assert!(occupancy.has_finished());
        }
        occupancy.follow(&Step::Removed(id(2)), false);
        assert!(!occupancy.has_finished());
        assert_eq!(occupancy.finished_ever, 2);
    }

    #[test]
    fn a_message_that_was_hidden_as_it_was_finished_is_still_a_row() {
        let mut occupancy = Occupancy { unfinished: 1, ..Occupancy::of_new_forum(HubTime(0)) };
        occupancy.follow(&Step::Hidden(id(2)), false);
        assert!(!occupancy.has_finished());
        occupancy.follow(&Step::Hidden(id(1)), true);
        assert!(occupancy.has_finished() && occupancy.unfinished == 0);
    }

    #[test]
    fn a_forum_that_had_many_messages_has_some_for_ever() {
        let mut occupancy = Occupancy::of_new_forum(HubTime(0));
        let all = 1..=FEW_MESSAGES_MAX as u32 + 1;
        all.clone().for_each(|raw| occupancy.follow(&Step::Stored(id(raw)), false));
        all.for_each(|raw| occupancy.follow(&Step::Removed(id(raw)), false));
        assert!(occupancy.has_finished());
    }
}
