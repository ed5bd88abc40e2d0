//! Whose names are whose: the captured ids, sessions and dates beside ours, and an answer of ours in theirs.

use std::collections::BTreeMap;

use serde_json::Value;

/// Where a message id stands in an answer.
const MESSAGE_MARKS: [&str; 5] = ["\"id\":\"", "\"id\":", "\"sid\":\"", "\"sid\":", "msgid="];

/// Where a user id stands in an answer. An author's follows the next colon.
const USER_MARKS: [(&str, bool); 3] = [("whisper(\\\"", true), ("user_id=", false), ("subFront(", false)];

/// What has been learned so far.
#[derive(Default)]
pub struct Names {
    messages: BTreeMap<u64, u64>,
    users: BTreeMap<u64, u64>,
    sessions: BTreeMap<String, String>,
}

impl Names {
    /// Takes note that their message is ours. Ids must grow in the same order.
    pub fn message(&mut self, theirs: u64, ours: u64) {
        let before = self.messages.range(..theirs).next_back();
        assert!(
            before.is_none_or(|(_, id)| *id < ours),
            "message {theirs} came out as {ours}, after {before:?}"
        );
        self.messages.insert(theirs, ours);
    }

    /// Our id of their message.
    pub fn our_message(&self, theirs: u64) -> u64 {
        *self.messages.get(&theirs).unwrap_or_else(|| panic!("message {theirs} was never made here"))
    }

    /// Lets a session go on under another id.
    pub fn session(&mut self, theirs: &str, ours: &str) {
        self.sessions.insert(theirs.to_owned(), ours.to_owned());
    }

    pub fn our_session(&self, theirs: &str) -> String {
        self.sessions.get(theirs).map_or(theirs, String::as_str).to_owned()
    }

    /// A request of theirs as we must send it: a query string or the value of a `Cookie`.
    pub fn to_ours(&self, text: &str) -> String {
        let mut pairs = Vec::new();
        for pair in text.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let ours = match name {
                "shout_id" | "mid" => value.parse().ok().and_then(|id| self.messages.get(&id)).copied(),
                _ => None,
            };
            let recipient = value.rsplit_once("%3A").filter(|_| name == "whisper_to");
            let user = recipient.and_then(|(ip, id)| Some((ip, self.users.get(&id.parse().ok()?)?)));
            pairs.push(match (ours, user) {
                (Some(id), _) => format!("{name}={id}"),
                (None, Some((ip, user))) => format!("{name}={ip}%3A{user}"),
                (None, None) => pair.to_owned(),
            });
        }
        let mut text = pairs.join("&");
        for (theirs, ours) in &self.sessions {
            text = text.replace(theirs, ours);
        }
        text
    }

    /// Learns from the answers to one request: the id of a message just made, and who its users are.
    pub fn learn(&mut self, theirs: &str, ours: &str, sids: [&Value; 2]) {
        if let [Some(theirs), Some(ours)] = sids.map(Value::as_u64)
            && !self.messages.contains_key(&theirs)
        {
            self.message(theirs, ours);
        }
        let users = |text| -> Vec<u64> {
            USER_MARKS.iter().flat_map(|(mark, colon)| numbers(text, mark, *colon)).collect()
        };
        let (theirs, ours) = (users(theirs), users(ours));
        if theirs.len() != ours.len() {
            return;
        }
        for (theirs, ours) in theirs.into_iter().zip(ours) {
            if !self.users.contains_key(&theirs) && !self.users.values().any(|known| *known == ours) {
                self.users.insert(theirs, ours);
            }
        }
    }

    /// An answer of ours with their ids and sessions.
    pub fn to_theirs(&self, text: &str) -> String {
        let back = |map: &BTreeMap<u64, u64>| map.iter().map(|(theirs, ours)| (*ours, *theirs)).collect();
        let (messages, users): (BTreeMap<u64, u64>, BTreeMap<u64, u64>) =
            (back(&self.messages), back(&self.users));
        let mut text = text.to_owned();
        for mark in MESSAGE_MARKS {
            text = replace_numbers(&text, mark, false, &messages);
        }
        for (mark, colon) in USER_MARKS {
            text = replace_numbers(&text, mark, colon, &users);
        }
        self.sessions_to_theirs(&text)
    }

    /// A text of ours with their sessions.
    pub fn sessions_to_theirs(&self, text: &str) -> String {
        let theirs = |text: String, (theirs, ours): (&String, &String)| text.replace(ours, theirs);
        self.sessions.iter().fold(text.to_owned(), theirs)
    }
}

