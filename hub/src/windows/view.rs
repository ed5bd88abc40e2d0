//! A window as rendering looks at it, with what had to be fetched from below it.

use std::sync::Arc;

use loop_atomjump::{ForumWindow, ReadView, Row, Viewer};
use loop_proto::v1;

/// Place of a message in its forum.
pub type Position = (u64, u32);

/// What rendering needs and is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Messages older than this one.
    OlderThan(Position),
    /// This user's row.
    User(u32),
}

/// What was fetched for one answer.
#[derive(Default)]
pub struct Fetched {
    /// Messages below `from`, newest first.
    pub older: Vec<Arc<Row>>,
    /// Where the first page of them began: the window's lower end then.
    pub from: Option<Position>,
    /// Whether there are none below them.
    pub is_complete: bool,
    /// Nothing more is fetched: what is here is shown.
    pub is_enough: bool,
    /// A user's row, once it was asked for.
    pub user: Option<(u32, Option<v1::UserStored>)>,
}

impl Fetched {
    /// Takes a page of what is older than `before`: behind the rows that end there, else in place of what was fetched.
    pub(super) fn take(&mut self, before: Position, page: impl Iterator<Item = Arc<Row>>, is_complete: bool) {
        let goes_on = self.older.last().is_some_and(|row| row.key() == before);
        if !goes_on {
            (self.older, self.from) = (Vec::new(), Some(before));
        }
        self.older.extend(page);
        self.is_complete = is_complete;
    }
}

/// A forum's rows as one reader is shown them.
pub struct HubView<'a> {
    /// Its newest rows; `None` for a forum that nobody has opened.
    pub window: Option<&'a ForumWindow>,
    /// What else was fetched.
    pub fetched: &'a Fetched,
}

