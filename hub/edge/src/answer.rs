//! Answers: headers per endpoint as AtomJump sends them, JSONP, errors in AtomJump's language.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE,
        EXPIRES, LAST_MODIFIED, PRAGMA, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    },
};
use loop_proto::v1::Endpoint;

use super::{
    answer_body::AnswerBody,
    body::BodyError,
    dates,
    shim::{Call, Refusal},
};
use crate::gateway::CallError;

/// What hyper sends.
pub type Answer = Response<AnswerBody>;

/// PHP's page type.
pub const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=UTF-8");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const FAST_HTML: HeaderValue = HeaderValue::from_static("text/html");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store, no-cache, must-revalidate");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// Without effect on a script, which is what a JSONP answer is; makes a page of any answer harmless.
const INERT: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

/// For a page that is text only and nobody's to show in a frame.
pub const TEXT_PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// For a page that runs a script of ours and nothing else.
pub const SCRIPT_PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// For the page inside AtomJump's pop-up. Messages hold pictures from anywhere. There is no `frame-ancestors`: the pop-up is a
/// frame in other people's pages, whichever they are, apps that open theirs from a file included, for which no list of
/// ancestors holds. So whoever embeds it can lay things over it; what a click there can do is to write into that forum.
const CHAT_PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' http: https: data:; object-src 'none'; \
     base-uri 'none'; form-action 'self'",
);

