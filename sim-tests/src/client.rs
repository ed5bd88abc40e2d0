//! AtomJump's browser without a screen: the same requests, the answers taken out of their JSONP.

use std::{error::Error, fmt, time::Duration};

use serde_json::Value;

/// The literal AtomJump's form carries; without it nothing is stored.
const CS: &str = "21633478";

/// What a call came to, when it was no usable answer.
#[derive(Debug)]
pub enum CallFailure {
    /// No connection, a broken one, or no answer in time.
    Network(String),
    /// A status other than 200.
    Status {
        /// The status.
        status: u16,
        /// Seconds to wait, if the hub said so.
        retry_after: Option<u64>,
        /// The answer.
        body: String,
    },
    /// 200, but not the JSONP that was asked for.
    Malformed(String),
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(error) => write!(f, "no answer: {error}"),
            Self::Status { status, retry_after, body } => {
                write!(f, "status {status}, Retry-After {retry_after:?}: {body}")
            }
            Self::Malformed(body) => write!(f, "not JSONP: {body}"),
        }
    }
}

impl Error for CallFailure {}

/// A commit, as often as it is sent.
#[derive(Clone, Debug)]
pub struct Commit<'a> {
    /// The browser's number of the message, from 1.
    pub msg_id: u64,
    /// The id of the typing row, if the browser knows it.
    pub shout_id: Option<u64>,
    /// The text.
    pub text: &'a str,
    /// `ip:id` of the one person it is for; empty: everybody.
    pub whisper_to: &'a str,
}

impl<'a> Commit<'a> {
    /// A public message without a typing row.
    pub fn new(msg_id: u64, text: &'a str) -> Self {
        Self { msg_id, shout_id: None, text, whisper_to: "" }
    }
}

/// One visitor of one forum.
#[derive(Clone)]
pub struct Visitor {
    http: reqwest::Client,
    forum: String,
    session: String,
    /// jQuery's token of the page.
    page: String,
    within: Duration,
}

impl Visitor {
    /// Comes to `forum` through `hub` (`http://host:port`) and takes the session it is given, as a browser does.
    pub async fn arrive(hub: &str, forum: &str) -> Result<Self, CallFailure> {
        let mut visitor = Self::with_session(forum, "");
        let answer = visitor.read(hub, 25).await?;
        let session = answer["ses"].as_str().filter(|ses| !ses.is_empty());
        visitor.session =
            session.ok_or_else(|| CallFailure::Malformed(format!("no session: {answer}")))?.to_owned();
        Ok(visitor)
    }

    /// Comes, and opens the forum if nobody has: begins to type and takes it back, which leaves no message.
    pub async fn open(hub: &str, forum: &str) -> Result<Self, CallFailure> {
        let visitor = Self::arrive(hub, forum).await?;
        let typed = visitor.type_first_key(hub, 0).await?;
        let id = sid(&typed).ok_or_else(|| CallFailure::Malformed(typed.to_string()))?;
        visitor.hide(hub, id, false).await?;
        Ok(visitor)
    }

    /// Holds a session already.
    pub fn with_session(forum: &str, session: &str) -> Self {
        let number = crate::expect::unique("");
        let digits: String = number.bytes().map(|byte| char::from(b'0' + byte % 10)).collect();
        Self {
            http: client(Duration::from_secs(30)),
            forum: forum.to_owned(),
            session: session.to_owned(),
            page: format!("jQuery1110{digits}"),
            within: Duration::from_secs(30),
        }
    }

    /// The same visitor, giving up on an answer after `within`.
    pub fn patient_for(mut self, within: Duration) -> Self {
        self.http = client(within);
        self.within = within;
        self
    }

    /// The session id: a secret.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The forum's name: a secret.
    pub fn forum(&self) -> &str {
        &self.forum
    }

    /// Polls once.
    pub async fn read(&self, hub: &str, records: u32) -> Result<Value, CallFailure> {
        self.call(hub, "search-chat.php", &poll(&self.forum, &self.session, records)).await
    }

    /// The ids and texts of a read, newest first.
    pub async fn messages(&self, hub: &str, records: u32) -> Result<Vec<(u64, String)>, CallFailure> {
        let answer = self.read(hub, records).await?;
        rows(&answer).ok_or_else(|| CallFailure::Malformed(answer.to_string()))
    }

    /// Starts typing.
    pub async fn type_first_key(&self, hub: &str, msg_id: u64) -> Result<Value, CallFailure> {
        self.shout(hub, &Commit::new(msg_id, ""), "on").await
    }

    /// Sends a message.
    pub async fn commit(&self, hub: &str, commit: &Commit<'_>) -> Result<Value, CallFailure> {
        self.shout(hub, commit, "off").await
    }

    async fn shout(&self, hub: &str, commit: &Commit<'_>, typing: &str) -> Result<Value, CallFailure> {
        self.call(hub, "index.php", &shout(&self.forum, &self.session, commit, typing)).await
    }

    /// Takes back a typing row, or deletes a message.
    pub async fn hide(&self, hub: &str, id: u64, just_typing: bool) -> Result<Value, CallFailure> {
        self.call(hub, "de.php", &hide(&self.forum, &self.session, id, just_typing)).await
    }

