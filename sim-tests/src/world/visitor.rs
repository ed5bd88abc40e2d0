//! AtomJump's browser on the simulated network: types, writes, hides, reads, and sends a commit without an answer again,
//! the same, until it is acknowledged. Any request of its one session may go through any hub, and to any forum.

use std::{io, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use super::{
    hosts::Roster,
    liar::SCRIPT,
    net::{HTTP_PORT, Net},
    oracle::Oracle,
};
use crate::{
    client::{self, CallFailure, Commit, Parameters, query, sid, unwrap_jsonp},
    invariants::{Call, Look, Shown, Typing},
};

/// Messages a read asks for, and an answer to a commit shows.
pub(super) const RECORDS: usize = 25;
/// Longest answer that is taken, bytes; a page of messages is a tenth of it.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How often a hide is asked for before it is left alone.
const HIDES_MAX: u32 = 3;
/// Own messages that may still be hidden later.
const OWN_MAX: usize = 20;

/// How a visitor behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Longest pause between two things it does.
    pub pause_max: Duration,
    /// How often in ten it goes to another forum than its own.
    pub strays: u32,
    /// Bytes added to each message.
    pub ballast: usize,
    /// What it comes for.
    pub habit: Habit,
}

/// What a visitor comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// To write and read for as long as the run lasts.
    Stays,
    /// To say one thing, and then only to look.
    SaysOneThing,
    /// To begin to type; it leaves what it has typed.
    TypesAndLeaves,
    /// To begin to type; it deletes what it has typed.
    TypesAndDeletes,
}

impl Default for Manner {
    fn default() -> Self {
        Self { pause_max: Duration::from_millis(400), strays: 2, ballast: 0, habit: Habit::Stays }
    }
}

/// One visitor, with one session.
pub struct Visitor {
    /// The host it runs on.
    pub name: String,
    /// Tells its session from the others'.
    pub number: usize,
    /// Its way to the network.
    pub net: Net,
    /// The hubs' host names.
    pub hubs: Roster,
    /// The forums' numbers and names, its own first.
    pub forums: Vec<(usize, String)>,
    /// Who is told.
    pub oracle: Oracle,
    /// How it behaves.
    pub manner: Manner,
    state: State,
}

/// What it has come to know.
struct State {
    rng: StdRng,
    session: String,
    page: String,
    sent: u64,
    /// Its messages, with the forum's place among its forums.
    own: Vec<(usize, u64)>,
    /// One of another's.
    other: Option<(usize, u64)>,
}

impl Visitor {
    /// A visitor's first state, from which every choice of it follows.
    fn state(seed: u64) -> State {
        let mut rng = StdRng::seed_from_u64(seed);
        let page = format!("jQuery1110{}", rng.random_range(1_000_000_u64..10_000_000));
        State { rng, session: String::new(), page, sent: 0, own: Vec::new(), other: None }
    }

    /// A visitor whose every choice follows from `seed`.
    pub fn new(
        (name, number): (String, usize),
        net: Net,
        hubs: Roster,
        forums: Vec<(usize, String)>,
        oracle: Oracle,
        manner: Manner,
        seed: u64,
    ) -> Self {
        Self { name, number, net, hubs, forums, oracle, manner, state: Self::state(seed) }
    }

    /// Comes, does this and that until everybody is to come to an end, and brings its own to one.
    pub async fn stay(mut self) -> turmoil::Result {
        while self.state.session.is_empty() {
            self.read(0).await;
            self.pause().await;
        }
        match self.manner.habit {
            Habit::Stays => {}
            Habit::SaysOneThing => self.commit(0, None).await,
            Habit::TypesAndLeaves | Habit::TypesAndDeletes => self.only_type().await,
        }
        while !self.oracle.is_closing() && self.manner.habit != Habit::Stays {
            self.pause().await;
        }
        while !self.oracle.is_closing() {
            let at = self.somewhere();
            match self.state.rng.random_range(0..20_u32) {
                0..8 => self.commit(at, None).await,
                8..11 => self.type_something(at).await,
                11 => self.hide_own().await,
                12 => self.meddle().await,
                _ => drop(self.read(at).await),
            }
            self.pause().await;
        }
        // The last look: what was acknowledged is shown, through whichever hub.
        for at in 0..self.forums.len() {
            while !self.read(at).await {
                self.pause().await;
            }
        }
        Ok(())
    }

