//! The replay: sends what was sent, through the next hub each time, and keeps the system where the real one was.

use std::net::SocketAddr;

use loop_sim_tests::client::query;
use serde_json::Value;

use crate::{
    capture::Capture,
    compare::{self, Compared, FAST_HOST, PHP_HOST},
    http::{Answer, Request},
    names::Names,
    told::{self, A, B, D, Must, Sid, T, Told},
};

/// D after its session was destroyed in the real one: the same first letters, of which the address is made.
const D_ANEW: &str = "cfu1anew0session0000000000";
const T2: &str = "ls9tbfr29agqu666rscqos17jn";
const X: &str = "95ea7l8v52rdsgraf1vkqbcse3";
const Y: &str = "trljpb2tu1m8d7r75ecgbc0ee1";
const PRESEEDED: &str = "hubmade0session0id0000001";

pub struct Replay {
    hubs: Vec<SocketAddr>,
    sent: usize,
    names: Names,
    /// The id of the message our last answer told of.
    last_sid: Option<u64>,
}

impl Replay {
    pub fn new(hubs: Vec<SocketAddr>) -> Self {
        Self { hubs, sent: 0, names: Names::default(), last_sid: None }
    }

    /// Through the next hub.
    async fn send(&mut self, request: &Request) -> Answer {
        let hub = self.hubs[self.sent % self.hubs.len()];
        self.sent += 1;
        request.send(hub).await
    }

    /// Sends a captured request; how the answer differs.
    pub async fn capture(&mut self, capture: &Capture) -> Compared {
        let host = if capture.browser == "f" { FAST_HOST } else { PHP_HOST };
        let query = self.names.to_ours(capture.query());
        let target =
            if query.is_empty() { capture.path().to_owned() } else { format!("{}?{query}", capture.path()) };
        let mut request = Request::get(host, target);
        request.method = capture.method().to_owned();
        request.body = self.names.to_ours(&capture.form());
        for (name, value) in capture.json["request"]["headers"].as_object().unwrap() {
            request = request.header(name, self.names.to_ours(value.as_str().unwrap()));
        }
        let answer = self.send(&request).await;
        self.last_sid = sid_of(&answer);
        compare::answer(capture, &answer, &mut self.names)
    }

    /// Sends a request told of in words; how the answer differs from them.
    pub async fn told(&mut self, told: &Told) -> Vec<String> {
        let mut request = told.request.clone();
        request.target = self.names.to_ours(&request.target);
        request.body = self.names.to_ours(&request.body);
        for (_, value) in &mut request.headers {
            *value = self.names.to_ours(value);
        }
        let answer = self.send(&request).await;
        let callback = answer.body.split('(').next().unwrap_or_default().to_owned();
        if let (Some(Must::Sid(Sid::New(theirs))), Some(ours)) =
            (told.must.iter().find(|must| matches!(must, Must::Sid(Sid::New(_)))), sid_of(&answer))
        {
            self.names.message(*theirs, ours);
        }
        let answer = Answer { body: self.names.to_theirs(&answer.body), ..answer };
        told.differences(&answer, &callback)
    }

    /// What the real system was taken through between two captures.
    pub async fn arrange(&mut self, number: &str) {
        match number {
            "053" => self.arrive(D, "ajps_second").await,
            "205" => {
                self.arrive(T, "ajps_notify").await;
                self.commit(T, "ajps_notify", "ping subscribers", "Tess", 2916).await;
            }
            "212" => self.arrive(T2, "ajps_notify2").await,
            "229" => self.load_page("t3h7j9k9nr76e278le8m05j3td").await,
            "230" => {
                self.arrive("dcui8v29utd3lks2cai5kj943a", "ajps_test").await;
                self.load_page("dcui8v29utd3lks2cai5kj943a").await;
            }
            "238" => {
                self.arrive(PRESEEDED, "ajps_preseed").await;
                self.begin(PRESEEDED, "ajps_preseed", 950_001).await;
            }
            "240" => self.begin(PRESEEDED, "ajps_preseed", 950_002).await,
            "244" => self.arrive(X, "ajps_misc").await,
            "248" => {
                self.commit(X, "ajps_misc", "a", "Jane", 950_064).await;
                self.arrive(Y, "ajps_misc").await;
            }
            _ => {}
        }
    }

