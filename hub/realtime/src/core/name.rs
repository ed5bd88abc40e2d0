//! A user's name: what `identify` says, checked once. A name is a claim; nobody proves it.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde_json::value::RawValue;

/// Longest name, bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 256;

/// A name. In the order of JavaScript's `sort()`, which is that of UTF-16 code units: bytes of UTF-8 differ from it beyond U+FFFF.
#[derive(Clone, PartialEq, Eq)]
pub struct UserName(Arc<str>);

impl UserName {
    /// A name, if it is not empty and not too long.
    pub fn new(name: &str) -> Option<Self> {
        (!name.is_empty() && name.len() <= NAME_BYTES_MAX).then(|| Self(name.into()))
    }

    /// A name as clients send it: a string, or a number, which is the name JavaScript makes of it.
    pub fn of_json(json: &RawValue) -> Option<Self> {
        let text = json.get();
        if text.starts_with('"') {
            return Self::new(&serde_json::from_str::<String>(text).ok()?);
        }
        if let Ok(whole) = serde_json::from_str::<i64>(text) {
            return (whole.unsigned_abs() <= WHOLE_MAX).then(|| Self::new(&whole.to_string()))?;
        }
        let number: f64 = serde_json::from_str(text).ok()?;
        // Within these bounds JavaScript writes no exponent, and both write the shortest digits that are this number.
        let plain = (1e-6..1e15).contains(&number.abs());
        plain.then(|| Self::new(&number.to_string()))?
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Beyond it a number of JavaScript is not exact any more.
const WHOLE_MAX: u64 = 1 << 53;

impl Ord for UserName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.encode_utf16().cmp(other.0.encode_utf16())
    }
}

impl PartialOrd for UserName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What people call themselves is nobody's business who reads a log.
        write!(f, "UserName({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Option<String> {
        let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
        UserName::of_json(&raw).map(|name| name.as_str().to_owned())
    }

    #[test]
    fn numbers_are_the_names_javascript_makes_of_them_and_nothing_else_is_a_name() {
        for (json, name) in [
            ("\"Anna\"", "Anna"),
            ("42", "42"),
            ("-7", "-7"),
            ("4.50", "4.5"),
            ("3.0", "3"),
            ("\"__proto__\"", "__proto__"),
            ("\"\\ud83d\\ude00\"", "😀"),
        ] {
            assert_eq!(of(json).as_deref(), Some(name), "{json}");
        }
        let too_long = format!("\"{}\"", "ä".repeat(NAME_BYTES_MAX / 2 + 1));
        for json in
            ["\"\"", "null", "true", "[]", "{}", "1e300", "9007199254740993", "\"\\ud800\"", &too_long]
        {
            assert_eq!(of(json), None, "{json}");
        }
    }

    #[test]
    fn names_are_in_the_order_of_javascript() {
        let mut names: Vec<UserName> = ["anna", "\u{1f600}", "Billy", "\u{ff5e}", "42", "Carl"]
            .into_iter()
            .map(|name| UserName::new(name).unwrap())
            .collect();
        names.sort();
        let order: Vec<&str> = names.iter().map(UserName::as_str).collect();
        assert_eq!(order, ["42", "Billy", "Carl", "anna", "\u{1f600}", "\u{ff5e}"]);
    }
}
