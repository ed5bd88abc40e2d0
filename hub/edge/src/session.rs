//! Whose request it is. Owns the rule which of the given session ids counts, minting, cookies in and out.
//!
//! A session id is full authority over its user, so that nothing here is ever printed.

use loop_proto::{ids::is_session_id, php_params, v1::Endpoint};
use php_params::Params;

use super::outside::Outside;

/// Length of a minted id, PHP's own: 26 characters of 5 bits.
const MINTED_LEN: usize = 26;

/// AtomJump's: three years.
const COOKIE_SECONDS: u64 = 94_608_000;

/// Longest `Cookie` header that is read, bytes, all of them together; what is beyond does not count.
const COOKIE_BYTES_MAX: usize = 8 * 1024;

/// The only cookies peers get to see; others of the same host are none of a volunteer's business.
const COOKIES_PASSED_ON: [&str; 5] = ["ses", "lang", "email", "phone", "your_name"];

/// The session of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// 1 to 32 of `[A-Za-z0-9,-]`; empty for robots, files and everything else without a session.
    pub id: String,
    /// Whether the answer has to set the cookie.
    pub set_cookie: bool,
    /// Whether the browser named it, so that it can name it again.
    pub given: bool,
}

impl Session {
    /// No session at all.
    pub fn none() -> Self {
        Self { id: String::new(), set_cookie: false, given: false }
    }

    /// Takes `ses`; else, for readers, `sessionId`; else the cookie; else, or if that one is malformed, a new one.
    pub fn choose(endpoint: Endpoint, params: &Params, cookies: &Cookies, outside: &dyn Outside) -> Self {
        let ses = params.non_empty("ses");
        let reads = matches!(endpoint, Endpoint::SearchChat | Endpoint::FastSearchChat);
        let reader = params.non_empty("sessionId").filter(|_| reads);
        let cookie = cookies.get("PHPSESSID").filter(|value| !value.is_empty());
        let named = ses.or(reader).or(cookie);
        match named.filter(|id| is_session_id(id)).and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) => {
                Self { id: id.to_owned(), set_cookie: ses.is_some() || cookie.is_none(), given: true }
            }
            None => Self { id: mint(outside), set_cookie: true, given: false },
        }
    }

    /// The value of `Set-Cookie`, if one is due.
    pub fn cookie(&self, unix_seconds: u64) -> Option<String> {
        let expires = super::dates::format(unix_seconds.saturating_add(COOKIE_SECONDS));
        let id = &self.id;
        (self.set_cookie && !id.is_empty())
            .then(|| format!("PHPSESSID={id}; expires={expires}; Max-Age={COOKIE_SECONDS}; path=/"))
    }
}

fn mint(outside: &dyn Outside) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let mut chance = [0u8; MINTED_LEN];
    outside.fill_random(&mut chance);
    chance.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
}

/// The cookies of one request, raw. The first of several of one name counts.
#[derive(Clone, Default)]
pub struct Cookies {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Cookies {
    /// Reads `Cookie` header values.
    pub fn parse<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut cookies = Self::default();
        let mut bytes = 0;
        for header in headers {
            bytes += header.len();
            if bytes > COOKIE_BYTES_MAX {
                break;
            }
            for pair in header.split(|b| *b == b';') {
                let pair = pair.trim_ascii();
                let Some(at) = pair.iter().position(|b| *b == b'=') else { continue };
                let name = &pair[..at];
                if cookies.raw(name).is_none() {
                    cookies.pairs.push((name.to_vec(), pair[at + 1..].to_vec()));
                }
            }
        }
        cookies
    }

