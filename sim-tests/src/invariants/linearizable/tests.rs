//! Histories with one thing wrong, each beside the same one without.

use super::*;

/// A history under way; every call is one place later than the one before.
#[derive(Default)]
struct History {
    rule: Linearizable,
    now: u64,
}

impl History {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn sends(&mut self, text: &str, typed: Option<u64>) -> Commit {
        let sent = self.tick();
        let commit =
            Commit { text: text.into(), sent, typed: typed.map(|id| (id, sent - 1)), ..Commit::default() };
        self.rule.on_sent(&commit).unwrap();
        commit
    }

    fn acked(&mut self, commit: &Commit, id: u64) -> Result<(), String> {
        let acked = Some((id, self.tick()));
        self.rule.on_ack(&Commit { acked, ..commit.clone() })
    }

    fn writes(&mut self, text: &str, id: u64) {
        let commit = self.sends(text, None);
        self.acked(&commit, id).unwrap();
    }

    fn types(&mut self, id: u64) {
        let asked = self.tick();
        self.rule.on_typing(&Typing { asked, ..Typing::default() }).unwrap();
        let told = Some((id, self.tick()));
        self.rule.on_typing(&Typing { asked, told, ..Typing::default() }).unwrap();
    }

    fn asks_to_hide(&mut self, id: u64, own: bool) -> Hide {
        let hide = Hide { id, own, asked: self.tick(), ..Hide::default() };
        self.rule.on_hide(&hide).unwrap();
        hide
    }

    fn hides(&mut self, id: u64, own: bool) {
        let hide = self.asks_to_hide(id, own);
        let answered = Some(self.tick());
        self.rule.on_hide(&Hide { answered, ..hide }).unwrap();
    }

    /// A read asked at `asked` ends now, and shows these; an empty text is somebody typing.
    fn ends(&mut self, asked: u64, records: usize, rows: &[(u64, &str)]) -> Result<(), String> {
        let look = |text: &str| if text.is_empty() { Look::Typing } else { Look::Says(text.into()) };
        let rows = rows.iter().map(|(id, text)| (*id, look(text))).collect();
        let answered = self.tick();
        self.rule.on_shown(&Shown { forum: 0, asked, answered, records, rows })
    }

    fn reads(&mut self, rows: &[(u64, &str)]) -> Result<(), String> {
        let asked = self.tick();
        self.ends(asked, 25, rows)
    }
}

fn two_messages() -> History {
    let mut history = History::default();
    history.writes("a", 1);
    history.writes("b", 2);
    history
}

#[test]
fn what_was_acknowledged_before_a_read_must_be_shown() {
    assert_eq!(two_messages().reads(&[(2, "b"), (1, "a")]), Ok(()));
    assert!(two_messages().reads(&[(1, "a")]).is_err());
    assert!(two_messages().reads(&[(2, "b")]).is_err());
    assert!(two_messages().reads(&[(1, "a"), (2, "b")]).is_err(), "out of order");
}

#[test]
fn what_is_acknowledged_while_a_read_is_under_way_may_be_shown_or_not() {
    for rows in [&[][..], &[(1, "a")]] {
        let mut history = History::default();
        let asked = history.tick();
        history.writes("a", 1);
        assert_eq!(history.ends(asked, 25, rows), Ok(()));
    }
}

#[test]
fn nothing_is_shown_that_nobody_wrote_or_wrote_elsewhere_or_twice() {
    let mut history = two_messages();
    assert!(history.reads(&[(3, "c"), (2, "b"), (1, "a")]).is_err(), "from the future");
    assert!(two_messages().reads(&[(3, "a"), (2, "b"), (1, "a")]).is_err(), "twice");
    assert!(two_messages().reads(&[(2, "a"), (1, "a")]).is_err(), "another text");
    assert!(two_messages().reads(&[(3, ""), (2, "b"), (1, "a")]).is_err(), "typed by nobody");
    let elsewhere = Shown { forum: 1, asked: 9, answered: 10, records: 25, rows: vec![(2, Look::Typing)] };
    assert!(two_messages().rule.on_shown(&elsewhere).is_err());
    let mut history = two_messages();
    let commit = history.sends("c", None);
    assert!(history.acked(&commit, 2).is_err(), "an id that is another's");
}

