//! What any read or write of a forum does first: the session gets a user, the forum a row, the session the forum's marks.

use loop_proto::{
    ids::{ForumId, ForumKey},
    v1::{self, fact::Kind},
};

use crate::{
    dates,
    request::Request,
    session::Session,
    text,
    view::{NoUserId, UserIds, View},
};

/// Longest title, characters.
const TITLE_CHARS_MAX: usize = 255;

/// What a visit changed beside the session.
#[derive(Debug, Default)]
pub struct Visit {
    /// The new user.
    pub user: Option<v1::UserStored>,
    /// The new forum.
    pub forum: Option<v1::ForumStored>,
}

impl Visit {
    /// The forum's row, as a fact.
    pub fn forum_facts(&self) -> Vec<v1::Fact> {
        self.forum.iter().map(|forum| v1::Fact { kind: Some(Kind::ForumStored(forum.clone())) }).collect()
    }

    /// The user's row, as a fact.
    pub fn directory_facts(&self) -> Vec<v1::Fact> {
        self.user.iter().map(|user| v1::Fact { kind: Some(Kind::UserStored(user.clone())) }).collect()
    }
}

/// Enters `forum`. A robot leaves no trace but the forum's row.
pub fn enter<V: View>(
    request: &Request,
    session: &mut Session,
    view: &V,
    forum: ForumId,
    ids: &mut dyn UserIds,
) -> Result<Visit, V::Error> {
    let mut visit = Visit::default();
    if view.forum().is_none() {
        visit.forum = new_forum(request, forum);
    }
    if request.is_robot {
        return Ok(visit);
    }
    session.complete();
    if session.user().is_none() {
        let id = ids.take().ok_or(NoUserId)?;
        visit.user = Some(anonymous_user(id, &request.ip, request.now_s));
        session.set_user(id);
    }
    if session.text("user-ip").is_empty() {
        session.set_text("user-ip", &request.ip);
    }
    let row = view.forum();
    let subscribed = session.user().is_some_and(|user| view.is_subscriber(user));
    let has_password = row.is_some_and(|row| row.password_hash.is_some());
    session.touch_forum(has_password, row.and_then(|row| row.group_user_id), subscribed);
    Ok(visit)
}

/// What every list of messages leaves behind: the forum, if the session's user subscribes to it, else none.
pub fn leave(session: &mut Session, view: &impl View, forum: ForumId) {
    let is_subscriber = session.user().is_some_and(|user| view.is_subscriber(user));
    let authenticated = if is_subscriber { forum.get().to_string() } else { String::new() };
    if session.text("authenticated-layer") != authenticated {
        session.set_text("authenticated-layer", &authenticated);
    }
}

fn anonymous_user(id: u32, ip: &str, now_s: u64) -> v1::UserStored {
    v1::UserStored {
        id,
        last_ip: ip.to_owned(),
        alerts: true,
        balance: "0.000".to_owned(),
        created_at_s: now_s,
        ..Default::default()
    }
}

/// The row of a forum nobody has read or written yet; `None` if the request does not name it.
fn new_forum(request: &Request, forum: ForumId) -> Option<v1::ForumStored> {
    let name =
        request.params.non_empty("passcode").or_else(|| request.params.non_empty("uniqueFeedbackId"))?;
    let general = request.params.text("general").unwrap_or_default();
    Some(v1::ForumStored {
        id: forum.get(),
        access: v1::ForumAccess::Public.into(),
        passcode: ForumKey::of_name(name).to_hex(),
        owner_since_s: request.now_s,
        title: title(&loop_proto::php_params::text(name)),
        decays_at_s: dates::decay_time(&general, request.now_s),
        ..Default::default()
    })
}

/// The title AtomJump's shipped rules make of a name: `ajps_my-room` is `my room@`. The name itself, which is a secret,
/// is then nowhere in the rows.
fn title(name: &str) -> String {
    let spaced = name.replace('-', " ");
    let title = match spaced.strip_prefix("ajps_") {
        Some(short) => format!("{short}@"),
        None => spaced,
    };
    let title: String = text::plain(&title).chars().filter(|c| !c.is_control()).collect();
    text::cut(&title, TITLE_CHARS_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_titles() {
        let pairs = [
            ("ajps_test", "test@"),
            ("ajps_o'brien\"<b>", "o'brien\"@"),
            ("ajps_日本-forum", "日本 forum@"),
            ("my-forum_X", "my forum_X"),
        ];
        for (name, expected) in pairs {
            assert_eq!(title(name), expected);
        }
    }
}