    fn raw(&self, name: &[u8]) -> Option<&[u8]> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    /// The value as sent. Session ids need no decoding: a legal one has nothing encoded.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.raw(name.as_bytes())
    }

    /// A `Cookie` header with only what AtomJump reads; `None` if none of it was sent.
    pub fn passed_on(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for name in COOKIES_PASSED_ON {
            let Some(value) = self.get(name) else { continue };
            if !out.is_empty() {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value);
        }
        (!out.is_empty()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Outside for Fixed {
        fn fill_random(&self, bytes: &mut [u8]) {
            for (n, byte) in (0u8..).zip(bytes) {
                *byte = n.wrapping_mul(37);
            }
        }

        fn unix_seconds(&self) -> u64 {
            1_795_232_963
        }
    }

    fn choose(endpoint: Endpoint, query: &str, cookie: &str) -> Session {
        let params = Params::parse(query.as_bytes(), b"", Default::default()).unwrap();
        Session::choose(endpoint, &params, &Cookies::parse([cookie.as_bytes()].into_iter()), &Fixed)
    }

    #[test]
    fn ses_beats_session_id_beats_cookie() {
        let cookie = "a=b; PHPSESSID=cook";
        let session = choose(Endpoint::SearchChat, "ses=one&sessionId=two", cookie);
        assert_eq!((session.id.as_str(), session.set_cookie), ("one", true));
        let session = choose(Endpoint::SearchChat, "ses=&sessionId=two", cookie);
        assert_eq!((session.id.as_str(), session.set_cookie), ("two", false));
        let session = choose(Endpoint::Shout, "sessionId=two", cookie);
        assert_eq!((session.id.as_str(), session.set_cookie), ("cook", false));
        let session = choose(Endpoint::SearchChat, "sessionId=two", "");
        assert_eq!((session.id.as_str(), session.set_cookie), ("two", true));
    }

    #[test]
    fn what_would_not_fit_or_is_not_one_is_replaced_by_a_minted_one() {
        let too_long = format!("ses={}", "a".repeat(33));
        for query in ["", "ses=a%20b", "ses=%ff", "ses=a'--", too_long.as_str()] {
            let session = choose(Endpoint::ChatPage, query, "");
            assert_eq!(session.id.len(), 26, "{query}");
            assert!(session.id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'v').contains(&b)));
            assert!(session.set_cookie && !session.given);
        }
        assert_eq!(choose(Endpoint::ChatPage, "", "PHPSESSID=no good").id.len(), 26);
        assert_eq!(choose(Endpoint::ChatPage, "", "PHPSESSID=Az9,-").id, "Az9,-");
    }

    #[test]
    fn the_cookie_is_atomjumps() {
        let session = Session { id: "e9kk7qp45o5r85vr5bkrfr6ran".into(), set_cookie: true, given: true };
        assert_eq!(
            session.cookie(Fixed.unix_seconds()).unwrap(),
            "PHPSESSID=e9kk7qp45o5r85vr5bkrfr6ran; expires=Tue, 20 Nov 2029 03:49:23 GMT; Max-Age=94608000; path=/"
        );
        assert_eq!(Session::none().cookie(0), None);
    }

    #[test]
    fn peers_see_only_atomjumps_cookies() {
        let header = b"bank=secret; lang=es; PHPSESSID=x; ses=y;;=; email=a%40b; lang=fr";
        let cookies = Cookies::parse([&header[..]].into_iter());
        assert_eq!(cookies.passed_on().unwrap(), b"ses=y; lang=es; email=a%40b");
    }

    proptest::proptest! {
        #[test]
        fn any_cookie_and_parameter_gives_a_legal_session(cookie: Vec<u8>, ses: Vec<u8>) {
            let encoded: String = ses.iter().map(|b| format!("%{b:02X}")).collect();
            let params = Params::parse(format!("ses={encoded}").as_bytes(), b"", Default::default()).unwrap();
            let cookies = Cookies::parse([cookie.as_slice()].into_iter());
            let session = Session::choose(Endpoint::Shout, &params, &cookies, &Fixed);
            proptest::prop_assert!(is_session_id(session.id.as_bytes()));
        }
    }
}
