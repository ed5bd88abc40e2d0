//! One forum's window, from its first use on.
//!
//! Owns the rule that joins the rows of a replica to the hub's own log: what is applied while the rows are on their way is
//! kept, and goes on top of them. So nothing is missing between the two, and nothing can be put back that came before.

use std::sync::Arc;

use bytes::Bytes;
use loop_atomjump::ForumWindow;
use loop_proto::v1;
use parking_lot::RwLock;
use prost::Message;

use super::check::make_harmless;

/// Most bytes of facts that are kept while a window is on its way; with more, the rows are asked for again.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// A place for one forum's window.
#[derive(Default)]
pub(super) struct Slot {
    contents: RwLock<Contents>,
    /// Held by whoever gets the rows: one load at a time, however many browsers ask.
    pub loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
enum Contents {
    #[default]
    Absent,
    /// Rows are on their way; these records have been applied since they were asked for.
    Loading {
        kept: Vec<(u64, Bytes)>,
        bytes: usize,
    },
    Ready(Box<ForumWindow>),
    /// The table has dropped it: it is followed no more.
    Discarded,
}

/// What became of loaded rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Installed {
    /// The window is ready.
    Ready,
    /// It was dropped, or too much has happened meanwhile.
    Lost,
}

impl Slot {
    /// A window of a forum that has just been opened: all of it will come with the log.
    pub fn of_new_forum(&self, capacity: usize) {
        let rows = loop_atomjump::Rows { is_complete: true, ..loop_atomjump::Rows::default() };
        *self.contents.write() = Contents::Ready(Box::new(ForumWindow::new(rows, capacity)));
    }

    /// Looks at the window, if it is ready.
    pub fn read<T>(&self, look: impl FnOnce(&ForumWindow) -> T) -> Option<T> {
        match &*self.contents.read() {
            Contents::Ready(window) => Some(look(window)),
            Contents::Absent | Contents::Loading { .. } | Contents::Discarded => None,
        }
    }

    /// Whether the window can be looked at.
    pub fn is_ready(&self) -> bool {
        matches!(*self.contents.read(), Contents::Ready(_))
    }

    /// Rows are asked for: from here on what is applied is kept. False if this place was dropped.
    pub fn begin(&self) -> bool {
        let mut contents = self.contents.write();
        if matches!(*contents, Contents::Discarded) {
            return false;
        }
        *contents = Contents::Loading { kept: Vec::new(), bytes: 0 };
        true
    }

    /// The rows did not come.
    pub fn give_up(&self) {
        let mut contents = self.contents.write();
        if matches!(*contents, Contents::Loading { .. }) {
            *contents = Contents::Absent;
        }
    }

    /// The rows are here. Everything that was applied meanwhile goes on top of them, also what they hold already: it ends in the
    /// same, and nothing rests on what a replica says of its position.
    pub fn install(&self, mut window: ForumWindow) -> Installed {
        let mut contents = self.contents.write();
        let (next, installed) = match std::mem::take(&mut *contents) {
            Contents::Loading { kept, .. } => {
                for (record, facts) in kept {
                    apply(&mut window, record, &facts);
                }
                (Contents::Ready(Box::new(window)), Installed::Ready)
            }
            // The log has made one of the forum's very beginning meanwhile, which is as good.
            Contents::Ready(made) => (Contents::Ready(made), Installed::Ready),
            // Only the table gives this place up: in the same place rows can be asked for once more.
            other => (other, Installed::Lost),
        };
        *contents = next;
        installed
    }

    /// A record of this forum was applied. Returns what the window costs now, if that has changed.
    pub fn apply(&self, record: u64, facts: &Bytes) -> Option<usize> {
        let mut contents = self.contents.write();
        match &mut *contents {
            Contents::Ready(window) => {
                apply(window, record, facts);
                return Some(window.bytes());
            }
            Contents::Loading { kept, bytes } => {
                *bytes += facts.len();
                kept.push((record, facts.clone()));
                if *bytes > KEPT_BYTES_MAX {
                    *contents = Contents::Absent;
                }
            }
            Contents::Absent | Contents::Discarded => {}
        }
        None
    }

