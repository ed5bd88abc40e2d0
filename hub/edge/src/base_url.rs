//! How the browser reached us: host, scheme and whether it used the `/api` prefix.
//!
//! Ends up in pages and stored links, so that a host with anything but host characters is refused.

use http::{HeaderMap, Uri, header::HOST};

/// Longest authority, bytes: a DNS name of 253 and a port.
const AUTHORITY_BYTES_MAX: usize = 260;

/// The Host header is missing where it is needed, doubled or malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Host header is missing or malformed")]
pub struct BadHost;

/// The authority the request was sent to.
pub fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, BadHost> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| BadHost)?,
        (None, _) => uri.authority().map(|a| a.as_str()).ok_or(BadHost)?,
        (Some(_), Some(_)) => return Err(BadHost),
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let fits = !host.is_empty() && host.len() <= AUTHORITY_BYTES_MAX;
    if fits && host.bytes().all(legal) { Ok(host) } else { Err(BadHost) }
}

/// `scheme://authority`; `X-Forwarded-Proto` counts only behind a trusted proxy.
pub fn origin(authority: &str, headers: &HeaderMap, trust_proxy: bool) -> String {
    let forwarded = headers.get("x-forwarded-proto").filter(|_| trust_proxy);
    let https = forwarded.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"https"));
    format!("{}://{authority}", if https { "https" } else { "http" })
}

/// Whether this is the host of AtomJump's fast reader, whose dialect differs.
pub fn is_fast_host(authority: &str) -> bool {
    authority.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("fast."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str) -> Result<String, BadHost> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, http::HeaderValue::from_bytes(host.as_bytes()).map_err(|_| BadHost)?);
        authority(&Uri::from_static("/"), &headers).map(str::to_owned)
    }

    #[test]
    fn a_host_is_host_characters_only() {
        assert_eq!(of("atomjump.com:8080").unwrap(), "atomjump.com:8080");
        assert_eq!(of("[::1]:8080").unwrap(), "[::1]:8080");
        for bad in ["", "a b", "a/b", "\"><script>", "a@b", "a'b"] {
            assert_eq!(of(bad), Err(BadHost), "{bad}");
        }
        assert_eq!(authority(&Uri::from_static("/"), &HeaderMap::new()), Err(BadHost));
    }

    #[test]
    fn the_scheme_is_forwarded_only_by_a_trusted_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", http::HeaderValue::from_static("https"));
        assert_eq!(origin("a.b", &headers, true), "https://a.b");
        assert_eq!(origin("a.b", &headers, false), "http://a.b");
    }

    #[test]
    fn fast_hosts() {
        assert!(is_fast_host("fast.atomjump.com"));
        assert!(!is_fast_host("fas"));
        assert!(!is_fast_host("breakfast.example"));
    }
}
