//! HTTP at `/socket.io/`: cross-origin rules, bounds of bodies and sessions, and what clients 1.x do to text. The rest is Engine.IO's.

use std::sync::Arc;

use bytes::Bytes;
use engineioxide::{
    TransportType,
    config::EngineIoConfig,
    service::{EngineIoService, NotFoundService},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CACHE_CONTROL,
        CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_KEY, VARY,
    },
    request::Parts,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::Service, upgrade::OnUpgrade};
use tokio::time::timeout;

use crate::{clients::Clients, core::double_utf8, gateway::Realtime};

/// Where clients look for it.
const PATH: &str = "/socket.io";

/// Bytes of packets in one answer to a polling request. Above any list, so that Engine.IO need not hold one back.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Bytes a WebSocket reads at once; each connection holds so many.
const READ_BUFFER_BYTES: usize = 1024;

type Answer = Response<Full<Bytes>>;

/// Serves `/socket.io/`. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    realtime: Arc<Realtime>,
    engine: EngineIoService<Clients, NotFoundService>,
}

impl Door {
    /// The door to a gateway.
    pub fn new(realtime: Arc<Realtime>) -> Self {
        let settings = realtime.settings();
        let config = EngineIoConfig::builder()
            .req_path(PATH)
            .ping_interval(settings.ping_interval)
            .ping_timeout(settings.ping_timeout)
            .max_buffer_size(settings.packets_max)
            .max_payload(ANSWER_BYTES_MAX)
            .ws_read_buffer_size(READ_BUFFER_BYTES)
            .ws_max_message_size(settings.body_bytes_max)
            .ws_max_frame_size(settings.body_bytes_max)
            .transports([TransportType::Polling, TransportType::Websocket])
            .build();
        let engine = EngineIoService::with_config(Arc::new(Clients(realtime.clone())), config);
        Self { realtime, engine }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let mut answer = match parts.method {
            Method::OPTIONS => preflight(&parts.headers),
            Method::GET | Method::POST => self.pass_on(&parts, body).await,
            _ => refusal(StatusCode::METHOD_NOT_ALLOWED),
        };
        allow_origin(&parts.headers, answer.headers_mut());
        answer
    }

    async fn pass_on(&self, parts: &Parts, body: Incoming) -> Answer {
        let settings = self.realtime.settings();
        let query = parts.uri.query().unwrap_or_default();
        let begins = !query.split('&').any(|part| part.starts_with("sid="));
        if begins && !self.realtime.has_room() {
            let mut answer = refusal(StatusCode::SERVICE_UNAVAILABLE);
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return answer;
        }
        let body = match parts.method == Method::POST {
            true => match self.body(parts, query, body).await {
                Ok(body) => body,
                Err(status) => return refusal(status),
            },
            false => Bytes::new(),
        };
        let Ok(request) = bare(parts, body) else { return refusal(StatusCode::BAD_REQUEST) };
        // Neither this service nor the one inside of it fails.
        let Ok(answer) = self.engine.call(request).await;
        let (mut head, body) = answer.into_parts();
        let Ok(body) = body.collect().await;
        let mut body = body.to_bytes();
        if let Some(told) = begins.then(|| with_true_limit(&body, settings.body_bytes_max)).flatten() {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(told.len()));
            body = told.into();
        }
        Response::from_parts(head, Full::new(body))
    }

    /// A polling request's body, within bounds and with its text mended.
    async fn body(&self, parts: &Parts, query: &str, body: Incoming) -> Result<Bytes, StatusCode> {
        let settings = self.realtime.settings();
        let limited = Limited::new(body, settings.body_bytes_max);
        let read = timeout(settings.body_within, limited.collect()).await;
        let body =
            read.map_err(|_| StatusCode::REQUEST_TIMEOUT)?.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        let body = body.to_bytes();
        let is_binary =
            parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/octet-stream");
        if is_binary || !query.split('&').any(|part| part == "EIO=3") {
            return Ok(body);
        }
        Ok(double_utf8::mended(&body).map_or(body, Bytes::from))
    }
}

/// A request of only what Engine.IO reads. It keeps its request for as long as the session lasts, and every header of a hyper
/// request holds on to the whole buffer it was read into; cookies are nobody's business there.
fn bare(parts: &Parts, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(parts.method.clone()).uri(parts.uri.to_string());
    for name in [SEC_WEBSOCKET_KEY, CONTENT_TYPE] {
        if let Some(value) = parts.headers.get(&name) {
            request = request.header(name, value.as_bytes().to_vec());
        }
    }
    if let Some(upgrade) = parts.extensions.get::<OnUpgrade>() {
        request = request.extension(upgrade.clone());
    }
    request.body(Full::new(body))
}

/// The first packet of a session with the longest body that is taken, by which clients 4.x divide what they send. Engine.IO knows
/// one limit for both ways, and holds back what is above it: when a client then changes to a WebSocket, that is lost.
fn with_true_limit(packet: &[u8], bytes_max: usize) -> Option<String> {
    let (before, after) = std::str::from_utf8(packet).ok()?.split_once("\"maxPayload\":")?;
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    before.starts_with("0{").then(|| format!("{before}\"maxPayload\":{bytes_max}{after}"))
}

fn refusal(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// Any page may connect, as with the original server. Nothing here knows a cookie: a page gets no more by it than a program does.
fn allow_origin(request: &HeaderMap, answer: &mut HeaderMap) {
    if let Some(origin) = request.get(ORIGIN) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    answer.insert(VARY, HeaderValue::from_static("Origin"));
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
}

fn preflight(request: &HeaderMap) -> Answer {
    let mut answer = refusal(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_the_limit_that_holds_for_them() {
        let said = b"0{\"sid\":\"x\",\"maxPayload\":67108864,\"more\":1}";
        let told = with_true_limit(said, 131_072).unwrap();
        assert_eq!(told, "0{\"sid\":\"x\",\"maxPayload\":131072,\"more\":1}");
        // Clients 1.x and 2.x count this packet's characters, and do not look at the limit.
        assert_eq!(with_true_limit(b"30:0{\"sid\":\"x\",\"maxPayload\":1}", 2), None);
        assert_eq!(with_true_limit(b"", 2), None);
    }
}
