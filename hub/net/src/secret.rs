//! Values that must not be printed.

use std::fmt;

/// A value that prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value. Compare it with [`Secret::matches`].
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares in a time that depends on the lengths only.
    pub fn matches(&self, candidate: &str) -> bool {
        let differing = self.0.bytes().zip(candidate.bytes()).fold(0, |acc, (a, b)| acc | (a ^ b));
        self.0.len() == candidate.len() && differing == 0
    }
}

impl Secret {
    /// Whether it can be sent as a bearer token and is long enough for one.
    pub fn is_bearer(&self) -> bool {
        (16..=256).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