impl ReadView for HubView<'_> {
    type Error = Missing;

    fn forum(&self) -> Option<&v1::ForumStored> {
        self.window?.forum()
    }

    fn is_subscriber(&self, user: u32) -> bool {
        self.window.is_some_and(|window| window.is_subscriber(user))
    }

    fn newest(&self, viewer: &Viewer<'_>, limit: usize, visit: &mut dyn FnMut(&Row)) -> Result<(), Missing> {
        let Some(window) = self.window else { return Ok(()) };
        let mut left = limit - window.newest(viewer, false, limit, visit);
        let Some((floor, _)) = window.below().filter(|_| left > 0) else { return Ok(()) };
        // Pages from below another end would leave a gap.
        if self.fetched.from != Some(floor) {
            return if self.fetched.is_enough { Ok(()) } else { Err(Missing::OlderThan(floor)) };
        }
        // One that was written anew since its page was fetched has moved up into the window.
        let is_above = |row: &Row| window.message(row.message.id, false).flatten().is_some();
        let visible = |row: &&Arc<Row>| viewer.sees(&row.message) && !is_above(row);
        for row in self.fetched.older.iter().filter(visible) {
            if left == 0 {
                return Ok(());
            }
            visit(row);
            left -= 1;
        }
        if left == 0 || self.fetched.is_complete || self.fetched.is_enough {
            return Ok(());
        }
        Err(Missing::OlderThan(self.fetched.older.last().map_or(floor, |row| row.key())))
    }

    fn user(&self, id: u32) -> Result<Option<v1::UserStored>, Missing> {
        match &self.fetched.user {
            Some((fetched, user)) if *fetched == id => Ok(user.clone()),
            _ => Err(Missing::User(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use loop_atomjump::Rows;
    use loop_proto::v1::fact::Kind;

    use super::{
        super::check::{self, Asked},
        *,
    };

    const READER: Viewer<'static> = Viewer { user: Some(1), ip: "192.1.1.1", group: None };
    const PAGE: usize = 4;
    const WINDOW: usize = 5;

    /// A forum as its peers have it, and a hub's window of it.
    struct Forum {
        rows: BTreeMap<Position, v1::MessageStored>,
        window: ForumWindow,
        record: u64,
        pages: usize,
    }

    fn message(id: u32) -> v1::MessageStored {
        let shouted_at_s = 100 + u64::from(id);
        v1::MessageStored {
            id,
            forum_id: 7,
            active: true,
            author_id: Some(9),
            shouted_at_s,
            ..Default::default()
        }
    }

    fn whisper(id: u32, to: u32) -> v1::MessageStored {
        v1::MessageStored { whisper_to_address: "192.2.2.2".into(), whisper_to_id: Some(to), ..message(id) }
    }

    impl Forum {
        fn new(messages: impl IntoIterator<Item = v1::MessageStored>) -> Self {
            let rows: BTreeMap<_, _> =
                messages.into_iter().map(|row| ((row.shouted_at_s, row.id), row)).collect();
            let newest = rows.values().rev().take(WINDOW).cloned().collect();
            let is_complete = rows.len() <= WINDOW;
            let window = ForumWindow::new(Rows { messages: newest, is_complete, ..Rows::default() }, WINDOW);
            Self { rows, window, record: 1, pages: 0 }
        }

        fn store(&mut self, message: v1::MessageStored) {
            self.record += 1;
            self.rows.retain(|(_, id), _| *id != message.id);
            self.rows.insert((message.shouted_at_s, message.id), message.clone());
            self.window.apply(&v1::Fact { kind: Some(Kind::MessageStored(message)) }, self.record);
        }

        fn page(&mut self, before: Position) -> check::Page {
            self.pages += 1;
            let mut older = self.rows.range(..before).rev().map(|(_, row)| row.clone());
            let messages = older.by_ref().take(PAGE).collect();
            let complete = older.next().is_none();
            let reply = v1::RowsReply { as_of: self.record, messages, complete, ..Default::default() };
            let asked =
                Asked { forum: 7, fence: self.record, before: Some(before), latest_s: u64::MAX, limit: PAGE };
            check::page(asked, reply).unwrap()
        }

        /// What a reader is shown; after each page something else happens in the forum.
        fn shown(&mut self, limit: usize, mut meanwhile: impl FnMut(&mut Self)) -> Vec<u32> {
            let mut fetched = Fetched::default();
            for _ in 0..=30 {
                let mut ids = Vec::new();
                let view = HubView { window: Some(&self.window), fetched: &fetched };
                match view.newest(&READER, limit, &mut |row| ids.push(row.message.id)) {
                    Ok(()) => return ids,
                    Err(Missing::OlderThan(before)) => {
                        let page = self.page(before);
                        fetched.take(before, check::rows(page.messages), page.is_complete);
                    }
                    Err(Missing::User(id)) => panic!("a list of messages needs no user {id}"),
                }
                meanwhile(self);
            }
            panic!("no end of pages");
        }
    }

    fn down(from: u32, to: u32) -> Vec<u32> {
        (to..=from).rev().collect()
    }

    #[test]
    fn pages_go_on_where_the_window_ends_until_there_is_enough_or_no_more() {
        for (limit, shown, pages) in [(3, 3, 0), (5, 5, 0), (6, 6, 1), (9, 9, 1), (10, 10, 2), (100, 23, 5)] {
            let mut forum = Forum::new((1..=23).map(message));
            assert_eq!(forum.shown(limit, |_| ()), down(23, 24 - shown), "{limit}");
            assert_eq!(forum.pages, pages, "{limit}");
        }
        let mut all_here = Forum::new((1..=5).map(message));
        assert_eq!((all_here.shown(100, |_| ()), all_here.pages), (down(5, 1), 0));
    }

    #[test]
    fn a_window_that_moves_on_between_two_pages_leaves_no_gap_and_doubles_nothing() {
        for moves in 1..=4 {
            let mut forum = Forum::new((1..=23).map(message));
            let mut next = 24..24 + moves;
            let shown = forum.shown(100, |forum| {
                if let Some(id) = next.next() {
                    forum.store(message(id));
                }
            });
            assert_eq!(shown, down(23 + moves, 1), "{moves} messages meanwhile");
        }
        // More than a whole window between the only two pages.
        let mut forum = Forum::new((1..=12).map(message));
        let mut burst = (13..=30).map(message).collect::<Vec<_>>().into_iter();
        assert_eq!(forum.shown(100, |forum| burst.by_ref().for_each(|row| forum.store(row))), down(30, 1));
    }

    #[test]
    fn whispers_between_others_are_passed_over_and_further_pages_fill_the_list() {
        let row = |id| if id % 6 == 0 { message(id) } else { whisper(id, 3) };
        let mut forum = Forum::new((1..=60).map(row));
        assert_eq!(forum.shown(6, |_| ()), [60, 54, 48, 42, 36, 30]);
        assert_eq!(forum.shown(100, |_| ()), [60, 54, 48, 42, 36, 30, 24, 18, 12, 6]);
        let mut own = Forum::new((1..=20).map(|id| whisper(id, if id <= 2 { 1 } else { 3 })));
        assert_eq!(own.shown(100, |_| ()), [2, 1], "those to the reader are at the very end");
        let mut none = Forum::new((1..=20).map(|id| whisper(id, 3)));
        assert!(none.shown(100, |_| ()).is_empty());
    }

    #[test]
    fn a_message_that_is_written_anew_after_its_page_was_fetched_is_shown_once() {
        let mut forum = Forum::new((1..=23).map(message));
        // With room, so that the window's end stays where it is.
        forum.window = ForumWindow::new(
            Rows { messages: (19..=23).rev().map(message).collect(), ..Rows::default() },
            2 * WINDOW,
        );
        let mut finished = Some(v1::MessageStored { shouted_at_s: 500, ..message(17) });
        let shown = forum.shown(100, |forum| {
            if let Some(row) = finished.take() {
                forum.store(row);
            }
        });
        assert_eq!(shown, [vec![17], down(23, 18), down(16, 1)].concat());
    }

    #[test]
    fn a_user_is_asked_for_once_also_one_that_is_not_there() {
        let missing = HubView { window: None, fetched: &Fetched::default() };
        assert_eq!(missing.user(5), Err(Missing::User(5)));
        let fetched = Fetched { user: Some((5, None)), ..Fetched::default() };
        let view = HubView { window: None, fetched: &fetched };
        assert_eq!((view.user(5), view.user(6)), (Ok(None), Err(Missing::User(6))));
    }
}