    /// Does what the real one did and ours, on purpose, did not; and undoes what only ours did.
    pub async fn follow(&mut self, capture: &Capture) {
        match capture.number.as_str() {
            "024" => {
                let taken = self.names.our_message(2871);
                self.hide(A, "ajps_test", taken, false).await;
                self.commit(B, "ajps_test", "taken over", "", 2871).await;
            }
            "025" | "026" | "060" | "068" | "236" | "244" => {
                let sid = self.last_sid.unwrap_or_else(|| panic!("{} made no message", capture.number));
                let (session, forum) = (capture.param("ses").unwrap(), capture.param("passcode").unwrap());
                self.hide(session, forum, sid, false).await;
            }
            "058" => self.names.session(D, D_ANEW),
            "101" => self.newest(D, "ajps_second", 2906).await,
            "105" => self.commit(D, "ajps_second", "cbinj", "", 2908).await,
            "161" => self.hide_theirs(D, "ajps_second", 2911, false).await,
            "165" => self.hide_theirs(A, "ajps_test", 2867, true).await,
            "166" => self.hide_theirs(A, "ajps_test", 2868, true).await,
            "190" => self.hide_theirs(A, "ajps_test", 2869, true).await,
            _ => {}
        }
    }

    async fn ask(&mut self, session: &str, target: String) -> Value {
        let session = self.names.our_session(session);
        let request = Request::get(PHP_HOST, target).header("Cookie", format!("PHPSESSID={session}"));
        let answer = self.send(&request).await;
        answer.jsonp("jQuery1_2").unwrap_or_else(|| panic!("{}: {answer:?}", request.target))
    }

    async fn arrive(&mut self, session: &str, forum: &str) {
        let query = query(&[("callback", "jQuery1_2"), ("passcode", forum), ("records", "25")]);
        self.ask(session, format!("/search-chat.php?{query}")).await;
    }

    async fn load_page(&mut self, session: &str) {
        let request = Request::get(PHP_HOST, "/search-secure.php?uniqueFeedbackId=ajps_test");
        let answer = self.send(&request.header("Cookie", format!("PHPSESSID={session}"))).await;
        assert_eq!(answer.status, 200);
    }

    async fn commit(&mut self, session: &str, forum: &str, text: &str, name: &str, theirs: u64) {
        // A msg_id no capture has: this is no re-send of any of them.
        let more = [("your_name", name), ("msg_id", "arranged")];
        let query = told::shout(&self.names.our_session(session), forum, text, &more);
        let answer = self.ask(session, format!("/index.php?{query}")).await;
        let sid = answer["sid"].as_u64().unwrap_or_else(|| panic!("{text} was not stored: {answer}"));
        self.names.message(theirs, sid);
    }

    /// A message begun and taken back: the row is there, and nobody sees it.
    async fn begin(&mut self, session: &str, forum: &str, theirs: u64) {
        let query = told::shout(&self.names.our_session(session), forum, "x", &[("typing", "on")]);
        let answer = self.ask(session, format!("/index.php?{query}")).await;
        let sid = answer["sid"].as_u64().expect("a number");
        self.names.message(theirs, sid);
        self.hide(session, forum, sid, true).await;
    }

    async fn hide_theirs(&mut self, session: &str, forum: &str, theirs: u64, just_typing: bool) {
        let ours = self.names.our_message(theirs);
        self.hide(session, forum, ours, just_typing).await;
    }

    async fn hide(&mut self, session: &str, forum: &str, ours: u64, just_typing: bool) {
        let id = ours.to_string();
        let mut pairs = vec![("callback", "jQuery1_2"), ("mid", id.as_str()), ("passcode", forum)];
        pairs.extend(just_typing.then_some(("just_typing", "on")));
        assert_eq!(self.ask(session, format!("/de.php?{}", query(&pairs))).await, "");
    }

    async fn newest(&mut self, session: &str, forum: &str, theirs: u64) {
        let query = query(&[("callback", "jQuery1_2"), ("passcode", forum), ("records", "0")]);
        let answer = self.ask(session, format!("/search-chat.php?{query}")).await;
        let id = answer["res"][0]["id"].as_str().and_then(|id| id.parse().ok()).expect("a message");
        self.names.message(theirs, id);
    }
}

fn sid_of(answer: &Answer) -> Option<u64> {
    let callback = answer.body.split('(').next()?;
    answer.jsonp(callback)?["sid"].as_u64()
}
