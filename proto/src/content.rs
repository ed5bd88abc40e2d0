//! Published files: how they are named, and the limits that hubs, peers and hubctl share.

use std::fmt;

use crate::v1::ContentType;

/// Longest file, bytes.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// Most bytes of a file in one message, far below what either side takes as one.
pub const PIECE_BYTES_MAX: usize = 512 << 10;
/// Longest path, bytes.
pub const PATH_BYTES_MAX: usize = 512;
/// Most files of a manifest.
pub const FILES_MAX: usize = 10_000;
/// Most files of one command. With [`PATH_BYTES_MAX`] it bounds a command's bytes.
pub const FILES_PER_COMMAND_MAX: usize = 256;
/// On how many peers a file is put.
pub const HOLDERS_MAX: usize = 3;
/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;

/// What an entry takes besides its path, at most: hash, size, type, holders, and their field numbers.
const ENTRY_BYTES_MAX: usize = 96;
const _: () =
    assert!(FILES_PER_COMMAND_MAX * (PATH_BYTES_MAX + ENTRY_BYTES_MAX) < 256 << 10, "a command stays small");
const _: () =
    assert!(FILES_MAX * (HASH_BYTES + 2) < 1 << 20, "a peer is told all it shall keep in one message");

/// SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; HASH_BYTES]);

impl ContentHash {
    /// `None` unless exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 2 * HASH_BYTES || !text.as_bytes().iter().all(digit) {
            return None;
        }
        let mut hash = [0; HASH_BYTES];
        for (byte, at) in hash.iter_mut().zip((0..text.len()).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(hash))
    }

    /// The bytes as messages carry them.
    pub fn to_bytes(self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.0)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a file can be published under this path: `/` and clean parts, none of them hidden or a way up.
pub fn is_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && !path.chars().any(char::is_control)
        && path.strip_prefix('/').is_some_and(is_clean)
}

/// Whether a path below a folder can name a file that may be read: no hidden part and no way up, no backslash, no end in a folder.
pub fn is_clean(inside: &str) -> bool {
    !inside.contains('\\') && inside.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// What a file is, by its name's ending.
pub fn type_of(path: &str) -> ContentType {
    let name = path.rsplit('/').next().unwrap_or_default();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref().unwrap_or_default() {
        "html" | "htm" => ContentType::Html,
        "js" | "mjs" => ContentType::Javascript,
        "css" => ContentType::Css,
        "json" | "map" => ContentType::Json,
        "txt" => ContentType::Text,
        "xml" => ContentType::Xml,
        "svg" => ContentType::Svg,
        "png" => ContentType::Png,
        "jpg" | "jpeg" => ContentType::Jpeg,
        "gif" => ContentType::Gif,
        "webp" => ContentType::Webp,
        "avif" => ContentType::Avif,
        "ico" => ContentType::Ico,
        "woff" => ContentType::Woff,
        "woff2" => ContentType::Woff2,
        "ttf" => ContentType::Ttf,
        "otf" => ContentType::Otf,
        "eot" => ContentType::Eot,
        "mp3" => ContentType::Mp3,
        "ogg" => ContentType::Ogg,
        "wav" => ContentType::Wav,
        "mp4" => ContentType::Mp4,
        "webm" => ContentType::Webm,
        "pdf" => ContentType::Pdf,
        "wasm" => ContentType::Wasm,
        "webmanifest" => ContentType::WebManifest,
        _ => ContentType::Unspecified,
    }
}

/// A type as HTTP has it.
pub const fn media_type(kind: ContentType) -> &'static str {
    match kind {
        ContentType::Unspecified => "application/octet-stream",
        ContentType::Html => "text/html; charset=utf-8",
        ContentType::Javascript => "text/javascript; charset=utf-8",
        ContentType::Css => "text/css; charset=utf-8",
        ContentType::Json => "application/json",
        ContentType::Text => "text/plain; charset=utf-8",
        ContentType::Xml => "application/xml",
        ContentType::Svg => "image/svg+xml",
        ContentType::Png => "image/png",
        ContentType::Jpeg => "image/jpeg",
        ContentType::Gif => "image/gif",
        ContentType::Webp => "image/webp",
        ContentType::Avif => "image/avif",
        ContentType::Ico => "image/x-icon",
        ContentType::Woff => "font/woff",
        ContentType::Woff2 => "font/woff2",
        ContentType::Ttf => "font/ttf",
        ContentType::Otf => "font/otf",
        ContentType::Eot => "application/vnd.ms-fontobject",
        ContentType::Mp3 => "audio/mpeg",
        ContentType::Ogg => "audio/ogg",
        ContentType::Wav => "audio/wav",
        ContentType::Mp4 => "video/mp4",
        ContentType::Webm => "video/webm",
        ContentType::Pdf => "application/pdf",
        ContentType::Wasm => "application/wasm",
        ContentType::WebManifest => "application/manifest+json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_clean() {
        for path in ["/a", "/a/b.js", "/a b.png", "/zoë/x"] {
            assert!(is_path(path), "{path}");
        }
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for path in ["", "/", "a", "//a", "/a/", "/a//b", "/.a", "/a/../b", "/a/./b", "/a\\b", "/a\nb", &long]
        {
            assert!(!is_path(path), "{path}");
        }
        assert!(is_path(&long[..PATH_BYTES_MAX]));
    }

    #[test]
    fn types_follow_the_ending() {
        assert_eq!(media_type(type_of("/a/face1.PNG")), "image/png");
        assert_eq!(type_of("/a.b/c"), ContentType::Unspecified);
        assert_eq!(type_of("/x.unknown"), ContentType::Unspecified);
        for number in 0..=26 {
            let kind = ContentType::try_from(number).unwrap();
            assert!(media_type(kind).contains('/'), "{kind:?}");
        }
        assert!(ContentType::try_from(27).is_err(), "a new type is served as what it is");
    }

    #[test]
    fn a_hash_is_read_as_it_is_printed() {
        let hash = ContentHash([0xa0; 32]);
        assert_eq!(ContentHash::from_hex(&hash.to_string()), Some(hash));
        for text in ["", "a0", &"A0".repeat(32), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(ContentHash::from_hex(text), None, "{text}");
        }
    }
}
