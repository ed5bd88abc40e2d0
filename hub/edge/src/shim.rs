//! From an HTTP request to a call of the cluster. Pure: bytes in, a decision out.
//!
//! # Which forum a request belongs to
//!
//! Only top-level parameters count, read as PHP reads them; `remoteurl` and `clientremoteurl` carry whole URLs with
//! forum names of their own, encoded several times, and are data.
//!
//! * `passcode` names the forum; on `search-secure.php` it is `uniqueFeedbackId`.
//! * With both present each script keeps to its own; with only the other one present, that one counts.
//! * An empty name is no name.
//! * A read without a forum name is answered by any peer, as a read of no forum.
//! * A write without a forum name writes nothing: a commit is answered as a read that carries no `sid`, a removal
//!   with the empty string. So is a commit without the right `cs`, a removal without a message id, and anything
//!   sent as HEAD.
//! * Only a commit that writes opens a forum nobody has opened.

use bytes::Bytes;
use http::{HeaderMap, Method, request::Parts};
use loop_atomjump::{CHECKSUM, is_robot, message_id};
use loop_proto::{
    ids::ForumKey,
    php_params::{Limits, Params, TooMuch},
    v1::{self, Endpoint},
};

use super::{
    base_url::{self, BadHost},
    jsonp::{BadCallback, Callback},
    outside::Outside,
    request_id::{self, Commit},
    route::{self, Place, Route},
    session::{Cookies, Session},
};
use crate::gateway::{ClientCall, Opening};

/// Longest header value passed on to a peer, bytes; longer ones are left out.
const PASSED_ON_BYTES_MAX: usize = 4 * 1024;

/// What the shim has to know besides the request.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Longest path and query, bytes.
    pub url_bytes_max: usize,
    /// Bounds of the parameters.
    pub params: Limits,
    /// Whether `X-Forwarded-Proto` counts.
    pub trust_proxy: bool,
    /// `scheme://authority` to give out instead of the Host header.
    pub public_url: Option<String>,
}

/// A request as far as the path and headers tell, before its body is read.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// The path.
    pub place: Place<'a>,
    /// Where it leads.
    pub route: Route,
    /// `scheme://authority[/api]`.
    pub base_url: String,
}

/// What to do with a request.
#[derive(Clone)]
pub enum Parsed {
    /// Ask the cluster.
    Call(Box<Call>),
    /// A removal that removes nothing: the answer is the same as if it did.
    Nothing(Box<Call>),
    /// `index.php` with nothing to do.
    Running,
}

/// A call and what its answer needs.
#[derive(Clone)]
pub struct Call {
    /// What goes to the cluster.
    pub call: ClientCall,
    /// Whether it goes in by the writing door.
    pub writes: bool,
    /// The endpoint, as in `call.request`.
    pub endpoint: Endpoint,
    /// The envelope.
    pub callback: Callback,
    /// Whose request it is.
    pub session: Session,
    /// Whether `remoteapp=true` was said, which changes the content type of `index.php`.
    pub remote_app: bool,
}

/// Why a request is not even a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 405.
    #[error("only GET, HEAD and POST are understood here")]
    Method,
    /// 414.
    #[error("the URL is longer than {0} bytes")]
    UrlTooLong(usize),
    /// 413.
    #[error("too much: {0}")]
    TooMuch(#[from] TooMuch),
    /// 400.
    #[error(transparent)]
    BadCallback(#[from] BadCallback),
    /// 400.
    #[error(transparent)]
    BadHost(#[from] BadHost),
    /// 400: the fast reader answers nobody it does not know.
    #[error("")]
    NoSession,
    /// 400: nothing to watch.
    #[error("passcode must name the forum to watch")]
    NoForum,
    /// 415.
    #[error("a body must be application/x-www-form-urlencoded")]
    BodyType,
}

/// Looks at method, length, path and host.
pub fn head<'a>(parts: &'a Parts, rules: &Rules) -> Result<Head<'a>, Refusal> {
    if !matches!(parts.method, Method::GET | Method::HEAD | Method::POST) {
        return Err(Refusal::Method);
    }
    let length = parts.uri.path().len() + parts.uri.query().map_or(0, str::len);
    if length > rules.url_bytes_max {
        return Err(Refusal::UrlTooLong(rules.url_bytes_max));
    }
    let place = Place::of(parts.uri.path());
    let authority = base_url::authority(&parts.uri, &parts.headers);
    let route = place.route(authority.is_ok_and(base_url::is_fast_host));
    let origin = match (&rules.public_url, authority) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Ok(authority)) => base_url::origin(authority, &parts.headers, rules.trust_proxy),
        // Probes ask without a host; pages and links need one.
        (None, Err(_)) if !matches!(route, Route::Peer(_) | Route::Watch | Route::Front) => String::new(),
        (None, Err(bad)) => return Err(bad.into()),
    };
    // The fast host has AtomJump's own paths under /api: without it a browser sent to the PHP would come back here.
    let fast = route == Route::Peer(Endpoint::FastSearchChat) && rules.public_url.is_none();
    let base_url = if place.api || fast { format!("{origin}/api") } else { origin };
    Ok(Head { place, route, base_url })
}

/// Whether the body of a POST is a form; `Ok(false)` if it says no type, and PHP would ignore it.
pub fn body_is_form(headers: &HeaderMap) -> Result<bool, Refusal> {
    let Some(kind) = headers.get(http::header::CONTENT_TYPE) else { return Ok(false) };
    let kind = kind.as_bytes().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Ok(true)
    } else {
        Err(Refusal::BodyType)
    }
}

