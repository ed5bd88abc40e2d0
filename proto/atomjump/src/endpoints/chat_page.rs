//! `search-secure.php`: the page inside AtomJump's pop-up.
//!
//! Owns our page's markup, which is our own; scripts find in it the variables, ids and field names AtomJump's page has.
//! Every value from outside is escaped for the place it stands in. Changes nothing: neither forum nor session. No script
//! stands in it: hubs send it with a policy under which none would run. What scripts find as global variables is data that
//! the page's own script file (`hub/edge/assets/front/page.js`) reads.

use loop_proto::ids::is_session_id;

use super::Answer;
use crate::{
    dates,
    escape::{attr, script_json},
    request::Request,
    session::Session,
    view::ReadView,
};

const PAGE: &str = include_str!("chat_page.html");
const FORM: &str = include_str!("chat_form.html");

/// The entry field of a forum one may read.
const ENTRY: &str = r#"<div class="compose">
<label for="message">Your message</label>
<textarea id="message" name="message" rows="2" maxlength="510" placeholder="Write a message"></textarea>
<button type="submit" id="send">Send</button>
</div>"#;

/// What stands in its place while the forum's password is missing.
const PASSWORD_ENTRY: &str = r#"<div class="compose">
<label for="forumpass">This forum has a password</label>
<input type="password" id="forumpass" autocomplete="off">
<input type="hidden" id="message" name="message" value="">
<button type="submit" id="send">Open</button>
</div>"#;

/// Renders the page for whoever holds `session`.
pub fn answer(request: &Request, session: Session<'_>, view: &impl ReadView) -> Answer {
    let forum_name = request.params.text("uniqueFeedbackId").or_else(|| request.params.text("passcode"));
    let forum_name = forum_name.unwrap_or_default();
    let forum = view.forum();
    let granted =
        forum.is_none_or(|forum| forum.password_hash.is_none() || session.holds_password_of(forum.id));
    let title = forum.map(|forum| forum.title.as_str()).unwrap_or_default();
    let owner_since = forum.map_or(request.now_s, |forum| forum.owner_since_s);
    let server = server_url(request);

    let form = fill(
        FORM,
        &[
            ("entry", if granted { ENTRY } else { PASSWORD_ENTRY }),
            ("your_name", &attr(&request.cookie("your_name").unwrap_or_default())),
            ("passcode", &attr(&forum_name)),
            ("client_url", &attr(&request.params.text("clientremoteurl").unwrap_or_default())),
            (
                "ses",
                &attr(
                    &request
                        .cookie("ses")
                        .filter(|ses| is_session_id(ses.as_bytes()))
                        .unwrap_or_else(|| request.session_id.clone()),
                ),
            ),
            ("general", &attr(&request.params.text("general").unwrap_or_default())),
            ("owner_since", &dates::sql(owner_since)),
            ("email", &attr(&request.cookie("email").unwrap_or_default())),
        ],
    );
    let feedback = format!(
        r#"{{"uniqueFeedbackId": {}, "myMachineUser": {}, "server": {}, "domain": {}}}"#,
        script_json(&forum_name),
        script_json(&request.params.text("myMachineUser").unwrap_or_default()),
        script_json(&server),
        script_json(host_of(&server)),
    );
    let page = fill(
        PAGE,
        &[
            ("aj_feedback", &feedback),
            ("granted", if granted { "true" } else { "false" }),
            ("body_class", if granted { "" } else { r#" class="locked""# }),
            ("composer", &form),
            ("title", &script_json(title)),
        ],
    );
    Answer::html(page)
}

/// Replaces each `{{name}}` once, left to right, so that a value can never be taken for a placeholder.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(template.len() + 1024);
    let mut rest = template;
    while let Some(open) = rest.find("{{") {
        out.push_str(&rest[..open]);
        let after = &rest[open + 2..];
        let close = after.find("}}").expect("the page's own template closes every placeholder");
        let name = &after[..close];
        let value = values.iter().find(|(key, _)| *key == name);
        out.push_str(value.expect("every placeholder of the page's own template has a value").1);
        rest = &after[close + 2..];
    }
    out.push_str(rest);
    out
}

/// The API's address for scripts: what the embedding page asked for, if that is this very host and port, else where we
/// are. Another host's scripts would run here with this page's rights, and the page's policy lets none of them in.
fn server_url(request: &Request) -> String {
    let asked = request.params.text("server").unwrap_or_default();
    let asked = asked.trim_end_matches('/');
    let is_http = asked.starts_with("http://") || asked.starts_with("https://");
    let is_here = is_http && authority_of(asked) == authority_of(&request.base_url) && asked.len() <= 2048;
    if is_here { asked.to_owned() } else { request.base_url.clone() }
}

/// Host and port, as they stand there.
fn authority_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Host without scheme, port and path.
fn host_of(url: &str) -> &str {
    let authority = authority_of(url);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_placeholder_stays_a_value() {
        assert_eq!(fill("<{{a}}|{{b}}>", &[("a", "{{b}}"), ("b", "2")]), "<{{b}}|2>");
    }

    #[test]
    fn hosts_are_shown_without_port() {
        assert_eq!(host_of("http://127.0.0.1:18080"), "127.0.0.1");
        assert_eq!(host_of("https://atomjump.com/api"), "atomjump.com");
        assert_eq!(host_of(""), "");
        for other in ["http://h@evil", "http://h:80@evil", "http://h\\@evil", "http://h?evil"] {
            assert_ne!(host_of(other), "h");
        }
    }
}
