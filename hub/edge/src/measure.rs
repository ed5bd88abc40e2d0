//! The edge's metrics and its one log line per request. Labels are endpoint and status class, never anything a
//! client chose: forum names and session ids are secrets.

use std::time::Duration;

use loop_proto::ids::ForumKey;
use metrics::{counter, gauge, histogram};

/// A gauge that falls again when this is dropped.
pub struct Held(&'static str);

impl Held {
    /// One more open connection.
    pub fn connection() -> Self {
        Self::new("loop_http_connections")
    }

    /// One more request being answered.
    pub fn request() -> Self {
        Self::new("loop_http_requests_in_flight")
    }

    /// One more browser that watches a forum.
    pub fn watcher() -> Self {
        Self::new("loop_http_watchers")
    }

    fn new(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}

/// Counts and logs one answered request.
pub fn answered(endpoint: &'static str, status: u16, forum: Option<ForumKey>, took: Duration) {
    counted(endpoint, status);
    histogram!("loop_http_request_seconds", "endpoint" => endpoint).record(took.as_secs_f64());
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    match forum {
        Some(forum) => tracing::debug!(endpoint, status, us, ?forum, "http"),
        None => tracing::debug!(endpoint, status, us, "http"),
    }
}

/// Counts one answered request. For another service's how long it took is that one's affair: it may wait for something to say.
pub fn counted(endpoint: &'static str, status: u16) {
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    counter!("loop_http_requests_total", "endpoint" => endpoint, "status" => class).increment(1);
}

/// A connection that was turned away because there are too many.
pub fn turned_away() {
    counter!("loop_http_connections_turned_away_total").increment(1);
}
