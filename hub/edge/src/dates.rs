//! HTTP dates from seconds of Unix time and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second `httpdate` can print, 9999-12-31 23:59:59.
const LAST: u64 = 253_402_300_799;

/// `Sat, 21 Nov 2026 03:49:23 GMT`.
pub fn format(unix_seconds: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST)))
}

/// Seconds of Unix time of an HTTP date; `None` if it is none or before 1970.
pub fn parse(date: &str) -> Option<u64> {
    seconds(httpdate::parse_http_date(date).ok()?)
}

/// Whole seconds of a file's time; `None` before 1970.
pub fn seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip_and_absurd_ones_do_not_panic() {
        assert_eq!(format(1_795_232_963), "Sat, 21 Nov 2026 03:49:23 GMT");
        assert_eq!(parse("Sat, 21 Nov 2026 03:49:23 GMT"), Some(1_795_232_963));
        assert_eq!(parse("yesterday"), None);
        assert!(format(u64::MAX).contains("9999"));
    }
}