    /// Is followed no more.
    pub fn discard(&self) {
        *self.contents.write() = Contents::Discarded;
    }

    /// What its window costs.
    pub fn bytes(&self) -> usize {
        self.read(ForumWindow::bytes).unwrap_or(0)
    }
}

fn apply(window: &mut ForumWindow, record: u64, facts: &Bytes) {
    // What is in the log was read and checked before it was committed. What a message says was looked at by the hub that proposed it,
    // whichever version that runs, and browsers take it as it is: so it is looked at once more.
    let Ok(facts) = v1::Facts::decode(facts.clone()) else { return };
    for mut fact in facts.facts {
        if let Some(v1::fact::Kind::MessageStored(message)) = &mut fact.kind {
            make_harmless(message);
        }
        window.apply(&fact, record);
    }
}

/// A share of a slot.
pub(super) type SharedSlot = Arc<Slot>;

#[cfg(test)]
mod tests {
    use loop_proto::v1::fact::Kind;

    use super::*;

    fn stored(id: u32) -> Bytes {
        let message = v1::MessageStored { id, forum_id: 7, active: true, ..Default::default() };
        encoded(Kind::MessageStored(message))
    }

    fn encoded(kind: Kind) -> Bytes {
        v1::Facts { facts: vec![v1::Fact { kind: Some(kind) }] }.encode_to_vec().into()
    }

    fn window(ids: &[u32]) -> ForumWindow {
        let messages = ids.iter().map(|id| v1::MessageStored { id: *id, active: true, ..Default::default() });
        let rows =
            loop_atomjump::Rows { messages: messages.collect(), is_complete: true, ..Default::default() };
        ForumWindow::new(rows, 100)
    }

    fn shown(slot: &Slot) -> Vec<u32> {
        let viewer = loop_atomjump::Viewer { user: None, ip: "", group: None };
        let mut ids = Vec::new();
        slot.read(|window| window.newest(&viewer, false, 100, &mut |row| ids.push(row.message.id))).unwrap();
        ids
    }

    #[test]
    fn what_is_applied_while_rows_are_on_their_way_goes_on_top_and_what_they_hold_already_does_not() {
        let slot = Slot::default();
        assert!(slot.begin());
        let removed = encoded(Kind::MessageRemoved(v1::MessageRemoved { id: 2, forum_id: 7 }));
        // The rows come from after record 11, which removed message 2.
        slot.apply(10, &stored(2));
        slot.apply(11, &removed);
        slot.apply(12, &stored(3));
        assert_eq!(slot.install(window(&[1])), Installed::Ready);
        assert_eq!(shown(&slot), [3, 1]);
        slot.apply(13, &stored(4));
        assert_eq!(shown(&slot), [4, 3, 1]);
    }

    #[test]
    fn rows_that_come_for_a_window_that_was_dropped_are_lost() {
        let slot = Slot::default();
        assert!(slot.begin());
        slot.discard();
        assert_eq!(slot.install(window(&[1])), Installed::Lost);
        assert!(!slot.is_ready() && !slot.begin());
    }

    #[test]
    fn too_much_that_happens_meanwhile_makes_the_rows_useless_and_they_are_asked_for_again() {
        let slot = Slot::default();
        assert!(slot.begin());
        let large = Bytes::from(vec![0; 1 << 20]);
        for record in 1..=5 {
            assert_eq!(slot.apply(record, &large), None);
        }
        assert_eq!(slot.install(window(&[1])), Installed::Lost);
        assert!(slot.begin());
        assert_eq!(slot.install(window(&[2])), Installed::Ready);
        assert_eq!(shown(&slot), [2]);
    }

    #[test]
    fn a_forum_that_is_opened_while_somebody_asks_for_its_rows_has_its_window_from_the_log() {
        let slot = Slot::default();
        assert!(slot.begin());
        slot.of_new_forum(100);
        slot.apply(3, &stored(1));
        assert_eq!(slot.install(window(&[])), Installed::Ready);
        slot.apply(4, &stored(2));
        assert_eq!(shown(&slot), [2, 1]);
    }
}
