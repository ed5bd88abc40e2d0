//! One client request, read once into what the endpoints ask for: parameters, cookies, fake address, language.

use bytes::Bytes;
use loop_proto::{
    ids::{HubTime, MessageId},
    php_params::{self, Limits, Params, TooMuch},
    v1,
};

use crate::text::ago::Language;

/// Longest address of ourselves that is written into links, bytes.
const BASE_URL_BYTES_MAX: usize = 256;

/// What a client asked, decoded.
pub struct Request {
    /// Query and form.
    pub params: Params,
    /// The session's id; empty for robots, whose sessions are neither read nor written.
    pub session_id: String,
    /// The address AtomJump derives from the session id, its stand-in for an IP.
    pub ip: String,
    /// Whether the user agent says it is a robot.
    pub is_robot: bool,
    /// `scheme://authority[/api]` without trailing slash; empty if it could not stand in a link.
    pub base_url: String,
    /// The one clock there is, seconds of Unix time.
    pub now_s: u64,
    /// As received, without `?`.
    pub query: Bytes,
    cookies: Bytes,
}

impl Request {
    /// Reads what a client sent, as of `now`.
    pub fn read(request: &v1::ClientRequest, now: HubTime) -> Result<Self, TooMuch> {
        let params = Params::parse(&request.query, &request.form, Limits::default())?;
        let is_robot = header(request, "user-agent").is_some_and(|value| is_robot(value));
        let session_id = if is_robot { String::new() } else { request.session_id.clone() };
        let base_url = request.base_url.trim_end_matches('/');
        Ok(Self {
            params,
            ip: fake_ip(session_id.as_bytes()),
            session_id,
            is_robot,
            base_url: if is_plain_url(base_url) { base_url.to_owned() } else { String::new() },
            now_s: now.seconds(),
            query: request.query.clone(),
            cookies: header(request, "cookie").cloned().unwrap_or_default(),
        })
    }

    /// A cookie's decoded value.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let value = self.cookies.split(|b| *b == b';').find_map(|pair| {
            let (key, value) = pair.split_at(pair.iter().position(|b| *b == b'=')?);
            (key.trim_ascii() == name.as_bytes()).then(|| &value[1..])
        })?;
        Some(php_params::text(&php_params::decode(value.trim_ascii())))
    }

    /// The language of times: the cookie, for PHP's readers.
    pub fn language(&self) -> Language {
        Language::of(self.cookie("lang").as_deref())
    }

    /// `remoteapp=true`: the answer is JSON for a script.
    pub fn is_remote_app(&self) -> bool {
        self.params.get("remoteapp") == Some(b"true")
    }

    /// Whether a callback was named; only the query can.
    pub fn has_callback(&self) -> bool {
        Params::parse(&self.query, b"", Limits::default()).is_ok_and(|query| query.has("callback"))
    }

    /// How many records are asked for: nothing and nonsense are 0, as in PHP before 8.
    pub fn records(&self) -> i64 {
        let text = self.params.text("records").unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

/// A message id as a client sends it; `None` if it names none.
pub fn message_id(value: Option<&[u8]>) -> Option<MessageId> {
    let text = std::str::from_utf8(value?).ok()?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    MessageId::new(text.parse().ok()?)
}

/// `192.` and the codes of the session id's first three characters; 0 for those it lacks.
pub fn fake_ip(session_id: &[u8]) -> String {
    let code = |at: usize| session_id.get(at).copied().unwrap_or(0);
    format!("192.{}.{}.{}", code(0), code(1), code(2))
}

fn header<'a>(request: &'a v1::ClientRequest, name: &str) -> Option<&'a Bytes> {
    request.headers.iter().find(|header| header.name == name).map(|header| &header.value)
}

/// AtomJump's test for robots: they get no session, and so leave no rows behind.
pub fn is_robot(user_agent: &[u8]) -> bool {
    let lower = user_agent.to_ascii_lowercase();
    let has = |word: &[u8]| lower.windows(word.len()).any(|part| part == word);
    [&b"bot"[..], b"crawl", b"slurp", b"spider"].into_iter().any(has)
}

/// The browser names this address itself, and it ends up in every reader's page: only plain characters may.
fn is_plain_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return false;
    };
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'/' | b'[' | b']');
    !rest.is_empty() && url.len() <= BASE_URL_BYTES_MAX && rest.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str, headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| v1::Header {
            name: (*name).to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        });
        let request = v1::ClientRequest {
            query: Bytes::copy_from_slice(query.as_bytes()),
            headers: headers.collect(),
            session_id: "e9kk7q".to_owned(),
            base_url: "http://h/api/".to_owned(),
            ..Default::default()
        };
        Request::read(&request, HubTime(1000)).unwrap()
    }

    #[test]
    fn cookies_and_addresses() {
        let request = request("records=2", &[("cookie", "PHPSESSID=x; lang=es; email=a%40b.c")]);
        assert_eq!(request.cookie("email").as_deref(), Some("a@b.c"));
        assert_eq!(request.cookie("mail"), None);
        assert_eq!(request.language(), Language::Spanish);
        assert_eq!(
            (request.ip.as_str(), request.base_url.as_str(), request.records()),
            ("192.101.57.107", "http://h/api", 2)
        );
    }

    #[test]
    fn robots_say_what_they_are() {
        assert!(is_robot(b"Mozilla/5.0 (compatible; Googlebot/2.1)") && is_robot(b"Yahoo! SLURP"));
        assert!(!is_robot(b"Mozilla/5.0 (X11; Linux x86_64) Firefox/130.0"));
    }

    #[test]
    fn robots_have_no_session() {
        let request = request("", &[("user-agent", "Googlebot/2.1")]);
        assert_eq!((request.session_id.as_str(), request.ip.as_str()), ("", "192.0.0.0"));
    }

    #[test]
    fn numbers_are_digits_or_nothing() {
        assert_eq!(message_id(Some(b"2867")), MessageId::new(2867));
        for nonsense in [&b""[..], b"0", b"abc", b"0 OR 1=2", b"-1", b"99999999999", b"+5"] {
            assert_eq!(message_id(Some(nonsense)), None);
        }
        for (text, records) in [("", 0), ("x", 0), ("-1", -1), ("500", 500), ("1e3", 0)] {
            assert_eq!(request(&format!("records={text}"), &[]).records(), records);
        }
    }

    #[test]
    fn an_address_with_markup_in_it_is_not_used() {
        for url in ["javascript:alert(1)", "http://h\"><script>", "http://", "http://h/a b"] {
            assert!(!is_plain_url(url), "{url}");
        }
    }
}