    fn somewhere(&mut self) -> usize {
        match self.state.rng.random_range(0..10_u32) < self.manner.strays {
            true => self.state.rng.random_range(0..self.forums.len()),
            false => 0,
        }
    }

    async fn pause(&mut self) {
        let millis = u64::try_from(self.manner.pause_max.as_millis()).unwrap_or(u64::MAX);
        let pause = self.state.rng.random_range(1..=millis.max(1));
        sleep(Duration::from_millis(pause)).await;
    }

    /// Polls once. False: no answer.
    async fn read(&mut self, at: usize) -> bool {
        let parameters = client::poll(&self.forums[at].1, &self.state.session, RECORDS as u32);
        let (asked, began) = (self.oracle.now(), self.oracle.elapsed());
        let answer = match self.call("search-chat.php", &parameters).await {
            Ok(answer) => answer,
            Err(failure) => {
                self.failed(&failure);
                self.oracle.unanswered(self.forums[at].0, Call::Read, began);
                return false;
            }
        };
        if self.state.session.is_empty() {
            self.state.session = answer["ses"].as_str().unwrap_or_default().to_owned();
            self.oracle.secret(&self.state.session);
        }
        self.shown(at, asked, &answer);
        true
    }

    /// Tells what an answer shows of a forum.
    fn shown(&mut self, at: usize, asked: u64, answer: &Value) {
        let Some(rows) = client::rows(answer) else {
            return self.oracle.wronged(&self.name, "an answer without a list of messages".into());
        };
        if rows.iter().any(|(_, html)| html.contains(SCRIPT)) {
            return self.oracle.wronged(&self.name, "script in a message".into());
        }
        let rows: Vec<_> = rows.into_iter().map(|(id, html)| (id, look(&html))).collect();
        let mine = format!("{}-n", self.name);
        let is_others = |look: &Look| matches!(look, Look::Says(text) if !text.contains(&mine));
        self.state.other = rows.iter().find(|(_, look)| is_others(look)).map(|(id, _)| (at, *id));
        let forum = self.forums[at].0;
        self.oracle.shown(&self.name, Shown { forum, asked, answered: asked, records: RECORDS, rows });
    }

    /// Types, and sends what was typed, takes it back, or goes away and leaves it.
    async fn type_something(&mut self, at: usize) {
        let typing = self.begin_typing(at).await;
        self.pause().await;
        let typed = typing.told.map(|(id, _)| (id, typing.asked));
        match (self.state.rng.random_range(0..4_u32), typed) {
            (0, Some((id, _))) => self.hide(at, id, true).await,
            (1, Some(_)) => {}
            _ => self.commit(at, typed).await,
        }
    }

    /// Types, until it is told that it does, and says nothing.
    async fn only_type(&mut self) {
        while !self.oracle.is_closing() {
            let typing = self.begin_typing(0).await;
            self.pause().await;
            let Some((id, _)) = typing.told else { continue };
            if self.manner.habit == Habit::TypesAndDeletes {
                self.hide(0, id, false).await;
            }
            return;
        }
    }

    async fn begin_typing(&mut self, at: usize) -> Typing {
        let mut typing = self.oracle.types(self.forums[at].0);
        let begun = Commit::new(self.state.sent + 1, "");
        let parameters = client::shout(&self.forums[at].1, &self.state.session, &begun, "on");
        match self.call("index.php", &parameters).await {
            Ok(answer) => match sid(&answer) {
                Some(id) => self.oracle.typed(&self.name, &mut typing, id),
                None => {
                    self.oracle.wronged(&self.name, format!("typing was answered with {}", answer["sid"]))
                }
            },
            // A browser that was not told the row's id sends the message without it.
            Err(failure) => self.failed(&failure),
        }
        typing
    }

    /// Sends a message until it is acknowledged.
    async fn commit(&mut self, at: usize, typed: Option<(u64, u64)>) {
        self.state.sent += 1;
        let msg_id = self.state.sent;
        let ballast = "x".repeat(self.manner.ballast);
        let text = format!("{ballast}{}-n{msg_id}", self.name);
        let (forum, name) = self.forums[at].clone();
        let commit = self.oracle.sends(self.number, forum, &text, typed);
        let said = Commit { shout_id: typed.map(|(id, _)| id), ..Commit::new(msg_id, &text) };
        let parameters = client::shout(&name, &self.state.session, &said, "off");
        loop {
            let began = self.oracle.elapsed();
            match self.call("index.php", &parameters).await {
                Ok(answer) => return self.acknowledged(at, commit, msg_id, typed, &answer),
                Err(failure) => self.failed(&failure),
            }
            self.oracle.unanswered(forum, Call::Write, began);
            self.pause().await;
            self.oracle.sends_again(commit);
        }
    }

