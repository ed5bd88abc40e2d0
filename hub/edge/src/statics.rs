//! Files: the hub's own, the operator's, and those of peers through a bounded memory.
//!
//! A file of a peer is looked up by path and query, and answers everybody alike: nothing of the asking browser goes
//! to the peer, so that nothing of one browser can reach another.

use std::{io, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, request::Parts};
use loop_proto::v1::{self, Endpoint};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    answer::{self, Answer},
    config::HttpConfig,
    dates,
    file_cache::FileCache,
    files::{self, File},
    shim::{Head, Refusal},
    static_dir::{self, StaticDir},
};
use crate::gateway::{CallError, Gateway};

const CHAT_SCRIPT: &str =
    concat!(include_str!("../assets/front/clean.js"), include_str!("../assets/front/chat.js"));

const FAVICON: &[u8] = include_bytes!("../assets/favicon.svg");

/// Files compiled in: path, content.
const ASSETS: [(&str, &[u8]); 6] = [
    ("/front/chat.js", CHAT_SCRIPT.as_bytes()),
    ("/front/chat.css", include_bytes!("../assets/front/chat.css")),
    ("/front/popup.js", include_bytes!("../assets/front/popup.js")),
    ("/front/popup.css", include_bytes!("../assets/front/popup.css")),
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
        if let Some(file) = self.operators(path, config).await {
            return file.answer(&parts.headers);
        }
        match self.peers(parts, head, path, config).await {
            Ok(Some(file)) => file.answer(&parts.headers),
            Ok(None) => not_found(),
            Err(error) => answer::unserved(&error),
        }
    }

    async fn operators(&self, path: &str, config: &HttpConfig) -> Option<File> {
        let dir = self.dir.as_ref()?;
        let found = dir.find(path).await?;
        // A URL holds no space, so that these keys are never those of the files of peers.
        let key = format!("{path} dir");
        let known = self.cache.lock().get(&key, Instant::now()).flatten();
        if let Some(file) = known.filter(|file| file.etag == found.etag()) {
            return Some(file);
        }
        let file = dir.read(&found).await?;
        self.cache.lock().put(&key, Some(file.clone()), config.static_cache_ttl, Instant::now());
        Some(file)
    }

    async fn peers(
        &self,
        parts: &Parts,
        head: &Head<'_>,
        path: &str,
        config: &HttpConfig,
    ) -> Result<Option<File>, CallError> {
        let query = parts.uri.query().unwrap_or_default();
        let key = format!("{}?{query}", head.place.verbatim);
        let known = self.cache.lock().get(&key, Instant::now());
        if let Some(known) = known {
            return Ok(known);
        }
        let request = v1::ClientRequest {
            endpoint: Endpoint::Static.into(),
            method: Method::GET.as_str().to_owned(),
            path: Bytes::copy_from_slice(head.place.verbatim.as_bytes()),
            query: Bytes::copy_from_slice(query.as_bytes()),
            base_url: head.base_url.clone(),
            ..Default::default()
        };
        let within = config.read_within;
        let answered = timeout(within + answer::GRACE, self.gateway.file(request, within))
            .await
            .unwrap_or(Err(CallError::Timeout));
        let (file, ttl) = match answered {
            Ok(body) if body.status == 200 => (Some(peers_file(path, body)), config.static_cache_ttl),
            Ok(body) if body.status == 404 => (None, config.static_missing_ttl),
            Ok(_) => return Ok(None),
            // Peers are there, and each says to ask another: none of them serves files.
            Err(CallError::NoPeer) if self.gateway.serving() => (None, config.static_missing_ttl),
            Err(error) => return Err(error),
        };
        let keep =
            file.as_ref().is_none_or(|(file, keep)| *keep && file.body.len() <= config.static_file_bytes_max);
        let file = file.map(|(file, _)| file);
        if keep {
            self.cache.lock().put(&key, file.clone(), ttl, Instant::now());
        }
        Ok(file)
    }
}

fn asset(path: &str, body: &'static [u8]) -> File {
    // Browsers ask for this name unasked, and take any picture.
    let path = if path == "/favicon.ico" { "/favicon.svg" } else { path };
    File {
        body: Bytes::from_static(body),
        content_type: files::type_of(path).unwrap_or(files::UNKNOWN_TYPE),
        etag: files::etag_of(body),
        last_modified: None,
        cache_control: HeaderValue::from_static("public, max-age=60"),
        inert: false,
    }
}

/// A peer's file, and whether others may be given it from memory.
fn peers_file(path: &str, body: v1::File) -> (File, bool) {
    let header = |name: &str| body.headers.iter().find(|h| h.name == name).map(|h| &h.value);
    let cache_control = header("cache-control").and_then(|value| HeaderValue::from_bytes(value).ok());
    let text =
        cache_control.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let keep = !text.contains("no-store") && !text.contains("private");
    let etag = header("etag").and_then(|value| HeaderValue::from_bytes(value).ok());
    let strong = etag
        .filter(|tag| tag.len() > 2 && tag.as_bytes().starts_with(b"\"") && tag.as_bytes().ends_with(b"\""));
    let last_modified = header("last-modified").and_then(|v| dates::parse(std::str::from_utf8(v).ok()?));
    // The name's ending says more than a peer: what is called a picture is never run.
    let content_type = files::type_of(path)
        .or_else(|| answer::peers_type(&body.content_type))
        .unwrap_or(files::UNKNOWN_TYPE);
    let file = File {
        etag: strong.unwrap_or_else(|| files::etag_of(&body.body)),
        body: body.body,
        content_type,
        last_modified,
        cache_control: cache_control.unwrap_or_else(|| HeaderValue::from_static("public, max-age=300")),
        inert: true,
    };
    (file, keep)
}

fn not_found() -> Answer {
    answer::with_body(
        StatusCode::NOT_FOUND,
        answer::HTML,
        Bytes::from_static(include_bytes!("../assets/404.html")),
    )
}
