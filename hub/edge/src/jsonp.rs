//! The JSONP envelope: which callbacks are allowed, and how an answer is wrapped.
//!
//! AtomJump echoes any callback. We take only names, because the answer's type is text/html and whoever sends
//! somebody a link would otherwise choose what the page says.

use bytes::{BufMut, Bytes, BytesMut};
use loop_proto::php_params::Params;

/// Longest callback, bytes. jQuery's are 40.
pub const CALLBACK_BYTES_MAX: usize = 128;

/// A callback that is safe to print; empty if the request named none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callback(String);

/// The callback is not a JavaScript name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("callback must be a JavaScript name of at most {CALLBACK_BYTES_MAX} characters")]
pub struct BadCallback;

impl Callback {
    /// Reads it from the query alone: a form's `callback` does not count.
    pub fn from_query(query: &Params) -> Result<Self, BadCallback> {
        if query.is_array("callback") {
            return Err(BadCallback);
        }
        let Some(bytes) = query.non_empty("callback") else { return Ok(Self::default()) };
        let first = bytes[0].is_ascii_alphabetic() || matches!(bytes[0], b'_' | b'$');
        let rest = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.'));
        if !first || !rest || bytes.len() > CALLBACK_BYTES_MAX {
            return Err(BadCallback);
        }
        String::from_utf8(bytes.to_vec()).map(Self).map_err(|_| BadCallback)
    }

    /// Whether the request named none.
    pub fn is_missing(&self) -> bool {
        self.0.is_empty()
    }

    /// `callback(json)`; without a callback `if_missing(json)`.
    pub fn wrap(&self, json: &[u8], if_missing: &str) -> Bytes {
        let name = if self.0.is_empty() { if_missing } else { &self.0 };
        let mut out = BytesMut::with_capacity(name.len() + json.len() + 2);
        out.put_slice(name.as_bytes());
        out.put_u8(b'(');
        out.put_slice(json);
        out.put_u8(b')');
        out.freeze()
    }

    /// What jQuery keeps for the life of a page: `jQuery<digits>` of `jQuery<digits>_<counter>`.
    pub fn page_token(&self) -> Option<&str> {
        let (token, counter) = self.0.rsplit_once('_')?;
        let digits = token.strip_prefix("jQuery")?;
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        (all_digits(digits) && all_digits(counter)).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn callback(query: &str) -> Result<Callback, BadCallback> {
        Callback::from_query(&Params::parse(query.as_bytes(), b"", Default::default()).unwrap())
    }

    #[test]
    fn names_wrap_and_no_name_gives_bare_parentheses() {
        assert_eq!(&callback("callback=jQuery1_2").unwrap().wrap(b"{}", "")[..], b"jQuery1_2({})");
        assert_eq!(&callback("callback=").unwrap().wrap(b"{}", "")[..], b"({})");
        assert_eq!(&callback("").unwrap().wrap(b"{}", "undefined")[..], b"undefined({})");
        assert_eq!(&callback("callback=a.b.$c").unwrap().wrap(b"1", "")[..], b"a.b.$c(1)");
    }

    #[test]
    fn what_could_become_a_page_or_a_program_is_refused() {
        for bad in
            ["callback[]=x", "callback=alert(1)//", "callback=%3Cscript%3E", "callback=1a", "callback=a%00"]
        {
            assert_eq!(callback(bad), Err(BadCallback), "{bad}");
        }
        assert!(callback(&format!("callback={}", "a".repeat(128))).is_ok());
        assert_eq!(callback(&format!("callback={}", "a".repeat(129))), Err(BadCallback));
    }

    #[test]
    fn the_page_token_is_jquerys() {
        let token = |c: &str| callback(&format!("callback={c}")).unwrap().page_token().map(str::to_owned);
        assert_eq!(token("jQuery111007185_1583350964829").as_deref(), Some("jQuery111007185"));
        assert_eq!(token("jQuery111007185"), None);
        assert_eq!(token("jQuery_15"), None);
        assert_eq!(token("other1_2"), None);
    }

    proptest::proptest! {
        #[test]
        fn an_accepted_callback_never_carries_markup(value: Vec<u8>) {
            let encoded: String = value.iter().map(|b| format!("%{b:02X}")).collect();
            if let Ok(accepted) = callback(&format!("callback={encoded}")) {
                proptest::prop_assert!(accepted.0.bytes().all(|b| b.is_ascii_alphanumeric() || b"_$.".contains(&b)));
            }
        }
    }
}