/// An answer with a body.
pub fn with_body(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::whole(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// One short sentence.
pub fn sentence(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut text = text.into();
    if !text.is_empty() {
        text.push('\n');
    }
    let mut answer = with_body(status, TEXT, text);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

/// JSON that is nobody's to keep.
pub fn json(status: StatusCode, json: impl Into<Bytes>) -> Answer {
    let mut answer = with_body(status, JSON, json);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

/// What every script without a file gets.
pub fn no_such_script() -> Answer {
    with_body(StatusCode::NOT_FOUND, HTML, "File not found.\n")
}

/// A known endpoint that is still to come.
pub fn not_built() -> Answer {
    sentence(
        StatusCode::NOT_IMPLEMENTED,
        "This part of AtomJump Messaging is not available on this server yet.",
    )
}

/// The answer to a request that never became a call.
pub fn refused(refusal: Refusal) -> Answer {
    let status = match refusal {
        Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::UrlTooLong(_) => StatusCode::URI_TOO_LONG,
        Refusal::TooMuch(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::BadCallback(_) | Refusal::BadHost(_) | Refusal::NoForum => StatusCode::BAD_REQUEST,
        // loop-server-fast's own answer, empty and without a type.
        Refusal::NoSession => return status_only(StatusCode::BAD_REQUEST),
        Refusal::BodyType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    };
    let mut answer = sentence(status, refusal.to_string());
    if refusal == Refusal::Method {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    answer
}

/// The answer to a body that was not taken. Nothing more can be read from that connection.
pub fn body_refused(error: BodyError) -> Answer {
    let status = match error {
        BodyError::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        BodyError::Crowded => StatusCode::SERVICE_UNAVAILABLE,
        BodyError::Broken => StatusCode::BAD_REQUEST,
    };
    let mut answer = sentence(status, error.to_string());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if error == BodyError::Crowded {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    }
    answer
}

/// The hub has too many requests already.
pub fn crowded() -> Answer {
    unserved(&CallError::Overloaded)
}

/// The answer to a call that was not served: AtomJump's own "no database" where nothing was written, which makes
/// its browser try again, and 504 where the outcome is open.
pub fn unserved(error: &CallError) -> Answer {
    let (status, retry, text) = match error {
        CallError::Overloaded | CallError::NoLeader => (StatusCode::SERVICE_UNAVAILABLE, 1, String::new()),
        CallError::NoPeer => (StatusCode::SERVICE_UNAVAILABLE, 5, String::new()),
        CallError::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, 60, error.to_string()),
        CallError::Timeout => (StatusCode::GATEWAY_TIMEOUT, 2, error.to_string()),
        CallError::Pending => (StatusCode::GATEWAY_TIMEOUT, 10, error.to_string()),
        CallError::Indeterminate => (StatusCode::GATEWAY_TIMEOUT, 2, error.to_string()),
    };
    let mut answer =
        if text.is_empty() { with_body(status, HTML, Bytes::new()) } else { sentence(status, text) };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry));
    answer
}

/// A status and nothing else.
pub fn status_only(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::whole(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// The answer to a call, in the endpoint's envelope and with its headers.
pub fn of_call(call: &Call, made: loop_atomjump::Answer, unix_seconds: u64) -> Answer {
    let status = u16::try_from(made.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let content_type = match made.content_type {
        "" => type_of(call),
        known => HeaderValue::from_static(known),
    };
    let bytes = if made.jsonp { envelope(call, &made.body) } else { made.body.into() };
    let mut answer = with_body(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), content_type, bytes);
    let policy = if call.endpoint == Endpoint::ChatPage { CHAT_PAGE } else { INERT };
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    headers_of(call, answer.headers_mut(), unix_seconds);
    answer
}

/// The answer to a browser that watches a forum.
pub fn watched(call: &Call, events: BoxStream<'static, Bytes>, unix_seconds: u64) -> Answer {
    let mut answer = Response::new(AnswerBody::events(events));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(CONTENT_SECURITY_POLICY, INERT);
    // nginx would keep events back until it has a buffer full of them.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    set_cookie(headers, call, unix_seconds);
    answer
}

/// The answer to a removal, whatever it removed. AtomJump prints nothing to who named no callback.
pub fn nothing_removed(call: &Call, unix_seconds: u64) -> Answer {
    let jsonp = !call.callback.is_missing();
    let body = if jsonp { b"\"\"".to_vec() } else { Vec::new() };
    of_call(call, loop_atomjump::Answer { status: 200, jsonp, body, ..Default::default() }, unix_seconds)
}

/// Lets a browser without a session keep the one its unfinished write was made under.
pub fn keep_session(answer: &mut Answer, call: &Call, unix_seconds: u64) {
    set_cookie(answer.headers_mut(), call, unix_seconds);
}

fn envelope(call: &Call, json: &[u8]) -> Bytes {
    // loop-server-fast prints JavaScript's word for what is missing.
    let if_missing = if call.endpoint == Endpoint::FastSearchChat { "undefined" } else { "" };
    call.callback.wrap(json, if_missing)
}

fn type_of(call: &Call) -> HeaderValue {
    match call.endpoint {
        Endpoint::Shout | Endpoint::Index if call.remote_app => JSON,
        Endpoint::FastSearchChat => FAST_HTML,
        _ => HTML,
    }
}

fn headers_of(call: &Call, headers: &mut HeaderMap, unix_seconds: u64) {
    match call.endpoint {
        Endpoint::FastSearchChat => return,
        Endpoint::ChatPage => {
            page_headers(headers, "no-store, no-cache, must-revalidate, private, no-transform", unix_seconds);
        }
        Endpoint::SearchChat => {
            session_headers(headers);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-transform"));
        }
        _ => session_headers(headers),
    }
    set_cookie(headers, call, unix_seconds);
}

fn set_cookie(headers: &mut HeaderMap, call: &Call, unix_seconds: u64) {
    if let Some(cookie) = call.session.cookie(unix_seconds)
        && let Ok(cookie) = HeaderValue::from_str(&cookie)
    {
        headers.append(SET_COOKIE, cookie);
    }
}

/// What PHP adds when a session starts.
pub fn session_headers(headers: &mut HeaderMap) {
    headers.insert(EXPIRES, HeaderValue::from_static("Thu, 19 Nov 1981 08:52:00 GMT"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

/// What AtomJump's pages send against caches.
pub fn page_headers(headers: &mut HeaderMap, first: &'static str, unix_seconds: u64) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(first));
    headers.append(CACHE_CONTROL, HeaderValue::from_static("post-check=0, pre-check=0"));
    headers.insert(EXPIRES, HeaderValue::from_static("Sat, 26 Jul 1997 05:00:00 GMT"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    insert(headers, LAST_MODIFIED, &dates::format(unix_seconds));
}

/// Length and date on every answer; no body for HEAD.
pub fn finish(mut answer: Answer, is_head: bool, unix_seconds: u64) -> Answer {
    use hyper::body::Body;
    let bodyless = matches!(answer.status(), StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT);
    if let Some(length) = answer.body().size_hint().exact().filter(|_| !bodyless) {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer = dated(answer, unix_seconds);
    if is_head || bodyless {
        *answer.body_mut() = AnswerBody::whole(Bytes::new());
    }
    answer
}

/// The same with its date.
pub fn dated(mut answer: Answer, unix_seconds: u64) -> Answer {
    insert(answer.headers_mut(), DATE, &dates::format(unix_seconds));
    answer
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// How much longer than a call's own time the edge waits before it answers in its place.
pub const GRACE: Duration = Duration::from_millis(500);
