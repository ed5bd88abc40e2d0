//! AtomJump's browser on the simulated network: writes, reads, and sends a commit without an answer again, the same,
//! until it is acknowledged.

use std::{io, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::{
    hosts::Roster,
    net::{HTTP_PORT, Net},
    oracle::Oracle,
};
use crate::{
    client::{CallFailure, query, sid, unwrap_jsonp},
    invariants::Shown,
};

/// Messages a read asks for.
const RECORDS: usize = 25;
/// Longest answer that is taken, bytes; a page of messages is a tenth of it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// One visitor of one forum.
pub struct Visitor {
    /// The host it runs on.
    pub name: String,
    /// Its way to the network.
    pub net: Net,
    /// The hubs' host names.
    pub hubs: Roster,
    /// The forum's number and name.
    pub forum: (usize, String),
    /// Who is told.
    pub oracle: Oracle,
    /// Longest pause between two things it does.
    pub pause_max: Duration,
    rng: StdRng,
    session: String,
    page: String,
    sent: u64,
}

impl Visitor {
    /// A visitor whose every choice follows from `seed`.
    pub fn new(
        name: String,
        net: Net,
        hubs: Roster,
        forum: (usize, String),
        oracle: Oracle,
        seed: u64,
    ) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let page = format!("jQuery1110{}", rng.random_range(1_000_000_u64..10_000_000));
        let pause_max = Duration::from_millis(400);
        Self { name, net, hubs, forum, oracle, pause_max, rng, session: String::new(), page, sent: 0 }
    }

    /// Comes, does this and that until everybody is to come to an end, and brings its own to one.
    pub async fn stay(mut self) -> turmoil::Result {
        while self.session.is_empty() {
            self.read().await;
            self.pause().await;
        }
        while !self.oracle.is_closing() {
            match self.rng.random_range(0..10_u32) {
                0..6 => self.commit().await,
                _ => drop(self.read().await),
            }
            self.pause().await;
        }
        // The last look: what was acknowledged is shown, through whichever hub.
        while !self.read().await {
            self.pause().await;
        }
        Ok(())
    }

    async fn pause(&mut self) {
        let millis = u64::try_from(self.pause_max.as_millis()).unwrap_or(u64::MAX);
        let pause = self.rng.random_range(1..=millis);
        sleep(Duration::from_millis(pause)).await;
    }

    /// Polls once. False: no answer.
    async fn read(&mut self) -> bool {
        let records = RECORDS.to_string();
        let (forum, session) = (self.forum.1.clone(), self.session.clone());
        let parameters = [
            ("passcode", forum.as_str()),
            ("records", &records),
            ("units", "mi"),
            ("lang", "en"),
            ("ses", &session),
            ("sessionId", &session),
        ];
        let asked = self.oracle.now();
        let answer = match self.call("search-chat.php", &parameters).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.failed(&failure);
                return false;
            }
        };
        if session.is_empty() {
            self.session = answer["ses"].as_str().unwrap_or_default().to_owned();
            self.oracle.secret(&self.session);
        }
        let Some(rows) = answer["res"].as_array().and_then(|rows| rows.iter().map(row).collect()) else {
            self.oracle.wronged(&self.name, "a read without a list of messages".into());
            return true;
        };
        self.oracle.shown(&self.name, &Shown { forum: self.forum.0, asked, records: RECORDS, rows });
        true
    }

    /// Sends a message until it is acknowledged.
    async fn commit(&mut self) {
        self.sent += 1;
        let text = format!("{}-n{}", self.name, self.sent);
        let commit = self.oracle.sends(self.forum.0, &text);
        loop {
            match self.shout(&text).await {
                Ok(answer) => {
                    let lid = answer["lid"].as_str().map(ToOwned::to_owned);
                    match sid(&answer) {
                        Some(id) if lid == Some(self.sent.to_string()) => {
                            self.oracle.acked(&self.name, commit, id);
                        }
                        found => {
                            let what =
                                format!("commit {} was answered with {found:?} and {lid:?}", self.sent);
                            self.oracle.wronged(&self.name, what);
                        }
                    }
                    return;
                }
                Err(failure) => self.failed(&failure),
            }
            self.pause().await;
            self.oracle.sends_again(commit);
        }
    }

    async fn shout(&mut self, text: &str) -> Result<Value, CallFailure> {
        let (msg_id, forum, session) = (self.sent.to_string(), self.forum.1.clone(), self.session.clone());
        let parameters = [
            ("action", "ssshout"),
            ("lat", ""),
            ("lon", ""),
            ("whisper_to", ""),
            ("whisper_site", ""),
            ("your_name", ""),
            ("passcode", &forum),
            ("remoteapp", "true"),
            ("ses", &session),
            ("cs", crate::client::CS),
            ("typing", "off"),
            ("shout_id", ""),
            ("msg_id", &msg_id),
            ("message", text),
        ];
        self.call("index.php", &parameters).await
    }

    fn failed(&self, failure: &CallFailure) {
        match failure {
            CallFailure::Network(_) | CallFailure::Status { status: 503 | 504, .. } => {
                self.oracle.failed(&self.name, &failure.to_string());
            }
            other => self.oracle.wronged(&self.name, other.to_string()),
        }
    }

    async fn call(&mut self, script: &str, parameters: &[(&str, &str)]) -> Result<Value, CallFailure> {
        let hubs = self.hubs.names();
        let hub = hubs[self.rng.random_range(0..hubs.len())].clone();
        let callback = format!("{}_{}", self.page, self.page.len());
        let path = format!("/{script}?callback={callback}&{}&_=1", query(parameters));
        // AtomJump's browser waits 20 s; a shorter time makes more re-sends, which is the harder case.
        let patience = Duration::from_millis(self.rng.random_range(500..8000));
        let answer = match timeout(patience, get(&self.net, &hub, &path)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(CallFailure::Network(error.kind().to_string())),
            Err(_) => return Err(CallFailure::Network("none in time".into())),
        };
        let (status, body) = answer;
        match status {
            200 => unwrap_jsonp(&body, &callback).ok_or(CallFailure::Malformed(body)),
            _ => Err(CallFailure::Status { status, retry_after: None, body }),
        }
    }
}

fn row(row: &Value) -> Option<(u64, String)> {
    Some((row["id"].as_str()?.parse().ok()?, row["text"].as_str()?.to_owned()))
}

/// One GET over a connection of its own.
async fn get(net: &Net, hub: &str, path: &str) -> io::Result<(u16, String)> {
    let mut socket = net.dial(&format!("{hub}:{HTTP_PORT}")).await?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: {hub}:{HTTP_PORT}\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    (&mut socket).take(ANSWER_BYTES_MAX as u64).read_to_end(&mut answer).await?;
    let text = String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    if length.is_some_and(|length: usize| length != body.len()) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body.to_owned()))
}
