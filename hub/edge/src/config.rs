//! Every bound and time-out of the HTTP edge, with the reason for its value.

use std::{path::PathBuf, time::Duration};

use loop_proto::php_params::Limits;

/// How the HTTP edge behaves. All fields have a sensible value in [`HttpConfig::default`].
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Most open connections; one more is told 503 and closed.
    pub connections_max: usize,
    /// A connection without a request for this long is closed. Longer than a browser's poll interval and than
    /// the 60 s after which common proxies drop theirs, so that the other side closes first.
    pub idle_timeout: Duration,
    /// From the first byte of a request head to its last.
    pub head_timeout: Duration,
    /// For the whole body of a request.
    pub body_timeout: Duration,
    /// A client that takes no byte of its answer for this long is cut.
    pub write_stall_timeout: Duration,
    /// How long requests may go on after shutdown began.
    pub drain_timeout: Duration,
    /// Most requests being answered at once over all connections; one more is told 503.
    pub requests_max: usize,
    /// Most browsers that watch a forum at once, each of which keeps its connection; one more is told 503, and polls.
    pub watchers_max: usize,
    /// Longest path and query, bytes. AtomJump's own URLs, with the page's URL nested in them, stay below 4 KiB.
    pub url_bytes_max: usize,
    /// Longest form body, bytes.
    pub form_bytes_max: usize,
    /// Most bytes of form bodies in memory at once, over all connections.
    pub form_bytes_total_max: usize,
    /// Bounds of the parameters of one request.
    pub params: Limits,
    /// Time for a read. AtomJump's front end shows a warning after 3 s, so that the answer must be there before.
    pub read_within: Duration,
    /// Time for a write. The front end re-sends after 20 s; within half of that it learns that it has to.
    pub write_within: Duration,
    /// Whether `X-Forwarded-Proto` is believed. Only behind a proxy that sets it itself.
    pub trust_proxy: bool,
    /// `scheme://authority` browsers reach all hubs by; unset: what the request's Host header says.
    pub public_url: Option<String>,
    /// The operator's own files, served before published ones.
    pub static_dir: Option<PathBuf>,
    /// Longest file served from `static_dir`, bytes.
    pub static_file_bytes_max: usize,
    /// Memory for files, the operator's and published ones, bytes.
    pub static_cache_bytes_max: usize,
    /// Time for a published file that is not in memory. A volunteer's line may take seconds for the largest.
    pub content_within: Duration,
    /// The forum the front page shows.
    pub demo_forum: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections_max: 16_000,
            idle_timeout: Duration::from_secs(75),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(15),
            write_stall_timeout: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(3),
            requests_max: 8_192,
            watchers_max: 12_000,
            url_bytes_max: 16 * 1024,
            form_bytes_max: 256 * 1024,
            form_bytes_total_max: 64 * 1024 * 1024,
            params: Limits::default(),
            read_within: Duration::from_millis(2_500),
            write_within: Duration::from_secs(10),
            trust_proxy: false,
            public_url: None,
            static_dir: None,
            static_file_bytes_max: 8 * 1024 * 1024,
            static_cache_bytes_max: 64 * 1024 * 1024,
            content_within: Duration::from_secs(20),
            demo_forum: "ajps_test".to_owned(),
        }
    }
}