/// Start and end of the digits after each `mark`, or after the next colon behind it.
fn places(text: &str, mark: &str, colon: bool) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    for (at, _) in text.match_indices(mark) {
        let mut start = at + mark.len();
        if colon {
            let Some(colon) = text[start..].find(':') else { continue };
            start += colon + 1;
        }
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            places.push((start, start + digits));
        }
    }
    places
}

fn numbers(text: &str, mark: &str, colon: bool) -> Vec<u64> {
    places(text, mark, colon).into_iter().filter_map(|(start, end)| text[start..end].parse().ok()).collect()
}

fn replace_numbers(text: &str, mark: &str, colon: bool, map: &BTreeMap<u64, u64>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end) in places(text, mark, colon) {
        let number = text[start..end].parse().ok().and_then(|number| map.get(&number));
        out.push_str(&text[from..start]);
        out.push_str(&number.map_or_else(|| text[start..end].to_owned(), u64::to_string));
        from = end;
    }
    out.push_str(&text[from..]);
    out
}

/// Our `ago` texts replaced by theirs wherever they say the same but for the time that has passed.
pub fn level_ago(ours: &str, theirs: &str, fast: bool) -> String {
    const MARK: &str = "\"ago\":\"";
    let value = |text: &str| text.split('"').next().unwrap_or_default().to_owned();
    let theirs: Vec<String> = theirs.split(MARK).skip(1).map(value).collect();
    let mut parts = ours.split(MARK);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (at, part) in parts.enumerate() {
        let own = value(part);
        let said = theirs.get(at).filter(|theirs| is_same_but_for_time(&own, theirs, fast)).unwrap_or(&own);
        out.push_str(MARK);
        out.push_str(said);
        out.push_str(&part[own.len()..]);
    }
    out
}

/// `1 sec ago` and `7 mins ago`: a number, a unit in the right grammatical number, the same words after it.
fn is_same_but_for_time(ours: &str, theirs: &str, fast: bool) -> bool {
    let words = |text: &str| -> Option<(u64, String, String)> {
        let mut words = text.splitn(3, ' ');
        Some((words.next()?.parse().ok()?, words.next()?.to_owned(), words.next()?.to_owned()))
    };
    let well_formed = |count: u64, unit: &str| {
        let plural = if fast { count > 1 } else { count != 1 };
        ["sec", "min"].iter().any(|one| if plural { unit == format!("{one}s") } else { unit == *one })
    };
    match (words(ours), words(theirs)) {
        (Some((count, unit, after)), Some((_, _, theirs))) => after == theirs && well_formed(count, &unit),
        _ => false,
    }
}

#[test]
fn answers_are_put_into_the_captured_names() {
    let mut names = Names::default();
    names.message(2867, 31);
    names.learn("whisper(\\\"192.1.2.3:414\\\"", "whisper(\\\"192.1.2.3:7\\\"", [&Value::Null, &Value::Null]);
    let ours = "{\"id\":\"31\",\"text\":\"31 whisper(\\\"192.1.2.3:7\\\"\",\"sid\":31}";
    let theirs = "{\"id\":\"2867\",\"text\":\"31 whisper(\\\"192.1.2.3:414\\\"\",\"sid\":2867}";
    assert_eq!(names.to_theirs(ours), theirs);
    assert_eq!(
        names.to_ours("mid=2867&x=2867&whisper_to=192.1.2.3%3A414"),
        "mid=31&x=2867&whisper_to=192.1.2.3%3A7"
    );
    assert_eq!(level_ago("\"ago\":\"1 sec ago\"", "\"ago\":\"7 mins ago\"", false), "\"ago\":\"7 mins ago\"");
    assert_eq!(
        level_ago("\"ago\":\"1 secs ago\"", "\"ago\":\"7 mins ago\"", false),
        "\"ago\":\"1 secs ago\""
    );
}
