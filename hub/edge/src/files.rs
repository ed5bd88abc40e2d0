//! A file as it is served: type, validators, and the answer to a browser that has it already.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
        X_CONTENT_TYPE_OPTIONS,
    },
};
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
    /// Whether a page made of it may do nothing: files of peers.
    pub inert: bool,
}

impl File {
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

/// The type by the name's ending; `None` if it is an ending we do not know.
pub fn type_of(path: &str) -> Option<HeaderValue> {
    let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    let known = match ending.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "eot" => "application/vnd.ms-fontobject",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        _ => return None,
    };
    Some(HeaderValue::from_static(known))
}

/// The type of what has no known ending.
pub const UNKNOWN_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        File {
            body: Bytes::from_static(b"x"),
            content_type: UNKNOWN_TYPE,
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
    fn types_by_ending() {
        assert_eq!(type_of("/a/face1.PNG").unwrap(), "image/png");
        assert_eq!(type_of("/a.b/c"), None);
        assert_eq!(type_of("/x.unknown"), None);
    }

    #[test]
    fn equal_contents_have_equal_tags() {
        assert_eq!(etag_of(b"a"), etag_of(b"a"));
        assert_ne!(etag_of(b"a"), etag_of(b"b"));
    }
}
