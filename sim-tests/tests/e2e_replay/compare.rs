//! One answer over HTTP beside the captured one.

use crate::{
    answers::{self, Answered},
    capture::Capture,
    http::Answer,
    names::{self, Names},
    outcomes::LASTING,
    page,
};

/// Headers the contract names, beside the type. A browser sees no difference in any other.
const HEADERS: [&str; 5] = ["cache-control", "expires", "pragma", "set-cookie", "last-modified"];

/// Where our fast reader is reached.
pub const FAST_HOST: &str = "fast.loop.test";
pub const PHP_HOST: &str = "127.0.0.1:18080";

/// How an answer differs from the captured one.
#[derive(Default)]
pub struct Compared {
    pub differences: Vec<String>,
    /// It lists a message that stays different on purpose.
    pub lasting: bool,
}

/// Compares an answer with the captured one.
pub fn answer(capture: &Capture, ours: &Answer, names: &mut Names) -> Compared {
    let mut differences = Vec::new();
    let mut ours = without_minted(capture, ours);
    for (_, value) in &mut ours.headers {
        *value = names.sessions_to_theirs(value);
    }
    compare_headers(capture, &ours, &mut differences);
    let fast = capture.browser == "f";
    let theirs = capture.body().unwrap_or_default();
    let their_value = capture.answer();
    let callback = theirs.split('(').next().unwrap_or_default();
    let our_value = ours.jsonp(callback).unwrap_or_default();
    names.learn(theirs, &ours.body, [&their_value["sid"], &our_value["sid"]]);
    let in_their_names = names.to_theirs(&ours.body);
    let as_there = lasting(&in_their_names);
    let text = names::level_ago(&as_there, theirs, fast);
    // A JSONP value travels without its envelope between the parts of the system, and is compared so.
    let is_jsonp = capture.unwrapped().is_some();
    let unwrapped = text.strip_prefix(callback).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
    let body = Answered {
        status: ours.status.into(),
        content_type: spelled(&capture.response_header("Content-Type"), ours.header("content-type")),
        jsonp: is_jsonp && unwrapped.is_some(),
        body: unwrapped.filter(|_| is_jsonp).unwrap_or(&text).to_owned(),
        location: ours.all("location").first().map(|location| (*location).to_owned()),
    };
    if capture.path() == "/search-secure.php" {
        page::compare(capture, &with_their_date(capture, body, &mut differences), &mut differences);
    } else {
        answers::response(capture, &body, &mut differences);
    }
    Compared { differences, lasting: as_there != in_their_names }
}

/// A session made by the hub, under the id the captured one was given.
fn without_minted(capture: &Capture, ours: &Answer) -> Answer {
    let id = |cookie: &str| Some(cookie.strip_prefix("phpsessid=")?.split(';').next()?.to_owned());
    let theirs = id(&capture.response_header("Set-Cookie").to_lowercase());
    let named = [capture.param("ses"), capture.param("sessionId"), capture.request_header("Cookie")];
    let is_named = named.into_iter().flatten().any(|value| !value.is_empty());
    let minted = id(ours.header("set-cookie"));
    let (Some(theirs), Some(minted), false) = (theirs, minted, is_named) else { return ours.clone() };
    let legal = |b: u8| b.is_ascii_digit() || (b'a'..=b'v').contains(&b);
    assert!(minted.len() == 26 && minted.bytes().all(legal), "a session id unlike PHP's");
    let put = |text: &str| text.replace(&minted, &theirs);
    let headers = ours.headers.iter().map(|(name, value)| (name.clone(), put(value)));
    Answer { status: ours.status, headers: headers.collect(), body: put(&ours.body) }
}

fn compare_headers(capture: &Capture, ours: &Answer, differences: &mut Vec<String>) {
    let headers = capture.json["response"]["headers"].as_array().unwrap();
    for name in HEADERS {
        let theirs = headers.iter().filter(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name));
        let theirs: Vec<String> =
            theirs.map(|header| without_date(name, header[1].as_str().unwrap())).collect();
        let ours: Vec<String> = ours.all(name).into_iter().map(|value| without_date(name, value)).collect();
        // A file has its own date; and what peers hold may be cached.
        let is_file = !capture.path().ends_with(".php");
        if ours != theirs && !is_file {
            differences.push(format!("header {name} {ours:?} instead of {theirs:?}"));
        }
    }
}

/// A header's value in lower case, dates that depend on the day as their shape.
fn without_date(name: &str, value: &str) -> String {
    let value = value.to_lowercase();
    let shape = |date: &str| {
        date.chars()
            .map(|c| {
                if c.is_ascii_digit() {
                    '0'
                } else if c.is_alphabetic() {
                    'a'
                } else {
                    c
                }
            })
            .collect()
    };
    match (name, value.split_once("expires=")) {
        ("last-modified", _) => shape(&value),
        ("set-cookie", Some((before, after))) => {
            let (date, after) = after.split_once(';').unwrap_or((after, ""));
            let shape: String = shape(date);
            format!("{before}expires={shape};{after}")
        }
        _ => value,
    }
}

/// Ours as they spell it, if only the spelling differs.
fn spelled(theirs: &str, ours: &str) -> String {
    if theirs.eq_ignore_ascii_case(ours) { theirs.to_owned() } else { ours.to_owned() }
}

/// The page tells when the forum began: ours must be a date of today, and then becomes theirs.
fn with_their_date(capture: &Capture, body: Answered, differences: &mut Vec<String>) -> Answered {
    let page = body.body.clone();
    let theirs = &capture.json["response"]["body_facts"]["hidden_inputs"]["date-owner-start"];
    let Some(theirs) = theirs.as_str() else { return body };
    let tag = page.split('<').find(|tag| tag.contains("name=\"date-owner-start\""));
    let ours = tag.and_then(|tag| tag.split("value=\"").nth(1)?.split('"').next());
    let (Some(tag), Some(ours)) = (tag, ours) else {
        differences.push("no date-owner-start".to_owned());
        return body;
    };
    let shape =
        |date: &str| date.bytes().map(|b| if b.is_ascii_digit() { b'0' } else { b }).collect::<Vec<_>>();
    if shape(ours) != shape(theirs) {
        differences.push(format!("date {ours} instead of {theirs}"));
    }
    let page = page.replace(tag, &tag.replace(ours, theirs));
    Answered { body: page, ..body }
}

/// What stays different on purpose, as they have it.
fn lasting(text: &str) -> String {
    let mut text = text.to_owned();
    for (id, ours, theirs, _) in LASTING {
        for mark in [format!("\"id\":\"{id}\","), format!("\"id\":{id},")] {
            let Some(at) = text.find(&mark) else { continue };
            let end = text[at..].find("\"ago\":").map_or(text.len(), |end| at + end);
            let element = text[at..end].replace(ours, theirs);
            text.replace_range(at..end, &element);
        }
    }
    text
}
