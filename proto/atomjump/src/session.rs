//! One browser session's data: PHP's "php" serialisation, with the keys AtomJump keeps in it.
//!
//! Owns the exact format, so that a PHP peer can take a session over. Keeps keys it does not know, in their order.
//! Reading is tolerant and bounded: what cannot be read is left out, never an error. Never knows requests.

use loop_proto::php_params::text as utf8;

/// Longest session data that is read, bytes. AtomJump's own are about 300.
const DATA_BYTES_MAX: usize = 64 * 1024;
/// Most keys that are read.
const KEYS_MAX: usize = 64;

/// The keys a session has after its first read, in the order AtomJump writes them.
const KEYS: [(&str, Value); 12] = [
    ("authenticated-layer", Value::Empty),
    ("view-count", Value::Int(0)),
    ("logged-user", Value::Empty),
    ("logged-email", Value::Empty),
    ("user-ip", Value::Empty),
    ("temp-user-name", Value::Empty),
    ("lat", Value::Empty),
    ("lon", Value::Empty),
    ("logged-group-user", Value::Empty),
    ("layer-group-user", Value::Empty),
    ("access-layer-granted", Value::Empty),
    ("access-layers-granted", Value::Empty),
];

/// A PHP scalar.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    /// `s:0:"";`, apart from [`Value::Text`] so that it can stand in a constant.
    Empty,
    Null,
    Bool(bool),
    Int(i64),
    /// A float as PHP printed it.
    Float(String),
    Text(String),
}

/// A session's keys and values, in order.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Session {
    entries: Vec<(String, Value)>,
}

impl Session {
    /// Reads serialised data; empty if there is none.
    pub fn parse(data: &[u8]) -> Self {
        let mut session = Self::default();
        let mut rest = &data[..data.len().min(DATA_BYTES_MAX)];
        while session.entries.len() < KEYS_MAX {
            let Some(bar) = rest.iter().position(|b| *b == b'|') else { break };
            let key = utf8(&rest[..bar]);
            let Some((value, after)) = parse_value(&rest[bar + 1..]) else { break };
            session.set(&key, value);
            rest = after;
        }
        session
    }

    /// Serialises as PHP does.
    pub fn serialise(&self) -> Vec<u8> {
        let mut out = String::new();
        for (key, value) in &self.entries {
            out.push_str(key);
            out.push('|');
            match value {
                Value::Empty => out.push_str("s:0:\"\";"),
                Value::Null => out.push_str("N;"),
                Value::Bool(value) => out.push_str(if *value { "b:1;" } else { "b:0;" }),
                Value::Int(value) => out.push_str(&format!("i:{value};")),
                Value::Float(value) => out.push_str(&format!("d:{value};")),
                Value::Text(value) => out.push_str(&format!("s:{}:\"{value}\";", value.len())),
            }
        }
        out.into_bytes()
    }

    /// Gives the session every key AtomJump expects after the first read, in AtomJump's order if it is new.
    pub fn complete(&mut self) {
        for (key, value) in KEYS {
            if self.value(key).is_none() {
                self.set(key, value);
            }
        }
    }

    /// Who is logged in or was made for this session; `None` before the first read.
    pub fn user(&self) -> Option<u32> {
        self.number("logged-user")
    }

    /// Makes `user` the session's anonymous user.
    pub fn set_user(&mut self, user: u32) {
        self.set("logged-user", Value::Int(user.into()));
    }

    /// The group user whose whispers this session may see.
    pub fn group(&self) -> Option<u32> {
        self.number("logged-group-user")
    }

    /// The email given with a password in this session; empty if none.
    pub fn email(&self) -> &str {
        self.text("logged-email")
    }

    /// The text of a key; empty if it has none.
    pub fn text(&self, key: &str) -> &str {
        match self.value(key) {
            Some(Value::Text(text) | Value::Float(text)) => text,
            _ => "",
        }
    }

    /// Sets a key to a text.
    pub fn set_text(&mut self, key: &str, text: &str) {
        self.set(key, if text.is_empty() { Value::Empty } else { Value::Text(text.to_owned()) });
    }

    /// Sets a key to an integer.
    pub fn set_int(&mut self, key: &str, value: i64) {
        self.set(key, Value::Int(value));
    }

    /// A positive id, given as integer or as text: AtomJump writes both.
    pub fn number(&self, key: &str) -> Option<u32> {
        match self.value(key)? {
            Value::Int(value) => u32::try_from(*value).ok(),
            Value::Text(text) => text.parse().ok(),
            Value::Empty | Value::Null | Value::Bool(_) | Value::Float(_) => None,
        }
        .filter(|id| *id > 0)
    }

    /// A latitude or longitude in degrees, if the session has a sensible one.
    pub fn degrees(&self, key: &str) -> Option<f64> {
        match self.value(key)? {
            Value::Int(value) => Some(*value as f64),
            Value::Text(text) | Value::Float(text) => text.trim().parse().ok(),
            Value::Empty | Value::Null | Value::Bool(_) => None,
        }
    }

    /// AtomJump's rule on touching a forum: an open forum grants everything, a protected one begins refused.
    pub fn touch_forum(&mut self, has_password: bool, group_user: Option<u32>, subscribed: bool) {
        if !has_password {
            self.set_text("access-layer-granted", "true");
        } else if self.text("access-layer-granted").is_empty() {
            self.set_text("access-layer-granted", "false");
        }
        let group = group_user.map(|id| id.to_string()).unwrap_or_default();
        if self.number("layer-group-user") != group_user {
            self.set_text("layer-group-user", &group);
        }
        if subscribed && group_user.is_some() && self.group() != group_user {
            self.set_text("logged-group-user", &group);
        }
    }

