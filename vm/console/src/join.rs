//! The join string: hubs and a token in one line that a person can paste. Owns its form and what is said of one that has
//! another.

use std::str::FromStr;

use loop_peer::config::{HubAddr, JoinToken};

/// No join string is longer, bytes.
const BYTES_MAX: usize = 4096;
/// As many as a peer takes.
const HUBS_MAX: usize = 32;
/// As long as a peer takes, bytes.
const TOKEN_BYTES_MAX: usize = 1024;
/// How much of what was typed is said again.
const SHOWN_CHARS_MAX: usize = 60;

/// Where to join and with what: `host:port,host:port/token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Hubs to dial, at least one.
    pub hubs: Vec<HubAddr>,
    /// What to show them.
    pub token: JoinToken,
}

/// What is wrong with a join string, in words for somebody who was given one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAJoin {
    /// Nothing at all.
    #[error("There is nothing. Paste the join string you were given.")]
    Empty,
    /// Far longer than any.
    #[error("This is much longer than a join string. It is a single line.")]
    TooLong,
    /// Something that no keyboard has.
    #[error(
        "There is a character in it that cannot be part of a join string. Copy it again, without the lines around it."
    )]
    Control,
    /// No slash.
    #[error(
        "The slash and the token after it are missing. A join string looks like this: hub.example:9080/token"
    )]
    NoToken,
    /// The token is longer than any.
    #[error("What stands after the slash is longer than a token can be.")]
    TokenTooLong,
    /// Nothing before the slash, or a comma too many.
    #[error(
        "A hub's address is missing before the slash. A join string looks like this: hub.example:9080/token"
    )]
    NoHub,
    /// More than a peer dials.
    #[error("It names more than {HUBS_MAX} hubs.")]
    TooManyHubs,
    /// A web address.
    #[error("This is a web address. A join string begins with the hub's name, without {0}")]
    WebAddress(&'static str),
    /// A name without a port.
    #[error("`{0}` has no port. A hub's address has a name and a number, for example {0}:9080")]
    NoPort(String),
    /// An address that is none.
    #[error("`{0}` is not a hub's address, which is a name and a number: hub.example:9080")]
    NotAHub(String),
}

impl FromStr for Join {
    type Err = NotAJoin;

    fn from_str(text: &str) -> Result<Self, NotAJoin> {
        let text = unquoted(text.trim());
        if text.is_empty() {
            return Err(NotAJoin::Empty);
        }
        if text.len() > BYTES_MAX {
            return Err(NotAJoin::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(NotAJoin::Control);
        }
        if let Some(scheme) = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme)) {
            return Err(NotAJoin::WebAddress(scheme));
        }
        // No address has a slash; a token may.
        let (hubs, token) = text.split_once('/').ok_or(NotAJoin::NoToken)?;
        let token = token.trim();
        if token.is_empty() {
            return Err(NotAJoin::NoToken);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(NotAJoin::TokenTooLong);
        }
        let hubs = hubs.split(',').map(|hub| parse_hub(hub.trim())).collect::<Result<Vec<_>, _>>()?;
        if hubs.len() > HUBS_MAX {
            return Err(NotAJoin::TooManyHubs);
        }
        Ok(Self { hubs, token: JoinToken::new(token) })
    }
}

/// Mail programs and configuration files put quotes around it.
fn unquoted(text: &str) -> &str {
    ['"', '\'', '`']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .map_or(text, str::trim)
}

fn parse_hub(text: &str) -> Result<HubAddr, NotAJoin> {
    if text.is_empty() {
        return Err(NotAJoin::NoHub);
    }
    HubAddr::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        // With a port it would be one.
        match HubAddr::parse(&format!("{text}:9080")) {
            Some(_) => NotAJoin::NoPort(shown),
            None => NotAJoin::NotAHub(shown),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<(Vec<String>, String), NotAJoin> {
        let join: Join = text.parse()?;
        Ok((join.hubs.iter().map(ToString::to_string).collect(), join.token.expose().to_owned()))
    }

    fn fine(hubs: &[&str], token: &str) -> Result<(Vec<String>, String), NotAJoin> {
        Ok((hubs.iter().map(|hub| (*hub).to_owned()).collect(), token.to_owned()))
    }

    #[test]
    fn a_join_string_is_hubs_and_a_token() {
        assert_eq!(parsed("hub.example:9080/abc"), fine(&["hub.example:9080"], "abc"));
        assert_eq!(parsed("a:1,10.0.0.2:2,[::1]:3/abc"), fine(&["a:1", "10.0.0.2:2", "[::1]:3"], "abc"));
        assert_eq!(parsed("a:1/to/ken=,x y"), fine(&["a:1"], "to/ken=,x y"));
    }

    #[test]
    fn what_comes_along_when_it_is_copied_is_left_off() {
        for text in ["  a:1/abc\r\n", "\"a:1/abc\"", "' a:1/abc '", "`a:1/abc`", "a:1 / abc", " a:1/abc\t"] {
            assert_eq!(parsed(text), fine(&["a:1"], "abc"), "{text:?}");
        }
        assert_eq!(parsed("a:1, b:2/abc"), fine(&["a:1", "b:2"], "abc"));
    }

    #[test]
    fn what_is_none_is_told_what_it_lacks() {
        let long = format!("a:1/{}", "x".repeat(TOKEN_BYTES_MAX + 1));
        let many = format!("{}a:1/t", "a:1,".repeat(HUBS_MAX));
        for (text, wrong) in [
            ("", NotAJoin::Empty),
            (" \t", NotAJoin::Empty),
            ("\"\"", NotAJoin::Empty),
            (&"x".repeat(BYTES_MAX + 1), NotAJoin::TooLong),
            ("a:1/t\u{1b}[2J", NotAJoin::Control),
            ("a:1/one\ntwo", NotAJoin::Control),
            ("a:1", NotAJoin::NoToken),
            ("a:1/", NotAJoin::NoToken),
            ("a:1/  ", NotAJoin::NoToken),
            ("/t", NotAJoin::NoHub),
            ("a:1,/t", NotAJoin::NoHub),
            ("hub.example/t", NotAJoin::NoPort("hub.example".into())),
            ("https://hub.example:1/t", NotAJoin::WebAddress("https://")),
            ("a:0/t", NotAJoin::NotAHub("a:0".into())),
            ("a b:1/t", NotAJoin::NotAHub("a b:1".into())),
            (&long, NotAJoin::TokenTooLong),
            (&many, NotAJoin::TooManyHubs),
        ] {
            assert_eq!(parsed(text), Err(wrong), "{text:?}");
        }
    }

    #[test]
    fn a_token_does_not_print() {
        let join: Join = "a:1/hush".parse().unwrap();
        assert!(!format!("{join:?}").contains("hush"));
    }

    proptest! {
        #[test]
        fn whatever_is_typed_has_an_answer(text in any::<String>()) {
            if let Ok(join) = text.parse::<Join>() {
                prop_assert!(!join.hubs.is_empty() && !join.token.expose().is_empty());
            }
        }

        #[test]
        fn what_is_put_together_comes_apart_again(
            hosts in proptest::collection::vec("[a-z][a-z0-9.-]{0,20}", 1..5),
            port in 1u16..,
            token in "[!-~]([ -~]{0,40}[!-~])?",
        ) {
            let hubs: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
            prop_assert_eq!(parsed(&format!("{}/{token}", hubs.join(","))), Ok((hubs, token)));
        }
    }
}
