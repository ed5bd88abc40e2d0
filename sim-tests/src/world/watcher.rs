//! A browser that watches one forum, through one hub after another, and says nothing.
//!
//! What it is pushed is held to what reads are: it was so at some moment after the connection began. What it ends with is what a
//! read shows.

use std::{io, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    time::{Instant, sleep, timeout_at},
};

use super::{
    hosts::Roster,
    net::{HTTP_PORT, Net, Socket},
    oracle::Oracle,
    visitor::{RECORDS, get, look},
};
use crate::{
    client::{poll, query, rows, unwrap_jsonp},
    invariants::Shown,
    watched::{Lines, List},
};

/// Longest time with one hub.
const STAY_MAX_MS: u64 = 10_000;
/// Longest line of an event, bytes.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// One browser.
pub struct Watcher {
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
    state: State,
}

struct State {
    rng: StdRng,
    /// The list it has been pushed.
    list: List,
}

impl Watcher {
    /// A watcher whose every choice follows from `seed`.
    pub fn new(
        name: String,
        net: Net,
        hubs: Roster,
        forum: (usize, String),
        oracle: Oracle,
        seed: u64,
    ) -> Self {
        let state = State { rng: StdRng::seed_from_u64(seed), list: List::default() };
        Self { name, net, hubs, forum, oracle, state }
    }

    /// Watches until everybody is to come to an end, and then until it has been pushed what a read shows.
    pub async fn stay(mut self) -> turmoil::Result {
        loop {
            let stay = Duration::from_millis(self.state.rng.random_range(1..=STAY_MAX_MS));
            let until = Instant::now() + stay;
            // A page that was loaded anew knows nothing; a lost connection is gone on with.
            if self.state.rng.random_bool(0.4) {
                self.state.list = List::default();
            }
            if let Err(error) = self.watch(until).await {
                self.oracle.failed(&self.name, &error.kind().to_string());
                sleep(Duration::from_millis(self.state.rng.random_range(1..1000))).await;
            }
            if self.oracle.is_closing() && self.has_all().await {
                return Ok(());
            }
        }
    }

    fn any_hub(&mut self) -> String {
        self.hubs.names().choose(&mut self.state.rng).expect("some hubs").clone()
    }

    fn path(&self, script: &str, callback: &str) -> String {
        format!("/{script}?callback={callback}&{}", query(&poll(&self.forum.1, "", RECORDS as u32)))
    }

    /// Whether a read shows what it has been pushed.
    async fn has_all(&mut self) -> bool {
        let (hub, path) = (self.any_hub(), self.path("search-chat.php", "f"));
        let within = Instant::now() + Duration::from_secs(8);
        let Ok(Ok((200, body))) = timeout_at(within, get(&self.net, &hub, &path)).await else { return false };
        let read = unwrap_jsonp(&body, "f").and_then(|answer| rows(&answer));
        read.is_some_and(|read| self.state.list.last.is_some() && read == self.state.list.rows)
    }

    /// Watches through one hub, for so long.
    async fn watch(&mut self, until: Instant) -> io::Result<()> {
        let hub = self.any_hub();
        let asked = self.oracle.now();
        let over = || io::Error::from(io::ErrorKind::TimedOut);
        let mut lines = timeout_at(until, self.begin(&hub)).await.map_err(|_| over())??;
        loop {
            let Ok(event) = timeout_at(until, next_event(&mut lines)).await else { return Ok(()) };
            let (number, change) = event?;
            self.take(number, &change, asked);
        }
    }

    /// Asks, and reads to the first event. HTTP/1.0, so that what comes is not in chunks.
    async fn begin(&self, hub: &str) -> io::Result<BufReader<Socket>> {
        let mut socket = self.net.dial(&format!("{hub}:{HTTP_PORT}")).await?;
        let last = self.state.list.last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let path = self.path("api/watch", "f");
        let head = format!("GET {path} HTTP/1.0\r\nHost: {hub}:{HTTP_PORT}\r\n{last}\r\n");
        socket.write_all(head.as_bytes()).await?;
        let mut lines = BufReader::new(socket);
        let status = next_line(&mut lines).await?;
        if !status.contains(" 200 ") {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, status));
        }
        while !next_line(&mut lines).await?.is_empty() {}
        Ok(lines)
    }

    /// The list after one event.
    fn take(&mut self, number: u64, change: &Value, asked: u64) {
        if let Err(wrong) = self.state.list.take(number, change) {
            self.oracle.wronged(&self.name, wrong);
        }
        let rows = self.state.list.rows.iter().map(|(id, html)| (*id, look(html))).collect();
        let forum = self.forum.0;
        self.oracle.shown(&self.name, Shown { forum, asked, answered: asked, records: RECORDS, rows });
    }
}

/// The next event: its number and what it says.
async fn next_event(lines: &mut BufReader<Socket>) -> io::Result<(u64, Value)> {
    let mut event = Lines::default();
    loop {
        let line = next_line(lines).await?;
        let ended = event.take(&line).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))?;
        if let Some(ended) = ended {
            return Ok(ended);
        }
    }
}

async fn next_line(lines: &mut BufReader<Socket>) -> io::Result<String> {
    let mut line = String::new();
    lines.take(LINE_BYTES_MAX).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.trim_end_matches('\r').to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
