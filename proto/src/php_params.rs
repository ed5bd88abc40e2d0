//! PHP's `$_REQUEST` from a query string and a form body: the one reader of client parameters.
//!
//! Debian's `request_order = GP`: a form value replaces a query value, the last of several wins, `+` is a space,
//! names have `.` and space turned into `_`. Values are bytes; text rules are the endpoint's.
//! Never fails: what PHP would ignore is ignored, what would be too much is an error of [`Limits`].

use std::collections::BTreeMap;

/// Bounds of one request's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most parameters of query and form together (PHP's max_input_vars).
    pub params_max: usize,
    /// Longest decoded value, bytes.
    pub value_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // AtomJump's forms send 30 parameters; the longest honest value is a nested, multiply encoded URL.
        Self { params_max: 200, value_bytes_max: 64 * 1024 }
    }
}

/// Why a request's parameters were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// More parameters than the limit.
    #[error("more than {0} parameters")]
    Params(usize),
    /// A value longer than the limit.
    #[error("a parameter longer than {0} bytes")]
    Value(usize),
}

/// One request's top-level parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    values: BTreeMap<Vec<u8>, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Scalar(Vec<u8>),
    Array,
}

impl Params {
    /// Reads `query` (without `?`), then `form`, which wins. Either may be empty.
    pub fn parse(query: &[u8], form: &[u8], limits: Limits) -> Result<Self, TooMuch> {
        let mut params = Self::default();
        let pairs = query.split(|b| *b == b'&').chain(form.split(|b| *b == b'&'));
        for (count, pair) in pairs.filter(|pair| !pair.is_empty()).enumerate() {
            if count >= limits.params_max {
                return Err(TooMuch::Params(limits.params_max));
            }
            let (name, value) = match pair.iter().position(|b| *b == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &[][..]),
            };
            let value = decode(value);
            if value.len() > limits.value_bytes_max {
                return Err(TooMuch::Value(limits.value_bytes_max));
            }
            params.insert(decode(name), value);
        }
        Ok(params)
    }

    fn insert(&mut self, mut name: Vec<u8>, value: Vec<u8>) {
        let spaces = name.iter().take_while(|b| **b == b' ').count();
        name.drain(..spaces);
        let is_array = match name.iter().position(|b| *b == b'[') {
            Some(at) if at > 0 && name[at..].contains(&b']') => {
                name.truncate(at);
                true
            }
            _ => false,
        };
        for byte in &mut name {
            if matches!(*byte, b'.' | b' ' | b'[') {
                *byte = b'_';
            }
        }
        if name.is_empty() {
            return;
        }
        let value = if is_array { Value::Array } else { Value::Scalar(value) };
        self.values.insert(name, value);
    }

    /// The value of `name`; `None` if absent or given as an array.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        match self.values.get(name.as_bytes()) {
            Some(Value::Scalar(bytes)) => Some(bytes),
            Some(Value::Array) | None => None,
        }
    }

    /// The value of `name` if present and not empty.
    pub fn non_empty(&self, name: &str) -> Option<&[u8]> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The value as text; PHP passes bytes on, we turn what is not UTF-8 into `?`, as its database would.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(text)
    }

    /// Whether `name` was given at all, PHP's `isset`.
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name.as_bytes())
    }

    /// Whether `name` was given as `name[]`.
    pub fn is_array(&self, name: &str) -> bool {
        matches!(self.values.get(name.as_bytes()), Some(Value::Array))
    }
}

/// Bytes as text, with one `?` for each byte that is not UTF-8.
pub fn text(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '?'));
    }
    out
}

/// PHP's urldecode: `+` is a space, `%XX` a byte, anything else itself.
pub fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut at = 0;
    while at < encoded.len() {
        match encoded[at] {
            b'+' => out.push(b' '),
            b'%' => match encoded.get(at + 1..at + 3).and_then(hex_pair) {
                Some(byte) => {
                    out.push(byte);
                    at += 2;
                }
                None => out.push(b'%'),
            },
            byte => out.push(byte),
        }
        at += 1;
    }
    out
}

fn hex_pair(digits: &[u8]) -> Option<u8> {
    let high = (digits[0] as char).to_digit(16)?;
    let low = (digits[1] as char).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, form: &str) -> Params {
        Params::parse(query.as_bytes(), form.as_bytes(), Limits::default()).unwrap()
    }

    #[test]
    fn the_last_wins_and_the_form_beats_the_query() {
        let params = parse("a=1&a=2&b=3", "b=4");
        assert_eq!(params.get("a"), Some(&b"2"[..]));
        assert_eq!(params.get("b"), Some(&b"4"[..]));
    }

    #[test]
    fn a_nested_forum_name_is_data() {
        let params = parse("passcode=one&remoteurl=x%2526passcode%253Dtwo%26passcode%3Dthree", "");
        assert_eq!(params.get("passcode"), Some(&b"one"[..]));
        assert_eq!(params.get("remoteurl"), Some(&b"x%26passcode%3Dtwo&passcode=three"[..]));
    }

    #[test]
    fn arrays_and_odd_names_as_php_reads_them() {
        let params = parse("callback[]=x&your.name=y&=z&flag", "");
        assert!(params.is_array("callback"));
        assert_eq!(params.get("callback"), None);
        assert_eq!(params.get("your_name"), Some(&b"y"[..]));
        assert_eq!(params.get("flag"), Some(&b""[..]));
    }

    #[test]
    fn broken_escapes_stay_and_invalid_utf8_becomes_question_marks() {
        assert_eq!(decode(b"%zz%4"), b"%zz%4");
        assert_eq!(text(&decode(b"a%ff%fe%C3%A9")), "a??é");
    }

    #[test]
    fn too_much_is_refused() {
        let limits = Limits { params_max: 2, value_bytes_max: 3 };
        assert_eq!(Params::parse(b"a&b&c", b"", limits), Err(TooMuch::Params(2)));
        assert_eq!(Params::parse(b"a=1234", b"", limits), Err(TooMuch::Value(3)));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_parse_without_panic(query: Vec<u8>, form: Vec<u8>) {
            let _ = Params::parse(&query, &form, Limits::default());
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(value: Vec<u8>) {
            let encoded: String = value.iter().map(|b| format!("%{b:02X}")).collect();
            proptest::prop_assert_eq!(decode(encoded.as_bytes()), value);
        }
    }
}