    async fn call(&self, hub: &str, script: &str, parameters: &Parameters) -> Result<Value, CallFailure> {
        let callback = format!("{}_{}", self.page, self.page.len());
        let url = format!("{hub}/{script}?callback={callback}&{}&_=1", query(parameters));
        let answer = tokio::time::timeout(self.within, async {
            let response = self.http.get(url).send().await.map_err(|error| network(&error))?;
            let status = response.status().as_u16();
            let retry_after = response.headers().get("retry-after");
            let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
            let body = response.text().await.map_err(|error| network(&error))?;
            if status != 200 {
                return Err(CallFailure::Status { status, retry_after, body });
            }
            unwrap_jsonp(&body, &callback).ok_or(CallFailure::Malformed(body))
        });
        answer.await.unwrap_or_else(|_| Err(CallFailure::Network(format!("none within {:?}", self.within))))
    }
}

/// A client that opens a connection soon or not at all.
pub fn client(within: Duration) -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(within).connect_timeout(Duration::from_secs(2));
    builder.no_proxy().build().expect("a client without TLS needs nothing that could be missing")
}

/// The id a successful commit was given: a number, or the same as text.
pub fn sid(answer: &Value) -> Option<u64> {
    match &answer["sid"] {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// What a call says, by AtomJump's names.
pub type Parameters = [(&'static str, String)];

/// What a poll says.
pub fn poll(forum: &str, session: &str, records: u32) -> Vec<(&'static str, String)> {
    vec![
        ("passcode", forum.to_owned()),
        ("records", records.to_string()),
        ("units", "mi".to_owned()),
        ("lang", "en".to_owned()),
        ("ses", session.to_owned()),
        ("sessionId", session.to_owned()),
    ]
}

/// What a message says, typed (`on`) or sent (`off`).
pub fn shout(forum: &str, session: &str, commit: &Commit<'_>, typing: &str) -> Vec<(&'static str, String)> {
    let shout_id = commit.shout_id.map(|id| id.to_string()).unwrap_or_default();
    let parameters = [
        ("action", "ssshout"),
        ("lat", ""),
        ("lon", ""),
        ("whisper_to", commit.whisper_to),
        ("whisper_site", ""),
        ("your_name", ""),
        ("passcode", forum),
        ("remoteapp", "true"),
        ("ses", session),
        ("cs", CS),
        ("typing", typing),
        ("shout_id", &shout_id),
        ("msg_id", &commit.msg_id.to_string()),
        ("message", commit.text),
    ];
    parameters.map(|(name, value)| (name, value.to_owned())).into()
}

/// What says that a message is to be seen no more, or only its typing row.
pub fn hide(forum: &str, session: &str, id: u64, just_typing: bool) -> Vec<(&'static str, String)> {
    let mut parameters =
        vec![("mid", id.to_string()), ("passcode", forum.to_owned()), ("ses", session.to_owned())];
    if just_typing {
        parameters.push(("just_typing", "on".to_owned()));
    }
    parameters
}

/// The ids and texts an answer shows, newest first.
pub fn rows(answer: &Value) -> Option<Vec<(u64, String)>> {
    let row = |row: &Value| Some((row["id"].as_str()?.parse().ok()?, row["text"].as_str()?.to_owned()));
    answer["res"].as_array()?.iter().map(row).collect()
}

/// Parameters as a query string, everything unusual encoded.
pub fn query(parameters: &[(&str, impl AsRef<str>)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value.as_ref())));
    pairs.collect::<Vec<_>>().join("&")
}

fn encode(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

pub(crate) fn unwrap_jsonp(body: &str, callback: &str) -> Option<Value> {
    let json = body.strip_prefix(callback)?.strip_prefix('(')?.strip_suffix(')')?;
    serde_json::from_str(json).ok()
}

/// The chain of causes without the URL, which holds secrets.
fn network(error: &reqwest::Error) -> CallFailure {
    let mut causes = vec![if error.is_timeout() { "timed out" } else { "failed" }.to_owned()];
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    CallFailure::Network(causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jsonp_is_unwrapped_only_if_it_is_ours() {
        let value = unwrap_jsonp(r#"jQuery1_2({"sid":2867})"#, "jQuery1_2").unwrap();
        assert_eq!(sid(&value), Some(2867));
        assert_eq!(unwrap_jsonp("other({})", "jQuery1_2"), None);
        assert_eq!(unwrap_jsonp("jQuery1_2({});", "jQuery1_2"), None);
    }

    #[test]
    fn sids_come_as_numbers_texts_or_not_at_all() {
        for (json, expected) in
            [(r#"{"sid":"12"}"#, Some(12)), (r#"{"sid":""}"#, None), (r#"{"sid":false}"#, None), ("{}", None)]
        {
            assert_eq!(sid(&serde_json::from_str(json).unwrap()), expected, "{json}");
        }
    }

    #[test]
    fn queries_are_encoded_whole() {
        assert_eq!(query(&[("a b", "é&="), ("c", "")]), "a%20b=%C3%A9%26%3D&c=");
    }
}
