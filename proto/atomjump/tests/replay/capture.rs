//! One captured exchange, as the files hold it.

use std::path::Path;

use loop_proto::v1::{self, Endpoint};
use serde_json::Value;

/// A request, its response and its rows.
pub struct Capture {
    pub number: String,
    pub name: String,
    pub browser: String,
    pub json: Value,
    /// Seconds of Unix time at which it was answered.
    pub now_s: u64,
    answer: Value,
}

impl Capture {
    pub fn read_all(folder: &Path) -> Vec<Self> {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| Self::read(file)).collect()
    }

    fn read(file: &Path) -> Self {
        let json: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let number = file.file_name().unwrap().to_str().unwrap()[..3].to_owned();
        let mut capture = Self {
            number,
            name: text("name"),
            browser: text("browser"),
            now_s: 0,
            json: Value::Null,
            answer: Value::Null,
        };
        capture.json = json;
        capture.answer =
            capture.unwrapped().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        // A row that was dated by the request is nearer to its time than the answer is.
        let dated = capture.effects("tbl_ssshout").find_map(|effect| {
            let column = match effect["op"].as_str() {
                Some("insert") => &effect["row"]["date_when_shouted"],
                Some("update") => &effect["changed"]["date_when_shouted"][1],
                _ => return None,
            };
            column.as_str().map(unix_of_sql)
        });
        let answered = capture.header("Date").map(|date| unix_of_http(&date));
        capture.now_s = dated.or(answered).expect("every answer has a date");
        capture
    }

    pub fn effects<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.json["db_effects"].as_array().unwrap().iter().filter(move |effect| effect["table"] == table)
    }

    pub fn inserted<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        self.effects(table).filter(|effect| effect["op"] == "insert").map(|effect| &effect["row"])
    }

    fn header(&self, name: &str) -> Option<String> {
        let headers = self.json["response"]["headers"].as_array().unwrap();
        let header = headers.iter().find(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name))?;
        header[1].as_str().map(str::to_owned)
    }

    pub fn response_header(&self, name: &str) -> String {
        self.header(name).unwrap_or_default()
    }

    pub fn status(&self) -> u64 {
        self.json["response"]["status"].as_u64().unwrap()
    }

    pub fn body(&self) -> Option<&str> {
        self.json["response"]["body"].as_str()
    }

    /// The JSON inside the callback.
    pub fn answer(&self) -> &Value {
        &self.answer
    }

    /// The same as text; `None` for a body without one.
    pub fn unwrapped(&self) -> Option<&str> {
        let body = self.body()?.strip_suffix(')')?;
        let at = body.find("({").or_else(|| body.find("(\""))?;
        Some(&body[at + 1..])
    }

    pub fn path(&self) -> &str {
        self.json["request"]["path"].as_str().unwrap()
    }

    pub fn method(&self) -> &str {
        self.json["request"]["method"].as_str().unwrap()
    }

    pub fn query(&self) -> &str {
        self.json["request"]["query"].as_str().unwrap_or_default()
    }

    /// A decoded parameter of query or form.
    pub fn param(&self, name: &str) -> Option<&str> {
        let lists = [&self.json["request"]["form"], &self.json["request"]["query_decoded"]];
        lists.into_iter().find_map(|list| {
            let pair = list.as_array()?.iter().rfind(|pair| pair[0] == name)?;
            pair[1].as_str()
        })
    }

    pub fn form(&self) -> String {
        let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let pairs = self.json["request"]["form"].as_array();
        let pairs = pairs.into_iter().flatten().filter(|pair| pair.is_array());
        let fields: Vec<String> = pairs
            .map(|pair| format!("{}={}", pair[0].as_str().unwrap(), encode(pair[1].as_str().unwrap())))
            .collect();
        fields.join("&")
    }

    pub fn request_header(&self, name: &str) -> Option<&str> {
        self.json["request"]["headers"][name].as_str()
    }

    pub fn endpoint(&self) -> Option<Endpoint> {
        Some(match self.path() {
            "/index.php" if self.param("action") == Some("ssshout") => Endpoint::Shout,
            "/index.php" => Endpoint::Index,
            "/search-chat.php" if self.browser == "f" => Endpoint::FastSearchChat,
            "/search-chat.php" => Endpoint::SearchChat,
            "/de.php" => Endpoint::HideMessage,
            "/logged-status.php" => Endpoint::LoggedStatus,
            "/search-secure.php" => Endpoint::ChatPage,
            "/single-msg-buttons.php" => Endpoint::MessageButtons,
            _ => return None,
        })
    }

    /// The session the hub would use: named, from the cookie, or made; then the capture tells which.
    pub fn session_id(&self) -> String {
        let named = if self.browser == "f" { self.param("sessionId") } else { self.param("ses") };
        let cookie = self
            .request_header("Cookie")
            .and_then(|cookies| cookies.split(';').find_map(|pair| pair.trim().strip_prefix("PHPSESSID=")));
        let made = self
            .header("Set-Cookie")
            .and_then(|cookie| Some(cookie.strip_prefix("PHPSESSID=")?.split(';').next()?.to_owned()));
        let named = named.filter(|id| !id.is_empty()).or(cookie).map(str::to_owned);
        named.or(made).unwrap_or_else(|| self.answer()["ses"].as_str().unwrap_or("nobody0known").to_owned())
    }

    pub fn request(&self) -> v1::ClientRequest {
        let names = ["Cookie", "User-Agent"];
        let headers = names.iter().filter_map(|name| {
            let value = self.request_header(name)?.to_owned();
            Some(v1::Header { name: name.to_ascii_lowercase(), value: value.into() })
        });
        v1::ClientRequest {
            endpoint: self.endpoint().unwrap_or_default().into(),
            method: self.method().to_owned(),
            path: self.path().to_owned().into(),
            query: self.query().to_owned().into(),
            form: self.form().into(),
            headers: headers.collect(),
            session_id: self.session_id(),
            base_url: "http://127.0.0.1:18080".to_owned(),
        }
    }
}

/// `2026-11-21 03:49:23`
pub fn unix_of_sql(date: &str) -> u64 {
    let numbers: Vec<u64> = date.split([' ', '-', ':']).map(|part| part.parse().unwrap()).collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { panic!("not a date: {date}") };
    let leap = |year: u64| {
        u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
    };
    let years: u64 = (1970..year).map(|year| 365 + leap(year)).sum();
    let months = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let days = years + months[..usize::try_from(month).unwrap() - 1].iter().sum::<u64>() + day - 1;
    ((days * 24 + hour) * 60 + minute) * 60 + second
}

/// `Sat, 21 Nov 2026 03:49:23 GMT`
fn unix_of_http(date: &str) -> u64 {
    let parts: Vec<&str> = date.split(' ').collect();
    let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = names.iter().position(|name| *name == parts[2]).unwrap() + 1;
    unix_of_sql(&format!("{}-{month}-{} {}", parts[3], parts[1], parts[4]))
}