/// Turns a request to `endpoint` into a call. `form` is the body of a POST, else empty.
pub fn parse(
    parts: &Parts,
    head: &Head<'_>,
    endpoint: Endpoint,
    form: Bytes,
    rules: &Rules,
    outside: &dyn Outside,
) -> Result<Parsed, Refusal> {
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let params = Params::parse(query, &form, rules.params)?;
    let endpoint = match endpoint {
        Endpoint::Index => match route::of_index(&params) {
            Route::Peer(endpoint) => endpoint,
            _ => return Ok(Parsed::Running),
        },
        other => other,
    };
    let callback = if form.is_empty() {
        Callback::from_query(&params)?
    } else {
        Callback::from_query(&Params::parse(query, b"", rules.params)?)?
    };
    let cookies = Cookies::parse(parts.headers.get_all(http::header::COOKIE).iter().map(|v| v.as_bytes()));
    let robot = parts.headers.get(http::header::USER_AGENT).is_some_and(|agent| is_robot(agent.as_bytes()));
    let session = session_of(endpoint, robot, &params, &cookies, outside)?;
    let forum = forum_of(endpoint, &params).map(ForumKey::of_name);

    let head_only = parts.method == Method::HEAD;
    let writes = !head_only && forum.is_some() && writes(endpoint, &params);
    let shouts = writes && endpoint == Endpoint::Shout;
    let request_id = match commit_of(&params, forum, &session, &callback).filter(|_| shouts) {
        Some(commit) => request_id::of_commit(&commit),
        None => request_id::unique(outside),
    };
    let remote_app = params.get("remoteapp") == Some(b"true");
    let call = ClientCall {
        forum,
        request_id,
        creates_message: shouts && message_id(params.get("shout_id")).is_none(),
        named_message: message_id(params.get("shout_id")).filter(|_| shouts),
        opens: forum_of(endpoint, &params).filter(|_| shouts).map(|name| Opening {
            name: Bytes::copy_from_slice(name),
            general: Bytes::copy_from_slice(params.get("general").unwrap_or_default()),
        }),
        request: v1::ClientRequest {
            endpoint: endpoint.into(),
            method: parts.method.as_str().to_owned(),
            path: Bytes::copy_from_slice(head.place.verbatim.as_bytes()),
            query: Bytes::copy_from_slice(query),
            form,
            headers: passed_on(&parts.headers, &cookies),
            session_id: session.id.clone(),
            base_url: head.base_url.clone(),
        },
    };
    let call = Box::new(Call { call, writes, endpoint, callback, session, remote_app });
    // A removal that removes nothing needs no peer to say so.
    if endpoint == Endpoint::HideMessage && !writes {
        return Ok(Parsed::Nothing(call));
    }
    Ok(Parsed::Call(call))
}

fn session_of(
    endpoint: Endpoint,
    robot: bool,
    params: &Params,
    cookies: &Cookies,
    outside: &dyn Outside,
) -> Result<Session, Refusal> {
    if robot {
        return Ok(Session::none());
    }
    let session = Session::choose(endpoint, params, cookies, outside);
    match endpoint {
        Endpoint::FastSearchChat if !session.given => Err(Refusal::NoSession),
        Endpoint::FastSearchChat => Ok(Session { set_cookie: false, ..session }),
        _ => Ok(session),
    }
}

/// The forum's name by the rule of the module's header.
fn forum_of(endpoint: Endpoint, params: &Params) -> Option<&[u8]> {
    let (first, second) = match endpoint {
        Endpoint::ChatPage => ("uniqueFeedbackId", "passcode"),
        _ => ("passcode", "uniqueFeedbackId"),
    };
    params.non_empty(first).or_else(|| params.non_empty(second))
}

fn writes(endpoint: Endpoint, params: &Params) -> bool {
    match endpoint {
        Endpoint::Shout => params.get("cs") == Some(CHECKSUM),
        Endpoint::HideMessage => message_id(params.get("mid")).is_some(),
        _ => false,
    }
}

fn commit_of<'a>(
    params: &'a Params,
    forum: Option<ForumKey>,
    session: &'a Session,
    callback: &'a Callback,
) -> Option<Commit<'a>> {
    if session.id.is_empty() || params.get("typing") == Some(b"on") {
        return None;
    }
    Some(Commit {
        session: &session.id,
        forum: forum?,
        msg_id: params.non_empty("msg_id")?,
        text: params.get("message").unwrap_or_default(),
        page: callback.page_token(),
    })
}

/// The headers a peer may need, and of the cookies only AtomJump's.
fn passed_on(headers: &HeaderMap, cookies: &Cookies) -> Vec<v1::Header> {
    let header = |name: &str, value: Vec<u8>| v1::Header { name: name.to_owned(), value: value.into() };
    let fits = |value: &Vec<u8>| value.len() <= PASSED_ON_BYTES_MAX;
    let cookie = cookies.passed_on().filter(fits).map(|value| header("cookie", value));
    let others = ["user-agent", "host", "referer", "if-none-match"].into_iter().filter_map(|name| {
        let value = headers.get(name)?.as_bytes().to_vec();
        fits(&value).then(|| header(name, value))
    });
    cookie.into_iter().chain(others).collect()
}

#[cfg(test)]
#[path = "shim_tests.rs"]
mod tests;
