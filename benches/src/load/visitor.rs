//! A browser of AtomJump without a screen: arrives, posts, polls, checks every answer.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{http::Connection, system::unique};

/// The literal AtomJump's form carries; without it nothing is stored.
const CS: &str = "21633478";

/// One visitor of one forum.
pub struct Visitor {
    connection: Connection,
    forum: String,
    session: String,
    /// jQuery's token of the page.
    page: String,
    mark: String,
    posted: u64,
}

impl Visitor {
    /// Comes to `forum` through the hub at `http` (`host:port`) and takes the session it is given.
    pub async fn arrive(http: &str, forum: &str) -> Result<Self> {
        let mark = unique("w");
        let digits: String = mark.bytes().map(|byte| char::from(b'0' + byte % 10)).collect();
        let mut visitor = Self {
            connection: Connection::to(http),
            forum: forum.to_owned(),
            session: String::new(),
            page: format!("jQuery1110{digits}"),
            mark,
            posted: 0,
        };
        let answer = visitor.poll(25).await?;
        let session = answer["ses"].as_str().filter(|session| !session.is_empty());
        visitor.session = session.context("no session was given")?.to_owned();
        Ok(visitor)
    }

    /// The session it was given.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The same visitor in another forum.
    pub fn enter(&mut self, forum: &str) {
        self.forum = forum.to_owned();
    }

    /// Posts a message unlike any other; its id.
    pub async fn post(&mut self) -> Result<u64> {
        self.posted += 1;
        let Self { forum, session, page, mark, posted, .. } = self;
        let path = format!(
            "/index.php?callback={page}_{posted}&action=ssshout&lat=&lon=&whisper_to=&whisper_site=&your_name=\
             &passcode={forum}&remoteapp=true&units=mi&short_code=&public_to=&volume=1.00&ses={session}&cs={CS}\
             &typing=off&shout_id=&msg_id={posted}&message=Message+{posted}+of+{mark}%2C+as+long+as+people+write\
             &email=&phone=&_={posted}"
        );
        let number = *posted;
        let answer = self.ask(&path, number).await?;
        let sid = match &answer["sid"] {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        sid.filter(|sid| *sid > 0).context("a commit's answer has no sid")
    }

    /// The path of a poll for `records` messages.
    pub fn poll_path(&self, records: u32) -> String {
        let Self { forum, session, page, .. } = self;
        format!(
            "/search-chat.php?callback={page}_0&lat=&lon=&passcode={forum}&units=mi&volume=1&records={records}\
             &whisper_site=&ses={session}&sessionId={session}&lang=en&_=1"
        )
    }

    /// Polls once and reads the answer.
    pub async fn poll(&mut self, records: u32) -> Result<Value> {
        let path = self.poll_path(records);
        self.ask(&path, 0).await
    }

    /// Polls once and looks at the frame of the answer only: the bytes of its JSON.
    pub async fn poll_unread(&mut self, path: &str) -> Result<usize> {
        let (status, body) = self.connection.get(path).await?;
        ensure!(status.is_success(), "status {status}");
        Ok(inside(&body, &self.page, 0)?.len())
    }

    async fn ask(&mut self, path: &str, number: u64) -> Result<Value> {
        let (status, body) = self.connection.get(path).await?;
        ensure!(status.is_success(), "status {status}");
        serde_json::from_slice(inside(&body, &self.page, number)?).context("the answer is not JSON")
    }
}

/// What the callback is called with.
pub fn inside<'a>(body: &'a [u8], page: &str, number: u64) -> Result<&'a [u8]> {
    let callback = format!("{page}_{number}(");
    let json = body.strip_prefix(callback.as_bytes()).and_then(|rest| rest.strip_suffix(b")"));
    json.context("the answer is not the JSONP that was asked for")
}
