//! A forum that is watched: what a browser is sent when something in it has changed.
//!
//! Owns which of that is new to the browser. Who may see what, and how a message looks, is [`super::search`]'s.

use super::search::{self, Dialect};
use crate::{
    call::Call,
    json,
    session::Session,
    view::{ReadView, Row, Viewer},
};

/// Longest list that is watched: each change goes through it once for each browser.
const LIST_MAX: usize = 100;

/// The list that a browser has been sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown(Vec<Entry>);

/// One message of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: u32,
    content: u64,
    is_whisper: bool,
}

impl Entry {
    fn of(row: &Row, viewer: &Viewer<'_>) -> Self {
        Self { id: row.message.id, content: row.content(), is_whisper: viewer.is_whisper(&row.message) }
    }
}

/// What `search-chat.php` would list for this call, at most 100 messages, and how to tell a browser that has been
/// shown `before`: `{"ids":["9","8"],"res":[…]}`, all ids, newest first, and the messages that are new or have changed, in the
/// form in which `search-chat.php` has them. No text if it has been shown just this.
pub fn render_change<V: ReadView>(
    call: &Call,
    session: Session<'_>,
    view: &V,
    before: Option<&Shown>,
) -> Result<(Shown, Option<Vec<u8>>), V::Error> {
    let request = &call.request;
    let limit = search::limit(request.records()).min(LIST_MAX);
    let mut list = Vec::with_capacity(limit);
    let mut changed = Vec::new();
    if limit > 0 && view.forum().is_some_and(|forum| session.may_read(forum)) {
        let viewer = search::viewer(request, session, view);
        view.newest(&viewer, limit, &mut |row| {
            let entry = Entry::of(row, &viewer);
            list.push(entry);
            if before.is_some_and(|before| before.0.contains(&entry)) {
                return;
            }
            if !changed.is_empty() {
                changed.push(b',');
            }
            search::write_element(
                &mut changed,
                row,
                &viewer,
                request.now_s,
                Dialect::Php,
                request.language(),
            );
        })?;
    }
    let shown = Shown(list);
    let change = (before != Some(&shown)).then(|| body(&shown, &changed));
    Ok((shown, change))
}

fn body(shown: &Shown, changed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(24 + 14 * shown.0.len() + changed.len());
    out.extend_from_slice(b"{\"ids\":[");
    for (at, entry) in shown.0.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.push(b'"');
        json::number(&mut out, entry.id.into());
        out.push(b'"');
    }
    out.extend_from_slice(b"],\"res\":[");
    out.extend_from_slice(changed);
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use loop_proto::{
        ids::{ForumId, HubTime},
        v1::{self, fact::Kind},
    };

    use super::*;
    use crate::{
        Given,
        window::{ForumWindow, Rows},
    };

    struct Seen<'a>(&'a ForumWindow);

    impl ReadView for Seen<'_> {
        type Error = Infallible;

        fn forum(&self) -> Option<&v1::ForumStored> {
            self.0.forum()
        }

        fn is_subscriber(&self, user: u32) -> bool {
            self.0.is_subscriber(user)
        }

        fn newest(
            &self,
            viewer: &Viewer<'_>,
            limit: usize,
            visit: &mut dyn FnMut(&Row),
        ) -> Result<(), Infallible> {
            self.0.newest(viewer, false, limit, visit);
            Ok(())
        }

        fn user(&self, _: u32) -> Result<Option<v1::UserStored>, Infallible> {
            Ok(None)
        }
    }

    fn forum(password: bool) -> ForumWindow {
        let password_hash = password.then(|| "5f4dcc3b5aa765d61d8327deb882cf99".to_owned());
        let forum = v1::ForumStored { id: 7, password_hash, ..Default::default() };
        ForumWindow::new(Rows { forum: Some(forum), is_complete: true, ..Rows::default() }, 1000)
    }

    fn say(window: &mut ForumWindow, id: u32, html: &str) {
        let row =
            v1::MessageStored { id, html: html.into(), active: true, shouted_at_s: 90, ..Default::default() };
        store(window, row);
    }

    fn store(window: &mut ForumWindow, row: v1::MessageStored) {
        window.apply(&v1::Fact { kind: Some(Kind::MessageStored(row)) }, 1);
    }

    fn watched(window: &ForumWindow, query: &str, before: Option<&Shown>) -> (Shown, Option<String>) {
        let request = v1::ClientRequest {
            endpoint: v1::Endpoint::SearchChat.into(),
            query: query.to_owned().into(),
            session_id: "abc".into(),
            ..Default::default()
        };
        let call = Call::read(&request, ForumId::new(7), Given::default(), HubTime(100_000)).unwrap();
        let (shown, text) = render_change(&call, Session::default(), &Seen(window), before).unwrap();
        (shown, text.map(|text| String::from_utf8(text).unwrap()))
    }

    fn element(id: u32, text: &str) -> String {
        format!(
            r#"{{"id":"{id}","text":"{text}","lat":null,"lon":null,"dist":null,"ago":"10 secs ago","whisper":false}}"#
        )
    }

    #[test]
    fn a_browser_is_sent_what_is_new_to_it_and_the_order_of_all() {
        let mut window = forum(false);
        let (shown, first) = watched(&window, "records=25", None);
        assert_eq!(first.unwrap(), r#"{"ids":[],"res":[]}"#);
        say(&mut window, 1, "one");
        say(&mut window, 2, "two");
        let (shown, both) = watched(&window, "records=25", Some(&shown));
        let expected = format!(r#"{{"ids":["2","1"],"res":[{},{}]}}"#, element(2, "two"), element(1, "one"));
        assert_eq!(both.unwrap(), expected);
        assert_eq!(watched(&window, "records=25", Some(&shown)), (shown.clone(), None));
        say(&mut window, 1, "won");
        say(&mut window, 3, "three");
        let (shown, more) = watched(&window, "records=25", Some(&shown));
        let expected =
            format!(r#"{{"ids":["3","2","1"],"res":[{},{}]}}"#, element(3, "three"), element(1, "won"));
        assert_eq!(more.unwrap(), expected);
        window.apply(
            &v1::Fact { kind: Some(Kind::MessageRemoved(v1::MessageRemoved { id: 2, forum_id: 7 })) },
            2,
        );
        assert_eq!(watched(&window, "records=25", Some(&shown)).1.unwrap(), r#"{"ids":["3","1"],"res":[]}"#);
    }

    #[test]
    fn whispers_between_others_and_messages_behind_a_password_are_no_change() {
        let mut window = forum(false);
        let (shown, _) = watched(&window, "records=25", None);
        let whisper = v1::MessageStored {
            id: 1,
            active: true,
            author_id: Some(8),
            whisper_to_address: "192.9.9.9".into(),
            whisper_to_id: Some(9),
            ..Default::default()
        };
        store(&mut window, whisper);
        assert_eq!(watched(&window, "records=25", Some(&shown)).1, None);
        let mut locked = forum(true);
        say(&mut locked, 1, "one");
        assert_eq!(watched(&locked, "records=25", Some(&shown)).1, None);
    }

    #[test]
    fn as_many_are_listed_as_asked_for_within_bounds() {
        let mut window = forum(false);
        (1..=200).for_each(|id| say(&mut window, id, "x"));
        let listed = |query: &str| watched(&window, query, None).0.0.len();
        assert_eq!((listed("records=2"), listed("records=500"), listed("records=-1")), (3, LIST_MAX, 0));
    }
}
