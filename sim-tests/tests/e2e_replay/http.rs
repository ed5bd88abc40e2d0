//! One exchange with one hub, the request exactly as given.

use std::net::SocketAddr;

use loop_sim_tests::raw_http;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query, as they go out.
    pub target: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    /// A form.
    pub body: String,
}

impl Request {
    pub fn get(host: &str, target: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            target: target.into(),
            host: host.to_owned(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends it on a connection of its own.
    pub async fn send(&self, hub: SocketAddr) -> Answer {
        let mut bytes = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.method,
            self.target,
            self.host,
            self.body.len()
        );
        for (name, value) in &self.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str("\r\n");
        bytes.push_str(&self.body);
        let raw = raw_http::send(hub, bytes.as_bytes()).await.expect("an answer");
        let headers = raw.head.lines().skip(1).filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        });
        Answer { status: raw.status.expect("a status"), headers: headers.collect(), body: raw.body }
    }
}

/// What came back. Names and values of headers in lower case.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// Every value of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    /// The JSON inside `callback(…)`.
    pub fn jsonp(&self, callback: &str) -> Option<serde_json::Value> {
        let json = self.body.strip_prefix(callback)?.strip_prefix('(')?.strip_suffix(')')?;
        serde_json::from_str(json).ok()
    }
}
