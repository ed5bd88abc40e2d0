//! Files served from one folder: scripts, styles, images. Owns which paths may be read at all.
//! Never knows tasks or forums.

use std::{
    fs::File,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use loop_proto::v1;
use percent_encoding::percent_decode;
use sha2::{Digest, Sha256};

/// Longest file that is served, bytes. It passes as one message.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// Longest path, bytes; file systems end at 4096.
const PATH_BYTES_MAX: usize = 2048;

/// A folder whose files anybody may have.
#[derive(Clone, Debug)]
pub struct StaticFiles {
    root: PathBuf,
}

impl StaticFiles {
    /// Serves `root`, which must exist.
    pub fn new(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.canonicalize()? })
    }

    /// Answers a request for a file. Reads the disk.
    pub fn answer(&self, request: &v1::ClientRequest) -> v1::File {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return status_only(405);
        }
        let Some((path, bytes)) =
            self.locate(&request.path).and_then(|path| Some((path.clone(), read(&path)?)))
        else {
            return status_only(404);
        };
        let etag = etag(&bytes);
        let headers = vec![header("etag", &etag), header("cache-control", "public, max-age=300")];
        if wanted(request).is_some_and(|tags| matches(tags, &etag)) {
            return v1::File { status: 304, headers, ..Default::default() };
        }
        v1::File { status: 200, content_type: content_type(&path).to_owned(), headers, body: bytes.into() }
    }

    /// The file a request path means; `None` if it is none, hidden, or outside the folder.
    fn locate(&self, path: &[u8]) -> Option<PathBuf> {
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        let decoded = percent_decode(path).decode_utf8().ok()?;
        if decoded.contains(['\0', '\\']) {
            return None;
        }
        let mut found = self.root.clone();
        for part in Path::new(decoded.trim_start_matches('/')).components() {
            match part {
                Component::Normal(name) if !name.as_encoded_bytes().starts_with(b".") => found.push(name),
                Component::CurDir => {}
                _ => return None,
            }
        }
        // A link inside the folder may lead out of it.
        let found = found.canonicalize().ok()?;
        found.starts_with(&self.root).then_some(found)
    }
}

fn read(path: &Path) -> Option<Vec<u8>> {
    // Asked before opening: opening a pipe would wait for its writer.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        tracing::warn!(path = %path.display(), "not served: longer than {FILE_BYTES_MAX} bytes");
        return None;
    }
    Some(bytes)
}

/// From the content alone, so that all peers that have the file agree.
fn etag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn wanted(request: &v1::ClientRequest) -> Option<&[u8]> {
    request.headers.iter().find(|header| header.name == "if-none-match").map(|header| &header.value[..])
}

/// RFC 9110 §13.1.2: any of a list, compared weakly; `*` is any.
fn matches(tags: &[u8], etag: &str) -> bool {
    let plain = |tag: &[u8]| tag.trim_ascii().strip_prefix(b"W/").unwrap_or(tag.trim_ascii()).to_vec();
    tags.trim_ascii() == b"*" || tags.split(|byte| *byte == b',').any(|tag| plain(tag) == etag.as_bytes())
}

fn header(name: &str, value: &str) -> v1::Header {
    v1::Header { name: name.to_owned(), value: value.as_bytes().to_vec().into() }
}

fn status_only(status: u32) -> v1::File {
    v1::File { status, ..Default::default() }
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|text| text.to_str()).unwrap_or("").to_ascii_lowercase();
    match extension.as_str() {
        "js" | "mjs" => "application/javascript",
        "css" => "text/css",
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "json" | "map" => "application/json",
        "xml" => "text/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "eot" => "application/vnd.ms-fontobject",
        "mp3" => "audio/mpeg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder() -> (tempfile::TempDir, StaticFiles) {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("www");
        fs::create_dir_all(root.join("js")).unwrap();
        fs::write(root.join("js/chat one.js"), "let a;").unwrap();
        fs::write(root.join(".htpasswd"), "x").unwrap();
        fs::write(outer.path().join("outside"), "x").unwrap();
        std::os::unix::fs::symlink(outer.path().join("outside"), root.join("link")).unwrap();
        let files = StaticFiles::new(&root).unwrap();
        (outer, files)
    }

    fn get(files: &StaticFiles, path: &str, if_none_match: Option<&str>) -> v1::File {
        let headers = if_none_match.map(|tags| header("if-none-match", tags)).into_iter().collect();
        let path = path.as_bytes().to_vec().into();
        files.answer(&v1::ClientRequest { method: "GET".into(), path, headers, ..Default::default() })
    }

    #[test]
    fn a_file_is_served_with_its_type_and_a_tag_that_saves_the_next_transfer() {
        let (_outer, files) = folder();
        let first = get(&files, "/js/chat%20one.js", None);
        assert_eq!((first.status, first.content_type.as_str()), (200, "application/javascript"));
        assert_eq!(&first.body[..], b"let a;");
        let tag = String::from_utf8(first.headers[0].value.to_vec()).unwrap();
        for tags in [tag.clone(), format!("\"other\", W/{tag}"), "*".into()] {
            let again = get(&files, "/js/chat%20one.js", Some(&tags));
            assert_eq!((again.status, again.body.len()), (304, 0), "{tags}");
        }
        assert_eq!(get(&files, "/js/chat%20one.js", Some("\"other\"")).status, 200);
    }

    #[test]
    fn nothing_outside_the_folder_or_hidden_in_it_can_be_had() {
        let (_outer, files) = folder();
        for path in [
            "/../outside",
            "/js/../../outside",
            "/%2e%2e/outside",
            "/..%2foutside",
            "/js/..%5c..%5coutside",
            "/link",
            "/.htpasswd",
            "/js/",
            "/js",
            "/",
            "",
            "/none",
            "/%00",
            "/%ff",
            "//etc/passwd",
        ] {
            let answer = get(&files, path, None);
            assert_eq!((answer.status, answer.body.len()), (404, 0), "{path}");
        }
        assert_eq!(get(&files, &format!("/{}", "a/".repeat(5000)), None).status, 404);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_served() {
        let (outer, files) = folder();
        let file = File::create(outer.path().join("www/huge.bin")).unwrap();
        file.set_len(FILE_BYTES_MAX).unwrap();
        assert_eq!(get(&files, "/huge.bin", None).status, 200);
        file.set_len(FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(get(&files, "/huge.bin", None).status, 404);
    }

    #[test]
    fn only_reading_is_allowed() {
        let (_outer, files) = folder();
        let request = v1::ClientRequest { method: "POST".into(), ..Default::default() };
        assert_eq!(files.answer(&request).status, 405);
    }
}
