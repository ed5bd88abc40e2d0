//! Files: the hub's own, those of the operator's folder, and published ones through a bounded memory.
//!
//! A published file is known by its hash: what is in memory stays right, and nothing of the asking browser goes to a peer. A
//! path that is not published costs no peer anything.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_SECURITY_POLICY, request::Parts};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{
    answer::{self, Answer},
    config::HttpConfig,
    file_cache::FileCache,
    files::{self, File},
    route::{Place, Route},
    shim::{Head, Refusal},
    static_dir::{self, StaticDir},
};
use crate::gateway::{CallError, Gateway, Published};

const CHAT_SCRIPT: &str = concat!(
    include_str!("../assets/front/page.js"),
    include_str!("../assets/front/clean.js"),
    include_str!("../assets/front/watch.js"),
    include_str!("../assets/front/chat.js")
);

const FAVICON: &[u8] = include_bytes!("../assets/favicon.svg");

/// Files compiled in: path, content.
const ASSETS: [(&str, &[u8]); 10] = [
    ("/front/chat.js", CHAT_SCRIPT.as_bytes()),
    ("/front/chat.css", include_bytes!("../assets/front/chat.css")),
    ("/front/close.js", include_bytes!("../assets/front/close.js")),
    ("/front/popup.js", include_bytes!("../assets/front/popup.js")),
    ("/front/popup.css", include_bytes!("../assets/front/popup.css")),
    ("/front/realtime.js", include_bytes!("../assets/front/realtime.js")),
    ("/front/realtime.css", include_bytes!("../assets/front/realtime.css")),
    ("/front/multi.js", include_bytes!("../assets/front/multi.js")),
    ("/favicon.svg", FAVICON),
    ("/favicon.ico", FAVICON),
];

/// Serves files.
pub struct Statics {
    assets: Vec<(&'static str, File)>,
    dir: Option<StaticDir>,
    cache: Mutex<FileCache>,
    gateway: Arc<dyn Gateway>,
}

impl Statics {
    /// Fails if the operator's folder cannot be opened.
    pub fn new(config: &HttpConfig, gateway: Arc<dyn Gateway>) -> io::Result<Self> {
        let open = |root| StaticDir::open(root, config.static_file_bytes_max);
        Ok(Self {
            assets: ASSETS.into_iter().map(|(path, body)| (path, asset(path, body))).collect(),
            dir: config.static_dir.as_deref().map(open).transpose()?,
            cache: Mutex::new(FileCache::new(config.static_cache_bytes_max)),
            gateway,
        })
    }

    /// Answers a GET or HEAD of a file.
    pub async fn answer(&self, parts: &Parts, head: &Head<'_>, config: &HttpConfig) -> Answer {
        if parts.method == Method::POST {
            return answer::refused(Refusal::Method);
        }
        let Some(path) = head.place.decoded.as_deref().filter(|path| static_dir::is_clean(path)) else {
            return not_found();
        };
        if let Some((_, file)) = self.assets.iter().find(|(name, _)| *name == path) {
            return file.answer(&parts.headers);
        }
        if let Some(file) = self.operators(path).await {
            return file.answer(&parts.headers);
        }
        match self.gateway.published(path) {
            Some(published) => self.published(&published, &parts.headers, config).await,
            None => not_found(),
        }
    }

    async fn operators(&self, path: &str) -> Option<File> {
        let dir = self.dir.as_ref()?;
        let found = dir.find(path).await?;
        // Begins with `/`, as no hash does.
        let known = self.cache.lock().get(path);
        if let Some(file) = known.filter(|file| file.etag == found.etag()) {
            return Some(file);
        }
        let file = dir.read(&found).await?;
        self.cache.lock().put(path, file.clone());
        Some(file)
    }

    async fn published(&self, found: &Published, request: &HeaderMap, config: &HttpConfig) -> Answer {
        let file = published_file(found);
        if let Some(unchanged) = file.unchanged(request) {
            return unchanged;
        }
        match self.body(found, config).await {
            Ok(body) => File { body, ..file }.answer(request),
            Err(error) => answer::unserved(&error),
        }
    }

    /// Its bytes, which are those of its hash: from memory or from some peer.
    async fn body(&self, found: &Published, config: &HttpConfig) -> Result<Bytes, CallError> {
        let key = found.hash.to_string();
        if let Some(known) = self.cache.lock().get(&key) {
            return Ok(known.body);
        }
        let within = config.content_within;
        let fetched = timeout(within + answer::GRACE, self.gateway.content(found, within)).await;
        let body = fetched.unwrap_or(Err(CallError::Timeout))?;
        self.cache.lock().put(&key, File { body: body.clone(), ..published_file(found) });
        Ok(body)
    }
}

/// Whether a hub answers this decoded path by itself, so that a file published there would never be seen.
pub fn is_hubs_own(path: &str) -> bool {
    let encoded = path.replace('%', "%25");
    let place = Place::of(&encoded);
    place.api || place.route(false) != Route::File || ASSETS.iter().any(|(name, _)| *name == path)
}

/// All but the bytes.
fn published_file(found: &Published) -> File {
    let etag = HeaderValue::from_str(&format!("\"{}\"", found.hash));
    File {
        body: Bytes::new(),
        content_type: files::media_type(found.kind),
        etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        last_modified: None,
        cache_control: HeaderValue::from_static("public, max-age=300"),
        inert: true,
    }
}

fn asset(path: &str, body: &'static [u8]) -> File {
    // Browsers ask for this name unasked, and take any picture.
    let path = if path == "/favicon.ico" { "/favicon.svg" } else { path };
    File {
        body: Bytes::from_static(body),
        content_type: files::type_of(path),
        etag: files::etag_of(body),
        last_modified: None,
        cache_control: HeaderValue::from_static("public, max-age=60"),
        inert: false,
    }
}

fn not_found() -> Answer {
    let page = Bytes::from_static(include_bytes!("../assets/404.html"));
    let mut answer = answer::with_body(StatusCode::NOT_FOUND, answer::HTML, page);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, answer::TEXT_PAGE);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hubs_answer_by_themselves_cannot_be_published() {
        for path in [
            "/front/chat.js",
            "/index.php",
            "/plugins/x.php",
            "/metrics",
            "/readyz",
            "/api/a.js",
            "/download",
            "/socket.io/socket.io.js",
            "/realtime.html",
            "/multi.html",
        ] {
            assert!(is_hubs_own(path), "{path}");
        }
        for path in ["/a.js", "/front/other.js", "/100%25.txt", "/%2e", "/apis/a.js", "/socket.iox"] {
            assert!(!is_hubs_own(path), "{path}");
        }
    }
}
