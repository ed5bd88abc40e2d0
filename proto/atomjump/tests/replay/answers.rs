//! What counts as the same answer: bodies as JSON, times within a second, texts in the same dialect.

use serde_json::Value;

use crate::capture::Capture;

/// An answer to compare with a captured one.
#[derive(Clone, Debug)]
pub struct Answered {
    pub status: u32,
    pub content_type: String,
    /// Whether `body` stands in a callback.
    pub jsonp: bool,
    pub location: Option<String>,
    /// Without its callback.
    pub body: String,
}

pub fn response(capture: &Capture, body: &Answered, differences: &mut Vec<String>) {
    if u64::from(body.status) != capture.status() {
        differences.push(format!("status {} instead of {}", body.status, capture.status()));
    }
    if capture.status() == 302 {
        if body.location.as_deref() != Some(&capture.response_header("Location")) {
            differences.push(format!("location {:?}", body.location));
        }
        return;
    }
    let content_type = capture.response_header("Content-Type");
    if body.content_type != content_type {
        differences.push(format!("content type {} instead of {content_type}", body.content_type));
    }
    if capture.method() == "HEAD" || capture.json["response"]["body"].is_null() {
        return;
    }
    let ours = body.body.as_str();
    let theirs = capture.body().unwrap();
    if !body.jsonp {
        if ours != theirs {
            differences.push(format!("body {ours:?} instead of {theirs:?}"));
        }
        return;
    }
    let Some(unwrapped) = capture.unwrapped() else {
        differences.push(format!("body {ours:?} instead of {theirs:?}"));
        return;
    };
    if ours == unwrapped {
        return;
    }
    let (Ok(mut ours), Ok(mut theirs)) = (serde_json::from_str(ours), serde_json::from_str(unwrapped)) else {
        differences.push("a body that is no JSON".to_owned());
        return;
    };
    level_times(&mut ours, &mut theirs);
    compare_json("", &ours, &theirs, differences);
    // What is equal as JSON must also be written in the same dialect.
    let is_escaped = |text: &str| text.contains("\\/");
    if is_escaped(unwrapped) != is_escaped(&body.body) {
        differences.push("slashes in the other dialect".to_owned());
    }
}

/// Makes times that differ by no more than the clock's last second equal.
fn level_times(ours: &mut Value, theirs: &mut Value) {
    let (Some(ours), Some(theirs)) = (ours["res"].as_array_mut(), theirs["res"].as_array_mut()) else {
        return;
    };
    for (ours, theirs) in ours.iter_mut().zip(theirs) {
        let number = |value: &Value| -> Option<(i64, String)> {
            let (count, words) = value["ago"].as_str()?.split_once(' ')?;
            Some((count.parse().ok()?, words.replacen("secs", "sec", 1).replacen("mins", "min", 1)))
        };
        if let (Some((a, x)), Some((b, y))) = (number(ours), number(theirs))
            && (a - b).abs() <= 1
            && x == y
        {
            ours["ago"] = theirs["ago"].clone();
        }
    }
}

fn compare_json(at: &str, ours: &Value, theirs: &Value, differences: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for (key, value) in a {
                compare_json(&format!("{at}.{key}"), value, &b[key], differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare_json(&format!("{at}[{index}]"), a, b, differences);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            let ids =
                |list: &[Value]| list.iter().map(|element| element["id"].to_string()).collect::<Vec<_>>();
            differences.push(format!("{at}: {:?} instead of {:?}", ids(a), ids(b)));
        }
        _ if ours == theirs => {}
        _ => differences.push(format!("{at}: {ours} instead of {theirs}")),
    }
}

/// Seconds of an `ago` text, as near as it tells.
pub fn ago_s(text: &str) -> u64 {
    let (count, unit) = text.split_once(' ').unwrap();
    let count: u64 = count.parse().unwrap();
    match unit.split(' ').next().unwrap().trim_end_matches('s') {
        "sec" => count,
        "min" => count * 60,
        unit => panic!("unit {unit}"),
    }
}