    fn acknowledged(
        &mut self,
        at: usize,
        commit: usize,
        msg_id: u64,
        typed: Option<(u64, u64)>,
        answer: &Value,
    ) {
        let lid = answer["lid"].as_str().map(ToOwned::to_owned);
        // What was typed has its id already; AtomJump then says nothing.
        let id = match typed {
            Some((id, _)) if answer["sid"].as_str() == Some("") => Some(id),
            Some(_) => None,
            None => sid(answer),
        };
        let Some(id) = id.filter(|_| lid == Some(msg_id.to_string())) else {
            let what = format!("commit {msg_id} was answered with {} and {lid:?}", answer["sid"]);
            return self.oracle.wronged(&self.name, what);
        };
        self.state.own.push((at, id));
        if self.state.own.len() > OWN_MAX {
            self.state.own.remove(0);
        }
        let commit = self.oracle.acked(&self.name, commit, id);
        self.shown(at, commit.sent, answer);
    }

    async fn hide_own(&mut self) {
        if let Some((at, id)) = self.state.own.choose(&mut self.state.rng).copied() {
            self.hide(at, id, false).await;
        }
    }

    /// Asks to hide what is another's: nothing may come of it.
    async fn meddle(&mut self) {
        let Some((at, id)) = self.state.other else { return };
        let (forum, name) = self.forums[at].clone();
        let hide = self.oracle.hides(&self.name, forum, id, false);
        let parameters = client::hide(&name, &self.state.session, id, self.state.rng.random_bool(0.5));
        match self.call("de.php", &parameters).await {
            Ok(_) => self.oracle.hidden(&self.name, hide),
            Err(failure) => self.failed(&failure),
        }
    }

    async fn hide(&mut self, at: usize, id: u64, just_typing: bool) {
        self.state.own.retain(|own| *own != (at, id));
        let (forum, name) = self.forums[at].clone();
        let hide = self.oracle.hides(&self.name, forum, id, true);
        let parameters = client::hide(&name, &self.state.session, id, just_typing);
        for _ in 0..HIDES_MAX {
            match self.call("de.php", &parameters).await {
                Ok(_) => return self.oracle.hidden(&self.name, hide),
                Err(failure) => self.failed(&failure),
            }
            self.pause().await;
        }
    }

    fn failed(&self, failure: &CallFailure) {
        match failure {
            CallFailure::Network(_) | CallFailure::Status { status: 503 | 504, .. } => {
                self.oracle.failed(&self.name, &failure.to_string());
            }
            other => self.oracle.wronged(&self.name, other.to_string()),
        }
    }

    async fn call(&mut self, script: &str, parameters: &Parameters) -> Result<Value, CallFailure> {
        let (rng, hubs) = (&mut self.state.rng, self.hubs.names());
        let hub = hubs[rng.random_range(0..hubs.len())].clone();
        let callback = format!("{}_{}", self.state.page, self.state.page.len());
        let path = format!("/{script}?callback={callback}&{}&_=1", query(parameters));
        // AtomJump's browser waits 20 s; a shorter time makes more re-sends, which is the harder case.
        let patience = Duration::from_millis(rng.random_range(500..8000));
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

/// What a message's markup says: visitors' texts are one word, after the author's name.
pub(super) fn look(html: &str) -> Look {
    if html.contains("Typing...") {
        return Look::Typing;
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let text = html.trim_end();
    Look::Says(text[text.trim_end_matches(word).len()..].to_owned())
}

/// One GET over a connection of its own.
pub(super) async fn get(net: &Net, hub: &str, path: &str) -> io::Result<(u16, String)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_says_is_its_last_word() {
        assert_eq!(look("<a href='x'>Anon 07</a>:&nbsp;web-1-n12"), Look::Says("web-1-n12".into()));
        assert_eq!(look("Anon 07:&nbsp;<i>Typing...</i>"), Look::Typing);
    }
}