#[test]
fn a_second_reader_never_sees_less_than_a_first_one_that_had_ended() {
    let mut history = two_messages();
    history.sends("c", None);
    assert_eq!(history.reads(&[(3, "c"), (2, "b"), (1, "a")]), Ok(()));
    assert!(history.reads(&[(2, "b"), (1, "a")]).is_err(), "it was shown, though never acknowledged");
}

#[test]
fn two_readers_at_once_may_differ_but_not_in_opposite_ways() {
    let both = |second: &[(u64, &str)]| {
        let mut history = History::default();
        history.types(1);
        history.types(2);
        let (_, _) = (history.sends("a", Some(1)), history.sends("b", Some(2)));
        let (one, two) = (history.tick(), history.tick());
        history.ends(one, 25, &[(1, "a"), (2, "")]).unwrap();
        history.ends(two, 25, second)
    };
    assert_eq!(both(&[(1, "a"), (2, "b")]), Ok(()));
    assert_eq!(both(&[(1, ""), (2, "")]), Ok(()), "the first one may have been earlier");
    assert!(both(&[(1, ""), (2, "b")]).is_err());
}

#[test]
fn messages_begin_in_the_order_of_their_ids() {
    let mut history = History::default();
    let (a, _) = (history.sends("a", None), history.sends("b", None));
    assert_eq!(history.reads(&[(2, "b")]), Ok(()), "nobody knows yet that there is a smaller one");
    assert!(history.acked(&a, 1).is_err(), "it cannot have come before");
    let mut history = History::default();
    let (a, _) = (history.sends("a", None), history.sends("b", None));
    history.reads(&[(2, "b")]).unwrap();
    assert_eq!(history.acked(&a, 3), Ok(()));
}

#[test]
fn a_full_page_leaves_out_what_is_older_only() {
    let page = |rows: &[(u64, &str)]| {
        let mut history = two_messages();
        history.writes("c", 3);
        let asked = history.tick();
        history.ends(asked, 2, rows)
    };
    assert_eq!(page(&[(3, "c"), (2, "b")]), Ok(()));
    assert!(page(&[(3, "c"), (1, "a")]).is_err());
    assert!(page(&[(2, "b"), (1, "a")]).is_err());
}

#[test]
fn what_is_typed_may_be_said_and_never_typed_again() {
    let mut history = History::default();
    history.types(1);
    assert!(history.reads(&[]).is_err(), "it was there");
    assert_eq!(history.reads(&[(1, "")]), Ok(()));
    let commit = history.sends("a", Some(1));
    assert_eq!(history.reads(&[(1, "")]), Ok(()), "nothing says that it was executed yet");
    assert_eq!(history.reads(&[(1, "a")]), Ok(()));
    assert!(history.reads(&[(1, "")]).is_err());
    assert!(history.acked(&commit, 7).is_err(), "another row than the one that was typed");
}

#[test]
fn what_is_hidden_goes_once_and_for_all_and_only_for_its_author() {
    let mut history = two_messages();
    history.asks_to_hide(1, true);
    assert_eq!(history.reads(&[(2, "b"), (1, "a")]), Ok(()), "it may take its time");
    assert_eq!(history.reads(&[(2, "b")]), Ok(()));
    assert!(history.reads(&[(2, "b"), (1, "a")]).is_err(), "it was gone");
    let mut history = two_messages();
    history.hides(1, true);
    assert!(history.reads(&[(2, "b"), (1, "a")]).is_err());
    let mut history = two_messages();
    history.hides(1, false);
    assert!(history.reads(&[(2, "b")]).is_err(), "it was somebody else's");
    assert_eq!(history.reads(&[(2, "b"), (1, "a")]), Ok(()));
}
