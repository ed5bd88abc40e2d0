//! An instant message: who it is from and to, and the JSON it came as, which is carried through untouched but for `forwarded`.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{name::UserName, packet::event_for_client};

/// Longest message, bytes of JSON.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// Most fields of a message.
const FIELDS_MAX: usize = 256;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who says to have written it.
    pub from: UserName,
    /// Who is to have it.
    pub to: UserName,
    /// Whether other hubs are not to have it: a hub has passed it on already, or its sender says so.
    pub forwarded: bool,
    json: String,
}

/// How deep its fields may nest: readers that call themselves for each level must not run out of stack.
const DEPTH_MAX: usize = 32;

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no object with two names.
    Malformed,
    /// It is longer than [`MESSAGE_BYTES_MAX`].
    TooLong,
}

impl Message {
    /// Reads what a client or another hub has sent.
    pub fn read(json: &str) -> Result<Self, Refused> {
        if json.len() > MESSAGE_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let Fields(fields) = serde_json::from_str(json).map_err(|_| Refused::Malformed)?;
        if depth(json) > DEPTH_MAX {
            return Err(Refused::Malformed);
        }
        // Of a name that is there twice JavaScript takes the last.
        let field = |name| fields.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value);
        let name = |field: Option<&RawValue>| field.and_then(UserName::of_json).ok_or(Refused::Malformed);
        Ok(Self {
            from: name(field("from"))?,
            to: name(field("to"))?,
            forwarded: field("forwarded").is_some_and(is_truthy),
            json: json.to_owned(),
        })
    }

    /// What other hubs are sent: the same, `forwarded`.
    pub fn forwarded_json(&self) -> String {
        // It has been read once already.
        let Ok(Fields(fields)) = serde_json::from_str(&self.json) else { return self.json.clone() };
        let mut json = String::with_capacity(self.json.len() + 20);
        for (key, value) in fields.iter().filter(|(key, _)| key != "forwarded") {
            let key = serde_json::Value::from(key.as_ref());
            json.push_str(&format!("{key}:{},", value.get()));
        }
        format!("{{{json}\"forwarded\":true}}")
    }

    /// The event clients get.
    pub fn event(&self) -> String {
        event_for_client("im", &self.json)
    }
}

/// An object's fields in their order.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if fields.len() == FIELDS_MAX {
                        return Err(serde::de::Error::custom("too many fields"));
                    }
                    fields.push((Cow::Owned(key), value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// How deep well-formed JSON nests.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// As JavaScript's `if` takes it.
fn is_truthy(json: &RawValue) -> bool {
    match json.get() {
        "null" | "false" | "\"\"" => false,
        number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            number.parse::<f64>().is_ok_and(|number| number != 0.0)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_HAND: &str =
        r#"{"to":"Billy","text":"naïve","forwarded":false,"n":1.50,"from":"Anna","more":{"b":1,"a":[2]}}"#;

    #[test]
    fn all_fields_are_carried_through_in_their_order_and_only_forwarded_changes() {
        let message = Message::read(BY_HAND).unwrap();
        assert_eq!((message.from.as_str(), message.to.as_str(), message.forwarded), ("Anna", "Billy", false));
        let ascii = BY_HAND.replace('ï', "\\u00ef");
        assert_eq!(message.event(), format!("2[\"im\",{ascii}]"));
        let forwarded = message.forwarded_json();
        assert_eq!(
            forwarded,
            r#"{"to":"Billy","text":"naïve","n":1.50,"from":"Anna","more":{"b":1,"a":[2]},"forwarded":true}"#
        );
        assert!(Message::read(&forwarded).unwrap().forwarded);
    }

    #[test]
    fn forwarded_is_what_javascript_takes_for_true() {
        for (json, forwarded) in [
            ("null", false),
            ("0", false),
            ("-0.0", false),
            ("\"\"", false),
            ("1", true),
            ("\"no\"", true),
            ("{}", true),
        ] {
            let json = format!("{{\"from\":1,\"to\":2,\"forwarded\":{json}}}");
            assert_eq!(Message::read(&json).unwrap().forwarded, forwarded, "{json}");
        }
        assert!(!Message::read("{\"from\":1,\"to\":2}").unwrap().forwarded);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = format!("{{\"from\":1,\"to\":2,\"text\":\"{}\"}}", "x".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(Message::read(&long).unwrap_err(), Refused::TooLong);
        let nested =
            |depth| format!("{{\"from\":1,\"to\":2,\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(Message::read(&nested(DEPTH_MAX - 1)).is_ok());
        assert_eq!(Message::read(&nested(DEPTH_MAX)).unwrap_err(), Refused::Malformed);
        assert!(Message::read("{\"from\":1,\"to\":2,\"\\\"[\":\"[[[\\\\\"}").is_ok());
        let many: String = (0..=FIELDS_MAX).map(|n| format!(",\"f{n}\":0")).collect();
        let many = format!("{{\"from\":1,\"to\":2{many}}}");
        for json in [
            "null",
            "[]",
            "\"x\"",
            "{}",
            "{\"from\":\"a\"}",
            "{\"from\":\"a\",\"to\":null}",
            "{\"from\":{},\"to\":1}",
            &many,
        ] {
            assert_eq!(Message::read(json).unwrap_err(), Refused::Malformed, "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Message::read(&text);
        }
    }
}
