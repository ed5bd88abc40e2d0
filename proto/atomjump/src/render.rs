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
    },
    executed::lid,
    new_rows,
    session::Session,
    view::ReadView,
};

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
        Endpoint::Shout if !request.is_remote_app() => Some(Answer::empty()),
        Endpoint::MessageButtons => Some(message_buttons::answer()),
        Endpoint::Unspecified => Some(Answer::refused(404, "There is no such page.")),
        _ => None,
    }
}

/// Answers a read; a write, once it is committed, by its `receipt`.
pub fn render<V: ReadView>(
    call: &Call,
    session: Session<'_>,
    receipt: Option<&v1::Receipt>,
    view: &V,
) -> Result<Answer, V::Error> {
    if let Some(answer) = render_plain(call) {
        return Ok(answer);
    }
    let request = &call.request;
    match call.endpoint {
        Endpoint::Index => searched(call, JSON, session, view),
        Endpoint::Shout => match receipt {
            Some(receipt) => shown_after_write(call, session, receipt, view),
            // One that cannot write (a wrong checksum, no forum) is no task: it is told what a write would show.
            None => {
                let receipt = call.forum.map(|_| v1::Receipt { lid: lid(call), ..Default::default() });
                shown_after_write(call, session, &receipt.unwrap_or_default(), view)
            }
        },
        Endpoint::FastSearchChat => search::fast(request, session, view),
        Endpoint::ChatPage => Ok(chat_page::answer(request, session, view)),
        Endpoint::LoggedStatus => logged_status::answer(request, session, view),
        // The rest was answered above.
        _ => searched(call, HTML, session, view),
    }
}

/// The list, with `sid` and `lid`.
fn shown_after_write<V: ReadView>(
    call: &Call,
    session: Session<'_>,
    receipt: &v1::Receipt,
    view: &V,
) -> Result<Answer, V::Error> {
    let extra = Extra { title: None, sid_json: receipt.sid_json.as_deref(), lid: receipt.lid.as_deref() };
    let body = search::body(&call.request, session, view, shout::RECORDS_AFTER_WRITE, extra)?;
    Ok(Answer::jsonp(JSON, body))
}

/// The list. A forum that nobody has opened is an empty one with a title: reading opens none.
fn searched<V: ReadView>(
    call: &Call,
    content_type: &'static str,
    session: Session<'_>,
    view: &V,
) -> Result<Answer, V::Error> {
    let request = &call.request;
    let name = request.params.non_empty("passcode").or_else(|| request.params.non_empty("uniqueFeedbackId"));
    let title = name.filter(|_| call.forum.is_none()).map(new_rows::title);
    let extra = Extra { title: title.as_deref(), ..Extra::default() };
    let body = search::body(request, session, view, request.records(), extra)?;
    Ok(Answer::jsonp(content_type, body))
}
