//! A file as it is served: type, validators, and the answer to a browser that has it already.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use loop_proto::{content, v1::ContentType};
use sha2::{Digest, Sha256};

use super::{
    answer::{self, Answer},
    dates,
};

/// A file in memory.
#[derive(Clone, Debug)]
pub struct File {
    /// Its bytes.
    pub body: Bytes,
    /// Its type.
    pub content_type: HeaderValue,
    /// Strong validator.
    pub etag: HeaderValue,
    /// Seconds of Unix time, if known.
    pub last_modified: Option<u64>,
    /// How long browsers may keep it.
    pub cache_control: HeaderValue,
    /// Whether a page made of it may do nothing: published files. What runs on a hub's origin can act as its users.
    pub inert: bool,
}

impl File {
    /// The answer to whoever has it already, if the request says so.
    pub fn unchanged(&self, request: &HeaderMap) -> Option<Answer> {
        self.is_known_to(request).then(|| self.answer(request))
    }

    /// The answer to a GET or HEAD of it.
    pub fn answer(&self, request: &HeaderMap) -> Answer {
        let mut answer = if self.is_known_to(request) {
            answer::status_only(StatusCode::NOT_MODIFIED)
        } else {
            answer::with_body(StatusCode::OK, self.content_type.clone(), self.body.clone())
        };
        let headers = answer.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, self.cache_control.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.inert {
            let nothing = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; sandbox";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(nothing));
        }
        if let Some(date) = self.last_modified.and_then(|s| HeaderValue::from_str(&dates::format(s)).ok()) {
            headers.insert(LAST_MODIFIED, date);
        }
        answer
    }

    /// `If-None-Match` decides; `If-Modified-Since` only where it is missing.
    fn is_known_to(&self, request: &HeaderMap) -> bool {
        if let Some(tags) = request.get(IF_NONE_MATCH) {
            let ours = self.etag.as_bytes();
            let mut tags = tags.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
            return tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == ours);
        }
        let since = request.get(IF_MODIFIED_SINCE).and_then(|date| dates::parse(date.to_str().ok()?));
        since.zip(self.last_modified).is_some_and(|(since, changed)| changed <= since)
    }
}

/// A validator made of the content.
pub fn etag_of(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let hex: String = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The type by the name's ending.
pub fn type_of(path: &str) -> HeaderValue {
    media_type(content::type_of(path))
}

/// A published file's type.
pub fn media_type(kind: ContentType) -> HeaderValue {
    HeaderValue::from_static(content::media_type(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        File {
            body: Bytes::from_static(b"x"),
            content_type: type_of("/x"),
            etag: HeaderValue::from_static("\"abc\""),
            last_modified: Some(1_795_232_963),
            cache_control: HeaderValue::from_static("max-age=60"),
            inert: false,
        }
    }

    fn status(name: &'static str, value: &'static str) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        file().answer(&headers).status().as_u16()
    }

    #[test]
    fn a_browser_that_has_it_is_told_so() {
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(status("if-none-match", tags), 304, "{tags}");
        }
        assert_eq!(status("if-none-match", "\"x\""), 200);
        assert_eq!(status("if-modified-since", "Sat, 21 Nov 2026 03:49:23 GMT"), 304);
        assert_eq!(status("if-modified-since", "Sat, 21 Nov 2026 03:49:22 GMT"), 200);
        assert_eq!(status("if-modified-since", "garbage"), 200);
    }

    #[test]
    fn equal_contents_have_equal_tags() {
        assert_eq!(etag_of(b"a"), etag_of(b"a"));
        assert_ne!(etag_of(b"a"), etag_of(b"b"));
    }
}