    /// Whether a read of a protected forum is granted. The word `true` counts, which any open forum gives: upstream's
    /// own rule, kept until forum passwords can be set here.
    pub fn may_read(&self, forum_id: u32) -> bool {
        self.text("access-layer-granted") == "true" || self.holds_password_of(forum_id)
    }

    /// Whether the forum's own password was given in this session.
    pub fn holds_password_of(&self, forum_id: u32) -> bool {
        let id = forum_id.to_string();
        let listed = self.text("access-layers-granted");
        self.text("access-layer-granted") == id
            || listed.split(|c: char| !c.is_ascii_digit()).any(|listed_id| listed_id == id)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn set(&mut self, key: &str, value: Value) {
        match self.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, held)) => *held = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }
}

/// One value and what follows it; `None` for what is no scalar.
fn parse_value(data: &[u8]) -> Option<(Value, &[u8])> {
    match data.first()? {
        b's' => parse_text(data),
        b'N' if data.get(1) == Some(&b';') => Some((Value::Null, &data[2..])),
        kind @ (b'i' | b'b' | b'd') if data.get(1) == Some(&b':') => {
            let end = data.iter().position(|b| *b == b';')?;
            let text = std::str::from_utf8(&data[2..end]).ok()?;
            let value = match kind {
                b'i' => Value::Int(text.parse().ok()?),
                b'b' => Value::Bool(text == "1"),
                _ => Value::Float(text.parse::<f64>().ok().map(|_| text.to_owned())?),
            };
            Some((value, &data[end + 1..]))
        }
        _ => None,
    }
}

/// `s:<bytes>:"…";`. Upstream strips tags out of stored sessions and leaves the length: then the closing quote counts.
fn parse_text(data: &[u8]) -> Option<(Value, &[u8])> {
    let rest = data.strip_prefix(b"s:")?;
    let colon = rest.iter().take(8).position(|b| *b == b':')?;
    let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
    let rest = rest[colon + 1..].strip_prefix(b"\"")?;
    let end = match rest.get(length..length.saturating_add(2)) {
        Some(b"\";") => length,
        _ => rest.windows(2).position(|pair| pair == b"\";")?,
    };
    let text = utf8(&rest[..end]);
    let value = if text.is_empty() { Value::Empty } else { Value::Text(text) };
    Some((value, &rest[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_FIRST_READ: &str = "authenticated-layer|s:0:\"\";view-count|i:1;logged-user|i:414;logged-email|s:0:\"\";user-ip|s:14:\"192.101.57.107\";temp-user-name|s:0:\"\";lat|s:0:\"\";lon|s:0:\"\";logged-group-user|s:0:\"\";layer-group-user|s:0:\"\";access-layer-granted|s:4:\"true\";access-layers-granted|s:0:\"\";";

    #[test]
    fn a_captured_session_is_read_and_written_to_the_byte() {
        let session = Session::parse(AFTER_FIRST_READ.as_bytes());
        assert_eq!(session.user(), Some(414));
        assert_eq!(session.serialise(), AFTER_FIRST_READ.as_bytes());
    }

    #[test]
    fn a_new_session_gets_atomjumps_keys_in_order() {
        let mut session = Session::default();
        session.complete();
        session.set_int("view-count", 1);
        session.set_user(414);
        session.set_text("user-ip", "192.101.57.107");
        session.touch_forum(false, None, false);
        assert_eq!(String::from_utf8(session.serialise()).unwrap(), AFTER_FIRST_READ);
    }

    #[test]
    fn a_user_may_be_a_number_or_a_text_and_a_list_of_forums_is_searched() {
        let session = Session::parse(
            b"logged-user|s:3:\"428\";access-layer-granted|s:5:\"false\";access-layers-granted|s:13:\"[\"186\",\"190\"]\";",
        );
        assert_eq!(session.user(), Some(428));
        assert!(session.holds_password_of(190) && session.may_read(186));
        assert!(!session.may_read(19));
    }

    #[test]
    fn a_text_shortened_behind_its_length_does_not_lose_the_session() {
        let broken = b"temp-user-name|s:14:\"a: bc\"'\";lat|i:51;logged-user|i:416;";
        let session = Session::parse(broken);
        assert_eq!(session.text("temp-user-name"), "a: bc\"'");
        assert_eq!(session.user(), Some(416));
    }

    #[test]
    fn a_protected_forum_begins_refused() {
        let mut session = Session::default();
        session.complete();
        session.touch_forum(true, Some(431), false);
        assert!(!session.may_read(186));
        assert_eq!((session.text("layer-group-user"), session.group()), ("431", None));
        session.touch_forum(true, Some(431), true);
        assert_eq!(session.group(), Some(431));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(data: Vec<u8>) {
            let _ = Session::parse(&data);
        }

        #[test]
        fn what_is_written_reads_back(name: String, user in 1u32.., lat in -90i64..90) {
            let mut session = Session::default();
            session.complete();
            session.set_text("temp-user-name", &name);
            session.set_user(user);
            session.set_int("lat", lat);
            proptest::prop_assert!(Session::parse(&session.serialise()) == session);
        }
    }
}
