//! All rows in memory, and of the hubs what an execution and an answer need: users, sessions, forums, message ids.

use std::{collections::BTreeMap, convert::Infallible};

use loop_atomjump::{
    Answer, Call, Claim, Executed, Extent, ForumWindow, ReadView, Row, Rows, Rule, Session, Viewer, Whole,
    conform, execute,
    new_rows::{anonymous_user, decay_time, new_forum, title},
    render,
};
use loop_proto::{
    ids::{ForumId, ForumKey, HubTime},
    v1::{self, fact::Kind},
};

/// What there is.
#[derive(Default)]
pub struct World {
    windows: BTreeMap<u32, ForumWindow>,
    users: BTreeMap<u32, v1::UserStored>,
    pub sessions: BTreeMap<String, v1::SessionRecord>,
    /// The same as in the windows, to compare and to build on.
    pub rows: BTreeMap<u32, v1::MessageStored>,
    pub forums: BTreeMap<u32, v1::ForumStored>,
    /// Records so far.
    record: u64,
}

/// What a write came to.
pub struct Done {
    pub executed: Executed,
    /// Whether its outcome can follow from it.
    pub judged: Result<(), Rule>,
    pub answer: Answer,
}

impl World {
    /// Makes the forum's row, as the hubs do before its first task.
    pub fn open_forum(&mut self, id: u32, name: &[u8], general: &[u8], now: HubTime) {
        let forum = ForumId::new(id).unwrap();
        let row = new_forum(forum, ForumKey::of_name(name), &title(name), decay_time(general, now), now);
        self.apply(&[Kind::ForumStored(row)]);
    }

    /// The session with its user `id`, made if this is its first task. Robots have none.
    pub fn begin_session(&mut self, session_id: &str, id: u32, now: HubTime) {
        if session_id.is_empty() || self.sessions.contains_key(session_id) {
            return;
        }
        self.record += 1;
        self.users.insert(id, anonymous_user(id, session_id, now));
        let session = v1::SessionRecord {
            id: session_id.to_owned(),
            version: self.record,
            user_id: id,
            created_at_s: now.seconds(),
            updated_at_s: now.seconds(),
            ..Default::default()
        };
        self.sessions.insert(session_id.to_owned(), session);
    }

    /// Whether the message is unfinished and, in this forum, the session's own: what its user may go on with.
    pub fn is_open(&self, message: u32, forum: u32, session_id: &str) -> bool {
        let user = self.sessions.get(session_id).map(|session| session.user_id);
        self.rows.get(&message).is_some_and(|row| {
            row.forum_id == forum && row.status() == v1::MessageStatus::Typing && row.author_id == user
        })
    }

    /// Executes a task, checks it, commits it and answers it.
    pub fn write(&mut self, call: &Call, forum: u32, session_id: &str, is_open: Option<bool>) -> Done {
        let held = self.sessions.get(session_id).cloned();
        let session = Session::of(held.as_ref());
        let empty = empty_window();
        let window = self.windows.get(&forum).unwrap_or(&empty);
        let Ok(executed) = execute(call, session, &Whole(window));
        let claim = Claim {
            facts: &executed.facts,
            session: executed.session.as_ref(),
            receipt: &executed.receipt,
            is_open,
        };
        let judged = conform(Some(call), session, &claim, Extent::Whole);
        let kinds: Vec<Kind> = executed.facts.iter().filter_map(|fact| fact.kind.clone()).collect();
        self.apply(&kinds);
        self.merge(session_id, executed.session.as_ref());
        let answer = self.answer(call, Some(forum), session_id, Some(&executed.receipt));
        Done { executed, judged, answer }
    }

    /// Answers a read; a write by its receipt.
    pub fn answer(
        &self,
        call: &Call,
        forum: Option<u32>,
        session_id: &str,
        receipt: Option<&v1::Receipt>,
    ) -> Answer {
        let Ok(answer) = render(call, Session::of(self.sessions.get(session_id)), receipt, &self.view(forum));
        answer
    }

    fn merge(&mut self, session_id: &str, change: Option<&v1::SessionChange>) {
        let (Some(session), Some(change)) = (self.sessions.get_mut(session_id), change.cloned()) else {
            return;
        };
        let v1::SessionChange { name, latitude, longitude } = change;
        session.name = name.unwrap_or(std::mem::take(&mut session.name));
        session.latitude = latitude.unwrap_or(std::mem::take(&mut session.latitude));
        session.longitude = longitude.unwrap_or(std::mem::take(&mut session.longitude));
    }

    /// Commits rows of forums.
    pub fn apply(&mut self, kinds: &[Kind]) {
        self.record += 1;
        for kind in kinds {
            let forum = match kind {
                Kind::MessageStored(row) => row.forum_id,
                Kind::MessageRemoved(row) => row.forum_id,
                Kind::MessageHidden(row) => row.forum_id,
                Kind::ForumStored(row) => row.id,
                Kind::SubscriptionStored(row) => row.forum_id,
                Kind::UserStored(_) => unreachable!("users are made with their sessions"),
            };
            let window = self.windows.entry(forum).or_insert_with(empty_window);
            window.apply(&v1::Fact { kind: Some(kind.clone()) }, self.record);
            self.remember(kind);
        }
    }

    fn remember(&mut self, kind: &Kind) {
        match kind {
            Kind::MessageStored(row) => drop(self.rows.insert(row.id, row.clone())),
            Kind::MessageRemoved(row) => drop(self.rows.remove(&row.id)),
            Kind::ForumStored(row) => drop(self.forums.insert(row.id, row.clone())),
            Kind::MessageHidden(hidden) => {
                if let Some(row) = self.rows.get_mut(&hidden.id) {
                    row.active = false;
                    if hidden.finished {
                        row.set_status(v1::MessageStatus::Final);
                    }
                }
            }
            Kind::SubscriptionStored(_) | Kind::UserStored(_) => {}
        }
    }

    fn view(&self, forum: Option<u32>) -> View<'_> {
        View { window: forum.and_then(|forum| self.windows.get(&forum)), users: &self.users }
    }
}

fn empty_window() -> ForumWindow {
    ForumWindow::new(Rows { is_complete: true, ..Rows::default() }, usize::MAX)
}

/// One forum, or none, as answers see it.
struct View<'a> {
    window: Option<&'a ForumWindow>,
    users: &'a BTreeMap<u32, v1::UserStored>,
}

impl ReadView for View<'_> {
    type Error = Infallible;

    fn forum(&self) -> Option<&v1::ForumStored> {
        self.window?.forum()
    }

    fn is_subscriber(&self, user: u32) -> bool {
        self.window.is_some_and(|window| window.is_subscriber(user))
    }

    fn newest(
        &self,
        viewer: &Viewer<'_>,
        limit: usize,
        visit: &mut dyn FnMut(&Row),
    ) -> Result<(), Infallible> {
        if let Some(window) = self.window {
            window.newest(viewer, false, limit, visit);
        }
        Ok(())
    }

    fn user(&self, id: u32) -> Result<Option<v1::UserStored>, Infallible> {
        Ok(self.users.get(&id).cloned())
    }
}
