//! What a run came to: latencies in an HDR histogram, failures by number and first reason.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Longest latency told apart, microseconds.
const LONGEST_US: u64 = 120_000_000;

/// Collected while a run goes on.
pub struct Figures {
    latencies: Histogram<u64>,
    failures: u64,
    first_failure: Option<String>,
}

impl Default for Figures {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("these bounds are valid");
        Self { latencies, failures: 0, first_failure: None }
    }
}

impl Figures {
    /// A request that was due then has been answered now.
    pub fn answered(&mut self, due: Instant) {
        self.took(due.elapsed());
    }

    /// A request took this long.
    pub fn took(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_US);
        self.latencies.saturating_record(micros.max(1));
    }

    /// A request failed. Failures have no latency.
    pub fn failed(&mut self, reason: String) {
        self.fail_many(1, reason);
    }

    /// `count` requests failed.
    pub fn fail_many(&mut self, count: u64, reason: String) {
        if count > 0 {
            self.failures += count;
            self.first_failure.get_or_insert(reason);
        }
    }

    /// Adds what somebody else collected.
    pub fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all histograms have the same bounds");
        self.fail_many(other.failures, other.first_failure.clone().unwrap_or_default());
    }

    /// The run in numbers, having been measured for `measured`.
    pub fn summary(&self, measured: Duration) -> Summary {
        let at = |quantile| Duration::from_micros(self.latencies.value_at_quantile(quantile));
        Summary {
            count: self.latencies.len(),
            rate: self.latencies.len() as f64 / measured.as_secs_f64(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            max: Duration::from_micros(self.latencies.max()),
            failures: self.failures,
            first_failure: self.first_failure.clone(),
        }
    }
}

/// A run in numbers.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Answered requests.
    pub count: u64,
    /// Answered requests per second.
    pub rate: f64,
    /// Median latency.
    pub p50: Duration,
    /// 90th percentile.
    pub p90: Duration,
    /// 99th percentile.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
    /// Requests without a good answer.
    pub failures: u64,
    /// Why the first of them failed.
    pub first_failure: Option<String>,
}

impl Summary {
    /// For `--json`; latencies in milliseconds.
    pub fn json(&self) -> Value {
        json!({
            "count": self.count,
            "rate": self.rate,
            "p50_ms": millis(self.p50),
            "p90_ms": millis(self.p90),
            "p99_ms": millis(self.p99),
            "max_ms": millis(self.max),
            "failures": self.failures,
            "first_failure": self.first_failure,
        })
    }
}

/// Milliseconds with a fraction.
pub fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_and_have_no_latency() {
        let (mut all, mut part) = (Figures::default(), Figures::default());
        all.took(Duration::from_millis(2));
        part.failed("status 503".into());
        part.failed("status 500".into());
        all.add(&part);
        all.fail_many(0, "nothing".into());
        let summary = all.summary(Duration::from_secs(2));
        assert_eq!((summary.count, summary.failures), (1, 2));
        assert_eq!(summary.first_failure.as_deref(), Some("status 503"));
        assert!((summary.rate - 0.5).abs() < 1e-9 && summary.p99 >= Duration::from_millis(2));
    }
}
