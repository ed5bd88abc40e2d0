//! `logged-status.php`: three pieces of markup about the session, for AtomJump's options form. Changes nothing.

use super::{Answer, HTML};
use crate::{
    escape::{attr, script_in_attr},
    json,
    request::Request,
    session::Session,
    view::ReadView,
};

const HINT: &str = "Enter your email to subscribe to messages from this forum.";

/// Renders the three pieces.
pub fn answer<V: ReadView>(request: &Request, session: Session<'_>, view: &V) -> Result<Answer, V::Error> {
    let status = Status::of(request, session, view)?;
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"subscribe\":");
    json::php_string(&mut out, &status.subscribe());
    out.extend_from_slice(b",\"loggedIn\":");
    json::php_string(&mut out, &status.logged_in(&request.base_url));
    out.extend_from_slice(b",\"subscribeToggle\":");
    json::php_string(&mut out, &status.toggle(&request.base_url));
    out.push(b'}');
    Ok(Answer::jsonp(HTML, out))
}

struct Status {
    user: Option<u32>,
    has_email: bool,
    is_subscriber: bool,
    may_subscribe: bool,
    shows_logout: bool,
    forum_name: String,
}

impl Status {
    fn of<V: ReadView>(request: &Request, session: Session<'_>, view: &V) -> Result<Self, V::Error> {
        let user = session.user();
        let forum = view.forum();
        let cookie_email = request.cookie("email").unwrap_or_default();
        let row = match user {
            Some(id) if !cookie_email.is_empty() => view.user(id)?,
            _ => None,
        };
        let is_unconfirmed =
            row.is_some_and(|row| !row.confirmed && row.email.as_deref() == Some(&cookie_email));
        let is_known = !cookie_email.is_empty() && (cookie_email == session.email() || is_unconfirmed);
        let has_forum_password = forum.is_some_and(|forum| session.holds_password_of(forum.id));
        let limit = forum.and_then(|forum| forum.subscribers_limit.as_deref()).unwrap_or_default();
        Ok(Self {
            user,
            has_email: !session.email().is_empty(),
            is_subscriber: user.is_some_and(|user| view.is_subscriber(user)),
            may_subscribe: limit.is_empty() || session.email().ends_with(&format!("@{limit}")),
            shows_logout: is_known || has_forum_password,
            forum_name: script_in_attr(&request.params.text("passcode").unwrap_or_default()),
        })
    }

    fn user_literal(&self) -> String {
        self.user.map_or_else(|| "null".to_owned(), |id| id.to_string())
    }

    fn subscribe(&self) -> String {
        let (user, forum) = (self.user_literal(), &self.forum_name);
        if !self.has_email {
            return format!(
                "<a href=\"javascript:\" onclick=\"$('#email-explain').slideToggle(); \
                 $('#save-button').html('Subscribe')\" title=\"{HINT}\">subscription</a>"
            );
        }
        if self.is_subscriber {
            return format!(
                "<a href=\"javascript:\" onclick=\"return unSub({user},'{forum}');\">unsubscribe</a>"
            );
        }
        if !self.may_subscribe {
            return "cannot subscribe".to_owned();
        }
        format!(
            "<a href=\"javascript:\" onclick=\"return sub({user},'{forum}');\" title=\"{HINT}\">subscribe</a>"
        )
    }

    /// AtomJump leaves the outer element open, and its script counts on it.
    fn logged_in(&self, base_url: &str) -> String {
        let shown = |is_shown: bool| if is_shown { "block" } else { "none" };
        format!(
            "<div style=\"float: right;\" id=\"comment-logout\" style=\"display: {outer};\">\
             <a id=\"comment-logout-text\" href=\"javascript:\" onclick=\"beforeLogout(function() {{ \
             $.get( '{server}/logout.php', function( data ) {{ logout();  refreshLoginStatus(); }} ); }});\" \
             style=\"display: {link};\" >Logout <img src='images/signout.svg' width='18' height='18' \
             style='vertical-align: top;'></a> \
             <span id=\"comment-not-signed-in\" style=\"display: {hint};\" >Not Signed In</span>",
            outer = shown(self.user.is_some()),
            server = script_in_attr(base_url),
            link = shown(self.shows_logout),
            hint = shown(!self.shows_logout),
        )
    }

    fn toggle(&self, base_url: &str) -> String {
        let user = self.user_literal();
        let forum = if self.has_email { self.forum_name.as_str() } else { "" };
        let (call, image, title, hint) = if self.is_subscriber {
            ("unSub", "ear.svg", "Unsubscribe", String::new())
        } else {
            ("subFront", "no-ear.svg", "Subscribe", format!(" title=\"{HINT}\""))
        };
        format!(
            "<a href=\"javascript:\" onclick=\"return {call}({user},'{forum}');\"{hint}>\
             <img src=\"{server}/images/{image}\" title=\"{title}\" style=\"width: 32px; height: 32px;\"></a>",
            server = attr(base_url),
        )
    }
}
