//! What a client is told, made from rows.

use loop_proto::{
    php_params::TooMuch,
    v1::{self, Endpoint},
};

use crate::{
    call::Call,
    endpoints::{
        Answer, HTML, JSON, chat_page, hide, index_page, logged_status, message_buttons,
        search::{self, Extra},
        shout,
        visit::{self, Visit},
    },
    execute::{Executed, lid},
    session::Session,
    stored_session::StoredSession,
    view::{UserIds, View},
};

/// An answer, and what reading it changed.
#[derive(Default)]
pub struct Rendered {
    /// What the client is told.
    pub answer: Answer,
    /// Rows of the forum's stream.
    pub forum_facts: Vec<v1::Fact>,
    /// Rows every peer keeps: users.
    pub directory_facts: Vec<v1::Fact>,
    /// The session's new record, if it changed.
    pub record: Option<v1::SessionRecord>,
}

impl From<Answer> for Rendered {
    fn from(answer: Answer) -> Self {
        Self { answer, ..Self::default() }
    }
}

/// The answer to a request with more in it than any browser sends.
pub fn refused(too_much: &TooMuch) -> Answer {
    Answer::refused(400, &format!("The request has {too_much}."))
}

/// The answer to what is answered the same whatever the session and the rows are, so that nobody looks for them.
pub fn render_plain(call: &Call) -> Option<Answer> {
    let request = &call.request;
    match call.endpoint {
        Endpoint::Index if !request.is_remote_app() => Some(index_page::answer(request)),
        Endpoint::HideMessage => Some(hide::answer(request)),
        Endpoint::MessageButtons => Some(message_buttons::answer()),
        Endpoint::Static | Endpoint::Unspecified => Some(Answer::refused(404, "There is no such page.")),
        _ => None,
    }
}

/// Answers a read, or, given a write's `receipt`, its re-send.
pub fn render<V: View>(
    call: &Call,
    stored: &StoredSession,
    receipt: Option<&v1::Receipt>,
    view: &V,
    ids: &mut dyn UserIds,
) -> Result<Rendered, V::Error> {
    if let Some(answer) = render_plain(call) {
        return Ok(answer.into());
    }
    let (request, session) = (&call.request, &stored.session);
    let answer = match call.endpoint {
        Endpoint::Index => return searched(call, JSON, stored, view, ids),
        Endpoint::Shout => match receipt {
            Some(receipt) => shown_after_write(call, session, receipt, view)?,
            // One that cannot write (a wrong checksum, no forum) is no task: it is told what a write would show.
            None => {
                let receipt = call.forum.map(|_| v1::Receipt { lid: lid(call), ..Default::default() });
                shown_after_write(call, session, &receipt.unwrap_or_default(), view)?
            }
        },
        Endpoint::FastSearchChat => search::fast(request, session, view)?,
        Endpoint::ChatPage => chat_page::answer(request, session, view),
        Endpoint::LoggedStatus => logged_status::answer(request, session, view)?,
        // The rest was answered above.
        _ => return searched(call, HTML, stored, view, ids),
    };
    Ok(answer.into())
}

/// Answers a write that was just executed. `view` shows what it changed.
pub fn written<V: View>(call: &Call, executed: &Executed, view: &V) -> Result<Answer, V::Error> {
    match call.endpoint {
        Endpoint::Shout => shown_after_write(call, &executed.session, &executed.receipt, view),
        Endpoint::HideMessage => Ok(hide::answer(&call.request)),
        _ => Ok(Answer::refused(400, "This is not a write.")),
    }
}

/// The list, with `sid` and `lid`; nothing without `remoteapp`.
fn shown_after_write<V: View>(
    call: &Call,
    session: &Session,
    receipt: &v1::Receipt,
    view: &V,
) -> Result<Answer, V::Error> {
    if !call.request.is_remote_app() {
        return Ok(Answer::empty());
    }
    let extra = Extra { title: None, sid_json: receipt.sid_json.as_deref(), lid: receipt.lid.as_deref() };
    let body = search::body(&call.request, session, view, shout::RECORDS_AFTER_WRITE, extra)?;
    Ok(Answer::jsonp(JSON, body))
}

/// The list, after a visit of the forum.
fn searched<V: View>(
    call: &Call,
    content_type: &'static str,
    stored: &StoredSession,
    view: &V,
    ids: &mut dyn UserIds,
) -> Result<Rendered, V::Error> {
    let request = &call.request;
    let mut session = stored.session.clone();
    let visit = match call.forum {
        Some(forum) => visit::enter(request, &mut session, view, forum, ids)?,
        None => Visit::default(),
    };
    if let Some(forum) = call.forum.filter(|_| !request.is_robot) {
        visit::leave(&mut session, view, forum);
        if session.number("view-count") != Some(1) {
            session.set_int("view-count", 1);
        }
    }
    let extra = Extra { title: visit.forum.as_ref().map(|forum| forum.title.as_str()), ..Extra::default() };
    let body = search::body(request, &session, view, request.records(), extra)?;
    Ok(Rendered {
        answer: Answer::jsonp(content_type, body),
        forum_facts: visit.forum_facts(),
        directory_facts: visit.directory_facts(),
        record: stored.changed(&session, request),
    })
}
